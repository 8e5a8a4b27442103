"""Stock is changed by hand in dialogs on the product's page."""

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, Route, expect

from products import stock
from products.models import StockEvent
from products.tests.browser.steps import log_in, make_staff, open_dialog, open_product
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

DIALOGS = ("Add units", "Remove units", "Adjust to a count")


def wait_for_cursor(field: Locator) -> None:
    """Not `to_be_focused`, which also asks whether the window is in front: nobody decides that."""
    is_active = "field => field === document.activeElement"
    field.page.wait_for_function(is_active, arg=field.element_handle())


@pytest.mark.parametrize(
    ("title", "field", "submit", "left", "told"),
    [
        ("Add units", "Amount", "Add", 13, "3 of CUP added: 13 on hand."),
        ("Remove units", "Amount", "Remove", 7, "3 of CUP removed: 7 on hand."),
        ("Adjust to a count", "Counted on hand", "Adjust", 3, "CUP adjusted: 3 on hand."),
    ],
)
def test_stock_is_changed_and_recorded_under_the_name_of_the_person(
    page: Page, ada: User, title: str, field: str, submit: str, left: int, told: str
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, title)
    dialog.get_by_label(field).fill("3")
    dialog.get_by_label("Reason").select_option("correction")
    dialog.get_by_label("Note").fill("second look")
    dialog.get_by_role("button", name=submit).click()

    expect(page.get_by_text(told)).to_be_visible()
    expect(page.get_by_role("cell", name="correction: second look")).to_be_visible()
    event = product.events.get(version=2)
    assert (event.quantity, event.reason) == (left, "correction: second look")
    assert (event.actor, event.source) == ("Ada", StockEvent.Source.ADMIN)


def test_a_count_below_what_is_reserved_is_refused_in_the_dialog(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Adjust to a count")
    dialog.get_by_label("Counted on hand").fill("3")
    dialog.get_by_role("button", name="Adjust").click()

    expect(dialog.get_by_text("4 are reserved")).to_be_visible()
    expect(dialog.get_by_label("Counted on hand")).to_have_value("3")
    product.refresh_from_db()
    assert (product.levels, product.version) == ((10, 4, 0), 2)


def test_a_count_is_not_taken_over_a_level_that_nobody_has_seen(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Adjust to a count")
    dialog.get_by_label("Counted on hand").fill("9")
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    dialog.get_by_role("button", name="Adjust").click()

    expect(dialog.get_by_text("8 are on hand now, 10 were when you opened this")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (8, 2)

    dialog.get_by_role("button", name="Adjust").click()

    expect(page.get_by_text("CUP adjusted: 9 on hand.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (9, 3)


def test_more_than_is_available_is_not_removed(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove units")
    dialog.get_by_label("Amount").fill("11")
    dialog.get_by_role("button", name="Remove").click()

    expect(dialog.get_by_text("11 of CUP requested, 10 available.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (10, 1)


def test_a_dialog_that_is_left_changes_nothing(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove units")
    dialog.get_by_label("Amount").fill("3")
    page.keyboard.press("Escape")

    expect(dialog).to_be_hidden()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (10, 1)


@pytest.mark.parametrize("how", ["a double click", "Enter twice"])
def test_a_dialog_is_sent_once(page: Page, ada: User, how: str) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Add units")
    dialog.get_by_label("Amount").fill("3")
    if how == "a double click":
        dialog.get_by_role("button", name="Add").dblclick()
    else:
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")

    expect(page.get_by_text("13 on hand.")).to_be_visible()
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


def test_a_dialog_is_sent_as_soon_as_it_is_there(page: Page, ada: User) -> None:
    """As by a scanner: before the script that sends dialogs has looked at the new form."""
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    page.evaluate(SEND_AT_ONCE)
    page.get_by_role("link", name="Add units").click()

    expect(page.get_by_text("3 of CUP added: 13 on hand.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (13, 2)


def test_a_dialog_whose_answer_was_lost_is_sent_again_and_carried_out_once(
    page: Page, ada: User, complaints: list[str]
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add units")
    dialog.get_by_label("Amount").fill("3")

    def lose(route: Route) -> None:
        route.fetch(max_redirects=0)
        route.abort()

    page.route("**/add-stock/**", lose, times=1)
    dialog.get_by_role("button", name="Add").click()

    expect(dialog.get_by_role("alert")).to_contain_text("Send it again")
    complaints.clear()
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_text("this was sent before, and done then")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (13, 2)


def test_a_dialog_says_what_the_service_could_not_do(
    page: Page, ada: User, complaints: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add units")
    dialog.get_by_label("Amount").fill("3")
    busy = {"code": "busy", "detail": "Somebody else holds this."}

    page.route("**/add-stock/**", lambda route: route.fulfill(status=503, json=busy), times=1)
    dialog.get_by_role("button", name="Add").click()

    expect(dialog.get_by_role("alert")).to_contain_text("Somebody else holds this.")
    expect(dialog.get_by_label("Amount")).to_have_value("3")
    complaints.clear()
    dialog.get_by_role("button", name="Add").click()
    expect(page.get_by_text("3 of CUP added: 13 on hand.")).to_be_visible()


def test_whoever_is_logged_out_meanwhile_is_asked_to_log_in(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Add units")
    dialog.get_by_label("Amount").fill("3")

    Session.objects.all().delete()
    dialog.get_by_role("button", name="Add").click()

    expect(page.get_by_label("Password")).to_be_visible()


def test_a_double_click_does_not_confirm_what_was_not_read(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")
    dialog = open_dialog(page, "Adjust to a count")
    dialog.get_by_label("Counted on hand").fill("9")
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    dialog.get_by_role("button", name="Adjust").dblclick()

    expect(dialog.get_by_text("8 are on hand now")).to_be_visible()
    page.reload()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (8, 2)


@pytest.mark.parametrize(
    ("group", "offered"),
    [
        ("Stock viewer", ()),
        ("Stock clerk", ("Add units", "Remove units")),
        ("Stock manager", DIALOGS),
    ],
)
def test_only_what_a_group_may_do_is_offered(
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


def test_a_dialog_waits_for_what_is_typed(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, ada)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Remove units")
    wait_for_cursor(dialog.get_by_label("Amount"))
    dialog.get_by_label("Amount").fill("12")
    dialog.get_by_label("Amount").press("Enter")
    expect(dialog.get_by_text("10 available")).to_be_visible()
    wait_for_cursor(dialog.get_by_label("Amount"))
    dialog.get_by_label("Amount").fill("1")
    dialog.get_by_label("Amount").press("Enter")

    expect(page.get_by_text("1 of CUP removed: 9 on hand.")).to_be_visible()
    product.refresh_from_db()
    assert (product.quantity, product.version) == (9, 2)


def test_a_count_is_entered_from_the_front_page_in_a_few_clicks(page: Page, ada: User) -> None:
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
    click(page.get_by_role("link", name="CUP", exact=True))
    why = page.get_by_role("row", name="breakage")
    expect(why).to_contain_text("shelf-7")
    expect(why).to_contain_text("webshop")
    click(page.get_by_role("link", name="Adjust to a count"))
    page.get_by_label("Counted on hand").fill("5")
    expect(page.get_by_label("Reason")).to_have_value("stocktake")
    click(page.locator("#dialog").get_by_role("button", name="Adjust"))

    expect(page.get_by_role("row", name="stocktake")).to_contain_text("Ada")
    assert len(clicks) <= 4
    event = product.events.latest("version")
    assert (event.quantity, event.reason, event.actor) == (5, "stocktake", "Ada")


def test_an_order_is_shipped_from_its_reservation(page: Page, ada: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    reservation = stock.reserve(sku="CUP", amount=4, reference="order-7", by=ACTOR)
    log_in(page, ada)
    page.goto(f"/admin/products/reservation/{reservation.pk}/change/")

    dialog = open_dialog(page, "Fulfill")
    expect(dialog.get_by_text("4 open of 4 CUP")).to_be_visible()
    dialog.get_by_role("button", name="Ship all that is open").click()

    expect(page.get_by_text("order-7 fulfilled.")).to_be_visible()
    product.refresh_from_db()
    assert product.levels == (6, 0, 0)
