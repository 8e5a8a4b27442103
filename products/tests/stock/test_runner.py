"""The transaction of a verb: retries, the COMMIT with the last statement, and rollback."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from products import stock
from products.ledger.locking import Locked, Products
from products.ledger.posting import Posting
from products.models import Product, StockEvent
from products.stock import Line, NewProduct
from products.stock.runner import Verb, run
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

on_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="Django sends the COMMIT of SQLite"
)


class RemoveOne(Verb[Locked, Product]):
    """Remove a unit, and call `before` under the lock."""

    def __init__(self, sku: str, before: Callable[[], object]) -> None:
        self.wants = Products([sku])
        self._sku, self._before = sku, before

    def decide(self, locked: Locked, posting: Posting) -> Product:
        product = locked.products[self._sku]
        posting.record(product, StockEvent.Type.REMOVED, quantity_change=-1)
        self._before()
        return product


def aborted(sqlstate: str) -> OperationalError:
    """Return the error that Django raises if PostgreSQL aborts a transaction."""
    error = OperationalError("aborted")
    error.__cause__ = psycopg.errors.lookup(sqlstate)()
    return error


class Fails:
    """Raise one of the errors in each call, and count the calls."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors = list(errors)

    def __call__(self) -> None:
        self.calls += 1
        if self._errors:
            raise self._errors.pop()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_an_aborted_transaction_is_retried(sqlstate: str) -> None:
    product = ProductFactory.create(quantity=10)

    after = run(RemoveOne(product.sku, Fails(*[aborted(sqlstate)] * 3)), by=ACTOR)

    assert after.quantity == 9
    assert StockEvent.objects.filter(product=product).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_is_retried_three_times_at_most() -> None:
    fails = Fails(*[aborted("40P01")] * 9)

    with pytest.raises(OperationalError):
        run(RemoveOne(ProductFactory.create().sku, fails), by=ACTOR)
    assert fails.calls == 4


@pytest.mark.django_db(transaction=True)
def test_a_verb_inside_another_transaction_is_not_retried() -> None:
    fails = Fails(aborted("40P01"))
    sku = ProductFactory.create().sku

    with pytest.raises(OperationalError), transaction.atomic():
        run(RemoveOne(sku, fails), by=ACTOR)
    assert fails.calls == 1


@pytest.mark.django_db(transaction=True)
def test_another_database_error_is_not_retried() -> None:
    fails = Fails(DatabaseError("something else"))

    with pytest.raises(DatabaseError):
        run(RemoveOne(ProductFactory.create().sku, fails), by=ACTOR)
    assert fails.calls == 1


# ------------------------------------------------------------------------------------ the COMMIT


def query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_query_after_the_commit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start a transaction that nothing commits."""
    product = ProductFactory.create(quantity=10)
    write = Posting.write

    def write_and_query(self: Posting, **options: Any) -> bool:
        committed = write(self, **options)
        query()
        return committed

    monkeypatch.setattr(Posting, "write", write_and_query)
    with pytest.raises(AssertionError, match="after the COMMIT"):
        stock.remove(sku=product.sku, amount=1, by=ACTOR)

    monkeypatch.undo()
    assert stock.remove(sku=product.sku, amount=1, by=ACTOR).quantity == 8


def test_a_verb_that_writes_while_it_decides_is_an_error() -> None:
    """The fixture `_verbs_decide_in_memory` raises it."""
    product = ProductFactory.create(quantity=10)

    def write() -> None:
        Product.objects.filter(pk=product.pk).update(name="Mug")

    with pytest.raises(AssertionError, match="decides"):
        run(RemoveOne(product.sku, write), by=ACTOR)

    assert run(RemoveOne(product.sku, query), by=ACTOR).quantity == 9


# ------------------------------------------------------------------------------------- rollback


def test_a_verb_that_fails_inside_a_transaction_changes_nothing() -> None:
    """The caller catches the error and commits its other changes."""
    product = ProductFactory.create(quantity=10)

    with transaction.atomic():
        stock.remove(sku=product.sku, amount=1, by=ACTOR)
        with pytest.raises(stock.InsufficientStock):
            stock.remove(sku=product.sku, amount=100, by=ACTOR)

    assert Product.objects.get(pk=product.pk).quantity == 9


def test_an_edit_from_a_stale_form_does_not_restore_old_levels() -> None:
    """The admin opens a form, another request reserves, then the form is saved."""
    product = ProductFactory.create(quantity=10)
    opened_before = Product.objects.get(pk=product.pk)
    stock.reserve(sku=product.sku, amount=7, by=ACTOR)

    stock.edit(sku=opened_before.sku, name="Renamed", by=ACTOR)

    assert Product.objects.get(pk=product.pk).levels == (10, 7, 0)


# -------------------------------------------------------------------------------- number of queries


def test_an_order_of_a_thousand_lines_takes_as_many_queries_as_one_line() -> None:
    stock.save_products(
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
