"""Many concurrent callers, in threads.

On SQLite, these tests show that no caller gets "database is locked". On PostgreSQL, they show that
the row locks work: with `--plant no-lock`, which removes the locks, they fail. The first test does
the same for one case, step by step.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from rest_framework.test import APIClient

from products import demo, stock
from products.ledger import locking
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.stock import Line
from products.tests.concurrency import OpenChange, at_once, wait_for_a_lock
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def kinds(outcomes: Iterable[object]) -> Counter[str]:
    """Count outcomes by the name of their type."""
    return Counter(type(outcome).__name__ for outcome in outcomes)


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite has no row locks: a transaction locks the whole database when it begins",
)
def test_without_the_lock_two_callers_would_sell_the_same_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both callers read "1 available" before either of them writes.

    Only the safety net stops the second one: two events of a product cannot have the same version.
    """
    product = ProductFactory.create(quantity=1)
    both_have_read = threading.Barrier(2)

    def read_without_lock(skus: Iterable[str], **_: Any) -> dict[str, Product]:
        found = {found.sku: found for found in Product.objects.filter(sku__in=set(skus))}
        both_have_read.wait(timeout=60)
        return found

    monkeypatch.setattr(locking, "lock_products", read_without_lock)
    outcomes = at_once([partial(stock.remove, sku=product.sku, amount=1, by=ACTOR)] * 2)

    assert kinds(outcomes) == {"Product": 1, "IntegrityError": 1}
    assert any(isinstance(outcome, IntegrityError) for outcome in outcomes)


def test_the_last_unit_has_exactly_one_buyer() -> None:
    product = ProductFactory.create(quantity=1)

    outcomes = at_once([partial(stock.remove, sku=product.sku, amount=1, by=ACTOR)] * 16)

    assert kinds(outcomes) == {"Product": 1, "InsufficientStock": 15}


def test_64_callers_of_20_units_get_exactly_20() -> None:
    product = ProductFactory.create(quantity=20)

    outcomes = at_once([partial(stock.reserve, sku=product.sku, amount=1, by=ACTOR)] * 64)

    assert kinds(outcomes) == {"Reservation": 20, "InsufficientStock": 44}
    product.refresh_from_db()
    assert (product.quantity, product.reserved_quantity, product.version) == (20, 20, 21)


def test_orders_with_the_same_products_in_opposite_order_do_not_deadlock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A deadlock would be retried, so the test also checks the log for a retry."""
    skus = [ProductFactory.create(quantity=100).sku for _ in range(5)]
    there = [Line(sku, 1) for sku in skus]
    back = there[::-1]

    outcomes = at_once(
        [partial(stock.reserve_lines, lines=lines, by=ACTOR) for lines in [there, back] * 8]
    )

    assert kinds(outcomes) == {"Reservation": 16}
    assert "retrying the transaction" not in caplog.text


def test_a_count_never_falls_below_the_reserved_quantity() -> None:
    product = ProductFactory.create(quantity=10)
    reserve = partial(stock.reserve, sku=product.sku, amount=1, by=ACTOR)
    count = partial(stock.adjust, sku=product.sku, quantity=5, reason="stocktake", by=ACTOR)

    outcomes = at_once([reserve] * 8 + [count] * 4)

    assert set(kinds(outcomes)) <= {
        "Reservation",
        "Product",
        "InsufficientStock",
        "BelowReserved",
    }
    product.refresh_from_db()
    assert product.reserved_quantity == kinds(outcomes)["Reservation"]


def test_a_late_count_is_applied_once_and_keeps_concurrent_sales() -> None:
    product = ProductFactory.create(quantity=25)
    moment = product.events.get().occurred_at
    count = partial(
        stock.adjust, sku=product.sku, quantity=24, counted_at=moment, reason="x", by=ACTOR
    )
    sell = partial(stock.remove, sku=product.sku, amount=1, by=ACTOR)

    outcomes = at_once([count, sell] * 8)

    assert kinds(outcomes) == {"Product": 9, "CountedAgain": 7}
    product.refresh_from_db()
    assert (product.quantity, product.version) == (16, 10)


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite locks the whole database from the start"
)
def test_a_late_count_that_waited_for_the_lock_sees_what_it_waited_for() -> None:
    product = ProductFactory.create(quantity=25)
    count = partial(
        stock.adjust,
        sku=product.sku,
        quantity=24,
        counted_at=product.events.get().occurred_at,
        reason="x",
        by=ACTOR,
    )
    first = OpenChange(count)
    with ThreadPoolExecutor() as threads:
        second = threads.submit(at_once, [count])
        wait_for_a_lock()
        first.end()
        outcomes = second.result(timeout=60)

    assert kinds(outcomes) == {"CountedAgain": 1}
    product.refresh_from_db()
    assert product.quantity == 24


@pytest.mark.parametrize("end", [stock.release, stock.fulfill])
def test_a_reservation_ends_once(end: Callable[..., Reservation]) -> None:
    product = ProductFactory.create(quantity=10)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    outcomes = at_once([partial(end, reservation_id=reservation.pk, by=ACTOR)] * 8)

    assert kinds(outcomes) == {"Reservation": 1, "ReservationClosed": 7}
    assert StockEvent.objects.filter(reservation=reservation).count() == 2


def test_release_and_fulfill_of_one_reservation_do_not_both_happen() -> None:
    product = ProductFactory.create(quantity=10)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)
    calls = [partial(stock.release, reservation_id=reservation.pk, by=ACTOR)] * 4
    calls += [partial(stock.fulfill, reservation_id=reservation.pk, by=ACTOR)] * 4

    outcomes = at_once(calls)

    assert kinds(outcomes) == {"Reservation": 1, "ReservationClosed": 7}
    product.refresh_from_db()
    assert (product.quantity, product.reserved_quantity) in [(10, 0), (6, 0)]


def test_release_of_a_product_and_of_its_reservations_do_not_deadlock() -> None:
    product = ProductFactory.create(quantity=100)
    held = [stock.reserve(sku=product.sku, amount=2, by=ACTOR) for _ in range(8)]
    calls = [partial(stock.release, reservation_id=one.pk, by=ACTOR) for one in held[::-1]]
    by_product = [partial(stock.release_product, sku=product.sku, amount=3, by=ACTOR)] * 4

    outcomes = at_once([*calls, *by_product])

    assert not set(kinds(outcomes)) - {
        "Reservation",
        "Product",
        "ReservationClosed",
        "InsufficientReserved",
    }
    product.refresh_from_db()
    assert product.reserved_quantity == 0


def test_a_sku_is_created_once() -> None:
    outcomes = at_once([partial(stock.create, sku="NEW", name="New", quantity=5, by=ACTOR)] * 8)

    assert kinds(outcomes) == {"Product": 1, "DuplicateSku": 7}


@pytest.mark.slow
def test_creates_of_the_same_products_in_opposite_order_do_not_deadlock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    new = [stock.NewProduct(sku=f"NEW-{number:03}", name="x") for number in range(2_000)]

    outcomes = at_once([partial(stock.save_products, new[::step], by=ACTOR) for step in (1, -1)])

    assert kinds(outcomes) == {"list": 1, "DuplicateSku": 1}
    assert "retrying the transaction" not in caplog.text


def test_a_concurrent_rename_does_not_affect_a_reserve() -> None:
    product = ProductFactory.create(quantity=10)
    calls = [partial(stock.reserve, sku=product.sku, amount=1, by=ACTOR)] * 7
    renames = [partial(stock.edit, sku=product.sku, name=f"Name {n}", by=ACTOR) for n in range(4)]

    outcomes = at_once([*calls, *renames])

    assert kinds(outcomes) == {"Reservation": 7, "Product": 4}
    product.refresh_from_db()
    assert (product.quantity, product.reserved_quantity) == (10, 7)


@pytest.mark.slow
@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite locks the whole database, and waits for its busy timeout",
)
def test_a_caller_that_cannot_acquire_the_lock_in_time_gets_busy(api: APIClient) -> None:
    product = ProductFactory.create(quantity=10)
    locked, answered = threading.Event(), threading.Event()

    @transaction.atomic
    def hold_the_lock() -> None:
        locking.lock_products([product.sku])
        locked.set()
        answered.wait(timeout=60)

    def ask() -> tuple[int, str]:
        locked.wait(timeout=60)
        api.raise_request_exception = False
        response = api.post(f"/v1/products/{product.sku}/add", {"amount": 1}, format="json")
        answered.set()
        return response.status_code, response.json()["code"]

    assert at_once([hold_the_lock, ask]) == [None, (503, "busy")]


@pytest.mark.slow
def test_eight_clients_place_and_fulfill_real_orders_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Use the 236 invoices of the demo data. Stock is scarce, so some orders must be refused."""
    orders = demo.read_orders()
    ordered: Counter[str] = Counter()
    for lines in orders.values():
        ordered.update({line.sku: 0 for line in lines})
        for line in lines:
            ordered[line.sku] += line.amount
    stock.save_products(
        [
            stock.NewProduct(sku=sku, name=sku, quantity=amount * 9 // 10 + 1)
            for sku, amount in ordered.items()
        ],
        by=ACTOR,
    )
    queue = list(orders.items())
    random.Random(7).shuffle(queue)
    refused: list[str] = []

    def place_and_fulfill(client: int) -> None:
        for order, lines in queue[client::8]:
            try:
                reservation = stock.reserve_lines(
                    lines=[Line(line.sku, line.amount) for line in lines],
                    reference=order,
                    by=ACTOR,
                )
                stock.fulfill(reservation_id=reservation.pk, reference=order, by=ACTOR)
            except stock.InsufficientStock:
                refused.append(order)

    outcomes = at_once([partial(place_and_fulfill, client) for client in range(8)])

    assert outcomes == [None] * 8
    assert "retrying the transaction" not in caplog.text
    shipped = {order: lines for order, lines in orders.items() if order not in refused}
    assert 0 < len(refused) < len(orders)
    assert set(
        Reservation.objects.filter(status="fulfilled").values_list("reference", flat=True)
    ) == set(shipped)
    assert Reservation.objects.count() == len(shipped)
    expected: Counter[str] = Counter()
    for lines in shipped.values():
        for line in lines:
            expected[line.sku] += line.amount
    gone: Counter[str] = Counter()
    for sku, fulfilled in ReservationLine.objects.values_list("product__sku", "fulfilled"):
        gone[sku] += fulfilled
    assert gone == expected
    for sku, quantity, reserved in Product.objects.values_list(
        "sku", "quantity", "reserved_quantity"
    ):
        assert (quantity, reserved) == (ordered[sku] * 9 // 10 + 1 - expected[sku], 0)
