"""Imports of a spreadsheet, with their preview."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import FilePayload, Page, expect

from products import stock
from products.models import Product, StockEvent
from products.tests.browser.steps import choose_import, log_in, make_staff
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

EXPORTS = Path(__file__).parents[1] / "files" / "profiles"


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

    expect(page.locator(".header-menu summary")).to_contain_text(["Export"])


def test_an_export_of_another_system_is_imported_by_its_profile(page: Page, ada: User) -> None:
    ProductFactory.create(sku="MUG-BLUE", quantity=1)
    log_in(page, ada)
    page.goto("/admin/products/product/import/adjustments/")
    expect(page.get_by_label("Header line")).not_to_be_visible()

    page.get_by_label("Exported by").select_option("Shopify")
    page.locator("input[type=file]").set_input_files(EXPORTS / "shopify-inventory.csv")
    page.get_by_role("button", name="Preview").click()

    expect(
        page.get_by_text("The file has 2 locations: 'Main Store' and 'Warehouse'.")
    ).to_be_visible()
    expect(page.get_by_label("Exported by")).to_have_value("shopify")

    page.get_by_label("Location").fill("main store")
    page.get_by_label("Only rows where").fill("Handle=mug")
    page.locator("input[type=file]").set_input_files(EXPORTS / "shopify-inventory.csv")
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_text("5 rows passed over: other rows.")).to_be_visible()
    expect(page.get_by_text("quantity = 'On hand (current)'")).to_be_visible()
    expect(page.get_by_role("row", name="MUG-BLUE")).to_contain_text("On hand: 1 → 12")

    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("Imported 1 row.")).to_be_visible()
    assert Product.objects.get(sku="MUG-BLUE").quantity == 12


def test_the_fields_about_columns_can_be_opened(page: Page, ada: User) -> None:
    log_in(page, ada)
    page.goto("/admin/products/product/import/products/")

    page.get_by_text("Columns and sheet", exact=True).click()
    page.get_by_label("The SKU is in column").fill("Code")
    page.get_by_label("Ignore other columns").check()
    file = FilePayload(name="list.csv", mimeType="text/csv", buffer=b"Code,name,x\nJUG,Jug,1\n")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Preview").click()

    expect(page.get_by_role("row", name="JUG")).to_contain_text("New")
