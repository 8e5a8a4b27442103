"""The transaction, its retries, and a ledger that nobody can rewrite."""

from collections.abc import Callable

import psycopg
import pytest
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)
from django.db.models import F, ProtectedError
from django.test.utils import CaptureQueriesContext

from products import ledger, stock, triggers
from products.models import Product, ReservationLine, StockEvent
from products.stock import Line, NewProduct
from products.tests.factories import ACTOR, ProductFactory, record_event

pytestmark = pytest.mark.django_db


# -------------------------------------------------------------------------------------- append-only


@pytest.mark.parametrize(
    "change",
    [
        lambda: StockEvent.objects.update(reason="rewritten"),
        lambda: StockEvent.objects.all().delete(),
        lambda: connection.cursor().execute("DELETE FROM products_stockevent"),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_event(change: Callable[[], object]) -> None:
    product = ProductFactory.create()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        change()

    assert StockEvent.objects.get(product=product).reason == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no TRUNCATE")
def test_the_database_refuses_to_truncate_the_ledger() -> None:
    ProductFactory.create()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        connection.cursor().execute("TRUNCATE products_stockevent")


def test_migrate_brings_the_triggers_back() -> None:
    """A migration that rebuilds the table on SQLite drops them."""
    ProductFactory.create()
    triggers.remove(connection)

    call_command("migrate", verbosity=0)

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        StockEvent.objects.update(reason="rewritten")


@pytest.mark.django_db(transaction=True)
def test_events_of_before_are_given_the_sku_of_their_product() -> None:
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="POT")

    call_command("migrate", "products", "0003", verbosity=0)
    call_command("migrate", verbosity=0)

    assert list(StockEvent.objects.values_list("sku", flat=True)) == ["CUP", "POT"]
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        StockEvent.objects.update(sku="MUG")


@pytest.mark.django_db(transaction=True)
def test_events_of_before_get_empty_details_and_stay_append_only() -> None:
    """On SQLite the migration rebuilds the table."""
    ProductFactory.create(sku="CUP")

    call_command("migrate", "products", "0012", verbosity=0)
    call_command("migrate", verbosity=0)
    stock.add(sku="CUP", amount=1, by=ACTOR)

    events = StockEvent.objects.order_by("pk")
    assert list(events.values_list("details", "undoes")) == [({}, None)] * 2
    for change in (lambda: events.update(details={"a": 1}), lambda: events.order_by().delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()


def test_a_product_with_events_cannot_be_deleted() -> None:
    product = ProductFactory.create()

    with pytest.raises(ProtectedError):
        product.delete()
    with transaction.atomic():
        connection.cursor().execute("DELETE FROM products_product WHERE id = %s", [product.pk])
        # Databases check the foreign keys when a transaction ends: asked for here.
        with pytest.raises(IntegrityError):
            connection.check_constraints()
        transaction.set_rollback(True)

    assert Product.objects.filter(pk=product.pk).exists()


# -------------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", -1),
        ("quantity", 1_000_000_001),
        ("reserved_quantity", -1),
        ("reserved_quantity", F("quantity") + 1),
        ("minimum_stock_level", -1),
        ("minimum_stock_level", 1_000_000_001),
        ("version", 0),
        ("sku", "OTHER"),
    ],
)
def test_the_database_refuses_a_product_that_must_not_be(field: str, value: object) -> None:
    ProductFactory.create(sku="OTHER")
    product = ProductFactory.create()

    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", 4),
        ("fulfilled", 1),
        ("open", 2),
        ("released", -1),
    ],
)
def test_the_database_refuses_a_line_whose_parts_do_not_sum(field: str, value: int) -> None:
    stock.reserve(sku=ProductFactory.create().sku, amount=3, by=ACTOR)

    with pytest.raises(IntegrityError), transaction.atomic():
        ReservationLine.objects.update(**{field: value})


def test_the_database_refuses_a_version_twice() -> None:
    event = StockEvent.objects.get(product=ProductFactory.create())
    event.pk = None

    with pytest.raises(IntegrityError), transaction.atomic():
        StockEvent.objects.bulk_create([event])


def test_the_database_refuses_to_undo_an_event_twice() -> None:
    product = ProductFactory.create()
    event = StockEvent.objects.get(product=product)
    edit = StockEvent.Type.PRODUCT_EDITED
    record_event(product, edit, undoes=event)
    record_event(product, edit)

    with pytest.raises(IntegrityError), transaction.atomic():
        record_event(product, edit, undoes=event)


# ------------------------------------------------------------------------------ the transaction


def broken_off(sqlstate: str) -> OperationalError:
    """Return the error with which Django reports that PostgreSQL broke off a transaction."""
    error = OperationalError("broken off")
    error.__cause__ = psycopg.errors.lookup(sqlstate)()
    return error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_transaction_that_was_broken_off_is_run_again(sqlstate: str) -> None:
    product = ProductFactory.create(quantity=10)
    failures = [broken_off(sqlstate)] * 3

    @ledger.transactional
    def remove_and_fail_at_first() -> Product:
        after = stock.remove(sku=product.sku, amount=1, by=ACTOR)
        if failures:
            raise failures.pop()
        return after

    assert remove_and_fail_at_first().quantity == 9
    assert StockEvent.objects.filter(product=product).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_is_run_four_times_at_most() -> None:
    runs = []

    @ledger.transactional
    def always_broken_off() -> None:
        runs.append(1)
        raise broken_off("40P01")

    with pytest.raises(OperationalError):
        always_broken_off()
    assert len(runs) == 4


@pytest.mark.django_db(transaction=True)
def test_what_is_inside_another_transaction_is_not_run_again() -> None:
    runs = []

    @ledger.transactional
    def broken_off_inside() -> None:
        runs.append(1)
        raise broken_off("40P01")

    with pytest.raises(OperationalError), transaction.atomic():
        broken_off_inside()
    assert len(runs) == 1


@pytest.mark.django_db(transaction=True)
def test_another_database_error_is_not_retried() -> None:
    runs = []

    @ledger.transactional
    def fails() -> None:
        runs.append(1)
        raise DatabaseError("something else")

    with pytest.raises(DatabaseError):
        fails()
    assert len(runs) == 1


def test_a_verb_that_fails_inside_a_callers_transaction_leaves_nothing() -> None:
    """A caller may catch the error and commit what else it did."""
    product = ProductFactory.create(quantity=10)

    with transaction.atomic():
        stock.remove(sku=product.sku, amount=1, by=ACTOR)
        with pytest.raises(stock.InsufficientStock):
            stock.remove(sku=product.sku, amount=100, by=ACTOR)

    assert Product.objects.get(pk=product.pk).quantity == 9


def test_a_stale_instance_cannot_bring_back_old_stock_through_edit() -> None:
    """As the admin does it: a form is opened, somebody reserves, the form is saved."""
    product = ProductFactory.create(quantity=10)
    opened_before = Product.objects.get(pk=product.pk)
    stock.reserve(sku=product.sku, amount=7, by=ACTOR)

    stock.edit(sku=opened_before.sku, name="Renamed", by=ACTOR)

    assert Product.objects.get(pk=product.pk).levels == (10, 7, 0)


# -------------------------------------------------------------------------------- number of queries


def test_an_order_of_a_thousand_lines_costs_the_same_queries_as_one_of_one() -> None:
    stock.create_many(
        [NewProduct(sku=f"CUP-{n}", name="Cup", quantity=3) for n in range(1000)], by=ACTOR
    )

    def queries_of(lines: int) -> int:
        order = [Line(f"CUP-{n}", 2) for n in range(lines)]
        part = [Line(f"CUP-{n}", 1) for n in range(lines)]
        with CaptureQueriesContext(connection) as captured:
            reservation = stock.reserve_lines(lines=order, by=ACTOR)
            stock.release(reservation_id=reservation.pk, lines=part, by=ACTOR)
            stock.fulfill(reservation_id=reservation.pk, by=ACTOR)
        return len(captured)

    assert queries_of(1) == queries_of(1000)


def test_levels_and_statuses_are_written_in_one_statement() -> None:
    products = [ProductFactory.create(quantity=n) for n in range(3)]
    for product in products:
        product.quantity += 10
        product.version += 1

    with CaptureQueriesContext(connection) as captured:
        ledger.update_rows(products, ["quantity"])

    assert len(captured) == 1
    stored = Product.objects.order_by("pk").values_list("quantity", "version")
    assert list(stored) == [(10, 1), (11, 1), (12, 1)]
    Product.objects.update(quantity=F("quantity") - 10)
