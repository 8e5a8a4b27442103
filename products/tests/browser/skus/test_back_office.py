"""Products whose SKU has lower case, blanks and dots, in the back office."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.admin.products import RESERVATIONS_SHOWN
from products.models import Product
from products.tests.browser.steps import (
    choose_import,
    log_in,
    open_dialog,
    open_product,
    search_products,
)
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

SKU = "tee 1.5_x L"


def test_a_product_is_found_and_changed(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku=SKU, quantity=0)
    log_in(page, ada)
    open_product(page, SKU)

    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("5")
    dialog.get_by_label("Reason").select_option("delivery")
    dialog.get_by_role("button", name="Add").click()

    expect(page.locator("body")).to_contain_text(f"Added 5 units of {SKU}.")
    product.refresh_from_db()
    assert product.quantity == 5


def test_the_links_of_a_product_find_its_reservations(page: Page, ada: User) -> None:
    ProductFactory.create(sku=SKU)
    for number in range(RESERVATIONS_SHOWN + 1):
        stock.reserve(sku=SKU, amount=1, reference=f"order-{number}", by=ACTOR)
    log_in(page, ada)
    open_product(page, SKU)

    page.get_by_role("link", name="Show all").first.click()

    expect(page.locator("#result_list")).to_contain_text("order-0")


def test_the_search_ignores_case(page: Page, ada: User) -> None:
    ProductFactory.create(sku=SKU)
    log_in(page, ada)

    search_products(page, "TEE 1.")

    expect(page.get_by_role("link", name=SKU, exact=True)).to_be_visible()


def test_the_ledger_is_searched_by_sku(page: Page, ada: User) -> None:
    ProductFactory.create(sku=SKU)
    log_in(page, ada)
    page.goto("/admin/products/stockevent/")

    page.locator("#searchbar").fill(SKU)
    page.locator("#searchbar").press("Enter")

    page.wait_for_url(re.compile(r"q=tee"))
    expect(page.locator("#result_list").get_by_role("link", name=SKU)).to_be_visible()


def test_a_sku_in_another_case_is_refused(page: Page, ada: User) -> None:
    ProductFactory.create(sku=SKU)
    log_in(page, ada)

    choose_import(page, "Import products", f"sku,name\n{SKU.upper()},Tee\n")

    expect(page.locator("body")).to_contain_text(
        f"Product {SKU} already exists. Only case distinguishes {SKU.upper()} from {SKU}."
    )
    expect(page.get_by_role("button", name="Import")).not_to_be_attached()


def test_skus_are_imported_in_capitals(page: Page, ada: User) -> None:
    log_in(page, ada)
    page.goto("/admin/products/product/import/products/")

    page.get_by_label("Write SKUs in capitals").check()
    page.locator("input[type=file]").set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": f"sku,name\n{SKU},Tee\n".encode()}
    )
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("row", name=SKU.upper())).to_contain_text("New")
    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("Imported 1 row.")).to_be_visible()
    assert Product.objects.get().sku == SKU.upper()


def test_a_file_is_imported_as_it_is(page: Page, ada: User) -> None:
    log_in(page, ada)

    choose_import(page, "Import products", f"sku,name\n{SKU},Tee\n")
    page.get_by_role("button", name="Import").click()

    expect(page.get_by_text("Imported 1 row.")).to_be_visible()
    assert Product.objects.get().sku == SKU
