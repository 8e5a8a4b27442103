"""Reservations in the browser: the list, new ones, and what can be done with them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from products import stock
from products.models import Reservation
from products.tests.browser.steps import (
    log_in,
    make_staff,
    open_dialog,
    open_product,
    wait_for_cursor,
)
from products.tests.checks import levels_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def grace(live_server: LiveServer) -> User:
    """A clerk, who may do everything here."""
    return make_staff("Grace", "Stock clerk")


@pytest.fixture
def _orders() -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    for reference, expires_in in [("order-late", 60), ("order-soon", 600), ("order-free", None)]:
        stock.reserve(
            sku=product.sku, amount=1, reference=reference, expires_in=expires_in, by=ACTOR
        )
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(reference="order-late").update(expires_at=past)


def expect_orders(page: Page, *references: str) -> None:
    for reference in ("order-late", "order-soon", "order-free"):
        cell = page.get_by_role("cell", name=reference)
        if reference in references:
            expect(cell).to_be_visible()
        else:
            expect(cell).not_to_be_attached()


@pytest.mark.usefixtures("_orders")
def test_the_overdue_card_links_to_overdue_reservations(page: Page, ada: User) -> None:
    log_in(page, ada)

    page.get_by_role("link", name="Overdue").click()

    page.wait_for_url("**/?expiry=overdue")
    expect_orders(page, "order-late")


def open_new_reservation(page: Page) -> None:
    page.get_by_role("link", name="Reservations").first.click()
    page.get_by_role("link", name="New reservation").click()
    wait_for_cursor(page.get_by_label("SKU").first)


def test_a_clerk_reserves_two_units_by_phone(page: Page, grace: User) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    log_in(page, grace)
    open_product(page, "CUP")

    dialog = open_dialog(page, "Reserve stock")
    dialog.get_by_label("Amount").fill("2")
    dialog.get_by_label("Reference").fill("Mrs Lovelace")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Reserved 2 units of CUP.")).to_be_visible()
    assert levels_of(product) == (10, 2)
    page.get_by_text("Reserved 2 units of CUP.").get_by_role("link").click()
    expect(page.get_by_text("Mrs Lovelace").first).to_be_visible()


def test_an_order_is_typed_with_the_keyboard_alone(page: Page, grace: User) -> None:
    cup = ProductFactory.create(sku="CUP", name="Blue cup", quantity=10)
    pot = ProductFactory.create(sku="POT-7", name="Tea pot", quantity=10)
    log_in(page, grace)
    open_new_reservation(page)

    page.keyboard.type("tea")
    option = page.get_by_role("option", name="POT-7")
    expect(option).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for_cursor(page.get_by_label("Amount").first)
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    page.keyboard.type("cup")
    page.keyboard.press("Enter")
    page.keyboard.type("2")
    expect(page.get_by_text("Blue cup (10 available)")).to_be_visible()
    expect(page.get_by_label("SKU").nth(1)).to_have_value("CUP")
    page.get_by_label("Reference").focus()
    page.keyboard.type("order-7")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Reserve", exact=True).focus()
    page.keyboard.press("Enter")

    expect(page.get_by_text("Reserved 5 units.")).to_be_visible()
    held = Reservation.objects.get()
    assert held.reference == "order-7"
    assert (levels_of(cup), levels_of(pot)) == ((10, 2), (10, 3))


def test_the_last_of_many_suggestions_is_chosen_with_the_mouse(page: Page, grace: User) -> None:
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number:02}", name="Cup")
    log_in(page, grace)
    open_new_reservation(page)

    page.keyboard.type("cup")
    expect(page.get_by_role("option")).to_have_count(15)
    page.get_by_role("option", name="CUP-14").click()

    expect(page.get_by_label("SKU").first).to_have_value("CUP-14")
    wait_for_cursor(page.get_by_label("Amount").first)


def test_enter_in_a_line_never_sends_half_an_order(page: Page, grace: User) -> None:
    """A scanner ends each SKU with Enter."""
    skus = [f"CUP-{number}" for number in range(5)]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=10)
    log_in(page, grace)
    open_new_reservation(page)

    for sku in skus:
        page.keyboard.type(sku)
        page.keyboard.press("Enter")
        page.keyboard.type("1")
        page.keyboard.press("Enter")

    expect(page.get_by_label("SKU")).to_have_count(6)
    assert not Reservation.objects.exists()
    page.get_by_role("button", name="Reserve", exact=True).click()
    expect(page.get_by_text("Reserved 5 units.")).to_be_visible()
    assert Reservation.objects.get().lines.count() == 5


def test_each_scan_reserves_a_unit(page: Page, grace: User) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=10)
    log_in(page, grace)
    open_new_reservation(page)
    page.get_by_label("Each scan is one unit").check()
    page.get_by_label("SKU, line 1").focus()

    for sku in ("CUP", "POT", "CUP"):
        page.keyboard.type(sku)
        page.keyboard.press("Enter")
    expect(page.get_by_text("2 lines, 3 units")).to_be_visible()
    page.get_by_role("button", name="Reserve", exact=True).click()

    expect(page.get_by_text("Reserved 3 units.")).to_be_visible()


def test_short_lines_are_corrected_without_typing_the_others_again(page: Page, grace: User) -> None:
    for sku, quantity in [("CUP", 1), ("POT", 5), ("PAN", 0)]:
        ProductFactory.create(sku=sku, quantity=quantity)
    log_in(page, grace)
    open_new_reservation(page)
    for sku in ("CUP", "POT", "PAN"):
        page.keyboard.type(sku)
        page.keyboard.press("Enter")
        page.keyboard.type("2")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Reserve", exact=True).click()

    expect(page.get_by_text("Nothing was reserved.")).to_be_visible()
    expect(page.get_by_text("2 of CUP requested, 1 available.")).to_be_visible()
    expect(page.get_by_text("2 of PAN requested, 0 available.")).to_be_visible()
    wait_for_cursor(page.get_by_label("Amount").first)
    page.keyboard.type("1")
    page.get_by_role("button", name="Delete line 3").click()
    page.get_by_role("button", name="Reserve", exact=True).click()

    expect(page.get_by_text("Reserved 3 units.")).to_be_visible()
    lines = Reservation.objects.get().lines.order_by("pk")
    assert list(lines.values_list("product__sku", "amount")) == [("CUP", 1), ("POT", 2)]


PASTE = """
(field, text) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text", text);
  const options = { clipboardData, bubbles: true, cancelable: true };
  field.dispatchEvent(new ClipboardEvent("paste", options));
}
"""


def test_lines_are_pasted_from_a_spreadsheet(page: Page, grace: User) -> None:
    skus = [f"CUP-{number}" for number in range(5)]
    for sku in skus:
        ProductFactory.create(sku=sku, name=f"Name of {sku}")
    log_in(page, grace)
    open_new_reservation(page)

    text = "".join(f"{sku.lower()}\t{amount}\r\n" for amount, sku in enumerate(skus, start=1))
    page.get_by_label("SKU").first.evaluate(PASTE, text)

    for sku in skus:
        expect(page.get_by_text(f"Name of {sku} (25 available)")).to_be_visible()
    page.get_by_role("button", name="Reserve", exact=True).click()
    expect(page.get_by_text("Reserved 15 units.")).to_be_visible()


def open_reservation(page: Page, reference: str) -> None:
    page.get_by_role("link", name="Reservations").first.click()
    row = page.get_by_role("row").filter(has_text=reference)
    row.get_by_role("link").first.click()
    expect(page.get_by_role("link", name="Close")).to_be_visible()


def test_an_order_is_shipped_in_part_and_the_rest_is_released(page: Page, grace: User) -> None:
    cup = ProductFactory.create(sku="CUP", name="Blue cup", quantity=10)
    pot = ProductFactory.create(sku="POT", name="Tea pot", quantity=10)
    lines = [stock.Line("CUP", 5), stock.Line("POT", 3)]
    held = stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)
    log_in(page, grace)
    open_reservation(page, "order-1")

    dialog = open_dialog(page, "Fulfill")
    dialog.get_by_label("CUP Blue cup").fill("2")
    page.keyboard.press("Enter")  # With the other line unseen, this must not ship it.
    dialog.get_by_label("POT Tea pot").fill("")
    assert levels_of(pot) == (10, 3)
    dialog.get_by_role("button", name="Fulfill").click()
    expect(page.get_by_text("2 units of reservation")).to_be_visible()
    expect(page.get_by_text("6 of 8 open, 2 fulfilled")).to_be_visible()

    dialog = open_dialog(page, "Release")
    dialog.get_by_label("Reason").select_option("cancelled")
    dialog.get_by_role("button", name="Release").click()
    expect(page.get_by_text("2 of 8 fulfilled, 6 released")).to_be_visible()

    assert (levels_of(cup), levels_of(pot)) == ((8, 0), (10, 0))
    held.refresh_from_db()
    assert held.status == "fulfilled"


def test_a_line_that_cannot_be_shipped_is_named_in_the_dialog(page: Page, grace: User) -> None:
    ProductFactory.create(sku="CUP", name="Blue cup", quantity=10)
    stock.reserve(sku="CUP", amount=2, reference="order-1", by=ACTOR)
    log_in(page, grace)
    open_reservation(page, "order-1")

    dialog = open_dialog(page, "Fulfill")
    dialog.get_by_label("CUP Blue cup").fill("3")
    page.keyboard.press("Enter")

    expect(dialog.get_by_text("3 of CUP requested, 2 open in reservation")).to_be_visible()
    expect(dialog.get_by_label("CUP Blue cup")).to_have_value("3")


def test_a_part_of_a_long_order_is_shipped_on_its_page(page: Page, grace: User) -> None:
    for number in range(30):
        ProductFactory.create(sku=f"P-{number:02}", name=f"Thing {number}")
    lines = [stock.Line(f"P-{number:02}", 2) for number in range(30)]
    held = stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)
    log_in(page, grace)
    open_reservation(page, "order-1")

    page.get_by_role("link", name="Fulfill by line").click()
    page.get_by_role("button", name="Empty all amounts").click()
    page.get_by_label("P-07 Thing 7").fill("1")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Fulfill", exact=True).click()

    expect(page.get_by_text("59 of 60 open, 1 fulfilled")).to_be_visible()
    assert held.lines.get(product__sku="P-07").fulfilled == 1


def test_a_dialog_that_is_higher_than_the_window_scrolls(page: Page, grace: User) -> None:
    for number in range(8):
        ProductFactory.create(sku=f"P-{number}")
    lines = [stock.Line(f"P-{number}", 2) for number in range(8)]
    stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)
    log_in(page, grace)
    open_reservation(page, "order-1")
    page.set_viewport_size({"width": 1280, "height": 500})

    dialog = open_dialog(page, "Fulfill")
    for part in (dialog.get_by_role("button", name="Fulfill"), dialog.get_by_role("heading")):
        part.scroll_into_view_if_needed()
        expect(part).to_be_in_viewport(ratio=1)


@pytest.mark.usefixtures("_orders")
def test_an_overdue_reservation_is_given_back_on_its_page(page: Page, grace: User) -> None:
    log_in(page, grace)
    open_reservation(page, "order-late")

    dialog = open_dialog(page, "Give back")
    wait_for_cursor(dialog.get_by_role("button", name="Give back"))
    page.keyboard.press("Enter")

    expect(page.get_by_text("order-late are available again.")).to_be_visible()
    expect(dialog).to_be_hidden()
    assert Reservation.objects.get(reference="order-late").status == "expired"


@pytest.mark.usefixtures("_orders")
def test_an_overdue_reservation_is_reserved_again_on_its_page(page: Page, grace: User) -> None:
    log_in(page, grace)
    open_product(page, "CUP")
    expect(page.get_by_text("1 of 3 reserved units are overdue")).to_be_visible()
    page.get_by_role("row").filter(has_text="Overdue").get_by_role("link").click()

    dialog = open_dialog(page, "Reserve again")
    dialog.get_by_label("Minutes from now").fill("30")
    page.keyboard.press("Enter")

    message = page.get_by_text("Reserved the units of reservation")
    expect(message).to_be_visible()
    message.get_by_role("link").click()
    expect(page.get_by_text("All 1 open")).to_be_visible()
    assert Reservation.objects.filter(reference="order-late", status="open").count() == 1


@pytest.mark.usefixtures("_orders")
def test_enter_alone_gives_no_reservation_an_end(page: Page, grace: User) -> None:
    log_in(page, grace)
    open_reservation(page, "order-free")

    dialog = open_dialog(page, "Set an end")
    wait_for_cursor(dialog.get_by_label("Minutes from now"))
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("Enter minutes or a time.")).to_be_visible()
    assert Reservation.objects.get(reference="order-free").expires_at is None
    dialog.get_by_label("Or until").fill("2030-05-01T18:00")
    page.keyboard.press("Enter")

    expect(page.get_by_text("now expires at 2030-05-01 18:00. Before: never.")).to_be_visible()
    dialog = open_dialog(page, "Extend")
    expect(dialog.get_by_text("2030-05-01 18:00")).to_be_visible()
