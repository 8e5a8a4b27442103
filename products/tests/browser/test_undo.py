"""Undo in the browser, and the history of a product."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.models import Product
from products.tests.browser.steps import log_in, make_staff, open_dialog, open_list, open_product
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cup() -> Product:
    return ProductFactory.create(sku="CUP", quantity=10)


def find(page: Page, sku: str) -> None:
    """Open a product from the search of the front page."""
    page.get_by_label("Find a product").fill(sku)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(sku)


def test_a_count_is_undone_in_its_message(page: Page, cup: Product) -> None:
    log_in(page, make_staff("Mona", "Stock manager"))
    find(page, "CUP")
    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("7")
    dialog.get_by_role("button", name="Save count").click()
    expect(page.get_by_text("Counted CUP: 10 → 7")).to_be_visible()

    page.get_by_role("button", name="Undo").dblclick()

    expect(page.get_by_text("Undone: Counted: 10 → 7. On hand of CUP: 10.")).to_be_visible()
    expect(page.get_by_role("link", name="Undone by Mona")).to_be_visible()
    cup.refresh_from_db()
    assert (cup.quantity, cup.version) == (10, 3)


def test_an_addition_is_undone_from_the_ledger(page: Page, cup: Product) -> None:
    stock.add(sku="CUP", amount=5, by=ACTOR)
    log_in(page, make_staff("Carl", "Stock clerk"))
    open_list(page, "Ledger")

    page.get_by_role("link", name="Undo", exact=True).click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("Added 5")
    dialog.get_by_label("Note").fill("wrong shelf")
    dialog.get_by_role("button", name="Undo").click()

    expect(page.get_by_text("Undone: Added 5. On hand of CUP: 10.")).to_be_visible()
    expect(page.get_by_role("link", name="Undone by Carl")).to_be_visible()
    assert cup.events.latest("version").reason == "undo: wrong shelf"


def test_an_unlikely_count_is_saved_after_a_question(page: Page, ada: User) -> None:
    pot = ProductFactory.create(sku="POT", quantity=595)
    log_in(page, ada)
    open_product(page, "POT")
    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("5950")
    page.keyboard.press("Enter")

    expect(dialog.get_by_text("5,950 counted, 595 on hand.")).to_be_visible()
    dialog.get_by_role("button", name="Save count").click()

    expect(page.get_by_text("Counted POT: 595 → 5,950 (+5,355).")).to_be_visible()
    assert pot.events.count() == 2


def test_units_of_a_fulfilled_order_come_back(page: Page, cup: Product) -> None:
    order = stock.reserve(sku="CUP", amount=4, reference="order-1001", by=ACTOR)
    stock.fulfill(reservation_id=order.pk, by=ACTOR)
    log_in(page, make_staff("Carl", "Stock clerk"))
    find(page, "CUP")
    row = page.get_by_role("row", name="Fulfilled 4 for order-1001")
    row.get_by_role("link", name="order-1001").click()

    page.get_by_role("link", name="Return").click()
    page.get_by_label("CUP Product CUP").fill("2")
    page.get_by_role("button", name="Return").dblclick()

    expect(page.get_by_text("Returned 2 units of reservation")).to_be_visible()
    cup.refresh_from_db()
    assert (cup.quantity, cup.version) == (8, 4)


def test_the_history_leads_to_the_reservation(page: Page, cup: Product) -> None:
    stock.reserve(sku="CUP", amount=2, reference="order-1001", by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)
    log_in(page, make_staff("Vera", "Stock viewer"))
    find(page, "CUP")

    expect(page.get_by_role("cell", name="Renamed from “Product CUP” to “Mug”")).to_be_visible()
    row = page.get_by_role("row", name="Reserved 2 for order-1001")
    row.get_by_role("link", name="order-1001").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("order-1001")
