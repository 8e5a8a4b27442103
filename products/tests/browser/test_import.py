"""Imports of a spreadsheet, with their preview."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.models import Product, StockEvent
from products.tests.browser.steps import choose_import, log_in, make_staff
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_products_are_imported_after_a_preview(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    log_in(page, ada)

    choose_import(page, "Import products", "sku,name,quantity\nCUP,Large cup,\nJUG,Jug,5\n")

    expect(page.get_by_text("2 rows will be imported, all or none.")).to_be_visible()
    expect(page.get_by_role("row", name="CUP")).to_contain_text("Cup → Large cup")
    expect(page.get_by_role("row", name="JUG")).to_contain_text("New")
    assert list(Product.objects.values_list("sku", "name")) == [("CUP", "Cup")]

    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("Imported 2 rows.")).to_be_visible()
    products = Product.objects.order_by("sku").values_list("sku", "name", "quantity")
    assert list(products) == [("CUP", "Large cup", 25), ("JUG", "Jug", 5)]


def test_imported_stock_changes_record_the_user(page: Page) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, make_staff("Mia", "Stock manager"))

    choose_import(page, "Import stock changes", "sku,quantity,reason\nCUP,8,stocktake\n")
    expect(page.get_by_role("row", name="CUP")).to_contain_text("On hand: 10 → 8")
    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("Imported 1 row.")).to_be_visible()
    event = product.events.get(type=StockEvent.Type.ADJUSTED)
    assert (event.quantity, event.reason, event.actor) == (8, "stocktake", "Mia")


def test_a_file_with_a_wrong_row_cannot_be_imported(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)

    choose_import(page, "Import stock changes", "sku,remove\nCUP,4\nCUP,7\n")

    expect(page.get_by_text("Nothing was imported: 1 row cannot be imported")).to_be_visible()
    expect(page.get_by_text("7 of CUP requested, 6 available.")).to_be_visible()
    expect(page.get_by_role("button", name="Import")).not_to_be_attached()


def test_an_import_shows_changes_since_the_preview(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    choose_import(page, "Import stock changes", "sku,remove\nCUP,4\n")
    stock.reserve(sku="CUP", amount=8, by=ACTOR)

    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("The stock has changed since the preview.")).to_be_visible()
    expect(page.get_by_text("4 of CUP requested, 2 available.")).to_be_visible()
    product.refresh_from_db()
    assert product.levels == (10, 8, 0)


def test_a_double_click_imports_once(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    choose_import(page, "Import stock changes", "sku,add\nCUP,4\n")

    page.get_by_role("button", name="Import").dblclick()

    expect(page.get_by_text("Imported 1 row.").first).to_be_visible()
    page.reload()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (14, 2)


@pytest.mark.parametrize("group", ["Stock viewer", "Stock clerk"])
def test_other_groups_see_no_import_links(page: Page, live_server: object, group: str) -> None:
    log_in(page, make_staff("Vera", group))

    page.goto("/admin/products/product/")

    expect(page.get_by_role("link", name="Import")).to_have_count(0)
