"""A delivery is typed, scanned or pasted."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products.models import Product, StockEvent
from products.tests.browser.entry import open_page, paste, scan, values, wait_for_focus
from products.tests.browser.steps import log_in, make_staff
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def products(live_server: object) -> list[Product]:
    names = {"CUP": "Cup", "MUG-1": "Blue mug", "MUG-2": "Red mug", "POT": "Pot", "4006381": "Pen"}
    return [ProductFactory.create(sku=sku, name=name, quantity=10) for sku, name in names.items()]


def events() -> list[tuple[str, int]]:
    found = StockEvent.objects.filter(type=StockEvent.Type.ADDED).order_by("pk")
    return list(found.values_list("sku", "quantity_change"))


def test_a_delivery_of_five_lines_is_typed_by_keyboard_alone(
    page: Page, products: list[Product]
) -> None:
    log_in(page, make_staff("Cleo", "Stock clerk"))
    open_page(page, "Receive")

    for number, product in enumerate(products, start=1):
        wait_for_focus(page, f"SKU, line {number}")
        scan(page, product.sku.lower())
        wait_for_focus(page, f"Received, line {number}")
        scan(page, str(number))
    expect(page.get_by_text("5 lines, 15 units")).to_be_visible()
    expect(page.get_by_role("row", name="Blue mug")).to_contain_text("On hand 10")
    assert events() == []

    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("5 lines will be saved, all or none.")).to_be_visible()
    expect(page.get_by_role("row", name="Blue mug")).to_contain_text("On hand: 10 → 12")
    assert events() == []

    page.get_by_role("button", name="Receive", exact=True).click()

    expect(page.get_by_text("Received 15 units of 5 products.")).to_be_visible()
    assert events() == [(product.sku, number) for number, product in enumerate(products, start=1)]
    # The page is ready for the next delivery.
    wait_for_focus(page, "SKU, line 1")
    assert values(page) == [("", "")]
    page.reload()
    wait_for_focus(page, "SKU, line 1")
    assert values(page) == [("", "")]


def test_each_scan_adds_a_unit(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    page.get_by_label("Each scan is one unit").check()
    page.get_by_label("SKU, line 1").focus()

    for sku in ("CUP", "4006381", "cup", "CUP", "4006381"):
        scan(page, sku)

    wait_for_focus(page, "SKU, line 3")
    assert values(page) == [("CUP", "3"), ("4006381", "2"), ("", "")]
    expect(page.get_by_role("status")).to_have_text("4006381: 2")
    assert events() == []


def test_a_sku_that_is_already_on_a_line_leads_to_it(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    scan(page, "CUP")
    scan(page, "5")

    scan(page, "cup")

    wait_for_focus(page, "Received, line 1")
    expect(page.get_by_role("status")).to_have_text("cup is already on line 1.")
    assert values(page) == [("CUP", "5"), ("", "")]


def test_problems_are_said_at_their_line(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    open_page(page, "Receive")

    scan(page, "NOPE")
    scan(page, "x")

    first = page.locator("#entry tbody tr").first
    expect(first).to_contain_text("Product NOPE does not exist.")
    page.get_by_label("SKU, line 1").fill("CUP")
    page.keyboard.press("Enter")
    expect(first).to_contain_text("'x' is not a whole number.")
    expect(page.get_by_label("Received, line 1")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("SKU, line 1")).to_have_attribute("aria-invalid", "false")
    page.get_by_label("Received, line 1").fill("4")
    page.keyboard.press("Enter")
    expect(first).not_to_contain_text("not a whole number")


def test_products_are_suggested_by_words_of_their_name(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    open_page(page, "Receive")

    page.keyboard.type("mug")

    options = page.get_by_role("listbox", name="Products").get_by_role("option")
    expect(options).to_have_text(["MUG-1 Blue mug (10 available)", "MUG-2 Red mug (10 available)"])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    wait_for_focus(page, "Received, line 1")
    assert values(page)[0] == ("MUG-2", "")


def test_rows_are_pasted_from_a_spreadsheet(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    scan(page, "POT")
    scan(page, "1")
    wait_for_focus(page, "SKU, line 2")

    paste(page, "Article\tName\tQty\r\nCUP\tA cup\t5\r\nmug-1\t\t6\r\n")

    expect(page.get_by_role("status")).to_have_text("2 lines pasted.")
    assert values(page) == [("POT", "1"), ("CUP", "5"), ("MUG-1", "6"), ("", "")]
    wait_for_focus(page, "SKU, line 4")

    paste(page, "CUP\tA cup\t5\n")

    expect(page.get_by_role("status")).to_contain_text("more than a SKU and a number")
    assert len(values(page)) == 4


def test_nothing_is_lost_by_a_reload_or_an_error(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    scan(page, "CUP")
    scan(page, "5")
    scan(page, "NOPE")
    scan(page, "1")
    page.get_by_label("Reference").fill("po-7")

    page.reload()

    expect(page.get_by_text("are here again.")).to_be_visible()
    wait_for_focus(page, "SKU, line 3")
    assert values(page) == [("CUP", "5"), ("NOPE", "1"), ("", "")]
    expect(page.get_by_label("Reference")).to_have_value("po-7")

    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("1 line must be corrected")).to_be_visible()
    page.get_by_role("button", name="Change lines").click()
    wait_for_focus(page, "SKU, line 2")  # The wrong line.
    assert values(page) == [("CUP", "5"), ("NOPE", "1"), ("", "")]

    page.get_by_role("button", name="Delete line 2").click()
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Receive", exact=True).click()

    expect(page.get_by_text("Received 5 units of 1 product.")).to_be_visible()
    assert events() == [("CUP", 5)]


def test_a_draft_is_of_one_user_and_can_be_discarded(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    scan(page, "CUP")
    scan(page, "5")
    page.context.clear_cookies()
    log_in(page, make_staff("Cleo", "Stock clerk"))
    open_page(page, "Receive")
    assert values(page) == [("", "")]

    page.context.clear_cookies()
    log_in(page, ada)
    page.get_by_role("link", name="Receive").first.click()
    expect(page.get_by_text("are here again.")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Discard").click()
    wait_for_focus(page, "SKU, line 1")
    page.reload()
    wait_for_focus(page, "SKU, line 1")

    assert values(page) == [("", "")]


def test_enter_in_another_field_does_not_send_the_lines(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    open_page(page, "Receive")
    scan(page, "CUP")
    page.get_by_label("Reference").focus()

    scan(page, "4006381")

    expect(page.get_by_label("Reference")).to_have_value("4006381")
    expect(page.get_by_label("SKU, line 1")).to_have_value("CUP")
    assert events() == []
