"""Colleagues: their form, and their own page."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products.tests.browser.steps import (
    log_in,
    log_in_as,
    make_staff,
    open_dialog,
    open_list,
    open_product,
)
from products.tests.factories import ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def log_out(page: Page) -> None:
    page.context.clear_cookies()


def test_a_new_colleague_logs_in_with_the_password_that_is_shown(page: Page, ada: User) -> None:
    log_in(page, ada)
    open_list(page, "Staff")
    page.locator("a.addlink").click()
    page.get_by_label("User name").fill("Paul")
    page.get_by_label("Stock clerk").check()
    page.get_by_role("button", name="Save").click()
    password = page.get_by_label("Password").input_value()
    expect(page.get_by_text("Paul can log in now")).to_be_visible()

    log_out(page)
    log_in_as(page, "Paul", password)

    open_list(page, "Products")
    expect(page.locator("#nav-sidebar-apps").get_by_text("Staff")).not_to_be_attached()


def test_the_role_of_a_colleague_is_changed_in_the_same_form(page: Page, ada: User) -> None:
    make_staff("Vera", "Stock viewer")
    log_in(page, ada)
    open_list(page, "Staff")
    page.get_by_role("link", name="Vera").click()
    expect(page.get_by_label("Stock viewer")).to_be_checked()
    page.get_by_label("Stock manager").check()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("row", name="Vera")).to_contain_text("Stock manager")


def test_a_clerk_reads_their_own_page(page: Page) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, make_staff("Vera", "Stock clerk"))
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("3")
    dialog.get_by_label("Reason").select_option("delivery")
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Added 3 units of CUP")).to_be_visible()

    page.locator("#nav-sidebar").get_by_text("Vera").last.click()
    page.get_by_role("link", name="Your account").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Your account")
    expect(page.get_by_text("Stock clerk")).to_be_visible()
    expect(page.get_by_text("add, remove, reserve, release and ship units")).to_be_visible()
    expect(page.get_by_role("row", name="CUP")).to_contain_text("delivery")
    page.get_by_role("link", name="All in the ledger").click()
    expect(page.get_by_role("row", name="CUP")).to_contain_text("Vera")


def test_the_list_of_keys_shows_the_last_use(page: Page, ada: User) -> None:
    key = ApiKeyFactory.create(name="webshop")
    log_in(page, ada)
    open_list(page, "API keys")
    row = page.get_by_role("row", name="webshop")
    expect(row).to_contain_text("never")

    headers = {"Authorization": f"Bearer {key.text}"}
    assert page.request.get("/v1/products", headers=headers).ok
    page.reload()

    expect(row).not_to_contain_text("never")
    row.get_by_role("link", name="webshop").click()
    expect(page.get_by_text("Last used", exact=True)).to_be_visible()
    expect(page.get_by_text("never", exact=True)).not_to_be_attached()
