"""What can be done with a reservation: by line, when it is overdue, and to its end."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products import stock
from products.models import Product, Reservation, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import assert_sound, levels_of, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CLERK = ("view_product", "view_reservation", "view_reservationline", "operate_stock")


@pytest.fixture
def clerk() -> Client:
    return browser_of("Grace", *CLERK)


@pytest.fixture
def products() -> list[Product]:
    return [
        ProductFactory.create(sku="CUP", name="Blue cup", quantity=10),
        ProductFactory.create(sku="POT", name="Tea pot", quantity=10),
    ]


@pytest.fixture
def order(products: list[Product]) -> Reservation:
    """A reservation of 5 cups and 3 pots without an end."""
    lines = [stock.Line("CUP", 5), stock.Line("POT", 3)]
    reservation = stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)
    assert isinstance(reservation, Reservation)
    return reservation


def url(reservation: Reservation, name: str) -> str:
    return reverse(f"admin:products_reservation_{name}", args=[reservation.pk])


def send(client: Client, reservation: Reservation, name: str, **fields: object) -> Any:
    """Submit a dialog or a page."""
    sent = {"_form_submitted": "1", "opening": uuid4().hex, "reason": "cancelled", **fields}
    return client.post(url(reservation, name), sent)


def amounts(reservation: Reservation, cups: object, pots: object) -> dict[str, object]:
    """Return the fields for the amounts of both lines."""
    first, second = reservation.lines.order_by("pk")
    return {f"amount-{first.pk}": cups, f"amount-{second.pk}": pots}


def end_now(reservation: Reservation) -> None:
    """Make a reservation overdue."""
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=past)


def parts(reservation: Reservation) -> list[tuple[int, int, int, int]]:
    """Return the units of each line: fulfilled, released, expired and open."""
    rows = reservation.lines.order_by("pk")
    return list(rows.values_list("fulfilled", "released", "expired", "open"))


PLACES = ["fulfill", "release", "fulfill_lines", "release_lines"]


@pytest.mark.parametrize("name", PLACES)
def test_the_open_units_of_each_line_are_proposed(
    clerk: Client, order: Reservation, name: str
) -> None:
    stock.release(reservation_id=order.pk, lines=[stock.Line("CUP", 1)], by=ACTOR)

    form = clerk.get(url(order, name)).context["form"]

    shown = [(field.label, field.help_text, field.value()) for field in form.rows()]
    assert shown == [("CUP Blue cup", "4 of 5 open", 4), ("POT Tea pot", "3 of 3 open", 3)]


def test_a_part_is_fulfilled_and_another_released(
    clerk: Client, products: list[Product], order: Reservation
) -> None:
    send(clerk, order, "fulfill", **amounts(order, 3, 0), note="parcel 1")
    response = send(clerk, order, "release", **amounts(order, "", 2))

    assert response.status_code == 302
    assert parts(order) == [(3, 0, 0, 2), (0, 2, 0, 1)]
    assert [levels_of(product) for product in products] == [(7, 2), (10, 1)]
    event = StockEvent.objects.get(type=StockEvent.Type.FULFILLED)
    assert (event.actor, event.reason) == ("Grace", "parcel 1")
    page = clerk.get(url(order, "change")).content.decode()
    assert "Fulfilled 3 units of reservation" in page
    assert "5 units still open." in page
    assert "Released 2 units of reservation" in page
    assert "3 of 8 open, 3 fulfilled, 2 released" in page
    assert "Tea pot" in page


@pytest.mark.parametrize("name", PLACES)
def test_every_refused_line_is_named_and_nothing_is_done(
    clerk: Client, order: Reservation, name: str
) -> None:
    fields = amounts(order, 6, 4)
    before = stored()

    response = send(clerk, order, name, **fields, note="parcel 1")

    assert dict(response.context["form"].errors) == {
        **{
            field: [f"{amount} of {sku} requested, {held} open in reservation {order.pk}."]
            for (field, amount), sku, held in zip(
                fields.items(), ("CUP", "POT"), (5, 3), strict=True
            )
        },
        "__all__": ["Nothing was changed. Correct the amounts and try again."],
    }
    page = response.content.decode()
    for value in ("6", "4", "parcel 1"):
        assert f'value="{value}"' in page
    assert stored() == before


def test_a_line_that_was_closed_meanwhile_is_refused(clerk: Client, order: Reservation) -> None:
    stock.release(reservation_id=order.pk, lines=[stock.Line("POT", 3)], by=ACTOR)
    before = stored()

    response = send(clerk, order, "fulfill", **amounts(order, 5, 3))

    assert "3 of POT requested, 0 open" in response.content.decode()
    assert stored() == before


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(
    "amount", ["", "0", "-1", "1.5", "1_000", "x", "9" * 5_000, "1000000001", "\u0665"]
)
def test_wrong_amounts_change_nothing(
    clerk: Client, order: Reservation, name: str, amount: str
) -> None:
    before = stored()

    response = send(clerk, order, name, **amounts(order, amount, ""))

    assert response.status_code == 200
    assert response.context["form"].errors
    assert stored() == before


@pytest.mark.parametrize("name", PLACES)
def test_amounts_of_other_reservations_are_ignored(
    clerk: Client, order: Reservation, name: str
) -> None:
    other = stock.reserve(sku="CUP", amount=2, by=ACTOR)
    fields = {f"amount-{line.pk}": 1 for line in other.lines.all()}
    fields |= {"amount-x": 1, "amount--1": 1, "amount-": 1}

    send(clerk, order, name, **fields, **amounts(order, 1, ""))

    assert other.lines.get().open == 2
    assert [line.open for line in order.lines.order_by("pk")] == [4, 3]


@pytest.mark.parametrize("name", PLACES)
def test_a_part_sent_twice_is_done_once(clerk: Client, order: Reservation, name: str) -> None:
    fields = {**amounts(order, 2, 0), "opening": uuid4().hex}

    for _ in range(2):
        assert send(clerk, order, name, **fields).status_code == 302

    assert [line.open for line in order.lines.order_by("pk")] == [3, 3]
    assert "was already saved" in clerk.get(url(order, "change")).content.decode()


def test_a_long_reservation_is_ended_on_a_page_or_as_a_whole(clerk: Client) -> None:
    for number in range(30):
        ProductFactory.create(sku=f"P-{number:02}")
    lines = [stock.Line(f"P-{number:02}", 2) for number in range(30)]
    held = stock.reserve_lines(lines=lines, by=ACTOR)

    page = clerk.get(url(held, "change")).content.decode()
    dialog = clerk.get(url(held, "fulfill"))
    assert url(held, "fulfill_lines") in page
    assert url(held, "fulfill_lines") in dialog.content.decode()
    assert dialog.context["form"].rows() == []
    opened = clerk.get(url(held, "fulfill_lines")).context["form"]
    sent = {field.html_name: 1 for field in opened.rows()}
    assert send(clerk, held, "fulfill_lines", **sent).status_code == 302
    assert send(clerk, held, "release").status_code == 302

    assert set(parts(held)) == {(1, 1, 0, 0)}


def test_a_short_reservation_offers_no_page_of_lines(clerk: Client, order: Reservation) -> None:
    page = clerk.get(url(order, "change")).content.decode()

    assert url(order, "fulfill") in page
    assert url(order, "fulfill_lines") not in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "All 8 open"),
        ([("fulfill", 5, 3)], "All 8 fulfilled"),
        ([("fulfill", 3, 0), ("release", 2, 3)], "3 of 8 fulfilled, 5 released"),
    ],
)
def test_the_units_are_told_in_words(
    clerk: Client, order: Reservation, changes: list[tuple[str, int, int]], words: str
) -> None:
    for name, cups, pots in changes:
        send(clerk, order, name, **amounts(order, cups, pots))

    assert f">{words}<" in clerk.get(url(order, "change")).content.decode().replace("\n", "")


# --------------------------------------------------------------------------------------- overdue


def offered(client: Client, reservation: Reservation) -> set[str]:
    """Return the names of the actions on the page of a reservation."""
    page = client.get(url(reservation, "change")).content.decode()
    names = (*PLACES, "extend", "set_end", "give_back", "reserve_again")
    return {name for name in names if f'"{url(reservation, name)}"' in page}


def test_the_actions_on_the_page_fit_the_reservation(clerk: Client, order: Reservation) -> None:
    assert offered(clerk, order) == {"fulfill", "release", "set_end"}
    stock.extend(reservation_id=order.pk, expires_in=60, by=ACTOR)
    assert offered(clerk, order) == {"fulfill", "release", "extend"}
    end_now(order)
    assert offered(clerk, order) == {"give_back", "reserve_again"}
    stock.expire(reservation_id=order.pk, by=ACTOR)
    assert offered(clerk, order) == set()


def test_an_overdue_reservation_is_given_back(
    clerk: Client, products: list[Product], order: Reservation
) -> None:
    end_now(order)

    response = send(clerk, order, "give_back")

    assert response.status_code == 302
    assert [levels_of(product) for product in products] == [(10, 0), (10, 0)]
    assert Reservation.objects.get().status == "expired"
    event = StockEvent.objects.latest("pk")
    assert (event.actor, event.reason) == ("Grace", "expired")


def test_an_overdue_reservation_is_reserved_again(
    clerk: Client, products: list[Product], order: Reservation
) -> None:
    send(clerk, order, "fulfill", **amounts(order, 1, 0))
    end_now(order)
    opening = uuid4().hex

    send(clerk, order, "reserve_again", minutes=30, opening=opening)
    send(clerk, order, "reserve_again", minutes=30, opening=opening)

    new = Reservation.objects.exclude(pk=order.pk).get()
    assert (new.reference, parts(new)) == ("order-1", [(0, 0, 0, 4), (0, 0, 0, 3)])
    assert new.expires_at
    assert parts(order) == [(1, 0, 4, 0), (0, 0, 3, 0)]
    assert [levels_of(product) for product in products] == [(9, 4), (10, 3)]
    page = clerk.get(url(order, "change")).content.decode()
    assert f'href="{url(new, "change")}">Reservation {new.pk}</a>' in page
    assert_sound()


def test_an_expired_reservation_leads_to_a_copy(clerk: Client, order: Reservation) -> None:
    end_now(order)
    stock.expire_overdue(limit=10, by=ACTOR)
    link = f"{reverse('admin:products_reservation_new_reservation')}?like={order.pk}"

    assert link in clerk.get(url(order, "change")).content.decode()
    for name, permissions in (("Eve", CLERK[:-1]), ("Joe", CLERK[1:])):
        other = browser_of(name, *permissions)
        assert link not in other.get(url(order, "change")).content.decode()


@pytest.mark.parametrize("name", ["give_back", "reserve_again"])
def test_a_reservation_that_is_not_overdue_is_neither_given_back_nor_reserved_again(
    clerk: Client, order: Reservation, name: str
) -> None:
    before = stored()

    response = send(clerk, order, name)

    assert "is not overdue" in response.content.decode()
    assert stored() == before


@pytest.mark.parametrize("name", ["give_back", "reserve_again"])
def test_a_colleague_who_was_quicker_is_named(clerk: Client, order: Reservation, name: str) -> None:
    end_now(order)
    stock.reserve_again(reservation_id=order.pk, by=ACTOR)
    before = stored()

    response = send(clerk, order, name)

    page = response.content.decode()
    assert "This reservation is no longer overdue" in page
    assert "Reserve the units again" not in page
    assert stored() == before


def test_an_archived_product_is_named_when_its_units_are_reserved_again(
    clerk: Client, order: Reservation
) -> None:
    stock.edit(sku="POT", archived=True, by=ACTOR)
    end_now(order)
    before = stored()

    response = send(clerk, order, "reserve_again")

    assert "POT is archived." in response.content.decode()
    assert stored() == before


def test_a_product_shows_which_of_its_reserved_units_are_overdue(
    clerk: Client, products: list[Product], order: Reservation
) -> None:
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    page = reverse("admin:products_product_change", args=[products[0].pk])
    before = clerk.get(page).content.decode()
    end_now(order)

    after = clerk.get(page).content.decode()

    assert "overdue" not in before.lower()
    assert "5 of 6 reserved units are overdue" in after


# --------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("name", ["extend", "set_end"])
def test_an_end_has_no_default(clerk: Client, order: Reservation, name: str) -> None:
    before = stored()

    opened = clerk.get(url(order, name))
    response = send(clerk, order, name)

    assert opened.context["form"]["minutes"].value() is None
    assert "Enter minutes or a time." in response.content.decode()
    assert stored() == before


def test_the_message_shows_the_end_before_and_after(clerk: Client, order: Reservation) -> None:
    until = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)

    send(clerk, order, "set_end", until=f"{until:%Y-%m-%dT%H:%M}")
    first = clerk.get(url(order, "change")).content.decode()
    send(clerk, order, "extend", minutes=30)
    second = clerk.get(url(order, "change")).content.decode()

    assert f"now expires at {until:%Y-%m-%d %H:%M}. Before: never." in first
    assert f"Before: {until:%Y-%m-%d %H:%M}." in second


# ----------------------------------------------------------------------------------------- rights


@pytest.mark.parametrize("permissions", [(), CLERK[:-1]])
def test_users_who_may_not_operate_stock_change_nothing(
    order: Reservation, permissions: tuple[str, ...]
) -> None:
    browser = browser_of("Mallory", *permissions)
    fields = amounts(order, 1, 1)
    statuses = set()

    for is_overdue in (False, True):
        if is_overdue:
            end_now(order)
        before = stored()
        for name in (*PLACES, "extend", "set_end", "give_back", "reserve_again"):
            statuses.add(send(browser, order, name, **fields, minutes=5).status_code)
            statuses.add(browser.get(url(order, name)).status_code)
        assert stored() == before

    assert statuses == {403}


def test_the_form_of_a_viewer_has_no_actions(order: Reservation) -> None:
    assert offered(browser_of("Eve", *CLERK[:-1]), order) == set()


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 18, "9" * 400, "%00"])
@pytest.mark.parametrize("name", ["fulfill-lines", "give-back", "reserve-again", "set-end"])
def test_an_unknown_reservation_is_not_found(clerk: Client, number: str, name: str) -> None:
    path = f"/admin/products/reservation/{number}/{name}/"

    assert clerk.get(path).status_code == 404
    assert clerk.post(path, {"_form_submitted": "1"}).status_code == 404
