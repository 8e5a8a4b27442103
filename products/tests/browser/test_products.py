"""Product search, page and form in the browser."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.tests.browser.steps import log_in, make_staff, open_product, search_products
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("text", ["mug-b", "MUG-BLUE", "blue mug", "Mug blue"])
def test_a_product_is_found_by_sku_or_words_of_its_name(page: Page, ada: User, text: str) -> None:
    ProductFactory.create(sku="MUG-BLUE", name="Blue mug")
    ProductFactory.create(sku="MUG-RED", name="Red mug")
    log_in(page, ada)

    search_products(page, text)

    expect(page.get_by_role("link", name="MUG-BLUE", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="MUG-RED", exact=True)).not_to_be_attached()


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
