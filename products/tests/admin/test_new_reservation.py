"""The page that reserves several products at once, and the dialog that reserves one."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products import stock
from products.files.entered import MAX_LINES
from products.models import Product, Reservation, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import levels_of, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

URL = reverse("admin:products_reservation_new_reservation")
CHECK = reverse("admin:products_reservation_check")
CLERK = ("view_product", "view_reservation", "view_reservationline", "operate_stock")


@pytest.fixture
def clerk() -> Client:
    return browser_of("Grace", *CLERK)


def order(*lines: tuple[str, object], **fields: object) -> dict[str, object]:
    """Return the fields of the page with these SKUs and amounts."""
    return {
        "lines": "\n".join(f"{sku}\t{amount}" for sku, amount in lines),
        "reference": "",
        "minutes": "",
        "until": "",
        "opening": uuid4().hex,
        **fields,
    }


def errors(response: Any) -> list[tuple[int, str]]:
    """Return the number and the error of each refused line."""
    refused = response.context["form"].refused
    return [(line.number, problem.detail) for line in refused for problem in line.problems]


def lines_of(reservation: Reservation) -> list[tuple[str, int]]:
    return list(reservation.lines.order_by("pk").values_list("product__sku", "amount"))


def test_an_order_of_several_lines_is_reserved(clerk: Client) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)

    response = clerk.post(URL, order((" cup ", 2), ("", ""), ("POT", 5), reference="phone-7"))

    held = Reservation.objects.get()
    assert response["Location"] == reverse("admin:products_reservation_change", args=[held.pk])
    assert (held.reference, held.expires_at) == ("phone-7", None)
    assert lines_of(held) == [("CUP", 2), ("POT", 5)]
    event = StockEvent.objects.filter(type=StockEvent.Type.RESERVED)[0]
    assert (event.actor, event.source) == ("Grace", "admin")


def test_the_amounts_of_a_repeated_sku_are_added_up(clerk: Client) -> None:
    ProductFactory.create(sku="CUP")

    clerk.post(URL, order(("CUP", 1), ("cup", 2)))

    assert lines_of(Reservation.objects.get()) == [("CUP", 3)]


def test_lines_are_typed_without_javascript(clerk: Client) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku)

    assert '<textarea name="lines"' in clerk.get(URL).content.decode()
    clerk.post(URL, order(lines="CUP 1\r\n\r\nPOT 2\r\n"))

    assert lines_of(Reservation.objects.get()) == [("CUP", 1), ("POT", 2)]


def test_every_short_line_is_named_and_nothing_is_lost(clerk: Client) -> None:
    for sku, quantity in [("CUP", 1), ("POT", 5), ("PAN", 0), ("OLD", 9)]:
        ProductFactory.create(sku=sku, quantity=quantity)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    before = stored()

    response = clerk.post(
        URL,
        order(
            ("CUP", 2),
            ("POT", 5),
            ("", ""),
            ("NONE", 1),
            ("PAN", 3),
            ("OLD", 1),
            reference="phone-7",
            minutes="45",
        ),
    )

    assert errors(response) == [
        (1, "2 of CUP requested, 1 available."),
        (4, "Product NONE does not exist."),
        (5, "3 of PAN requested, 0 available."),
        (6, "OLD is archived. Restore it to add or reserve units."),
    ]
    page = response.content.decode()
    for value in ("phone-7", "45"):
        assert f'value="{value}"' in page
    assert "CUP\t2\nPOT\t5\n\t\nNONE\t1\nPAN\t3\nOLD\t1" in page
    assert "<li>Line 5: 3 of PAN requested, 0 available.</li>" in page
    assert "Nothing was reserved" in page
    assert stored() == before


def test_lines_that_only_the_stock_refuses_are_named(clerk: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=1)
    ProductFactory.create(sku="OLD", quantity=9)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    before = stored()

    response = clerk.post(URL, order(("CUP", 2), ("OLD", 1)))

    assert [number for number, _ in errors(response)] == [1, 2]
    assert stored() == before


@pytest.mark.parametrize(
    ("sku", "amount", "detail"),
    [
        ("CUP", "", "Enter the number of units"),
        ("", "1", "The SKU is missing."),
        ("CUP", "0", "At least 1 unit"),
        ("CUP", "-1", "negative"),
        ("CUP", "1.5", "1.5"),
        ("CUP", "1_000", "not a whole number"),
        ("CUP", "1000000001", "At most 1000000000 units"),
        ("CUP", "9" * 5_000, "999"),
        ("CUP", "\u0665", "not a whole number"),
        ("C" * 51, "1", "At most 50"),
        ("=CUP()", "1", "=CUP()"),
    ],
)
def test_a_wrong_line_is_named(clerk: Client, sku: str, amount: str, detail: str) -> None:
    ProductFactory.create(sku="CUP")
    before = stored()

    response = clerk.post(URL, order(("CUP", 1), (sku, amount)))

    [(number, found)] = errors(response)
    assert (number, detail in found) == (2, True), found
    assert stored() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minutes": "5", "until": "2030-01-01T10:00"}, "Enter minutes or a time, not both."),
        ({"until": "2020-01-01T10:00"}, "This time has passed."),
        ({"until": "9999-12-31T23:59"}, "This time is too far ahead."),
        ({"until": "tomorrow"}, "Enter a date and a time"),
        ({"minutes": "0"}, "greater than or equal to 1"),
        ({"minutes": "99999999999"}, "less than or equal to"),
        ({"reference": "x" * 256}, "at most 255 characters"),
        ({"reference": "\0"}, "Null characters"),
        ({"opening": "x"}, "Enter a valid UUID"),
        ({"lines": ""}, "Enter at least one line."),
        ({"lines": " \n\t\n"}, "Enter at least one line."),
        ({"lines": "CUP\0 1"}, "Null characters"),
        ({"lines": "CUP 1 2\tx\ty"}, "more than a SKU and a number"),
    ],
)
def test_wrong_fields_are_refused(clerk: Client, fields: dict[str, str], message: str) -> None:
    ProductFactory.create(sku="CUP")
    before = stored()

    response = clerk.post(URL, order(("CUP", 1), **fields))

    assert response.status_code == 200
    assert message in response.content.decode()
    assert stored() == before


def test_an_order_may_have_a_thousand_lines_and_no_more(clerk: Client) -> None:
    for number in range(MAX_LINES):
        ProductFactory.create(sku=f"P-{number}")
    full = [(f"P-{number}", 1) for number in range(MAX_LINES)]

    refused = clerk.post(URL, order(*full, ("P-1", 1)))
    assert "1,001 lines are too many: this page takes 1,000." in refused.content.decode()
    assert not Reservation.objects.exists()
    accepted = clerk.post(URL, order(*full, ("", "")))

    assert accepted.status_code == 302
    assert Reservation.objects.get().lines.count() == MAX_LINES


def test_an_empty_page_is_refused(clerk: Client) -> None:
    response = clerk.post(URL)

    assert response.status_code == 200
    assert not Reservation.objects.exists()


def test_an_order_sent_twice_is_reserved_once(clerk: Client) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)
    sent = order(("CUP", 2))

    responses = [clerk.post(URL, sent), clerk.post(URL, sent, follow=True)]

    assert responses[0]["Location"] == responses[1].redirect_chain[0][0]
    assert "was already made. Nothing was reserved again." in responses[1].content.decode()
    assert levels_of(product) == (5, 2)


def test_a_reservation_expires_at_the_time_that_was_entered(clerk: Client) -> None:
    ProductFactory.create(sku="CUP")
    until = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)

    clerk.post(URL, order(("CUP", 1), until=f"{until:%Y-%m-%dT%H:%M}"))

    expires_at = Reservation.objects.get().expires_at
    assert expires_at
    assert timedelta() <= expires_at - until < timedelta(seconds=30)


def test_the_lines_of_an_expired_reservation_can_be_copied(clerk: Client) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    lines = [stock.Line("CUP", 3), stock.Line("POT", 2)]
    held = stock.reserve_lines(lines=lines, reference="order-1", expires_in=60, by=ACTOR)
    stock.fulfill(reservation_id=held.pk, lines=[stock.Line("POT", 2)], by=ACTOR)

    response = clerk.get(URL, {"like": held.pk})

    assert response.context["form"]["reference"].value() == "order-1"
    assert response.context["form"]["lines"].value() == "CUP\t3"


@pytest.mark.parametrize("like", ["", "x", "0", "9" * 18, "9" * 5_000, "\u00b2", "\0"])
def test_an_unknown_reservation_to_copy_is_ignored(clerk: Client, like: str) -> None:
    response = clerk.get(URL, {"like": like})

    assert response.status_code == 200
    assert response.context["form"]["lines"].value() == ""


@pytest.mark.parametrize(
    ("permissions", "page", "dialog"),
    [
        ((), False, False),
        (CLERK[:-1], False, False),
        (("operate_stock",), False, True),
        (("operate_stock", "view_reservation"), False, True),
        (("operate_stock", "view_product"), True, True),
    ],
)
def test_only_users_who_may_operate_stock_reserve(
    permissions: tuple[str, ...], page: bool, dialog: bool
) -> None:
    """The page also shows names and levels of products, so its users must be able to see them."""
    product = ProductFactory.create(sku="CUP")
    before = stored()
    browser = browser_of("Eve", *permissions)

    opened = browser.get(URL)
    sent = browser.post(URL, order(("CUP", 1)))
    in_dialog = browser.post(
        reverse("admin:products_product_reserve_stock", args=[product.pk]),
        {"_form_submitted": "1", "amount": 1, "opening": uuid4().hex},
    )

    assert opened.status_code == (200 if page else 403)
    assert sent.status_code == (302 if page else 403)
    assert in_dialog.status_code == (302 if dialog else 403)
    assert Reservation.objects.count() == page + dialog
    if not dialog:
        assert stored() == before


def test_the_list_links_to_the_page_for_users_who_may_use_it(clerk: Client) -> None:
    page = reverse("admin:products_reservation_changelist")
    other = browser_of("Eve", "operate_stock", "view_reservation", "view_reservationline")

    assert f'href="{URL}"' in clerk.get(page).content.decode()
    assert f'href="{URL}"' not in other.get(page).content.decode()


# ------------------------------------------------------------------------------------ while typing


def check(client: Client, lines: str) -> list[dict[str, Any]]:
    """Send lines as the page does while they are entered, and return the checked lines."""
    response = client.post(CHECK, {"lines": lines})
    found: list[dict[str, Any]] = response.json()["lines"]
    return found


@pytest.mark.parametrize(
    ("lines", "problems", "wrong"),
    [
        ("cup\t", [], []),
        ("cup\t3", [], []),
        ("CUP\t4", ["4 of CUP requested, 3 available."], "amount"),
        ("OLD\t1", ["OLD is archived. Restore it to add or reserve units."], "sku"),
        ("NONE\t", ["Product NONE does not exist."], "sku"),
    ],
)
def test_a_line_is_checked_as_it_is_typed(
    clerk: Client, lines: str, problems: list[str], wrong: object
) -> None:
    for sku in ("CUP", "OLD"):
        ProductFactory.create(sku=sku, quantity=5)
    stock.reserve(sku="CUP", amount=2, by=ACTOR)
    stock.edit(sku="OLD", archived=True, by=ACTOR)

    [line] = check(clerk, lines)

    assert (line["problems"], line["wrong"]) == (problems, wrong)


def test_lines_are_checked_for_users_who_may_see_products() -> None:
    ProductFactory.create(sku="CUP")

    response = browser_of("Eve", "operate_stock").post(CHECK, {"lines": "CUP\t1"})

    assert response.status_code == 403


# ------------------------------------------------------------------------------------ one product


def send(client: Client, product: Product, **fields: object) -> Any:
    """Submit the dialog of a product."""
    sent = {"_form_submitted": "1", "opening": uuid4().hex, **fields}
    return client.post(reverse("admin:products_product_reserve_stock", args=[product.pk]), sent)


def test_the_dialog_reserves_and_its_message_links_to_the_reservation(clerk: Client) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)
    opening = uuid4().hex

    send(clerk, product, amount=2, reference="<b>", minutes=30, opening=opening)
    page = reverse("admin:products_product_change", args=[product.pk])
    first = clerk.get(page).content.decode()
    send(clerk, product, amount=2, reference="<b>", minutes=30, opening=opening)
    second = clerk.get(page).content.decode()

    held = Reservation.objects.get()
    link = reverse("admin:products_reservation_change", args=[held.pk])
    assert (held.reference, lines_of(held)) == ("<b>", [("CUP", 2)])
    assert held.expires_at
    assert timedelta(minutes=29) < held.expires_at - timezone.now() <= timedelta(minutes=30)
    assert "Reserved 2 units of CUP." in first
    assert f'href="{link}">Reservation {held.pk}</a>' in first
    assert "was already made. Nothing was reserved again." in second


def test_the_dialog_names_the_available_units(clerk: Client) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)
    before = stored()

    response = send(clerk, product, amount=6)

    assert "6 of CUP requested, 5 available." in response.content.decode()
    assert stored() == before
