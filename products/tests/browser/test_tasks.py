"""The tasks of a shop, each by mouse and by keyboard alone, with the number of clicks or keys.

Each task starts on the front page, with the sidebar of a superuser. Keys that type a character are
not counted, but fields are. `pytest -rP` prints the numbers. A test fails if its task takes more.
`test_keyboard.py` tests the keyboard in menus and dialogs.
"""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from products import stock
from products.models import ApiKey, Product, Reservation
from products.tests.browser.hands import Hands, Keyboard, Mouse, search_of, wait_for_focus
from products.tests.browser.steps import PASSWORD, log_in_as
from products.tests.checks import levels_of
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory, at

HAS_FOCUS = "element => element.contains(document.activeElement)"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[Mouse, Keyboard], ids=["mouse", "keyboard"])
def hands(page: Page, ada: User, request: pytest.FixtureRequest) -> Hands:
    task = request.node.originalname.removeprefix("test_").replace("_", " ")
    hands: Hands = request.param(page, task)
    return hands


def start(hands: Hands) -> None:
    """Log in, and wait for the front page. The test has made its data before."""
    log_in_as(hands.page, "Ada", PASSWORD)
    wait_for_focus(search_of(hands.page))


def sidebar(page: Page, title: str) -> Locator:
    return page.get_by_role("navigation", name="Main").get_by_role("link", name=title, exact=True)


def link(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=name, exact=True).first


def button(within: Page | Locator, name: str) -> Locator:
    return within.get_by_role("button", name=name, exact=True)


def find_product(page: Page, hands: Hands, text: str) -> None:
    """Type into the search of the front page, which has the focus."""
    hands.fill_focused(search_of(page), text)
    hands.send()


def open_dialog(page: Page, hands: Hands, title: str) -> Locator:
    hands.press(link(page, title))
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    page.wait_for_function(HAS_FOCUS, arg=dialog.element_handle())
    return dialog


def open_order(page: Page, hands: Hands, reference: str) -> None:
    """Open a reservation from the list."""
    hands.follow(sidebar(page, "Reservations"))
    row = page.get_by_role("row").filter(has_text=reference)
    hands.follow(row.get_by_role("link").first)


# -------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("text", ["lant", "hea", "hang hea"])
def test_find_by_a_part_of_a_name(page: Page, hands: Hands, text: str) -> None:
    ProductFactory.create(sku="85123", name="Hanging heart lantern")
    ProductFactory.create(sku="85124", name="Candle")
    start(hands)

    find_product(page, hands, text)

    expect(link(page, "85123")).to_be_visible()
    expect(link(page, "85124")).not_to_be_attached()
    hands.took(clicks=0, fields=1, keys=1)


def test_find_by_the_middle_of_a_sku(page: Page, hands: Hands) -> None:
    ProductFactory.create(sku="85123")
    ProductFactory.create(sku="85199")
    start(hands)

    find_product(page, hands, "512")

    expect(link(page, "85123")).to_be_visible()
    expect(link(page, "85199")).not_to_be_attached()
    hands.took(clicks=0, fields=1, keys=1)


def test_create_one_product(page: Page, hands: Hands) -> None:
    start(hands)

    find_product(page, hands, "LAMP-9")
    hands.follow(link(page, "Create LAMP-9"))
    hands.fill_focused(page.locator("[name=name]"), "Tall lamp")
    hands.fill(page.get_by_label("On hand"), "12")
    hands.send()

    expect(page.get_by_text("Created LAMP-9. On hand: 12.")).to_be_visible()
    product = Product.objects.get()
    assert (product.sku, product.name, product.quantity) == ("LAMP-9", "Tall lamp", 12)
    hands.took(clicks=2, fields=3, keys=14)


def test_correct_a_count_and_undo_it(page: Page, hands: Hands) -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)
    start(hands)

    find_product(page, hands, "CUP")
    dialog = open_dialog(page, hands, "Count stock")
    hands.fill_focused(dialog.get_by_label("Counted"), "7")
    hands.send()
    expect(page.get_by_text("Counted CUP: 10 → 7")).to_be_visible()
    hands.follow(button(page, "Undo"))

    expect(page.get_by_text("Undone: Counted: 10 → 7. On hand of CUP: 10.")).to_be_visible()
    assert levels_of(cup) == (10, 0)
    hands.took(clicks=2, fields=2, keys=14)


def test_ask_why_it_is_3(page: Page, hands: Hands) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    order = stock.reserve(sku="CUP", amount=7, reference="order-1", by=ACTOR)
    stock.fulfill(reservation_id=order.pk, by=ACTOR)
    start(hands)

    find_product(page, hands, "CUP")
    row = page.get_by_role("row", name="Fulfilled 7 for order-1")
    expect(row).to_contain_text("3")
    hands.follow(row.get_by_role("link", name="order-1"))

    expect(page.get_by_role("heading", level=1)).to_contain_text("order-1")
    hands.took(clicks=1, fields=1, keys=7)


def test_archive_find_again_and_restore(page: Page, hands: Hands) -> None:
    cup = ProductFactory.create(sku="CUP-1", name="Blue cup", quantity=10)
    start(hands)

    find_product(page, hands, "CUP-1")
    dialog = open_dialog(page, hands, "Archive")
    hands.follow(button(dialog, "Archive"))
    expect(page.get_by_text("Archived CUP-1.")).to_be_visible()
    hands.search("blue")
    hands.follow(link(page, "Show archived products"))
    hands.follow(link(page, "CUP-1"))
    dialog = open_dialog(page, hands, "Restore")
    hands.follow(button(dialog, "Restore"))

    expect(page.get_by_text("Restored CUP-1.")).to_be_visible()
    cup.refresh_from_db()
    assert not cup.archived
    hands.took(clicks=7, fields=2, keys=44)


def test_print_what_to_order(page: Page, hands: Hands) -> None:
    ProductFactory.create(sku="CUP", minimum_stock_level=50)
    ProductFactory.create(sku="POT")
    start(hands)

    hands.follow(link(page, "All to order"))
    hands.press(page.locator(".header-menu summary").filter(has_text="Export"))
    hands.follow(link(page, "Print"))

    expect(page.get_by_role("row", name="CUP Product CUP 25 0 25 50 75")).to_be_visible()
    expect(page.get_by_text("POT")).not_to_be_attached()
    expect(button(page, "Print")).to_be_visible()
    hands.took(clicks=3, fields=0, keys=14)


def test_see_what_happened_yesterday(page: Page, hands: Hands) -> None:
    yesterday = at(timezone.now() - timedelta(days=1))
    stock.create(sku="CUP", name="Cup", quantity=10, by=yesterday)
    stock.add(sku="CUP", amount=5, reason="delivery", by=yesterday)
    stock.remove(sku="CUP", amount=1, reason="breakage", by=ACTOR)
    start(hands)

    hands.follow(sidebar(page, "Ledger"))
    hands.follow(link(page, "Yesterday"))

    rows = page.locator("#result_list")
    expect(rows).to_contain_text("delivery")
    expect(rows).not_to_contain_text("breakage")
    hands.took(clicks=2, fields=0, keys=13)


# ---------------------------------------------------------------------------------- reservations


def test_hold_2_units_by_phone(page: Page, hands: Hands) -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)
    start(hands)

    find_product(page, hands, "CUP")
    dialog = open_dialog(page, hands, "Reserve stock")
    hands.fill_focused(dialog.get_by_label("Amount"), "2")
    hands.fill(dialog.get_by_label("Reference"), "Mrs Lovelace")
    hands.send()

    expect(page.get_by_text("Reserved 2 units of CUP.")).to_be_visible()
    assert Reservation.objects.get().reference == "Mrs Lovelace"
    assert levels_of(cup) == (10, 2)
    hands.took(clicks=2, fields=3, keys=8)


@pytest.fixture
def order() -> Reservation:
    """An order of 5 cups and 3 pots."""
    for sku, name in (("CUP", "Blue cup"), ("POT", "Tea pot")):
        ProductFactory.create(sku=sku, name=name, quantity=10)
    lines = [stock.Line("CUP", 5), stock.Line("POT", 3)]
    return stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)


def ended(order: Reservation) -> list[tuple[int, int, int]]:
    """Return the open, fulfilled and released units of each line."""
    return list(order.lines.order_by("pk").values_list("open", "fulfilled", "released"))


def test_ship_one_line(page: Page, hands: Hands, order: Reservation) -> None:
    start(hands)

    open_order(page, hands, "order-1")
    dialog = open_dialog(page, hands, "Fulfill")
    hands.fill(dialog.get_by_label("POT Tea pot"), "0")
    hands.follow(button(dialog, "Fulfill"))

    expect(page.get_by_text("3 of 8 open, 5 fulfilled")).to_be_visible()
    assert ended(order) == [(0, 5, 0), (3, 0, 0)]
    hands.took(clicks=6, fields=1, keys=31)


def test_release_the_rest(page: Page, hands: Hands, order: Reservation) -> None:
    stock.fulfill(reservation_id=order.pk, lines=[stock.Line("CUP", 2)], by=ACTOR)
    start(hands)

    open_order(page, hands, "order-1")
    dialog = open_dialog(page, hands, "Release")
    hands.follow(button(dialog, "Release"))

    expect(page.get_by_text("2 of 8 fulfilled, 6 released")).to_be_visible()
    assert ended(order) == [(0, 2, 3), (0, 0, 3)]
    hands.took(clicks=4, fields=0, keys=32)


@pytest.fixture
def overdue(order: Reservation) -> Reservation:
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(pk=order.pk).update(expires_at=past)
    return order


def test_give_an_overdue_order_back(page: Page, hands: Hands, overdue: Reservation) -> None:
    start(hands)

    hands.follow(link(page, "order-1"))
    dialog = open_dialog(page, hands, "Give back")
    hands.follow(button(dialog, "Give back"))

    expect(page.get_by_text("order-1 are available again.")).to_be_visible()
    overdue.refresh_from_db()
    assert overdue.status == "expired"
    hands.took(clicks=3, fields=0, keys=16)


def test_reserve_an_overdue_order_again(page: Page, hands: Hands, overdue: Reservation) -> None:
    start(hands)

    hands.follow(link(page, "order-1"))
    dialog = open_dialog(page, hands, "Reserve again")
    hands.fill_focused(dialog.get_by_label("Minutes from now"), "30")
    hands.send()

    expect(page.get_by_text("Reserved the units of reservation")).to_be_visible()
    again = Reservation.objects.get(reference="order-1", status="open")
    assert again.expires_at is not None
    assert again.expires_at > timezone.now()
    hands.took(clicks=2, fields=1, keys=15)


def test_set_an_end(page: Page, hands: Hands, order: Reservation) -> None:
    start(hands)

    open_order(page, hands, "order-1")
    dialog = open_dialog(page, hands, "Set an end")
    hands.fill_focused(dialog.get_by_label("Minutes from now"), "60")
    hands.send()

    expect(page.get_by_text("Before: never.")).to_be_visible()
    order.refresh_from_db()
    assert order.expires_at is not None
    hands.took(clicks=3, fields=1, keys=25)


def test_extend_an_order_that_expires_soon(page: Page, hands: Hands) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    soon = stock.reserve(sku="CUP", amount=1, reference="order-2", expires_in=600, by=ACTOR)
    start(hands)

    hands.follow(link(page, "order-2"))
    dialog = open_dialog(page, hands, "Extend")
    hands.fill_focused(dialog.get_by_label("Minutes from now"), "90")
    hands.send()

    expect(page.get_by_text("order-2 now expires at")).to_be_visible()
    soon.refresh_from_db()
    assert soon.expires_at is not None
    assert soon.expires_at > timezone.now() + timedelta(minutes=80)
    hands.took(clicks=2, fields=1, keys=15)


def test_take_units_of_a_shipped_order_back(page: Page, hands: Hands, order: Reservation) -> None:
    stock.fulfill(reservation_id=order.pk, by=ACTOR)
    start(hands)

    open_order(page, hands, "order-1")
    hands.follow(link(page, "Return"))
    hands.fill(page.get_by_label("CUP Blue cup"), "2")
    hands.follow(button(page, "Return"))

    expect(page.get_by_text("Returned 2 units of reservation")).to_be_visible()
    assert levels_of(Product.objects.get(sku="CUP")) == (7, 0)
    hands.took(clicks=5, fields=1, keys=31)


# ------------------------------------------------------------------------------------ many lines


def type_lines(page: Page, hands: Hands, lines: dict[str, int]) -> None:
    """Type lines into the first line of a page, which has the focus. Enter leads on."""
    wait_for_focus(page.get_by_label(re.compile("^SKU")).first)
    for sku, amount in lines.items():
        for text in (sku, str(amount)):
            hands.type(text)
            hands.enter()


LINES = {"CUP": 2, "MUG-1": 3, "MUG-2": 4, "POT": 5, "4006381": 6}


@pytest.fixture
def products() -> list[Product]:
    return [ProductFactory.create(sku=sku, quantity=10) for sku in LINES]


def test_reserve_an_order_of_5_lines(page: Page, hands: Hands, products: list[Product]) -> None:
    start(hands)

    hands.follow(sidebar(page, "Reservations"))
    hands.follow(link(page, "New reservation"))
    type_lines(page, hands, LINES)
    hands.fill(page.get_by_label("Reference"), "order-7")
    hands.follow(button(page, "Reserve"))

    expect(page.get_by_text("Reserved 20 units.")).to_be_visible()
    made = Reservation.objects.get()
    assert made.reference == "order-7"
    assert dict(made.lines.values_list("product__sku", "amount")) == LINES
    hands.took(clicks=4, fields=11, keys=37)


def test_receive_a_delivery_of_5_lines(page: Page, hands: Hands, products: list[Product]) -> None:
    start(hands)

    hands.follow(sidebar(page, "Receive"))
    type_lines(page, hands, LINES)
    hands.follow(button(page, "Preview"))
    expect(page.get_by_text("5 lines will be saved, all or none.")).to_be_visible()
    hands.follow(button(page, "Receive"))

    expect(page.get_by_text("Received 20 units of 5 products.")).to_be_visible()
    assert [levels_of(product) for product in products] == [
        (10 + amount, 0) for amount in LINES.values()
    ]
    hands.took(clicks=3, fields=10, keys=34)


def test_count_20_products(page: Page, hands: Hands) -> None:
    for number in range(1, 21):
        ProductFactory.create(sku=f"CUP-{number:02}", quantity=10)
    start(hands)

    hands.follow(sidebar(page, "Products"))
    hands.follow(link(page, "Count this list"))
    wait_for_focus(page.get_by_label("Counted, line 1", exact=True))
    for number in range(1, 21):
        hands.type(str(number))
        hands.enter()
    hands.follow(button(page, "Preview"))
    expect(page.get_by_text("20 lines will be saved, all or none.")).to_be_visible()
    hands.follow(button(page, "Save counts"))

    expect(page.get_by_text("Counted 20 products.")).to_be_visible()
    found = Product.objects.order_by("sku").values_list("quantity", flat=True)
    assert list(found) == list(range(1, 21))
    hands.took(clicks=4, fields=20, keys=57)


# ---------------------------------------------------------------------------------------- access


def test_let_a_colleague_read(page: Page, hands: Hands) -> None:
    start(hands)

    hands.follow(sidebar(page, "Staff"))
    hands.follow(link(page, "Add user"))
    hands.fill_focused(page.get_by_label("User name"), "Paul")
    hands.press(page.get_by_label("Stock viewer"))
    hands.follow(button(page, "Save"))

    expect(page.get_by_text("Paul can log in now")).to_be_visible()
    paul = User.objects.get(username="Paul")
    assert paul.has_perm("products.view_product")
    assert not paul.has_perm("products.operate_stock")
    hands.took(clicks=4, fields=1, keys=19)


def test_see_whether_a_key_is_still_used(page: Page, hands: Hands) -> None:
    ApiKeyFactory.create(name="old-till")
    webshop = ApiKeyFactory.create(name="webshop")
    ApiKey.objects.filter(pk=webshop.pk).update(last_used_at=timezone.now())
    start(hands)

    hands.follow(sidebar(page, "API keys"))

    expect(page.get_by_role("row", name="old-till")).to_contain_text("never")
    expect(page.get_by_role("row", name="webshop")).not_to_contain_text("never")
    hands.took(clicks=1, fields=0, keys=7)
