"""Prepared statements: round trips, plans, and errors."""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    NotSupportedError,
    connection,
    transaction,
)
from django.db.models import F
from django.test import override_settings
from rest_framework.test import APIClient

from products import stock
from products.db.prepared import array, execute_prepared
from products.models import Product, Reservation, StockEvent
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

only_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no network, and uses Django's cursors"
)

VERBS: list[Callable[[], object]] = [
    partial(stock.add, sku="CUP", amount=1, by=ACTOR),
    partial(stock.remove, sku="CUP", amount=1, by=ACTOR),
    partial(stock.adjust, sku="CUP", quantity=3, reason="count", by=ACTOR),
    partial(stock.reserve, sku="CUP", amount=1, by=ACTOR),
]


class NoDeal(Exception):
    pass


def run(sql: str, *values: Any, commits: bool = False, waits: bool = True) -> Any:
    return execute_prepared(sql, values, commits=commits, waits=waits)


def round_trips(verb: Callable[[], object], folder: Path) -> list[int]:
    """Return the number of statements in each round trip of a verb, from libpq's trace."""
    trace = folder / "messages"
    with trace.open("w") as file:
        connection.connection.pgconn.trace(file.fileno())
        verb()
        connection.connection.pgconn.untrace()
    messages = [line.split("\t") for line in trace.read_text().splitlines()]
    return [
        sum(kind in ("Execute", "Query") for _, _, _, kind, *_ in group)
        for sender, group in groupby(messages, itemgetter(1))
        if sender == "F"
    ]


@only_postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_a_change_takes_two_round_trips(verb: Callable[[], object], tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    verb()

    # BEGIN with the lock, and the write with COMMIT.
    assert round_trips(verb, tmp_path) == [2, 2]


@only_postgresql
def test_a_late_count_takes_three_round_trips(tmp_path: Path) -> None:
    products = [ProductFactory.create(quantity=5) for _ in range(2)]

    def count(product: Product) -> Callable[[], object]:
        [created] = product.events.all()
        return partial(
            stock.adjust,
            sku=product.sku,
            quantity=3,
            counted_at=created.occurred_at,
            reason="count",
            by=ACTOR,
        )

    first, second = map(count, products)
    first()

    # The lock, the levels at the moment, and the write.
    assert round_trips(second, tmp_path) == [2, 1, 2]


@only_postgresql
def test_other_verbs_also_commit_with_their_write(tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    for _ in range(2):
        stock.reserve(sku="CUP", amount=1, by=ACTOR)
    # Prepare the statements before counting them.
    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.release_product(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)

    def release() -> object:
        return stock.release_product(sku="CUP", amount=1, by=ACTOR)

    def edit() -> object:
        return stock.edit(sku="CUP", name="Jug", by=ACTOR)

    def reconcile() -> object:
        return stock.reconcile(sku="CUP", by=ACTOR)

    # Between lock and write: the oldest lines, the lock of their reservations, their units, the
    # lines again.
    assert round_trips(release, tmp_path) == [2, 1, 1, 1, 1, 2]
    assert round_trips(edit, tmp_path) == [2, 2]
    Product.objects.update(quantity=F("quantity") + 1)
    # Between lock and write: the open units, and the sums of the ledger.
    assert round_trips(reconcile, tmp_path) == [2, 1, 1, 2]


@only_postgresql
@pytest.mark.parametrize("verb", [stock.fulfill, stock.release])
def test_ending_a_reservation_takes_four_round_trips(
    verb: Callable[..., object], tmp_path: Path
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    first, second = [stock.reserve(sku="CUP", amount=1, by=ACTOR).pk for _ in range(2)]
    verb(reservation_id=first, by=ACTOR)

    # The lock of the products, the lock of the reservation, its lines, and the write.
    taken = round_trips(partial(verb, reservation_id=second, by=ACTOR), tmp_path)

    assert taken == [2, 1, 1, 2]


@pytest.mark.parametrize("verb", VERBS)
@override_settings(PREPARED_STATEMENTS=False)
def test_a_change_works_without_prepared_statements(verb: Callable[[], object]) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)

    verb()

    stored = Product.objects.get(sku="CUP")
    assert stored.levels != product.levels
    assert StockEvent.objects.filter(product=product).latest("pk").quantity == stored.quantity


@only_postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_the_statements_of_a_change_are_planned_once(verb: Callable[[], object]) -> None:
    ProductFactory.create(sku="CUP", quantity=50)
    plans = "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements"
    verb()
    [(planned_before, planned_anew_before)] = run(plans)

    verb()

    [(planned, planned_anew)] = run(plans)
    assert planned_anew == planned_anew_before
    assert planned - planned_before >= 2


@only_postgresql
def test_statements_planned_on_a_small_table_use_indexes() -> None:
    connection.close()
    cast(Any, connection).close_pool()  # A new connection has no plans.
    skus = [ProductFactory.create(quantity=5).sku for _ in range(2)]
    stock.remove(sku=skus[0], amount=1, by=ACTOR)
    stock.apply([stock.Remove(sku=sku, amount=1) for sku in skus], by=ACTOR)

    plans = [
        run(f"EXPLAIN EXECUTE {name}({', '.join(['NULL'] * values)})")
        for name, values in run(
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements "
            "WHERE statement ~ 'FOR NO KEY UPDATE|UPDATE products_product' "
            "AND parameter_types <> '{}'"
        )
    ]

    assert len(plans) >= 3
    assert not [row for plan in plans for row in plan if "Seq Scan on products_product" in row[0]]


@only_postgresql
@override_settings(PREPARED_STATEMENTS=False)
def test_no_statement_is_prepared_if_that_is_turned_off() -> None:
    run("SELECT 1 + %s::int", 1)

    assert not run("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 +%'")


@only_postgresql
def test_a_failed_statement_is_not_committed_and_the_connection_stays_usable() -> None:
    ProductFactory.create(sku="CUP")

    @transaction.atomic
    def write() -> None:
        run("UPDATE products_product SET name = %s", "Mug")
        run("UPDATE products_product SET quantity = 1 / %s::int", 0, commits=True)

    with pytest.raises(DatabaseError):
        write()

    assert Product.objects.get().name != "Mug"
    assert run("SELECT 1") == [(1,)]


@only_postgresql
def test_an_error_in_the_commit_is_raised() -> None:
    event = StockEvent.objects.get(product=ProductFactory.create(sku="CUP"))

    with pytest.raises(IntegrityError), transaction.atomic():
        # The foreign key is checked at the commit.
        run(
            "INSERT INTO products_reservationline "
            "(reservation_id, product_id, amount, fulfilled, released, expired, open) "
            "VALUES (%s::int, %s::int, 1, 0, 0, 0, 1)",
            404,
            event.product_id,
            commits=True,
        )

    assert not Reservation.objects.exists()
    assert run("SELECT 1") == [(1,)]


RENAME = "UPDATE products_product SET name = %s"


@only_postgresql
def test_a_statement_without_waiting_runs_before_the_next_one() -> None:
    ProductFactory.create(sku="CUP")

    with transaction.atomic():
        run(RENAME, "Mug", waits=False)
        run(RENAME + " || name", "Big ", waits=False)
        name = Product.objects.get().name

    assert name == "Big Mug"
    assert Product.objects.get().name == "Big Mug"


NEXT_USES: list[Callable[[], object]] = [
    lambda: run("SELECT 1"),
    lambda: run(RENAME, "Pot", waits=False),
    lambda: Product.objects.get(),
    lambda: transaction.atomic().__enter__(),
    lambda: None,  # Only the COMMIT follows.
]


@only_postgresql
@pytest.mark.parametrize("use", NEXT_USES)
def test_an_error_of_a_statement_without_waiting_is_raised_at_the_next_use(
    use: Callable[[], object],
) -> None:
    ProductFactory.create(sku="CUP", name="Cup")

    @transaction.atomic
    def write() -> None:
        run(RENAME, "Mug")
        run("UPDATE products_product SET quantity = -1 - %s::int", 1, waits=False)
        use()

    with pytest.raises(IntegrityError):
        write()

    assert Product.objects.get().name == "Cup"


@only_postgresql
def test_a_rollback_undoes_a_statement_without_waiting() -> None:
    ProductFactory.create(sku="CUP", name="Cup")

    @transaction.atomic
    def write() -> None:
        run(RENAME, "Mug", waits=False)
        raise NoDeal

    with pytest.raises(NoDeal):
        write()

    assert Product.objects.get().name == "Cup"


@only_postgresql
def test_nul_is_refused() -> None:
    with pytest.raises(DataError):
        run("SELECT %s::text", "CUP\0SAUCER")
    with pytest.raises(DataError):
        array(["CUP", "PAN\0POT"])


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0, -1, 2**63 - 1],
        ["", "NULL", "a,b", '"', "\\", '{"\\"}', "\n", "ß"],
        [None, None],
        [1, None],
        ["1", None, '\\"'],
        [StockEvent.Type.ADDED],
    ],
)
@only_postgresql
def test_an_array_is_returned_unchanged(values: list[Any]) -> None:
    type_of_members = "bigint" if any(isinstance(value, int) for value in values) else "text"

    [(found,)] = run(f"SELECT %s::{type_of_members}[]", array(values))

    assert found == values


@only_postgresql
def test_a_changed_table_fails_only_a_running_transaction() -> None:
    run("CREATE TABLE changing (value int)")
    run("SELECT value FROM changing")

    run("ALTER TABLE changing ALTER value TYPE text")
    assert run("SELECT value FROM changing") == []
    run("ALTER TABLE changing ALTER value TYPE varchar")
    with transaction.atomic(), pytest.raises(NotSupportedError, match="must not change result"):
        run("SELECT value FROM changing")

    assert run("SELECT value FROM changing") == []
    run("DROP TABLE changing")


@only_postgresql
def test_a_read_works_after_the_server_has_forgotten_the_statement(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    api.get("/v1/products/CUP")
    run("DEALLOCATE ALL")

    assert api.get("/v1/products/CUP").status_code == 200


@only_postgresql
def test_the_statements_of_two_connections_have_different_names() -> None:
    """A pooler may lend a connection on which another process has prepared statements."""
    names = "SELECT name FROM pg_prepared_statements"

    def prepare() -> str:
        run("SELECT 1")
        return ",".join(name for (name,) in run(names))

    one, other = map(str, at_once([prepare] * 2))

    assert one.startswith("inventory_")
    assert not set(one.split(",")) & set(other.split(","))


@only_postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_a_change_works_after_the_server_has_forgotten_the_statements(
    verb: Callable[[], object],
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)
    verb()
    run("DEALLOCATE ALL")

    verb()

    assert Product.objects.get().version == product.version + 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_change_is_rolled_back_with_its_outer_transaction(
    verb: Callable[[], object],
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)

    @transaction.atomic
    def change_and_fail() -> None:
        verb()
        raise NoDeal

    with pytest.raises(NoDeal):
        change_and_fail()

    assert Product.objects.get() == product
    assert Product.objects.get().levels == product.levels
    assert StockEvent.objects.count() == 1
    assert not Reservation.objects.exists()
