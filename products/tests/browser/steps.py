"""Common steps of a user in the back office."""

from django.contrib.auth.models import Group, User
from playwright.sync_api import FilePayload, Locator, Page, expect

PASSWORD = "correct-horse-battery"


def make_staff(name: str, group: str) -> User:
    """Create a staff user in this group."""
    user = User.objects.create_user(username=name, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


def log_in(page: Page, user: User) -> None:
    log_in_as(page, user.username, PASSWORD)


def log_in_as(page: Page, name: str, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Username")).not_to_be_attached()


def search_products(page: Page, text: str) -> None:
    """Search the product list by typing and pressing Enter."""
    page.goto("/admin/products/product/")
    page.locator("#searchbar").fill(text)
    with page.expect_navigation():
        page.locator("#searchbar").press("Enter")


def open_list(page: Page, title: str) -> None:
    """Open a list from the sidebar."""
    page.locator("#nav-sidebar-apps").get_by_role("link", name=title).click()
    expect(page.locator("#changelist")).to_be_visible()


def apply_filters(page: Page, **fields: str) -> None:
    """Open the Filters panel, choose or type each value under its label, and apply the form.

    The underscores of a label are blanks.
    """
    page.wait_for_load_state()  # A script opens the panel.
    page.locator("#changelist").get_by_text("Filters", exact=False).first.click()
    panel = page.locator("#filter-form")
    for label, value in fields.items():
        field = panel.get_by_label(label.replace("_", " "))
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(label=value)
        else:
            field.fill(value)
    panel.get_by_role("button", name="Apply Filters").click()
    expect(panel).not_to_be_visible()


def open_product(page: Page, sku: str) -> None:
    search_products(page, sku)
    expect(page.get_by_role("heading", level=1)).to_contain_text(sku)


def open_dialog(page: Page, title: str) -> Locator:
    """Open a dialog of the current page."""
    _click_in_header(page, page.get_by_role("link", name=title, exact=True))
    dialog = page.locator("#dialog")
    expect(dialog.get_by_role("heading", name=title)).to_be_visible()
    return dialog


def wait_for_cursor(field: Locator) -> None:
    """Wait for the focus. `to_be_focused` also requires that the window is in front."""
    is_active = "field => field === document.activeElement"
    field.page.wait_for_function(is_active, arg=field.element_handle())


def choose_import(page: Page, title: str, text: str) -> None:
    """Upload this text as a CSV file on an import page and wait for the preview."""
    page.goto("/admin/products/product/")
    open_menu(page, "Import")
    page.get_by_role("link", name=title).click()
    preview_file(page, text)


def preview_file(page: Page, text: str) -> None:
    """Upload this text as a CSV file on the current page and wait for the preview."""
    file = FilePayload(name="list.csv", mimeType="text/csv", buffer=text.encode())
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("link", name="Choose another file")).to_be_visible()


def open_menu(page: Page, title: str) -> None:
    """Open a menu in the header of a list."""
    _click_in_header(page, page.locator(".header-menu summary").filter(has_text=title))


def _click_in_header(page: Page, action: Locator) -> None:
    """Click an action in the page header. In a narrow window it is in a menu."""
    menu = page.locator("#header-inner").get_by_role("button", name="Actions", exact=True)
    expect(action.or_(menu).filter(visible=True).first).to_be_visible()
    if menu.is_visible():
        menu.click()
    action.click()
