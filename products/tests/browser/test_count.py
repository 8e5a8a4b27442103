"""Counts of several products are typed or scanned."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.models import Product, StockEvent
from products.tests.browser.entry import open_page, paste, scan, values, wait_for_focus
from products.tests.browser.steps import log_in, make_staff
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def products(live_server: object) -> list[Product]:
    return [
        ProductFactory.create(sku=f"CUP-{number:02}", name=f"Cup {number}", quantity=10)
        for number in range(1, 21)
    ]


def counted() -> list[tuple[str, int]]:
    found = StockEvent.objects.filter(type=StockEvent.Type.ADJUSTED).order_by("pk")
    return list(found.values_list("sku", "quantity"))


def test_twenty_products_of_a_list_are_counted_by_keyboard(
    page: Page, products: list[Product]
) -> None:
    log_in(page, make_staff("Mia", "Stock manager"))
    page.get_by_role("link", name="Products").first.click()
    page.get_by_role("link", name="Count this list").click()

    # The first count has the focus, and Enter moves from count to count.
    wait_for_focus(page, "Counted, line 1")
    for number in range(1, 21):
        wait_for_focus(page, f"Counted, line {number}")
        if number == 7:
            page.keyboard.press("Enter")  # Not counted.
        else:
            scan(page, str(number))
    expect(page.get_by_role("row", name="Cup 20")).to_contain_text("On hand 10")
    assert counted() == []

    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("19 lines will be saved, all or none.")).to_be_visible()
    expect(page.get_by_text("1 line passed over: not counted.")).to_be_visible()
    page.get_by_role("button", name="Save counts").click()

    expect(page.get_by_text("Counted 19 products.")).to_be_visible()
    assert counted() == [(f"CUP-{number:02}", number) for number in range(1, 21) if number != 7]


def test_ticked_products_are_counted_and_a_sale_meanwhile_is_shown(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    page.get_by_role("link", name="Products").first.click()
    for sku in ("CUP-02", "CUP-05"):
        page.get_by_role("row", name=sku).get_by_role("checkbox").check()
    page.get_by_label("Select action to run").select_option("Count stock")
    page.get_by_role("button", name="Run").click()
    wait_for_focus(page, "Counted, line 1")
    scan(page, "9")
    scan(page, "8")
    stock.remove(sku="CUP-05", amount=1, by=ACTOR)

    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_text("the stock has changed while you counted")).to_be_visible()
    expect(page.get_by_text("9 on hand now, 10 when you saw it.")).to_be_visible()
    assert counted() == []

    page.get_by_role("button", name="Save counts").click()

    expect(page.get_by_text("Counted 2 products.")).to_be_visible()
    assert counted() == [("CUP-02", 9), ("CUP-05", 8)]


def test_an_unlikely_count_is_pointed_out(page: Page, ada: User, products: list[Product]) -> None:
    ProductFactory.create(sku="POT", name="Pot", quantity=595)
    log_in(page, ada)
    open_page(page, "Count")
    scan(page, "POT")
    scan(page, "5950")

    warning = "5,950 counted, 595 on hand. Check the count."
    expect(page.get_by_role("row", name="Pot")).to_contain_text(warning)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("Unlikely count on line 1. Check it before you save.")).to_be_visible()
    expect(page.get_by_role("row", name="Pot")).to_contain_text(warning)
    page.get_by_role("button", name="Save counts").click()

    expect(page.get_by_text("Counted 1 product.")).to_be_visible()


def test_a_column_of_counts_is_pasted_beside_its_products(
    page: Page, ada: User, products: list[Product]
) -> None:
    log_in(page, ada)
    page.get_by_role("link", name="Products").first.click()
    page.get_by_role("link", name="Count this list").click()
    wait_for_focus(page, "Counted, line 1")

    paste(page, "9\n\n7\n")

    wait_for_focus(page, "Counted, line 3")
    assert values(page)[:4] == [
        ("CUP-01", "9"),
        ("CUP-02", ""),
        ("CUP-03", "7"),
        ("CUP-04", ""),
    ]


def test_an_unfinished_count_is_found_again(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    page.get_by_role("link", name="Products").first.click()
    page.locator("#searchbar").fill("Cup 3")
    page.locator("#searchbar").press("Enter")
    page.wait_for_url("**/?q=*")
    page.get_by_role("link", name="Count this list").click()
    wait_for_focus(page, "Counted, line 1")
    scan(page, "4")

    page.reload()
    expect(page.get_by_text("are here again.")).to_be_visible()
    expect(page.get_by_label("Counted, line 1")).to_have_value("4")

    page.get_by_role("link", name="Count", exact=False).first.click()
    expect(page.get_by_text("You have not finished your lines")).to_be_visible()
    page.get_by_role("button", name="Continue it").click()

    expect(page.get_by_label("Counted, line 1")).to_have_value("4")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Save counts").click()
    expect(page.get_by_text("Counted 1 product.")).to_be_visible()
    assert counted() == [("CUP-03", 4)]
    assert page.get_by_text("You have not finished").is_hidden()


def test_counts_are_scanned_unit_by_unit(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    open_page(page, "Count")
    page.get_by_label("Each scan is one unit").check()
    page.get_by_label("SKU, line 1").focus()

    for sku in ("CUP-01", "CUP-02", "CUP-01"):
        scan(page, sku)

    assert values(page) == [("CUP-01", "2"), ("CUP-02", "1"), ("", "")]
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("row", name="CUP-01")).to_contain_text("On hand: 10 → 2")


def test_a_sheet_to_print_hides_the_levels(page: Page, ada: User, products: list[Product]) -> None:
    log_in(page, ada)
    page.get_by_role("link", name="Products").first.click()
    page.get_by_role("link", name="Count this list").click()
    wait_for_focus(page, "Counted, line 1")

    with page.expect_popup() as opened:
        page.get_by_role("button", name="Print a sheet").click()
    sheet = opened.value

    expect(sheet.get_by_role("heading", name="Count sheet")).to_be_visible()
    expect(sheet.get_by_role("cell", name="Cup 20")).to_be_visible()
    expect(sheet.get_by_role("columnheader", name="On hand")).to_be_hidden()
    sheet.get_by_label("Print the levels on hand").check()
    expect(sheet.get_by_role("columnheader", name="On hand")).to_be_visible()
