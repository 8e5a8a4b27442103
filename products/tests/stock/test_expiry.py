"""Reservations with an expiry: expiring overdue ones, and extending."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from products import stock
from products.ledger import locking
from products.models import Product, Reservation, StockEvent
from products.stock import Line
from products.tests.checks import assert_problem, assert_sound, stored
from products.tests.concurrency import OpenChange, at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


def overdue(*lines: Line, reference: str = "") -> Reservation:
    """Create an overdue reservation, without waiting."""
    reservation = stock.reserve_lines(lines=lines, reference=reference, expires_in=3600, by=ACTOR)
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=past)
    return reservation


def levels_of(product: Product) -> tuple[int, int]:
    return Product.objects.get(pk=product.pk).levels[:2]


def expire() -> str:
    output = StringIO()
    call_command("expire_reservations", batch=2, stdout=output)
    return output.getvalue()


def test_a_reservation_expires_after_the_given_seconds(api: APIClient) -> None:
    product = ProductFactory.create(quantity=5)

    response = api.post(
        f"/v1/products/{product.sku}/reserve", {"amount": 2, "expires_in": 900}, format="json"
    ).json()["reservation"]

    reservation = Reservation.objects.get(pk=response["id"])
    assert reservation.expires_at is not None
    held_for = reservation.expires_at - reservation.created_at
    assert timedelta(seconds=900) <= held_for < timedelta(seconds=930)
    assert response["expires_at"].endswith("Z")


@pytest.mark.parametrize("expires_in", [0, -1, 1.5, "60", True, None, 1_000_000_001])
def test_an_invalid_expiry_is_refused(api: APIClient, expires_in: object) -> None:
    line = {"sku": ProductFactory.create().sku, "amount": 1}
    body = {"lines": [line], "expires_in": expires_in}

    problem = assert_problem(api.post("/v1/reservations", body, format="json"), 400, "invalid")

    assert [error["field"] for error in problem["errors"]] == ["expires_in"]


def test_units_of_an_overdue_reservation_can_be_reserved_before_it_expires() -> None:
    product = ProductFactory.create(quantity=5)
    held = overdue(Line(product.sku, 5))

    stock.reserve(sku=product.sku, amount=3, by=ACTOR)

    assert levels_of(product) == (5, 3)
    assert Reservation.objects.get(pk=held.pk).status == "expired"
    events = StockEvent.objects.filter(product=product).order_by("version")
    assert [(event.type, event.reserved_change, event.reason) for event in events][2:] == [
        ("InventoryReleased", -5, "expired"),
        ("InventoryReserved", 3, ""),
    ]


@pytest.mark.parametrize(
    "operation",
    [
        partial(stock.remove, amount=5),
        partial(stock.adjust, quantity=0, reason="stocktake"),
        partial(stock.reserve, amount=5),
    ],
)
def test_each_operation_that_is_short_expires_overdue_reservations(
    operation: Callable[..., object],
) -> None:
    product = ProductFactory.create(quantity=5)
    overdue(Line(product.sku, 5))

    operation(sku=product.sku, by=ACTOR)

    assert Reservation.objects.order_by("pk")[0].status == "expired"


def test_only_overdue_lines_of_short_products_expire() -> None:
    """Other products are not locked. The reservation stays open until their lines expire, too."""
    short, other = ProductFactory.create(quantity=5), ProductFactory.create(quantity=5)
    held = overdue(Line(short.sku, 5), Line(other.sku, 2))

    stock.remove(sku=short.sku, amount=1, by=ACTOR)

    assert (levels_of(short), levels_of(other)) == ((4, 0), (5, 2))
    assert Reservation.objects.get(pk=held.pk).status == "open"
    assert expire() == "1 reservation expired.\n"
    assert levels_of(other) == (5, 0)
    assert Reservation.objects.get(pk=held.pk).status == "expired"


def test_overdue_units_that_are_not_enough_do_not_expire() -> None:
    product = ProductFactory.create(quantity=5)
    overdue(Line(product.sku, 2))

    with pytest.raises(stock.InsufficientStock) as refused:
        stock.remove(sku=product.sku, amount=6, by=ACTOR)

    assert refused.value.available == 3
    assert levels_of(product) == (5, 2)


@pytest.mark.parametrize("amount", [3, 5, 6])
def test_a_preview_counts_overdue_units_like_the_operation(amount: int) -> None:
    product = ProductFactory.create(quantity=5)
    overdue(Line(product.sku, 1))
    overdue(Line(product.sku, 2))
    removal = stock.Remove(sku=product.sku, amount=amount)

    [outcome] = stock.preview([removal], by=ACTOR)

    if isinstance(outcome, stock.StockError):
        with pytest.raises(type(outcome), match=outcome.detail):
            stock.apply([removal], by=ACTOR)
    else:
        [applied] = stock.apply([removal], by=ACTOR)
        assert outcome.after == applied.levels


def test_an_operation_that_is_not_short_expires_nothing() -> None:
    product = ProductFactory.create(quantity=5)
    overdue(Line(product.sku, 2))

    stock.remove(sku=product.sku, amount=3, by=ACTOR)

    assert levels_of(product) == (2, 2)


@pytest.mark.parametrize("is_expired", [False, True])
@pytest.mark.parametrize("action", ["fulfill", "release", "extend"])
def test_an_overdue_reservation_cannot_be_used(
    api: APIClient, action: str, is_expired: bool
) -> None:
    product = ProductFactory.create(quantity=5)
    held = overdue(Line(product.sku, 2))
    if is_expired:
        expire()
    before = levels_of(product)

    body = {"expires_in": 60} if action == "extend" else {}
    response = api.post(f"/v1/reservations/{held.pk}/{action}", body, format="json")

    assert_problem(response, 410, "reservation_expired")
    assert levels_of(product) == before


def test_release_of_a_product_skips_overdue_reservations() -> None:
    product = ProductFactory.create(quantity=5)
    overdue(Line(product.sku, 2))
    stock.reserve(sku=product.sku, amount=1, by=ACTOR)

    with pytest.raises(stock.InsufficientReserved) as refused:
        stock.release_product(sku=product.sku, amount=2, by=ACTOR)

    assert refused.value.available == 1


def test_release_of_a_product_takes_the_oldest_reservations_only() -> None:
    product = ProductFactory.create(quantity=9)
    held = [stock.reserve(sku=product.sku, amount=3, by=ACTOR) for _ in range(3)]

    stock.release_product(sku=product.sku, amount=4, by=ACTOR)

    assert [reservation.lines.get().released for reservation in held] == [3, 1, 0]


def test_release_of_a_product_takes_the_next_reservation_if_one_expires_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = ProductFactory.create(quantity=9)
    oldest, next_one = [
        stock.reserve(sku=product.sku, amount=amount, by=ACTOR) for amount in (2, 5)
    ]
    lock = locking.lock_reservations

    def lock_late(*args: Any, **kwargs: Any) -> dict[int, Reservation]:
        past = timezone.now() - timedelta(minutes=1)
        Reservation.objects.filter(pk=oldest.pk).update(expires_at=past)
        return lock(*args, **kwargs)

    monkeypatch.setattr(locking, "lock_reservations", lock_late)
    stock.release_product(sku=product.sku, amount=2, by=ACTOR)

    assert levels_of(product) == (9, 5)
    assert next_one.lines.get().released == 2


def test_expire_overdue_expires_all_overdue_reservations_and_no_others() -> None:
    product = ProductFactory.create(quantity=100)
    for _ in range(5):
        overdue(Line(product.sku, 2))
    stock.reserve(sku=product.sku, amount=3, expires_in=3600, by=ACTOR)
    stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    assert expire() == "5 reservations expired.\n"
    assert expire() == "0 reservations expired.\n"
    assert levels_of(product) == (100, 7)


def test_expire_overdue_starts_with_the_earliest_and_stops_at_its_limit_of_lines() -> None:
    cup, pot = ProductFactory.create(), ProductFactory.create()
    orders = [overdue(Line(cup.sku, 1), Line(pot.sku, 1)) for _ in range(3)]
    for age, order in enumerate(orders):
        ended = timezone.now() - timedelta(hours=1 + age)
        Reservation.objects.filter(pk=order.pk).update(expires_at=ended)

    results = [stock.expire_overdue(limit=3, by=ACTOR) for _ in range(2)]

    assert results == [(1, 1, set())] * 2
    expired = Reservation.objects.filter(status="expired")
    assert set(expired) == {orders[2], orders[1]}


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_partly_fulfilled_reservation_can_expire(is_expired: bool) -> None:
    product = ProductFactory.create(quantity=5)
    held = stock.reserve(sku=product.sku, amount=3, expires_in=3600, by=ACTOR)
    stock.fulfill(reservation_id=held.pk, lines=[Line(product.sku, 1)], by=ACTOR)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    if is_expired:
        expire()

    with pytest.raises(stock.ReservationExpired):
        stock.fulfill(reservation_id=held.pk, by=ACTOR)


def test_only_as_many_overdue_reservations_expire_as_the_shortage_needs() -> None:
    product = ProductFactory.create(quantity=9)
    oldest, newer = [overdue(Line(product.sku, 4)) for _ in range(2)]

    stock.remove(sku=product.sku, amount=3, by=ACTOR)

    assert Reservation.objects.get(pk=oldest.pk).status == "expired"
    assert Reservation.objects.get(pk=newer.pk).status == "open"
    assert levels_of(product) == (6, 4)


@pytest.mark.parametrize(
    "operation",
    [
        partial(stock.remove, amount=3),
        partial(stock.reserve, amount=3),
        partial(stock.adjust, quantity=4, reason="stocktake"),
    ],
)
def test_each_operation_expires_no_more_reservations_than_it_needs(
    operation: Callable[..., object],
) -> None:
    product = ProductFactory.create(quantity=7)
    for _ in range(5):
        overdue(Line(product.sku, 1))

    operation(sku=product.sku, by=ACTOR)

    assert Reservation.objects.filter(status="expired").count() == 1


def test_dependent_operations_get_the_units_that_they_need_together() -> None:
    """At first only the adjust is short. After the adjust, the remove is short, too."""
    product = ProductFactory.create(quantity=12)
    for _ in range(9):
        overdue(Line(product.sku, 1))

    stock.apply(
        [
            stock.Adjust(sku=product.sku, quantity=2, reason="stocktake"),
            stock.Remove(sku=product.sku, amount=2),
        ],
        by=ACTOR,
    )

    assert levels_of(product) == (0, 0)


def test_several_short_lines_of_a_product_get_the_units_that_they_need() -> None:
    product = ProductFactory.create(quantity=6)
    for _ in range(6):
        overdue(Line(product.sku, 1))

    stock.apply([stock.Remove(sku=product.sku, amount=2) for _ in range(3)], by=ACTOR)

    assert levels_of(product) == (0, 0)


def test_an_overdue_reservation_without_lines_is_ignored() -> None:
    """The service creates no such reservation, but a manual change of the database might."""
    Reservation.objects.create(expires_at=timezone.now() - timedelta(minutes=1))

    assert expire() == "0 reservations expired.\n"


def test_fulfilled_units_stay_fulfilled_after_the_expiry() -> None:
    product = ProductFactory.create(quantity=5)
    held = stock.reserve(sku=product.sku, amount=3, expires_in=3600, by=ACTOR)
    stock.fulfill(reservation_id=held.pk, lines=[Line(product.sku, 1)], by=ACTOR)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))

    expire()

    line = held.lines.get()
    assert (line.fulfilled, line.expired, line.open) == (1, 2, 0)
    assert Reservation.objects.get(pk=held.pk).status == "fulfilled"
    assert levels_of(product) == (4, 0)


def test_extend_moves_the_expiry_without_an_event(api: APIClient) -> None:
    product = ProductFactory.create(quantity=5)
    held = stock.reserve(sku=product.sku, amount=3, expires_in=60, by=ACTOR)

    response = api.post(f"/v1/reservations/{held.pk}/extend", {"expires_in": 7200}, format="json")

    assert response.status_code == 200
    extended = Reservation.objects.get(pk=held.pk)
    assert extended.expires_at is not None
    assert extended.expires_at > timezone.now() + timedelta(hours=1)
    assert response.json()["lines"][0]["open"] == 3
    assert Product.objects.get(pk=product.pk).version == 2


def test_extend_of_a_closed_or_unknown_reservation_is_refused(api: APIClient) -> None:
    held = stock.reserve(sku=ProductFactory.create().sku, amount=1, by=ACTOR)
    stock.release(reservation_id=held.pk, by=ACTOR)
    body = {"expires_in": 60}

    closed = api.post(f"/v1/reservations/{held.pk}/extend", body, format="json")
    unknown = api.post("/v1/reservations/999999/extend", body, format="json")

    assert_problem(closed, 409, "reservation_closed")
    assert_problem(unknown, 404, "reservation_not_found")


RETRIED = "in use by other requests. The next run retries them."

only_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no row locks"
)


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_expire_overdue_skips_locked_products_and_reservations() -> None:
    first, second = ProductFactory.create(quantity=9), ProductFactory.create(quantity=9)
    overdue(Line(first.sku, 1))
    order = overdue(Line(first.sku, 1), Line(second.sku, 1))
    for _ in range(3):
        overdue(Line(second.sku, 1))
    hold_product = partial(stock.add, sku=first.sku, amount=1, by=ACTOR)
    hold_order = partial(locking.lock_reservations, [order.pk])

    with OpenChange(hold_product):
        said = expire()
    assert said == f"4 reservations expired. Skipped 2 {RETRIED}\n"
    assert (levels_of(first), levels_of(second)) == ((10, 2), (9, 0))

    with OpenChange(hold_order):
        said = expire()
    assert said == f"1 reservation expired. Skipped 1 {RETRIED}\n"
    assert expire() == "1 reservation expired.\n"
    assert levels_of(first) == (10, 0)


@only_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_file_does_not_wait_for_a_locked_overdue_reservation(
    tmp_path: Path,
) -> None:
    """The file may hold other reservations, so waiting for this one could deadlock."""
    cup, pot = ProductFactory.create(sku="CUP", quantity=2), ProductFactory.create(sku="POT")
    order = overdue(Line("CUP", 2), Line("POT", 1))
    path = tmp_path / "lines.csv"
    path.write_text("sku,remove\nCUP,1\n")

    with OpenChange(partial(locking.lock_reservations, [order.pk])), pytest.raises(SystemExit):
        call_command("bulk_adjust", str(path), stdout=StringIO())
    assert (levels_of(cup), levels_of(pot)) == ((2, 2), (25, 1))

    call_command("bulk_adjust", str(path), stdout=StringIO())
    assert (levels_of(cup), levels_of(pot)) == ((1, 0), (25, 1))


@pytest.mark.django_db(transaction=True)
def test_concurrent_expiries_and_callers_do_not_deadlock_or_lose_units(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The command and callers that need units expire the same orders of shared products."""
    products = [ProductFactory.create(quantity=20) for _ in range(4)]
    lines = [Line(product.sku, 1) for product in products]
    for number in range(20):
        overdue(*(lines if number % 2 else lines[::-1]))
    calls: list[Callable[[], object]] = [expire] * 3
    for product in products:
        calls += [partial(stock.remove, sku=product.sku, amount=5, by=ACTOR)] * 2
        calls += [partial(stock.reserve, sku=product.sku, amount=5, by=ACTOR)]
    calls += [partial(stock.reserve_lines, lines=lines[::-1], by=ACTOR)] * 3

    outcomes = at_once(calls)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert "retrying the transaction" not in caplog.text
    expire()  # Expires the reservations that were skipped because of locks.
    assert expire() == "0 reservations expired.\n"
    assert {levels_of(product) for product in products} == {(10, 8)}


# --------------------------------------------------------------------------- one by its id


def test_one_overdue_reservation_is_expired() -> None:
    product = ProductFactory.create(quantity=5)
    held, other = overdue(Line(product.sku, 2)), overdue(Line(product.sku, 1))

    stock.expire(reservation_id=held.pk, by=ACTOR)

    assert levels_of(product) == (5, 1)
    held.refresh_from_db()
    assert (held.status, held.lines.get().expired) == ("expired", 2)
    assert Reservation.objects.get(pk=other.pk).status == "open"
    event = StockEvent.objects.latest("pk")
    assert (event.type, event.reserved_change, event.reason, event.reservation_id) == (
        "InventoryReleased",
        -2,
        "expired",
        held.pk,
    )


def test_an_overdue_reservation_is_reserved_again() -> None:
    cup, pot = ProductFactory.create(quantity=5), ProductFactory.create(quantity=5)
    held = stock.reserve_lines(
        lines=[Line(cup.sku, 5), Line(pot.sku, 2)], reference="order-1", expires_in=60, by=ACTOR
    )
    stock.fulfill(reservation_id=held.pk, lines=[Line(cup.sku, 1), Line(pot.sku, 2)], by=ACTOR)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))

    new = stock.reserve_again(reservation_id=held.pk, expires_in=3600, by=ACTOR)

    assert (levels_of(cup), levels_of(pot)) == ((4, 4), (3, 0))
    assert (new.reference, new.lines.get().product, new.lines.get().amount) == ("order-1", cup, 4)
    assert new.expires_at is not None
    old = held.lines.get(product=cup)
    assert (old.fulfilled, old.expired, old.open) == (1, 4, 0)
    events = list(cup.events.order_by("-version").values_list("reservation", "reserved_change"))
    assert events[:2] == [(new.pk, 4), (held.pk, -4)]
    assert_sound()


def test_a_reservation_of_an_archived_product_is_not_reserved_again() -> None:
    cup, pot = ProductFactory.create(quantity=5), ProductFactory.create(quantity=5)
    held = overdue(Line(cup.sku, 1), Line(pot.sku, 2))
    stock.edit(sku=pot.sku, archived=True, by=ACTOR)
    before = stored()

    with pytest.raises(stock.ProductArchived) as refused:
        stock.reserve_again(reservation_id=held.pk, by=ACTOR)

    assert [(index, error.sku) for index, error in refused.value.lines] == [(1, pot.sku)]
    assert stored() == before


@pytest.mark.parametrize("verb", [stock.expire, stock.reserve_again])
@pytest.mark.parametrize(
    ("ends_by", "error"),
    [
        ("nothing", stock.Invalid),
        ("release", stock.ReservationClosed),
        ("expiry", stock.ReservationExpired),
    ],
)
def test_only_an_overdue_reservation_is_expired_or_reserved_again(
    verb: Callable[..., object], ends_by: str, error: type[stock.StockError]
) -> None:
    product = ProductFactory.create(quantity=5)
    held = stock.reserve(sku=product.sku, amount=2, expires_in=3600, by=ACTOR)
    if ends_by == "release":
        stock.release(reservation_id=held.pk, by=ACTOR)
    elif ends_by == "expiry":
        Reservation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
        expire()
    before = stored()

    with pytest.raises(error):
        verb(reservation_id=held.pk, by=ACTOR)
    with pytest.raises(stock.ReservationNotFound):
        verb(reservation_id=held.pk + 1, by=ACTOR)

    assert stored() == before


@pytest.mark.parametrize("expires_in", [0, -1, 1.5, True, 1_000_000_001])
def test_reserve_again_refuses_an_invalid_expiry(expires_in: Any) -> None:
    product = ProductFactory.create(quantity=5)
    held = overdue(Line(product.sku, 2))

    with pytest.raises(stock.Invalid):
        stock.reserve_again(reservation_id=held.pk, expires_in=expires_in, by=ACTOR)

    assert levels_of(product) == (5, 2)


@pytest.mark.django_db(transaction=True)
def test_callers_who_reserve_again_at_once_reserve_once() -> None:
    product = ProductFactory.create(quantity=5)
    held = overdue(Line(product.sku, 4))

    outcomes = at_once([partial(stock.reserve_again, reservation_id=held.pk, by=ACTOR)] * 8)

    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"Reservation": 1, "ReservationExpired": 7}
    assert levels_of(product) == (5, 4)
    assert_sound()


@pytest.mark.django_db(transaction=True)
def test_reserve_again_and_other_callers_never_share_units() -> None:
    """An expiry run gives the units back. An order that is short takes them."""
    product = ProductFactory.create(quantity=4)
    held = overdue(Line(product.sku, 4))
    calls: list[Callable[[], object]] = [
        partial(stock.reserve_again, reservation_id=held.pk, by=ACTOR),
        partial(stock.expire_overdue, limit=10, by=ACTOR),
        partial(stock.reserve, sku=product.sku, amount=3, by=ACTOR),
        partial(stock.expire, reservation_id=held.pk, by=ACTOR),
    ]

    outcomes = at_once(calls * 3)

    allowed = (Reservation, tuple, stock.StockError)
    assert all(isinstance(outcome, allowed) for outcome in outcomes), outcomes
    assert levels_of(product)[1] <= 4
    assert not Reservation.objects.overdue().exists()
    assert_sound()
