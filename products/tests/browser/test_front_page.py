"""The front page leads to what needs doing."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from products import stock
from products.models import Reservation
from products.tests.browser.steps import log_in, make_staff
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_front_page_leads_to_an_overdue_reservation(page: Page) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=3, reference="order-1", expires_in=60, by=ACTOR)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(hours=2))
    log_in(page, make_staff("Vera", "Stock clerk"))

    row = page.get_by_role("row", name="order-1")
    expect(row).to_contain_text("2 hours overdue")
    expect(row).to_contain_text("3 units of 1 product")
    row.get_by_role("link", name="order-1").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("order-1")


def test_the_front_page_leads_to_products_to_order_and_to_count(page: Page) -> None:
    ProductFactory.create(sku="CUP", name="Tall cup", quantity=1, minimum_stock_level=5)
    ProductFactory.create(sku="MUG", name="Old mug", quantity=9)
    log_in(page, make_staff("Mia", "Stock manager"))
    expect(page.get_by_role("row", name="MUG Old mug 9 never")).to_be_visible()

    page.get_by_role("row", name="CUP Tall cup 1 5 9").get_by_role("link", name="CUP").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("CUP")


def test_the_products_to_count_are_counted_together(page: Page) -> None:
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, quantity=9)
    log_in(page, make_staff("Mia", "Stock manager"))

    page.get_by_role("button", name="Count these products").click()

    expect(page.get_by_label("SKU, line 1")).to_have_value("CUP")
    expect(page.get_by_label("SKU, line 2")).to_have_value("MUG")
    expect(page.get_by_label("Counted, line 1")).to_have_value("")
