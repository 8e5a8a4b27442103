"""axe-core finds no serious problem on any page, in light and in dark mode.

To add a page, reach it by clicking in one of the tests, and call `check` there. `pytest -rP` prints
the number of findings of each page.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from products import feed, stock
from products.admin.ending_dialogs import MAX_LINES_IN_DIALOG
from products.models import Reservation, StockEvent, Subscription
from products.publishing import subscriptions
from products.tests.browser.steps import (
    PASSWORD,
    log_in,
    make_staff,
    open_dialog,
    open_menu,
    preview_file,
)
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("color_scheme", ["light", "dark"]),
]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
IMPACTS = ("critical", "serious", "moderate", "minor")
# A menu starts to fade in some frames after it becomes visible. Pale text has too little contrast.
UNTIL_STILL = """async () => {
  for (let frame = 0; frame < 5; frame++) await new Promise(requestAnimationFrame);
  await Promise.allSettled(document.getAnimations().map((each) => each.finished));
}"""


class Check:
    """Checks pages by axe-core, and keeps the findings of one test."""

    def __init__(self, page: Page, color_scheme: str) -> None:
        self.page = page
        self.color_scheme = color_scheme
        self.axe = Axe()
        self.table: list[str] = []
        self.serious: list[str] = []

    def __call__(self, name: str) -> None:
        """Check the current page."""
        self.of(self.page, name)

    def of(self, page: Page, name: str) -> None:
        """Run axe-core on a page, which gets this name in the table."""
        page.evaluate(UNTIL_STILL)
        options = {"runOnly": RULES, "resultTypes": ["violations"]}
        found = self.axe.run(page, options=options).response["violations"]
        nodes = {impact: _nodes(found, impact) for impact in IMPACTS}
        counts = "  ".join(f"{impact} {len(nodes[impact])}" for impact in IMPACTS)
        self.table.append(f"{self.color_scheme:5}  {name:42}  {counts}")
        self.table += [f"       {text}" for text in nodes["moderate"] + nodes["minor"]]
        self.serious += [f"{name}: {text}" for text in nodes["critical"] + nodes["serious"]]
        headings = page.locator("h1:visible").all_inner_texts()
        if len(headings) != 1:
            self.serious.append(f"{name}: one first heading expected, found {headings}")


def _nodes(found: list[Any], impact: str) -> list[str]:
    """Return the elements with findings of this impact, each with the rule."""
    return [
        f"{each['id']} at {' '.join(map(str, node['target']))}: {node['html'][:200]}"
        for each in found
        if each["impact"] == impact
        for node in each["nodes"]
    ]


@pytest.fixture
def check(page: Page, color_scheme: str) -> Iterator[Check]:
    """Check the current page. The test fails at its end if a page had serious findings."""
    findings = Check(page, color_scheme)
    yield findings
    print(*findings.table, sep="\n")  # noqa: T201
    assert findings.serious == []


@pytest.fixture
def _shop(db: None) -> None:
    """A product that is low, one that is out of stock, and an open reservation."""
    ProductFactory.create(sku="CUP", name="Cup", minimum_stock_level=50)
    ProductFactory.create(sku="JUG", name="Jug", quantity=0)
    stock.reserve(sku="CUP", amount=3, reference="order-1", expires_in=600, by=ACTOR)


def follow(link: Locator) -> None:
    """Click a link or a button, and wait for the page that it opens."""
    with link.page.expect_navigation():
        link.click()


def go(page: Page, title: str) -> None:
    """Open a page from the sidebar."""
    follow(page.get_by_role("navigation", name="Main").get_by_role("link", name=title, exact=True))


def close_dialog(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()


def test_login(page: Page, ada: User, check: Check, settings: Any) -> None:
    settings.LOGIN_FAILURES_PER_NAME = (1, 60)
    page.goto("/admin/")
    check("Login")
    for name in ("Login, wrong password", "Login, too many wrong passwords"):
        page.get_by_label("Username").fill("Ada")
        page.get_by_label("Password").fill("guess")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("password").first).to_be_visible()
        check(name)


@pytest.mark.usefixtures("_shop")
def test_front_page_and_user_menu(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    check("Front page")
    user_menu = page.get_by_role("button", name="Ada")
    user_menu.click()
    expect(page.get_by_role("link", name="Change password")).to_be_visible()
    check("Front page, user menu open")
    follow(page.get_by_role("link", name="Your account"))
    check("Your account")
    follow(page.get_by_role("link", name="Change password"))
    check("Change own password")
    page.get_by_label("Old password").fill("guess")
    follow(page.get_by_role("button", name="Change password"))
    check("Change own password, refused")
    page.get_by_label("Old password").fill(PASSWORD)
    for field in page.get_by_label("New password").all():
        field.fill("battery-horse-7")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your password was changed.")).to_be_visible()
    check("Own password changed")
    user_menu.click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You have been successfully logged out")).to_be_visible()
    check("Logged out")


def test_front_page_without_rights(page: Page, check: Check) -> None:
    user = make_staff("Nora", "Stock viewer")
    user.groups.clear()
    log_in(page, user)
    check("Front page, no rights")


@pytest.mark.usefixtures("_shop")
def test_products(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Products")
    check("Products")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("dialog", name="Filters")).to_be_visible()
    check("Products, filters open")
    page.keyboard.press("Escape")
    open_menu(page, "Export")
    check("Products, menu open")
    follow(page.get_by_role("link", name="Print"))
    check("Products, to print")
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("row", name="CUP").get_by_role("button", name="Actions").click()
    expect(page.get_by_role("link", name="Count stock")).to_be_visible()
    check("Products, actions of a row open")
    page.get_by_role("link", name="Count stock").click()
    expect(page.get_by_role("dialog", name="Count stock")).to_be_visible()
    check("Products, dialog of a row")
    close_dialog(page)
    page.locator("#searchbar").fill("nothing")
    page.locator("#searchbar").press("Enter")
    expect(page.get_by_role("link", name="Create NOTHING")).to_be_visible()
    check("Products, none found")
    follow(page.get_by_role("link", name="Create NOTHING"))
    check("Add product")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    check("Add product, refused")


@pytest.mark.usefixtures("_shop")
def test_product(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Products")
    follow(page.get_by_role("link", name="CUP", exact=True))
    check("Product")
    for title in ("Count stock", "Add stock", "Remove stock", "Reserve stock"):
        dialog = open_dialog(page, title)
        check(f"Product, {title}")
        close_dialog(page)
    dialog = open_dialog(page, "Remove stock")
    dialog.get_by_label("Amount").fill("1000")
    dialog.get_by_role("button", name="Remove").click()
    expect(dialog.get_by_text("available.")).to_be_visible()
    check("Product, Remove stock refused")
    close_dialog(page)
    page.get_by_label("Name").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    check("Product, edit refused")


@pytest.mark.usefixtures("_shop")
@pytest.mark.parametrize(
    ("action", "field"), [("Count stock", "Reason"), ("Set minimum", "Minimum")]
)
def test_batches(page: Page, ada: User, check: Check, action: str, field: str) -> None:
    log_in(page, ada)
    go(page, "Products")
    for sku in ("CUP", "JUG"):
        page.get_by_role("row", name=sku).get_by_role("checkbox").check()
    page.get_by_role("combobox", name="Action").select_option(action)
    check(f"Products, {action} chosen")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label(field).first).to_be_visible()
    check(action)


@pytest.mark.usefixtures("_shop")
@pytest.mark.parametrize("title", ["Receive", "Count"])
def test_receive_and_count(page: Page, ada: User, check: Check, title: str) -> None:
    log_in(page, ada)
    go(page, "Products")
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    check(title)


@pytest.mark.usefixtures("_shop")
@pytest.mark.parametrize("title", ["Import products", "Import stock changes"])
def test_imports(page: Page, ada: User, check: Check, title: str) -> None:
    log_in(page, ada)
    go(page, "Products")
    open_menu(page, "Import")
    follow(page.get_by_role("link", name=title))
    check(title)
    column = "minimum_stock_level" if title == "Import products" else "quantity"
    for name, value in (("preview", "7"), ("refused", "x")):
        preview_file(page, f"sku,{column}\nCUP,{value}\n")
        check(f"{title}, {name}")
        page.get_by_role("link", name="Choose another file").click()


@pytest.mark.usefixtures("_shop")
def test_reservations(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Reservations")
    check("Reservations")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("dialog", name="Filters")).to_be_visible()
    check("Reservations, filters open")
    page.keyboard.press("Escape")
    follow(page.get_by_role("row", name="order-1").get_by_role("link").first)
    check("Reservation")
    for title in ("Fulfill", "Release", "Extend"):
        open_dialog(page, title)
        check(f"Reservation, {title}")
        close_dialog(page)


def test_lines_of_a_reservation(page: Page, ada: User, check: Check) -> None:
    skus = [ProductFactory.create().sku for _ in range(MAX_LINES_IN_DIALOG + 1)]
    lines = [stock.Line(sku, 1) for sku in skus]
    stock.reserve_lines(lines=lines, reference="order-1", expires_in=600, by=ACTOR)
    log_in(page, ada)
    follow(page.get_by_role("link", name="order-1").first)
    for title in ("Release by line", "Fulfill by line"):
        follow(page.get_by_role("link", name=title))
        check(title)
        page.get_by_role("button", name="Empty all amounts").click()
        follow(page.get_by_role("button", name=title.split()[0], exact=True))
        expect(page.get_by_text("Enter an amount for at least one line.")).to_be_visible()
        check(f"{title}, refused")
        follow(page.get_by_role("link", name="Cancel"))
    dialog = open_dialog(page, "Fulfill")
    dialog.get_by_role("button", name="Fulfill").click()
    expect(page.get_by_text("Fulfilled reservation")).to_be_visible()
    check("Reservation, fulfilled")
    follow(page.get_by_role("link", name="Return"))
    check("Return")


@pytest.mark.usefixtures("_shop")
def test_overdue_and_endless_reservations(page: Page, ada: User, check: Check) -> None:
    stock.reserve(sku="CUP", amount=1, reference="order-2", by=ACTOR)
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(reference="order-1").update(expires_at=past)
    log_in(page, ada)
    follow(page.get_by_role("link", name="order-1").first)
    check("Reservation, overdue")
    for title in ("Give back", "Reserve again"):
        open_dialog(page, title)
        check(f"Reservation, {title}")
        close_dialog(page)
    go(page, "Reservations")
    follow(page.get_by_role("row", name="order-2").get_by_role("link").first)
    open_dialog(page, "Set an end")
    check("Reservation, Set an end")


@pytest.mark.usefixtures("_shop")
def test_archive_and_restore(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Products")
    follow(page.get_by_role("link", name="CUP", exact=True))
    for title in ("Archive", "Restore"):
        dialog = open_dialog(page, title)
        check(f"Product, {title}")
        dialog.get_by_role("button", name=title).click()
        expect(page.get_by_text(f"{title}d CUP.")).to_be_visible()
        check(f"Product, {title.lower()}d")


@pytest.mark.usefixtures("_shop")
def test_undo(page: Page, ada: User, check: Check) -> None:
    stock.add(sku="JUG", amount=5, by=ACTOR)
    log_in(page, ada)
    go(page, "Ledger")
    page.get_by_role("row", name="JUG").get_by_role("link", name="Undo", exact=True).first.click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("Added 5")
    check("Ledger, Undo")
    dialog.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone: Added 5.")).to_be_visible()
    check("Ledger, undone")


@pytest.mark.usefixtures("_shop")
def test_lines_that_were_checked(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Count")
    page.get_by_label("SKU, line 1").fill("CUP")
    page.get_by_label("SKU, line 1").press("Enter")
    page.get_by_label("Counted, line 1").fill("7")
    page.get_by_label("Counted, line 1").press("Enter")
    page.get_by_label("SKU, line 2").fill("NOTHING")
    page.get_by_label("SKU, line 2").press("Enter")
    expect(page.get_by_role("row", name="NOTHING")).to_contain_text("does not exist")
    check("Count, a line with an error")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Print a sheet").click()
    sheet = opened.value
    expect(sheet.get_by_role("heading", name="Count sheet")).to_be_visible()
    check.of(sheet, "Count, sheet to print")
    follow(page.get_by_role("button", name="Preview"))
    check("Count, preview")


@pytest.mark.usefixtures("_shop")
def test_new_reservation(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Reservations")
    follow(page.get_by_role("link", name="New reservation"))
    check("New reservation")
    page.get_by_label("SKU").first.press_sequentially("CU")
    expect(page.get_by_role("option", name="CUP")).to_be_visible()
    check("New reservation, SKUs offered")
    page.get_by_role("option", name="CUP").click()
    page.get_by_label("Amount").first.fill("1000")
    follow(page.get_by_role("button", name="Reserve", exact=True))
    expect(page.get_by_text("1000 of CUP requested")).to_be_visible()
    check("New reservation, refused")


@pytest.mark.usefixtures("_shop")
def test_ledger(page: Page, ada: User, check: Check) -> None:
    log_in(page, ada)
    go(page, "Ledger")
    check("Ledger")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("dialog", name="Filters")).to_be_visible()
    check("Ledger, filters open")
    page.keyboard.press("Escape")
    follow(page.get_by_role("link", name="Today"))
    check("Ledger, one filter chosen")
    follow(page.get_by_role("row", name="CUP").first.get_by_role("link").first)
    check("Ledger, one event")


def test_api_keys(page: Page, ada: User, check: Check) -> None:
    ApiKeyFactory.create(name="webshop")
    log_in(page, ada)
    go(page, "API keys")
    check("API keys")
    follow(page.get_by_role("link", name="Add API key"))
    check("Add API key")
    follow(page.get_by_role("button", name="Save"))
    check("Add API key, refused")
    page.get_by_label("Name").fill("scanner")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Copy the key now.")).to_be_visible()
    check("API key issued")
    page.get_by_role("link", name="I have copied the key").click()
    follow(page.get_by_role("link", name="webshop"))
    check("API key")
    open_dialog(page, "Revoke key")
    check("API key, Revoke key")


def test_webhooks(page: Page, ada: User, check: Check) -> None:
    ProductFactory.create(sku="CUP")
    failing = subscriptions.create(url="https://shop.example.com/", after="start", by="tester")
    failing.attempts.create(
        event_id=feed.cursor_after(StockEvent.objects.get()),
        event_count=1,
        started_at=timezone.now(),
        milliseconds=12,
        status=500,
        error="The receiver answered 500.",
        answer="Out of memory",
    )
    Subscription.objects.update(failing_since=timezone.now())
    log_in(page, ada)
    check("Front page, a webhook fails")
    go(page, "Webhooks")
    check("Webhooks")
    follow(page.get_by_role("link", name="Add webhook"))
    check("Add webhook")
    follow(page.get_by_role("button", name="Save"))
    check("Add webhook, refused")
    page.get_by_label("URL").fill("https://search.example.com/")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Copy the secret now.")).to_be_visible()
    check("Webhook added")
    go(page, "Webhooks")
    follow(page.get_by_role("link", name="https://shop.example.com/"))
    check("Webhook")
    for title in ("Send a test", "Pause", "Start again", "Delete", "Rotate secret"):
        dialog = open_dialog(page, title)
        check(f"Webhook, {title}")
        if title != "Rotate secret":
            close_dialog(page)
    dialog.get_by_role("button", name="Rotate secret").click()
    expect(page.get_by_role("dialog", name="New secret")).to_be_visible()
    check("Webhook, new secret")
    follow(page.get_by_role("link", name="I have copied the secret"))
    for title in ("Redeliver", "Skip"):
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("dialog", name=title)).to_be_visible()
        check(f"Webhook, {title}")
        close_dialog(page)


def test_users_and_groups(page: Page, ada: User, check: Check) -> None:
    make_staff("Vera", "Stock viewer")
    log_in(page, ada)
    go(page, "Staff")
    check("Staff")
    follow(page.get_by_role("link", name="Add user"))
    check("Add a colleague")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("This field is required.").first).to_be_visible()
    check("Add a colleague, refused")
    page.get_by_label("User name").fill("Paul")
    page.get_by_label("Stock clerk").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Paul can log in now")).to_be_visible()
    check("Colleague added")
    go(page, "Staff")
    follow(page.get_by_role("link", name="Vera"))
    check("Colleague")
    go(page, "Groups")
    check("Groups")
    follow(page.get_by_role("link", name="Stock clerk"))
    check("Group")


def test_errors(page: Page, ada: User, check: Check, console_errors: list[str]) -> None:
    log_in(page, ada)
    page.goto("/admin/products/product/999/change/")
    check("A product that does not exist")
    page.goto("/admin/nothing/")
    check("A page that does not exist")
    page.goto("/admin/products/product/add/")
    check("A page that is forbidden")
    console_errors.clear()  # Chromium reports 403 and 404.


def test_an_old_form(page: Page, ada: User, check: Check, console_errors: list[str]) -> None:
    log_in(page, ada)
    go(page, "Products")
    page.get_by_role("button", name="Ada").click()
    page.context.clear_cookies()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    check("A form without its cookie")
    console_errors.clear()  # Chromium reports 403.


def test_no_database(
    page: Page,
    ada: User,
    check: Check,
    console_errors: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OperationalError

    log_in(page, ada)
    monkeypatch.setattr("products.admin.dashboard.product_cards", fail)
    page.goto("/admin/")
    expect(page.get_by_text("Reload this page")).to_be_visible()
    check("The database does not respond")
    console_errors.clear()  # Chromium reports 503.


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_docs(page: Page, check: Check, path: str) -> None:
    page.goto(path)
    expect(page.get_by_role("heading", name="Inventory service")).to_be_visible()
    check(path)
