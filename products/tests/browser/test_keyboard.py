"""The back office without a mouse."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from products.tests.browser.steps import PASSWORD
from products.tests.factories import ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

MOST_TABS = 60
IS_FOCUSED = "element => element === document.activeElement"
HAS_FOCUS = "element => element.contains(document.activeElement)"
OUTLINE = "() => getComputedStyle(document.activeElement).outlineStyle"


@pytest.fixture
def _ada_logged_in(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=10)
    ProductFactory.create(sku="JUG", name="Jug", quantity=10)
    page.goto("/admin/")
    press_tabs_to(page, page.get_by_label("Username"))
    page.keyboard.type("Ada")
    press_tabs_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Front page")


def press_tabs_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is on an element."""
    for _ in range(MOST_TABS):
        if target.evaluate(IS_FOCUSED):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{target} cannot be reached with {MOST_TABS} tabs")


def open_page(page: Page, name: str) -> None:
    """Follow a link, and wait until the next page is loaded."""
    with page.expect_navigation():
        press_link(page, name)


def press_link(page: Page, name: str) -> None:
    # The page of a product has a second link to the list.
    press_tabs_to(page, page.get_by_role("link", name=name, exact=True).first)
    page.keyboard.press("Enter")


def wait_for_focus(target: Locator) -> None:
    target.page.wait_for_function(IS_FOCUSED, arg=target.element_handle())


def wait_for_focus_in(layer: Locator) -> None:
    layer.page.wait_for_function(HAS_FOCUS, arg=layer.element_handle())


def expect_focus_stays_in(layer: Locator) -> None:
    """Press Tab often. The focus may leave the layer for the browser's own controls only."""
    for _ in range(20):
        layer.page.keyboard.press("Tab")
        assert layer.evaluate(HAS_FOCUS) or layer.page.evaluate(
            "() => document.activeElement === document.body"
        )


@pytest.mark.usefixtures("_ada_logged_in")
def test_a_link_skips_the_navigation(page: Page) -> None:
    open_page(page, "Products")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    assert page.get_by_role("main").evaluate(HAS_FOCUS)


@pytest.mark.usefixtures("_ada_logged_in")
@pytest.mark.parametrize(("title", "first"), [("Products", "Select all"), ("API keys", "Name")])
def test_a_second_link_skips_the_filters_of_a_list(page: Page, title: str, first: str) -> None:
    ApiKeyFactory.create()
    open_page(page, title)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the rows")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    wait_for_focus(
        page.locator("#result_list")
        .get_by_label(first)
        .or_(page.locator("#result_list").get_by_role("link", name=first, exact=True))
        .first
    )


@pytest.mark.usefixtures("_ada_logged_in")
def test_stock_is_added_in_a_dialog(page: Page) -> None:
    open_page(page, "Products")
    open_page(page, "CUP")
    press_link(page, "Add stock")
    dialog = page.get_by_role("dialog", name="Add stock")
    wait_for_focus(dialog.get_by_label("Amount"))
    expect_focus_stays_in(dialog)

    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    wait_for_focus(page.get_by_role("link", name="Add stock"))

    page.keyboard.press("Enter")
    wait_for_focus(dialog.get_by_label("Amount"))
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Added 3 units of CUP. On hand: 13.")).to_be_visible()


@pytest.mark.usefixtures("_ada_logged_in")
def test_a_dialog_is_closed_with_its_button(page: Page) -> None:
    open_page(page, "Products")
    open_page(page, "CUP")
    press_link(page, "Count stock")
    dialog = page.get_by_role("dialog", name="Count stock")
    wait_for_focus(dialog.get_by_label("Counted"))
    press_tabs_to(page, dialog.get_by_role("button", name="Close"))
    page.keyboard.press("Enter")

    expect(dialog).to_be_hidden()
    wait_for_focus(page.get_by_role("link", name="Count stock"))


@pytest.mark.usefixtures("_ada_logged_in")
def test_the_field_with_an_error_has_the_focus(page: Page) -> None:
    open_page(page, "Products")
    open_page(page, "CUP")
    press_link(page, "Reserve stock")
    dialog = page.get_by_role("dialog", name="Reserve stock")
    wait_for_focus(dialog.get_by_label("Amount"))
    page.keyboard.type("2")
    press_tabs_to(page, dialog.get_by_label("Minutes from now"))
    page.keyboard.type("0")
    page.keyboard.press("Enter")

    expect(dialog.get_by_text("Ensure this value is greater")).to_be_visible()
    wait_for_focus(dialog.get_by_label("Minutes from now"))


@pytest.mark.usefixtures("_ada_logged_in")
def test_the_actions_of_a_row(page: Page) -> None:
    open_page(page, "Products")
    button = page.get_by_role("row", name="CUP").get_by_role("button", name="Actions")
    press_tabs_to(page, button)
    assert page.evaluate(OUTLINE) == "solid"
    page.keyboard.press("Enter")
    actions = page.get_by_role("navigation", name="Actions")
    wait_for_focus(actions.get_by_role("link").first)
    page.keyboard.press("Escape")
    expect(actions).to_be_hidden()
    wait_for_focus(button)

    page.keyboard.press("Space")
    wait_for_focus(actions.get_by_role("link").first)
    press_link(page, "Remove stock")
    dialog = page.get_by_role("dialog", name="Remove stock")
    wait_for_focus(dialog.get_by_label("Amount"))
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    wait_for_focus(button)


@pytest.mark.usefixtures("_ada_logged_in")
def test_filters_open_and_close(page: Page) -> None:
    open_page(page, "Ledger")
    button = page.get_by_role("button", name="Filters")
    press_tabs_to(page, button)
    page.keyboard.press("Enter")
    filters = page.get_by_role("dialog", name="Filters")
    wait_for_focus_in(filters)
    expect_focus_stays_in(filters)
    page.keyboard.press("Escape")

    expect(filters).to_be_hidden()
    wait_for_focus(button)


@pytest.mark.usefixtures("_ada_logged_in")
def test_log_out(page: Page) -> None:
    button = page.get_by_role("button", name="Ada")
    press_tabs_to(page, button)
    page.keyboard.press("Enter")
    press_tabs_to(page, page.get_by_role("button", name="Dark"))
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_class("dark")
    press_tabs_to(page, page.get_by_role("button", name="Log out"))
    page.keyboard.press("Enter")

    expect(page.get_by_text("You have been successfully logged out")).to_be_visible()


@pytest.mark.usefixtures("_ada_logged_in")
def test_the_sidebar_of_a_narrow_window(page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 800})
    button = page.get_by_role("button", name="Sidebar")
    press_tabs_to(page, button)
    page.keyboard.press("Enter")
    sidebar = page.get_by_role("navigation", name="Main")
    wait_for_focus_in(sidebar)
    page.keyboard.press("Escape")
    expect(sidebar).to_be_hidden()
    wait_for_focus(button)

    page.keyboard.press("Enter")
    wait_for_focus_in(sidebar)
    open_page(page, "Ledger")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ledger entries")


@pytest.mark.usefixtures("_ada_logged_in")
@pytest.mark.parametrize("keys", ["/", "Control+k", "Meta+k"])
@pytest.mark.parametrize("width", [1280, 800])
def test_products_are_searched_from_every_page(page: Page, keys: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.keyboard.press("Escape")
    for title in ("Front page", "Products", "Reservations", "Ledger", "API keys", "Staff"):
        if width < 1280:
            press_tabs_to(page, page.get_by_role("button", name="Sidebar"))
            page.keyboard.press("Enter")
            wait_for_focus_in(page.get_by_role("navigation", name="Main"))
        open_page(page, title)

        page.keyboard.press(keys)
        page.wait_for_function("() => document.activeElement.matches('[name=q]')")
        page.keyboard.type("jug")
        page.keyboard.press("Enter")

        page.wait_for_url("**/admin/products/product/**")
        expect(page.get_by_text("Jug").first).to_be_visible()
        expect(page.get_by_text("Cup")).to_have_count(0)
