"""Product search, page and form in the browser."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.models import Product
from products.tests.browser.steps import (
    apply_filters,
    log_in,
    make_staff,
    open_dialog,
    open_list,
    open_product,
    search_products,
)
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("text", ["mug-b", "g-bl", "blue mug", "Mug blu", " BLÜE "])
def test_a_product_is_found_by_parts_of_its_sku_or_name(page: Page, ada: User, text: str) -> None:
    ProductFactory.create(sku="MUG-BLUE", name="Blue mug")
    ProductFactory.create(sku="MUG-RED", name="Red mug")
    log_in(page, ada)

    search_products(page, text)

    expect(page.get_by_role("link", name="MUG-BLUE", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="MUG-RED", exact=True)).not_to_be_attached()


def test_an_exact_sku_opens_the_product_from_the_front_page(page: Page, ada: User) -> None:
    for sku in ("MUG", "MUG-2"):
        ProductFactory.create(sku=sku, name=f"Product {sku}")
    log_in(page, ada)
    field = page.get_by_label("Find a product")

    field.fill(" mug ")
    with page.expect_navigation():
        field.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("MUG")
    expect(page.get_by_label("Name")).to_have_value("Product MUG")
    page.get_by_role("link", name="Show all products found by MUG").click()
    expect(page.get_by_role("link", name="MUG-2", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="MUG", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("Product MUG")
    page.go_back()
    expect(field).to_be_visible()  # Not a list that opens the product again.


def test_an_exact_sku_opens_the_product_from_the_list(page: Page, ada: User) -> None:
    ProductFactory.create(sku="MUG", name="Mug")
    log_in(page, ada)
    open_list(page, "Products")

    page.locator("#searchbar").fill("MUG")
    page.locator("#searchbar").press("Enter")

    expect(page.get_by_label("Name")).to_have_value("Mug")
    page.get_by_label("Name").fill("Large mug")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    expect(page.locator("#changelist")).to_be_visible()


def test_a_rename_from_a_form_opened_before_a_reserve_leaves_stock_alone(
    page: Page, ada: User
) -> None:
    product = ProductFactory.create(sku="CUP", name="Cup", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    page.get_by_label("Name").fill("Large cup")
    stock.reserve(sku="CUP", amount=7, by=ACTOR)

    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("was changed successfully")).to_be_visible()
    product.refresh_from_db()
    assert (product.name, product.levels) == ("Large cup", (10, 7, 0))


def test_a_viewer_sees_a_product_but_cannot_edit_it(page: Page) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=10)
    log_in(page, make_staff("Vera", "Stock viewer"))

    open_product(page, "CUP")

    expect(page.get_by_text("Cup", exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Save")).not_to_be_attached()
    expect(page.get_by_label("Name")).not_to_be_attached()


def test_a_product_is_created_from_a_search_that_finds_nothing(page: Page) -> None:
    log_in(page, make_staff("Mona", "Stock manager"))
    page.get_by_label("Find a product").fill("lamp-9")
    page.keyboard.press("Enter")

    page.get_by_role("link", name="Create LAMP-9").click()
    expect(page.get_by_label("SKU")).to_have_value("LAMP-9")
    expect(page.locator("[name=name]")).to_be_focused()
    page.keyboard.type("Tall lamp")
    page.get_by_label("On hand").fill("12")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Created LAMP-9. On hand: 12.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("LAMP-9")
    product = Product.objects.get()
    assert (product.sku, product.name, product.quantity) == ("LAMP-9", "Tall lamp", 12)


def test_a_viewer_whose_search_finds_nothing_cannot_create(page: Page) -> None:
    log_in(page, make_staff("Vera", "Stock viewer"))

    page.get_by_label("Find a product").fill("LAMP-9")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="No products match “LAMP-9”")).to_be_visible()
    expect(page.get_by_role("link", name="Create")).not_to_be_attached()


def test_a_product_is_archived_found_by_its_filter_and_restored(page: Page) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=3, by=ACTOR)
    log_in(page, make_staff("Mona", "Stock manager"))
    page.get_by_label("Find a product").fill("CUP")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("CUP")

    dialog = open_dialog(page, "Archive")
    expect(dialog).to_contain_text("CUP has 10 units on hand (3 reserved).")
    dialog.get_by_role("button", name="Archive").click()
    expect(page.get_by_text("Archived CUP.")).to_be_visible()

    open_list(page, "Products")
    expect(page.get_by_role("heading", name="No products")).to_be_visible()
    apply_filters(page, By_archive_status="Archived only")
    page.get_by_role("link", name="CUP", exact=True).click()
    dialog = open_dialog(page, "Restore")
    dialog.get_by_role("button", name="Restore").click()

    expect(page.get_by_text("Restored CUP.")).to_be_visible()
    product.refresh_from_db()
    assert (product.archived, product.levels) == (False, (10, 3, 0))


def test_a_selection_is_archived(page: Page) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    ProductFactory.create(sku="POT", quantity=0)
    log_in(page, make_staff("Mona", "Stock manager"))
    open_list(page, "Products")

    page.locator("#action-toggle").check()
    page.get_by_label("Select action to run").select_option("Archive")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("CUP Product CUP: 10 on hand, 0 reserved")).to_be_visible()
    page.get_by_role("button", name="Archive").click()

    expect(page.get_by_text("Archived 2 products.")).to_be_visible()
    assert Product.objects.filter(archived=True).count() == 2
