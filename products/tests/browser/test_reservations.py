"""The reservation list in the browser: filters and links from the front page."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from products import stock
from products.models import Reservation
from products.tests.browser.steps import log_in
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _orders() -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    for reference, expires_in in [("order-late", 60), ("order-soon", 600), ("order-free", None)]:
        stock.reserve(
            sku=product.sku, amount=1, reference=reference, expires_in=expires_in, by=ACTOR
        )
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(reference="order-late").update(expires_at=past)


def expect_orders(page: Page, *references: str) -> None:
    for reference in ("order-late", "order-soon", "order-free"):
        cell = page.get_by_role("cell", name=reference)
        if reference in references:
            expect(cell).to_be_visible()
        else:
            expect(cell).not_to_be_attached()


@pytest.mark.usefixtures("_orders")
@pytest.mark.parametrize(("choice", "found"), [("Overdue", "late"), ("Within an hour", "soon")])
def test_reservations_are_filtered_by_expiry(
    page: Page, ada: User, choice: str, found: str
) -> None:
    log_in(page, ada)
    page.get_by_role("link", name="Reservations").first.click()
    expect_orders(page, "order-late", "order-soon", "order-free")

    page.locator("a", has_text="Filters").click()
    page.get_by_role("link", name=choice, exact=True).click()

    page.wait_for_url("**/?expiry=*")
    expect_orders(page, f"order-{found}")


@pytest.mark.usefixtures("_orders")
def test_the_overdue_card_links_to_overdue_reservations(page: Page, ada: User) -> None:
    log_in(page, ada)

    page.get_by_role("link", name="Overdue").click()

    page.wait_for_url("**/?expiry=overdue")
    expect_orders(page, "order-late")
