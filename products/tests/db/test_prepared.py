"""The statements of a change: how they are sent, and what happens when one fails."""

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
    connection.vendor == "sqlite", reason="SQLite is asked without a network, by Django's cursors"
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
    """Return how many statements each round trip of a verb sends, as libpq traces them."""
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
def test_verbs_that_read_more_commit_with_their_write_as_well(tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    for _ in range(2):
        stock.reserve(sku="CUP", amount=1, by=ACTOR)
    # The statements are prepared before they are counted.
    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.release_product(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)

    def release() -> object:
        return stock.release_product(sku="CUP", amount=1, by=ACTOR)

    def edit() -> object:
        return stock.edit(sku="CUP", name="Jug", by=ACTOR)

    def reconcile() -> object:
        return stock.reconcile(sku="CUP", by=ACTOR)

    # Between: its oldest lines, the lock of their reservations, their units, the lines again.
    assert round_trips(release, tmp_path) == [2, 1, 1, 1, 1, 2]
    assert round_trips(edit, tmp_path) == [2, 2]
    Product.objects.update(quantity=F("quantity") + 1)
    # Between: what is held, and the sums of the ledger.
    assert round_trips(reconcile, tmp_path) == [2, 1, 1, 2]


@only_postgresql
@pytest.mark.parametrize("verb", [stock.fulfill, stock.release])
def test_to_end_a_reservation_takes_four_round_trips(
    verb: Callable[..., object], tmp_path: Path
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    first, second = [stock.reserve(sku="CUP", amount=1, by=ACTOR).pk for _ in range(2)]
    verb(reservation_id=first, by=ACTOR)

    # The lock of the products, of the reservation, its lines, and the write.
    taken = round_trips(partial(verb, reservation_id=second, by=ACTOR), tmp_path)

    assert taken == [2, 1, 1, 2]


@pytest.mark.parametrize("verb", VERBS)
@override_settings(PREPARED_STATEMENTS=False)
def test_a_change_does_the_same_without_prepared_statements(verb: Callable[[], object]) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)

    verb()

    stored = Product.objects.get(sku="CUP")
    assert stored.levels != product.levels
    assert StockEvent.objects.filter(product=product).latest("pk").quantity == stored.quantity


@only_postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_the_statements_of_a_change_are_not_planned_anew(verb: Callable[[], object]) -> None:
    ProductFactory.create(sku="CUP", quantity=50)
    plans = "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements"
    verb()
    [(planned_before, planned_anew_before)] = run(plans)

    verb()

    [(planned, planned_anew)] = run(plans)
    assert planned_anew == planned_anew_before
    assert planned - planned_before >= 2


@only_postgresql
def test_statements_planned_while_there_is_hardly_a_product_go_by_keys() -> None:
    connection.close()
    cast(Any, connection).close_pool()  # For a new connection, which has no plan.
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
def test_nothing_is_prepared_where_that_is_turned_off() -> None:
    run("SELECT 1 + %s::int", 1)

    assert not run("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT 1 +%'")


@only_postgresql
def test_what_fails_is_not_committed_and_leaves_the_connection_usable() -> None:
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
def test_what_fails_only_in_the_commit_is_told() -> None:
    event = StockEvent.objects.get(product=ProductFactory.create(sku="CUP"))

    with pytest.raises(IntegrityError), transaction.atomic():
        # The foreign key is looked at when the transaction ends.
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
def test_what_is_not_waited_for_is_done_before_the_next_statement() -> None:
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
    lambda: None,  # Only the commit.
]


@only_postgresql
@pytest.mark.parametrize("use", NEXT_USES)
def test_what_fails_without_being_waited_for_is_told_by_what_comes_next(
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
def test_a_transaction_that_breaks_off_leaves_nothing_that_was_not_waited_for() -> None:
    ProductFactory.create(sku="CUP", name="Cup")

    @transaction.atomic
    def write() -> None:
        run(RENAME, "Mug", waits=False)
        raise NoDeal

    with pytest.raises(NoDeal):
        write()

    assert Product.objects.get().name == "Cup"


@only_postgresql
def test_nul_is_refused_and_not_cut_off() -> None:
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
def test_an_array_comes_back_as_it_was(values: list[Any]) -> None:
    type_of_members = "bigint" if any(isinstance(value, int) for value in values) else "text"

    [(found,)] = run(f"SELECT %s::{type_of_members}[]", array(values))

    assert found == values


@only_postgresql
def test_a_table_that_has_changed_costs_no_more_than_the_transaction() -> None:
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
def test_a_product_is_read_although_the_server_has_forgotten_the_statement(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    api.get("/v1/products/CUP")
    run("DEALLOCATE ALL")

    assert api.get("/v1/products/CUP").status_code == 200


@only_postgresql
def test_no_connection_knows_the_statements_of_another() -> None:
    """A pooler may lend it one on which another process has prepared its own."""
    names = "SELECT name FROM pg_prepared_statements"

    def prepare() -> str:
        run("SELECT 1")
        return ",".join(name for (name,) in run(names))

    one, other = map(str, at_once([prepare] * 2))

    assert one.startswith("inventory_")
    assert not set(one.split(",")) & set(other.split(","))


@only_postgresql
@pytest.mark.parametrize("verb", VERBS)
def test_a_change_is_made_although_the_server_has_forgotten_its_statements(
    verb: Callable[[], object],
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=5)
    verb()
    run("DEALLOCATE ALL")

    verb()

    assert Product.objects.get().version == product.version + 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_change_is_undone_with_the_transaction_that_it_is_a_part_of(
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
