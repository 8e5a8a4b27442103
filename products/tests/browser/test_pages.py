"""Every page opens in light and dark mode without errors in the browser console."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.tests.browser.steps import log_in, open_product
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = (
    "/admin/",
    "/admin/products/product/",
    "/admin/products/product/import/products/",
    "/admin/products/product/import/adjustments/",
    "/admin/products/reservation/",
    "/admin/products/stockevent/",
    "/admin/products/apikey/",
    "/admin/auth/user/",
    "/admin/auth/group/",
)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_every_page_opens_without_console_errors(page: Page, ada: User, color_scheme: str) -> None:
    """The fixture `page` checks the console at the end of the test."""
    ProductFactory.create(sku="CUP", minimum_stock_level=50)
    stock.reserve(sku="CUP", amount=3, reference="order-1", by=ACTOR)
    ApiKeyFactory.create()
    log_in(page, ada)

    for path in PAGES:
        response = page.goto(path)
        assert response is not None
        assert response.ok, path
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    open_product(page, "CUP")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_docs_open_without_console_errors(page: Page, path: str) -> None:
    """The fixture `page` checks the console, and that the page makes no requests to other hosts."""
    page.goto(path)

    expect(page.get_by_role("heading", name="Inventory service")).to_be_visible()
    expect(page.get_by_role("heading", name="Retries and idempotency")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_key_pasted_into_the_docs_authorizes_requests(page: Page) -> None:
    ProductFactory.create(sku="CUP", name="Tall cup")
    key = ApiKeyFactory.create().text

    page.goto("/docs")
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.locator(".auth-container input").fill(key)
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    operation = page.locator("#operations-products-products_list")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    response = operation.locator(".live-responses-table")
    expect(response.locator(".response-col_status").last).to_contain_text("200")
    expect(response).to_contain_text("Tall cup")


def test_a_wrong_password_is_refused(page: Page, ada: User) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("Ada")
    page.get_by_label("Password").fill("guess")
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
