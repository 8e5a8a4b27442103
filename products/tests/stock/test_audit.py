"""`verify_stock`: find contradictions, and repair levels by an event."""

from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from products import stock, triggers
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.stock import Line
from products.tests.factories import ACTOR, ProductFactory, record_event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def books(db: None) -> Iterator[None]:
    """Create two products with a history and an order. Roll back the damage of the test."""
    ProductFactory.create(sku="CUP", quantity=25)
    ProductFactory.create(sku="POT", quantity=25)
    stock.add(sku="CUP", amount=5, by=ACTOR)
    stock.remove(sku="CUP", amount=3, by=ACTOR)
    order = stock.reserve_lines(lines=[Line("CUP", 4), Line("POT", 2)], by=ACTOR)
    stock.fulfill(reservation_id=order.pk, lines=[Line("POT", 1)], by=ACTOR)
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def verify(*, repair: bool = False) -> tuple[int, list[str]]:
    """Run the command. Return its exit code and its output lines."""
    out = StringIO()
    try:
        call_command("verify_stock", repair=repair, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def delete_event(version: int) -> None:
    triggers.remove(connection)
    StockEvent.objects.filter(sku="CUP", version=version).delete()


def test_a_sound_ledger_is_reported() -> None:
    assert verify() == (0, ["No differences found. The ledger matches all stock levels."])


def test_edits_are_versions_without_a_change_of_levels() -> None:
    cup = Product.objects.get(sku="CUP")
    edit = {"minimum_stock_level": {"old": 0, "new": 7}}
    record_event(cup, StockEvent.Type.PRODUCT_EDITED, details=edit)
    record_event(cup, StockEvent.Type.PRODUCT_ARCHIVED)
    record_event(cup, StockEvent.Type.PRODUCT_RESTORED)
    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert verify() == (0, ["No differences found. The ledger matches all stock levels."])


def change_level() -> None:
    Product.objects.filter(sku="CUP").update(quantity=30)


def lose_an_event() -> None:
    delete_event(3)


def lose_the_last_event() -> None:
    delete_event(4)


def drift_reserved() -> None:
    Product.objects.filter(sku="CUP").update(reserved_quantity=6)


def lose_a_line() -> None:
    ReservationLine.objects.filter(product__sku="CUP").delete()


def change_version() -> None:
    Product.objects.filter(sku="CUP").update(version=9)


def rewrite_an_event() -> None:
    triggers.remove(connection)
    StockEvent.objects.filter(sku="CUP", version=2).update(quantity=31)


def change_status() -> None:
    Reservation.objects.update(status=Reservation.Status.RELEASED)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (change_level, ["CUP quantity 30 on hand, 27 according to the ledger"]),
        (
            lose_an_event,
            [
                "CUP quantity 27 on hand, 30 according to the ledger",
                "CUP events 3 events, but the last event has version 4",
                "CUP gap no events between versions 2 and 4",
            ],
        ),
        (
            lose_the_last_event,
            [
                "CUP reserved_by_ledger 4 reserved, 0 according to the ledger",
                "CUP version version 4, but the last event has version 3",
            ],
        ),
        (
            drift_reserved,
            [
                "CUP reserved_by_ledger 6 reserved, 4 according to the ledger",
                "CUP reserved_by_reservations 6 reserved, 4 open in reservations",
            ],
        ),
        (
            lose_a_line,
            ["CUP reserved_by_reservations 4 reserved, 0 open in reservations"],
        ),
        (change_version, ["CUP version version 9, but the last event has version 4"]),
        (
            rewrite_an_event,
            [
                "CUP levels event 2 has 31 on hand and 0 reserved after a change of +5 and +0 "
                "from 25 and 0",
                "CUP levels event 3 has 27 on hand and 0 reserved after a change of -3 and +0 "
                "from 31 and 0",
            ],
        ),
        (change_status, ["- status reservation {order} is released, open according to its lines"]),
    ],
)
def test_damage_is_reported(damage: Callable[[], None], found: list[str]) -> None:
    order = Reservation.objects.get().pk
    damage()

    code, lines = verify()

    expected = [line.format(order=order) for line in found]
    counted = "1 difference." if len(found) == 1 else f"{len(found)} differences."
    assert [line.replace("\t", " ") for line in lines] == [*expected, counted]
    assert code == 1


@pytest.mark.parametrize(
    ("damage", "event", "levels"),
    [
        (change_level, (3, 0, 30, 4), (30, 4)),
        (drift_reserved, (0, 0, 27, 4), (27, 4)),
        (lose_a_line, (0, -4, 27, 0), (27, 0)),
    ],
)
def test_a_repair_records_an_event_that_explains_the_levels(
    damage: Callable[[], None], event: tuple[int, int, int, int], levels: tuple[int, int]
) -> None:
    damage()

    code, lines = verify(repair=True)

    repair = StockEvent.objects.get(type=StockEvent.Type.ADJUSTED)
    changes = (repair.quantity_change, repair.reserved_change)
    assert (*changes, repair.quantity, repair.reserved_quantity) == event
    assert (repair.sku, repair.version, repair.actor) == ("CUP", 5, "verify_stock")
    assert repair.reason == "the ledger did not explain the levels"
    assert Product.objects.get(sku="CUP").levels[:2] == levels
    assert (code, "CUP\trepaired" in lines) == (1, True)
    assert verify()[0] == 0


def test_a_repair_does_not_fill_a_gap() -> None:
    lose_an_event()

    verify(repair=True)

    code, lines = verify()
    assert [line.split("\t")[1] for line in lines[:-1]] == ["events", "gap"]
    assert code == 1


def test_damage_beyond_repair_is_reported() -> None:
    triggers.remove(connection)
    line = ReservationLine.objects.get(product__sku="CUP")
    ReservationLine.objects.filter(pk=line.pk).update(amount=100, open=100)

    _, lines = verify(repair=True)

    detail = "Reservations hold 100 of CUP, but only 27 are on hand. Release reservations first."
    assert f"CUP\tnot repaired\t{detail}" in lines
    assert not StockEvent.objects.filter(type=StockEvent.Type.ADJUSTED).exists()


@pytest.mark.parametrize("batch", [1, 2])
def test_all_batches_are_checked(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr("products.stock.audit.BATCH", batch)
    Product.objects.update(quantity=40)

    _, lines = verify()

    assert [line.split("\t")[0] for line in lines[:-1]] == ["CUP", "POT"]
