"""Manual stock changes in the dialogs of a product or a reservation."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, Route, expect

from products import stock
from products.models import StockEvent
from products.tests.browser.steps import (
    log_in,
    make_staff,
    open_dialog,
    open_product,
    wait_for_cursor,
)
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db(transaction=True)

DIALOGS = ("Add stock", "Remove stock", "Count stock")


@pytest.mark.parametrize(
    ("title", "field", "submit", "left", "message"),
    [
        ("Add stock", "Amount", "Add", 13, "Added 3 units of CUP. On hand: 13."),
        ("Remove stock", "Amount", "Remove", 7, "Removed 3 units of CUP. On hand: 7."),
        ("Count stock", "Counted", "Save count", 3, "Counted CUP: 10 → 3 (\N{MINUS SIGN}7)."),
    ],
)
def test_a_dialog_changes_stock_and_records_the_user(
    page: Page, ada: User, title: str, field: str, submit: str, left: int, message: str
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, title)
    dialog.get_by_label(field).fill("3")
    dialog.get_by_label("Reason").select_option("correction")
    dialog.get_by_label("Note").fill("second look")
    dialog.get_by_role("button", name=submit).click()

    expect(page.get_by_text(message)).to_be_visible()
    expect(page.get_by_role("cell", name="correction: second look")).to_be_visible()
    event = product.events.get(version=2)
    assert (event.quantity, event.reason) == (left, "correction: second look")
    assert (event.actor, event.source) == ("Ada", StockEvent.Source.ADMIN)


def test_a_late_count_is_entered_with_its_time(page: Page, ada: User) -> None:
    evening = datetime(2026, 11, 20, 18, tzinfo=UTC)
    stock.create(sku="CUP", name="Cup", quantity=9, by=at(evening))
    stock.remove(sku="CUP", amount=2, by=ACTOR)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("8")
    dialog.get_by_label("Time of the count (UTC)").fill("2026-11-20T18:00")
    dialog.get_by_label("Reason").select_option("stocktake")
    dialog.get_by_role("button", name="Save count").click()

    expect(page.get_by_text("Counted CUP: 7 → 6")).to_be_visible()
    cell = page.get_by_role("cell", name="Counted at 2026-11-20 18:00:00: 7 → 6")
    expect(cell).to_be_visible()


def test_a_count_below_reserved_is_refused(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("3")
    dialog.get_by_role("button", name="Save count").click()

    expect(dialog.get_by_text("4 are reserved")).to_be_visible()
    expect(dialog.get_by_label("Counted")).to_have_value("3")
    product.refresh_from_db()
    assert (product.levels, product.version) == ((10, 4, 0), 2)


def test_a_count_is_refused_until_the_user_has_seen_the_new_level(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("9")
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    dialog.get_by_role("button", name="Save count").click()

    expect(dialog.get_by_text("8 on hand now, 10 when you opened this dialog")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (8, 2)

    dialog.get_by_role("button", name="Save count").click()

    expect(page.get_by_text("Counted CUP: 8 → 9 (+1).")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (9, 3)


def test_remove_refuses_more_than_available(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove stock")
    dialog.get_by_label("Amount").fill("11")
    dialog.get_by_role("button", name="Remove").click()

    expect(dialog.get_by_text("11 of CUP requested, 10 available.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (10, 1)


def test_a_closed_dialog_changes_nothing(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove stock")
    dialog.get_by_label("Amount").fill("3")
    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (10, 1)


@pytest.mark.parametrize("how", ["a double click", "Enter twice"])
def test_a_double_submit_sends_a_dialog_once(page: Page, ada: User, how: str) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("3")
    if how == "a double click":
        dialog.get_by_role("button", name="Add").dblclick()
    else:
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")

    expect(page.get_by_text("On hand: 13.")).to_be_visible()
    page.reload()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (13, 2)


SEND_AT_ONCE = """
new MutationObserver((_, observer) => {
  const form = document.querySelector("#dialog form");
  if (!form) return;
  observer.disconnect();
  form.querySelector("[name=amount]").value = 3;
  form.requestSubmit();
}).observe(document, { childList: true, subtree: true });
"""


def test_a_dialog_submitted_at_once_is_applied(page: Page, ada: User) -> None:
    """A scanner may submit a dialog before htmx has processed its form."""
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    page.evaluate(SEND_AT_ONCE)
    page.get_by_role("link", name="Add stock").click()

    expect(page.get_by_text("Added 3 units of CUP. On hand: 13.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (13, 2)


def test_a_dialog_sent_again_after_a_lost_response_is_applied_once(
    page: Page, ada: User, console_errors: list[str]
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("3")

    def lose(route: Route) -> None:
        route.fetch(max_redirects=0)
        route.abort()

    page.route("**/add-stock/**", lose, times=1)
    dialog.get_by_role("button", name="Add").click()

    expect(dialog.get_by_role("alert")).to_contain_text("Try again")
    console_errors.clear()
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_text("This change was already saved")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (13, 2)


def test_a_dialog_shows_an_error_of_the_server(
    page: Page, ada: User, console_errors: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("3")
    busy = {"code": "busy", "detail": "The product is locked."}

    page.route("**/add-stock/**", lambda route: route.fulfill(status=503, json=busy), times=1)
    dialog.get_by_role("button", name="Add").click()

    expect(dialog.get_by_role("alert")).to_contain_text("The product is locked.")
    expect(dialog.get_by_label("Amount")).to_have_value("3")
    console_errors.clear()
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Added 3 units of CUP. On hand: 13.")).to_be_visible()


def test_a_dialog_sent_after_logout_shows_the_login_page(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add stock")
    dialog.get_by_label("Amount").fill("3")

    Session.objects.all().delete()
    dialog.get_by_role("button", name="Add").click()

    expect(page.get_by_label("Password")).to_be_visible()


def test_a_double_click_does_not_confirm_an_unread_warning(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill("9")
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    dialog.get_by_role("button", name="Save count").dblclick()

    expect(dialog.get_by_text("8 on hand now")).to_be_visible()
    page.reload()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (8, 2)


@pytest.mark.parametrize(
    ("group", "offered"),
    [
        ("Stock viewer", ()),
        ("Stock clerk", ("Add stock", "Remove stock")),
        ("Stock manager", DIALOGS),
    ],
)
def test_a_group_sees_only_its_permitted_actions(
    page: Page, live_server: object, group: str, offered: tuple[str, ...]
) -> None:
    ProductFactory.create(sku="CUP")
    log_in(page, make_staff("Vera", group))

    open_product(page, "CUP")

    for title in DIALOGS:
        expect(page.get_by_role("link", name=title)).to_have_count(int(title in offered))
    may_edit = int(group == "Stock manager")
    expect(page.get_by_role("button", name="Save", exact=True)).to_have_count(may_edit)
    expect(page.get_by_role("link", name="API keys")).to_have_count(may_edit)


def test_a_dialog_focuses_its_first_field(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove stock")
    wait_for_cursor(dialog.get_by_label("Amount"))
    dialog.get_by_label("Amount").fill("12")
    dialog.get_by_label("Amount").press("Enter")
    expect(dialog.get_by_text("10 available")).to_be_visible()
    wait_for_cursor(dialog.get_by_label("Amount"))
    dialog.get_by_label("Amount").fill("1")
    dialog.get_by_label("Amount").press("Enter")

    expect(page.get_by_text("Removed 1 unit of CUP. On hand: 9.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (9, 2)


def test_a_count_takes_at_most_four_clicks_from_the_front_page(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=4)
    shop = stock.Actor("webshop", StockEvent.Source.API)
    stock.remove(sku="CUP", amount=1, reason="breakage", reference="shelf-7", by=shop)
    log_in(page, ada)
    clicks: list[str] = []

    def click(target: Locator) -> None:
        clicks.append(str(target))
        target.click()

    page.get_by_label("Find a product").fill("cup")
    page.get_by_label("Find a product").press("Enter")
    event_row = page.get_by_role("row", name="breakage")
    expect(event_row).to_contain_text("shelf-7")
    expect(event_row).to_contain_text("webshop")
    click(page.get_by_role("link", name="Count stock"))
    page.get_by_label("Counted").fill("5")
    expect(page.get_by_label("Reason")).to_have_value("stocktake")
    click(page.locator("#dialog").get_by_role("button", name="Save count"))

    expect(page.get_by_role("row", name="stocktake")).to_contain_text("Ada")
    assert len(clicks) <= 4
    event = product.events.latest("version")
    assert (event.quantity, event.reason, event.actor) == (5, "stocktake", "Ada")


def test_a_reservation_is_fulfilled_on_its_page(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    reservation = stock.reserve(sku="CUP", amount=4, reference="order-7", by=ACTOR)
    log_in(page, ada)
    page.goto(f"/admin/products/reservation/{reservation.pk}/change/")

    dialog = open_dialog(page, "Fulfill")
    expect(dialog.get_by_text("4 of 4 open")).to_be_visible()
    dialog.get_by_role("button", name="Fulfill").click()

    expect(page.get_by_text("Fulfilled 4 units of reservation")).to_be_visible()
    product.refresh_from_db()
    assert product.levels == (6, 0, 0)
