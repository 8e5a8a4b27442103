"""Colleagues: their form, and their own page."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products.tests.browser.steps import log_in, log_in_as, make_staff, open_list

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
