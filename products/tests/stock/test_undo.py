"""Undo one event: the opposite change, once."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection

from products import stock
from products.files import bulk, operations, undo
from products.files.staging import staging
from products.models import Product, StockEvent
from products.tests.checks import ledger_of, stored
from products.tests.concurrency import OpenChange, at_once, in_another_thread, wait_for_a_lock
from products.tests.factories import ACTOR, ProductFactory
from products.tests.management.bulk_adjust import bulk_adjust

pytestmark = pytest.mark.django_db


@pytest.fixture
def cup(db: None) -> Product:
    """A product with 25 units on hand."""
    return ProductFactory.create(sku="CUP", quantity=25)


def last_event() -> StockEvent:
    return StockEvent.objects.latest("pk")


@pytest.mark.parametrize(
    ("change", "opposite"),
    [
        (partial(stock.add, amount=5), ("InventoryRemoved", -5, 0)),
        (partial(stock.remove, amount=5), ("InventoryAdded", 5, 0)),
        (partial(stock.adjust, quantity=20, reason="stocktake"), ("InventoryAdjusted", 5, 0)),
    ],
)
def test_an_undo_writes_the_opposite(cup: Product, change: Any, opposite: Any) -> None:
    change(sku="CUP", reference="note-7", by=ACTOR)
    event = last_event()

    stock.undo(event, reason="wrong shelf", by=ACTOR)

    undo_event = last_event()
    assert ledger_of(cup)[-1] == opposite
    assert (undo_event.undoes, undo_event.quantity) == (event, 25)
    assert (undo_event.reason, undo_event.reference) == ("wrong shelf", "note-7")


def test_the_undo_of_a_count_keeps_later_sales(cup: Product) -> None:
    stock.adjust(sku="CUP", quantity=20, reason="stocktake", by=ACTOR)
    count = last_event()
    stock.remove(sku="CUP", amount=3, by=ACTOR)

    stock.undo(count, by=ACTOR)

    cup.refresh_from_db()
    assert cup.quantity == 22


def test_an_event_is_undone_once(cup: Product) -> None:
    stock.add(sku="CUP", amount=5, by=ACTOR)
    event = last_event()
    stock.undo(event, by=ACTOR)
    before = stored()

    with pytest.raises(stock.AlreadyUndone):
        stock.undo(event, by=ACTOR)

    assert stored() == before


def test_units_that_are_gone_cannot_be_taken_back(cup: Product) -> None:
    stock.add(sku="CUP", amount=5, by=ACTOR)
    event = last_event()
    stock.reserve(sku="CUP", amount=28, by=ACTOR)
    before = stored()

    with pytest.raises(stock.InsufficientStock, match=r"5 of CUP requested, 2 available\."):
        stock.undo(event, by=ACTOR)

    assert stored() == before


def test_an_archived_product_gets_no_units_back(cup: Product) -> None:
    stock.remove(sku="CUP", amount=5, by=ACTOR)
    event = last_event()
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    with pytest.raises(stock.ProductArchived):
        stock.undo(event, by=ACTOR)


def test_other_events_cannot_be_undone(cup: Product) -> None:
    order = stock.reserve(sku="CUP", amount=2, by=ACTOR)
    stock.fulfill(reservation_id=order.pk, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)
    stock.adjust(sku="CUP", quantity=23, reason="stocktake", by=ACTOR)
    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.undo(last_event(), by=ACTOR)
    before = stored()

    for event in cup.events.exclude(type=StockEvent.Type.ADDED):
        with pytest.raises(stock.CannotUndo):
            stock.undo(event, by=ACTOR)

    assert stored() == before


def test_a_repair_of_the_ledger_cannot_be_undone(cup: Product) -> None:
    repair = stock.Actor(stock.REPAIR_ACTOR, StockEvent.Source.COMMAND)
    stock.adjust(sku="CUP", quantity=20, reason="x", by=repair)

    with pytest.raises(stock.CannotUndo):
        stock.undo(last_event(), by=ACTOR)


# -------------------------------------------------------------------------------- with whole runs


def apply_file(tmp_path: Any) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\nCUP,5\nPOT,5\n")
    bulk_adjust(str(path), "--reference=run-1")


def test_the_undo_of_a_run_leaves_out_events_that_are_undone(cup: Product, tmp_path: Any) -> None:
    ProductFactory.create(sku="POT", quantity=0)
    apply_file(tmp_path)
    stock.undo(cup.events.get(version=2), by=ACTOR)

    ended = bulk_adjust("--undo", "run-1")
    again = bulk_adjust("--undo", "run-1")

    assert (ended.status, again.status) == (0, 0)
    assert dict(Product.objects.values_list("sku", "quantity")) == {"CUP": 25, "POT": 0}
    assert StockEvent.objects.exclude(undoes=None).count() == 2


def test_an_event_of_an_undone_run_is_not_undone_again(cup: Product, tmp_path: Any) -> None:
    ProductFactory.create(sku="POT")
    apply_file(tmp_path)
    bulk_adjust("--undo", "run-1")

    with pytest.raises(stock.AlreadyUndone):
        stock.undo(cup.events.get(version=2), by=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_undone_after_it_was_staged_stops_the_undo_of_the_run(
    tmp_path: Any,
) -> None:
    """The run can be undone again, without this event."""
    cup = ProductFactory.create(sku="CUP", quantity=25)
    ProductFactory.create(sku="POT", quantity=0)
    apply_file(tmp_path)
    run = undo.run_of("run-1")

    with staging(undo.codec("undo")) as table:
        undo.stage(table, run)
        in_another_thread(partial(stock.undo, cup.events.get(version=2), by=ACTOR))
        claim = undo.UndoClaim(run, events=table.lines)
        report = bulk.apply_whole(
            table, operations.AdjustmentLines(by=ACTOR), claim=claim, progress=lambda _: None
        )

    assert not report.is_applied
    assert [refusal.code for refusal in report.refusals] == ["already_undone"]
    assert bulk_adjust("--undo", "run-1").status == 0
    assert dict(Product.objects.values_list("sku", "quantity")) == {"CUP": 25, "POT": 0}


# ------------------------------------------------------------------------------------------- races


@pytest.mark.django_db(transaction=True)
def test_of_several_undos_at_once_one_is_applied() -> None:
    """On PostgreSQL, `--plant no-lock` fails it."""
    cup = ProductFactory.create(sku="CUP", quantity=25)
    stock.add(sku="CUP", amount=5, by=ACTOR)
    event = last_event()

    outcomes = at_once([partial(stock.undo, event, by=ACTOR)] * 8)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *["AlreadyUndone"] * 7,
        "Product",
    ]
    cup.refresh_from_db()
    assert (cup.quantity, cup.version) == (25, 3)


@pytest.mark.django_db(transaction=True)
def test_changes_are_undone_together_or_one_by_one_but_once() -> None:
    """On PostgreSQL, `--plant no-lock` fails it in most runs."""
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, quantity=25)
        stock.add(sku=sku, amount=5, by=ACTOR)
    events = list(StockEvent.objects.filter(type=StockEvent.Type.ADDED).select_related("product"))

    all_at_once = partial(stock.undo_all, events, by=ACTOR)
    outcomes = at_once(
        [*[all_at_once] * 4, *(partial(stock.undo, each, by=ACTOR) for each in events)]
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {type(error).__name__ for error in refused} == {"AlreadyUndone"}
    assert set(Product.objects.values_list("quantity", "version")) == {(25, 3)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the whole database")
def test_an_undo_that_waited_for_the_lock_sees_the_other() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=25)
    stock.add(sku="CUP", amount=5, by=ACTOR)
    again = partial(stock.undo, last_event(), by=ACTOR)
    first = OpenChange(again)
    with ThreadPoolExecutor() as threads:
        second = threads.submit(at_once, [again])
        wait_for_a_lock()
        first.end()
        [outcome] = second.result(timeout=60)

    assert isinstance(outcome, stock.AlreadyUndone)
    cup.refresh_from_db()
    assert cup.quantity == 25
