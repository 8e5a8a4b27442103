"""Locks products, writes their levels and records their events: the only place that does.

`products.stock` decides what changes; this module sees that it is written under the lock, together
with its events, or not at all.
"""

import functools
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from django.db import DatabaseError, connection, transaction
from django.db.models import Field, Model, QuerySet

from products import events
from products.db.clock import Now, SecondsFromNow
from products.db.compiled import CompiledQuery, any_of
from products.db.errors import RETRYABLE, sqlstate_of
from products.db.prepared import array, execute_prepared
from products.db.sqlite import is_sqlite, sqlite_writer_lock
from products.models import Levels, Product, Reservation, ReservationLine, StockEvent
from products.policies import StockLevelMonitor

logger = logging.getLogger(__name__)

MAX_RETRIES = 3
RETRY_PAUSE_SECONDS = 0.05

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Actor:
    """Who makes a change, and through what."""

    name: str
    source: StockEvent.Source
    request_id: str = ""


def transactional(verb: Callable[P, R]) -> Callable[P, R]:
    """Run `verb` in a transaction: one of its own, or a part of the caller's.

    The outermost call owns the transaction and, where the database broke it off to end a
    deadlock, or has forgotten a statement, runs it again. A call inside another's transaction
    never retries, because all of that transaction would have to be run again. Nor does it set a
    savepoint, which would cost two round trips: a verb refuses before it writes, or undoes by
    itself what it wrote.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            _transaction.is_of_one_verb = False
            return verb(*args, **kwargs)
        retries = MAX_RETRIES
        while True:
            try:
                with sqlite_writer_lock(), transaction.atomic():
                    _transaction.is_of_one_verb = True
                    return verb(*args, **kwargs)
            except DatabaseError as error:
                sqlstate = sqlstate_of(error)
                if retries == 0 or sqlstate not in RETRYABLE:
                    raise
                retries -= 1
                logger.warning("transaction is run again", extra={"sqlstate": sqlstate})
                time.sleep(RETRY_PAUSE_SECONDS * random.random())

    return run


class _Transaction(threading.local):
    is_of_one_verb = False
    """Whether it is a verb's own, which has called no other."""


_transaction = _Transaction()


# What rules and postings read.
_LEVELS_ONLY = (
    "sku",
    "quantity",
    "reserved_quantity",
    "minimum_stock_level",
    "archived",
    "version",
)


def _locked(*, skip_locked: bool = False) -> QuerySet[Product]:
    products = Product.objects.filter(sku__any_of=[]).order_by("pk")
    return products.select_for_update(no_key=True, skip_locked=skip_locked)


_LOCK = CompiledQuery(_locked)
_LOCK_LEVELS = CompiledQuery(lambda: _locked().only(*_LEVELS_ONLY))
_LOCK_FREE = CompiledQuery(lambda: _locked(skip_locked=True))


def lock_products(
    skus: Iterable[str], *, levels_only: bool = False, skip_locked: bool = False
) -> dict[str, Product]:
    """Lock the products of `skus` and return them by SKU; unknown ones are left out.

    With `levels_only` they have not what describes them, which takes as long to load again. With
    `skip_locked`, those that somebody else has locked are left out, too, instead of waited for.

    One statement, ordered by primary key: callers that want the same products in another order
    wait for each other instead of deadlocking. `no_key` lets rows that point to a locked product
    be inserted meanwhile.
    """
    locking = _LOCK_FREE if skip_locked else _LOCK_LEVELS if levels_only else _LOCK
    return {product.sku: product for product in locking.fetch(any_of(set(skus)))}


def lock_rows(products: QuerySet[Product]) -> None:
    """Lock products as `lock_products` does, but do not load them: there may be a million."""
    ids = products.order_by("pk").select_for_update(no_key=True).values_list("pk")
    for _ in ids.iterator(chunk_size=10_000):
        pass


def lock_reservations(ids: Iterable[int], *, skip_locked: bool = False) -> dict[int, Reservation]:
    """Lock reservations and return them by id. Always after their products.

    With `skip_locked`, those that somebody else has locked are left out instead of waited for.
    """
    reservations = Reservation.objects.filter(pk__in=set(ids)).order_by("pk")
    locked = reservations.select_for_update(no_key=True, skip_locked=skip_locked)
    return {found.pk: found for found in locked}


def update_rows(rows: Iterable[Model], fields: Sequence[str]) -> None:
    """Write the named fields of all rows, of one model and locked, in one statement.

    `bulk_update` would build a CASE for each field and row. For an order of 1,000 lines that took
    longer than all the rest, with the locks held.
    """
    rows = list(rows)
    if not rows:
        return
    model, columns = type(rows[0]), ("id", *fields)
    written = [_field(model, name) for name in columns]
    values = [
        [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows]
        for field in written
    ]
    assignments = ", ".join(f"{name} = new.{name}" for name in fields)
    table = model._meta.db_table
    new = _rows_of(model, columns, values)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {assignments} FROM {new.sql} AS new WHERE {table}.id = new.id",
            new.parameters,
        )


def _field(model: type[Model], column: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", model._meta.get_field(column))


class _Rows(NamedTuple):
    """A table in SQL whose rows come as parameters."""

    sql: str
    parameters: list[Any]


def _rows_of(
    model: type[Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]
) -> _Rows:
    """Return the table with these values of each column.

    A single row, the most frequent case, comes as plain values, which need no quoting.
    """
    if is_sqlite():
        return _Rows(_json_sql(columns), [json.dumps(list(zip(*values, strict=True)))])
    if len(values[0]) == 1:
        return _Rows(_row_sql(model, columns), [value for (value,) in values])
    return _Rows(_arrays_sql(model, columns), list(map(array, values)))


@functools.cache
def _json_sql(columns: tuple[str, ...]) -> str:
    members = ", ".join(
        f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(columns)
    )
    return f"(SELECT {members} FROM json_each(%s))"


@functools.cache
def _row_sql(model: type[Model], columns: tuple[str, ...]) -> str:
    members = ", ".join(f"%s::{_type(model, name)} AS {name}" for name in columns)
    return f"(SELECT {members})"


@functools.cache
def _arrays_sql(model: type[Model], columns: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%s::{_type(model, name)}[]" for name in columns)
    return f"(SELECT * FROM unnest({arrays}) AS row ({', '.join(columns)}))"


def _type(model: type[Model], column: str) -> str | None:
    return _field(model, column).db_type(connection)


def save_descriptions(changed_fields: Mapping[Product, Collection[str]]) -> None:
    """Write the named fields of locked products, none of them a level, from memory."""
    changed = {product: fields for product, fields in changed_fields.items() if fields}
    if not changed:
        return
    update_rows(changed, sorted(set().union(*changed.values())))
    rows = Product.objects.filter(pk__in=[product.pk for product in changed])
    rows.update(updated_at=Now())
    updated_at = dict(rows.values_list("pk", "updated_at"))
    for product in changed:
        product.updated_at = updated_at[product.pk]


class LevelChange(NamedTuple):
    """A product's levels before and after a change."""

    before: Levels
    after: Levels


class _Event(NamedTuple):
    """A row of the ledger that is to be written.

    A product that is to be created has no id yet, nor has a reservation that is to be opened.
    """

    product: Product
    version: int
    type: StockEvent.Type
    quantity: int
    reserved_quantity: int
    quantity_change: int = 0
    reserved_change: int = 0
    reservation: Reservation | None = None
    reason: str = ""
    reference: str = ""

    def row(self, *, pk: int, by: Actor, occurred_at: datetime) -> StockEvent:
        """Return the row as it was written."""
        return StockEvent(
            pk=pk,
            sku=self.product.sku,
            actor=by.name,
            source=by.source,
            request_id=by.request_id,
            occurred_at=occurred_at,
            **self._asdict(),
        )


class _Opening(NamedTuple):
    """A reservation that is to be opened with its `loaded_lines`, for so many seconds."""

    reservation: Reservation
    expires_in: int | None


# In the order of `_Event`, but for the product's id and SKU.
_EVENT_COLUMNS = (
    *("product_id", "sku", "version", "type", "quantity", "reserved_quantity"),
    *("quantity_change", "reserved_change", "reservation_id", "reason", "reference"),
)
_LEVEL_COLUMNS = ("id", "quantity", "reserved_quantity", "version")
_LINE_COLUMNS = ("product_id", "amount")

# Stands for the id of the reservation that the same statement opens.
_OPENED_HERE = 0


def _insert_events_sql(events: str, *, reservation_id: str = "event.reservation_id") -> str:
    selected = [f"event.{name}" for name in _EVENT_COLUMNS]
    selected[_EVENT_COLUMNS.index("reservation_id")] = reservation_id
    return f"""
        INSERT INTO {StockEvent._meta.db_table}
            ({", ".join(_EVENT_COLUMNS)}, actor, source, request_id)
        SELECT {", ".join(selected)}, %s, %s, %s
        FROM {events} AS event
        RETURNING id, occurred_at
    """


def _update_levels_sql(levels: str, *, moment: str = "STATEMENT_TIMESTAMP()") -> str:
    return f"""
        UPDATE {Product._meta.db_table} AS product
        SET quantity = new.quantity, reserved_quantity = new.reserved_quantity,
            version = new.version, updated_at = {moment}
        FROM {levels} AS new WHERE product.id = new.id
    """


@functools.cache
def _write_sql(events: str, levels: str) -> str:
    return f"""
        WITH event AS ({_insert_events_sql(events)}), level AS ({_update_levels_sql(levels)})
        SELECT STATEMENT_TIMESTAMP(), ARRAY(SELECT id FROM event ORDER BY id)
    """


@functools.cache
def _open_and_write_sql(lines: str, events: str, levels: str) -> str:
    id_of_event = f"""
        CASE event.reservation_id WHEN {_OPENED_HERE} THEN (SELECT id FROM reservation)
        ELSE event.reservation_id END
    """
    return f"""
        WITH reservation AS (
            INSERT INTO {Reservation._meta.db_table} (reference, status, expires_at)
            VALUES (%s, %s, STATEMENT_TIMESTAMP() + %s::float8 * interval '1 second')
            RETURNING id, expires_at
        ), line AS (
            INSERT INTO {ReservationLine._meta.db_table}
                (reservation_id, product_id, amount, fulfilled, released, expired, open)
            SELECT reservation.id, new.product_id, new.amount, 0, 0, 0, new.amount
            FROM reservation, {lines} AS new RETURNING id
        ), event AS ({_insert_events_sql(events, reservation_id=id_of_event)}),
            level AS ({_update_levels_sql(levels)})
        SELECT STATEMENT_TIMESTAMP(), ARRAY(SELECT id FROM event ORDER BY id),
            reservation.id, reservation.expires_at, ARRAY(SELECT id FROM line ORDER BY id)
        FROM reservation
    """


class _Prepared(NamedTuple):
    """A posting as the statements take it that write it."""

    by: Actor
    events: _Rows
    levels: _Rows

    @property
    def event_parameters(self) -> list[Any]:
        return [self.by.name, self.by.source, self.by.request_id, *self.events.parameters]


def _write(
    prepared: _Prepared, opening: _Opening | None, *, commits: bool, waits: bool
) -> tuple[list[int], datetime] | None:
    """Insert events, write the levels of changed products, open a reservation, and maybe commit.

    By hand and not by the ORM, which takes several times as long for what every change of stock
    comes to. Returns the ids of the events, and the moment that all of them happened at; nothing
    where it does not wait.
    """
    if is_sqlite():
        return _write_on_sqlite(prepared)
    events, levels = prepared.events, prepared.levels
    parameters = [*prepared.event_parameters, *levels.parameters]
    if opening is None:
        sql = _write_sql(events.sql, levels.sql)
        written = execute_prepared(sql, parameters, commits=commits, waits=waits)
        if not waits:
            return None
        [(moment, ids)] = written
        return ids, moment
    reservation, lines = opening.reservation, opening.reservation.loaded_lines
    opened = _rows_of(
        ReservationLine,
        _LINE_COLUMNS,
        [[line.product_id for line in lines], [line.amount for line in lines]],
    )
    values = [reservation.reference, reservation.status, opening.expires_in, *opened.parameters]
    sql = _open_and_write_sql(opened.sql, events.sql, levels.sql)
    [(moment, ids, reservation.pk, reservation.expires_at, line_ids)] = execute_prepared(
        sql, [*values, *parameters], commits=commits
    )
    reservation.created_at = moment
    for line, line_id in zip(lines, line_ids, strict=True):
        line.pk, line.reservation = line_id, reservation
    return ids, moment


def _open_on_sqlite(opening: _Opening) -> None:
    """Open a reservation before its events are written; there is no one statement for it all."""
    reservation, lines = opening.reservation, opening.reservation.loaded_lines
    time_to_live = timedelta(seconds=opening.expires_in or 0)
    if time_to_live:
        reservation.expires_at = SecondsFromNow(opening.expires_in or 0)
    reservation.save(force_insert=True)
    if time_to_live:
        # Both times are of the one statement, so that the end need not be read back.
        reservation.expires_at = reservation.created_at + time_to_live
    for line in lines:
        line.reservation = reservation
    ReservationLine.objects.bulk_create(lines)


def _write_on_sqlite(prepared: _Prepared) -> tuple[list[int], datetime]:
    with connection.cursor() as cursor:
        cursor.execute(_insert_events_sql(prepared.events.sql), prepared.event_parameters)
        ids, moments = zip(*cursor.fetchall(), strict=True)
        convert: Any = connection.ops
        moment = convert.convert_datetimefield_value(moments[0], None, connection)
        written_at = _field(Product, "updated_at").get_db_prep_save(moment, connection)
        sql = _update_levels_sql(prepared.levels.sql, moment="%s")
        cursor.execute(sql, [written_at, *prepared.levels.parameters])
        return list(ids), moment


def _event_rows(new_events: Sequence[_Event]) -> _Rows:
    products, *rest = zip(*new_events, strict=True)
    columns: list[Sequence[Any]] = [*rest]
    reservations = _Event._fields.index("reservation") - 1
    columns[reservations] = [
        None if reservation is None else reservation.pk or _OPENED_HERE
        for reservation in columns[reservations]
    ]
    return _rows_of(StockEvent, _EVENT_COLUMNS, [*_values(products, "id", "sku"), *columns])


def _values(products: Collection[Product], *names: str) -> list[list[Any]]:
    """Return the values of each field."""
    return [list(map(attrgetter(name), products)) for name in names]


class Posting:
    """Changes of locked products, collected in memory and then written in one go.

    Each change moves the levels of the instance in memory, so that a second change of the same
    product starts where the first ended. What raises before `write` has written nothing.
    """

    def __init__(self, *, by: Actor) -> None:
        self._by = by
        self._monitor = StockLevelMonitor()
        self._opened: list[Product] = []
        self._opening: _Opening | None = None
        self._changed: dict[int, Product] = {}
        self._events: list[_Event] = []
        self._prepared: _Prepared | None = None

    def open(self, product: Product, *, reason: str = "", reference: str = "") -> None:
        """Create `product`, an instance that is not saved yet, with its opening stock."""
        self._opened.append(product)
        product.version = 0
        self._append(
            product,
            StockEvent.Type.PRODUCT_CREATED,
            quantity_change=product.quantity,
            reason=reason,
            reference=reference,
        )
        self._watch(None, product.levels, product, reference=reference)

    def reserve(self, reservation: Reservation, *, expires_in: int | None) -> None:
        """Open `reservation`, which is not saved yet, with its `loaded_lines`.

        It holds for so many seconds, or without an end. Its events are to be recorded, too.
        """
        self._opening = _Opening(reservation, expires_in)

    def record(
        self,
        product: Product,
        event_type: StockEvent.Type,
        *,
        quantity_change: int = 0,
        reserved_change: int = 0,
        reservation: Reservation | None = None,
        reason: str = "",
        reference: str = "",
    ) -> LevelChange:
        """Change the levels of a locked product by so many units, as an event."""
        before = product.levels
        product.quantity += quantity_change
        product.reserved_quantity += reserved_change
        self._changed[product.id] = product
        self._append(
            product,
            event_type,
            quantity_change=quantity_change,
            reserved_change=reserved_change,
            reservation=reservation,
            reason=reason,
            reference=reference,
        )
        after = product.levels
        self._watch(before, after, product, reference=reference)
        return LevelChange(before, after)

    def reconcile(
        self,
        product: Product,
        *,
        quantity_change: int,
        reserved_change: int,
        reserved_quantity: int,
        reason: str,
    ) -> None:
        """Let the ledger of a locked product explain its levels again, by an adjustment.

        The changes are what the ledger lacks; `quantity` stays as it is.
        """
        before = product.levels
        product.reserved_quantity = reserved_quantity
        self._changed[product.pk] = product
        self._append(
            product,
            StockEvent.Type.ADJUSTED,
            quantity_change=quantity_change,
            reserved_change=reserved_change,
            reason=reason,
        )
        self._watch(before, product.levels, product)

    def set_minimum(self, product: Product, minimum_stock_level: int) -> None:
        """Change the minimum of a locked product in memory, and record what that gives rise to."""
        before = product.levels
        product.minimum_stock_level = minimum_stock_level
        if self._watch(before, product.levels, product):
            self._changed[product.pk] = product

    def prepare(self) -> None:
        """Do that part of `write` which needs no database, after the last that is recorded."""
        if self._events and self._prepared is None:
            # By product, as `products.feed` asks for.
            self._events.sort(key=lambda event: (event.product.id, event.version))
            changed = _values(self._changed.values(), *_LEVEL_COLUMNS)
            self._prepared = _Prepared(
                self._by, _event_rows(self._events), _rows_of(Product, _LEVEL_COLUMNS, changed)
            )

    def finish(self) -> None:
        """Write, as the last that a verb does.

        Where the verb is all of the transaction, that is committed in the same round trip: whoever
        waits for a product that is in demand waits no longer for us to be told and to answer.
        """
        self.write(commits=_transaction.is_of_one_verb and not connection.savepoint_ids)

    def write(self, *, commits: bool = False, waits: bool = True) -> None:
        """Insert the events, write the levels, and tell the receivers after commit.

        Where it `waits` not, the products do not learn when they were updated, and an error is
        raised by what uses the database next.
        """
        if self._opened:
            # In a savepoint: a SKU that somebody else has just taken must not break the
            # transaction off, in which the caller then finds out which it was.
            with transaction.atomic():
                # By SKU: two who create the same ones shall not wait in a circle.
                Product.objects.bulk_create(sorted(self._opened, key=attrgetter("sku")))
        if self._opening and is_sqlite():
            _open_on_sqlite(self._opening)
        self.prepare()
        if self._prepared is None:
            return
        written = _write(
            self._prepared,
            self._opening,
            commits=commits,
            # Nobody but receivers wants the ids.
            waits=waits or events.are_wanted(),
        )
        if written is None:
            return
        ids, moment = written
        for product in self._changed.values():
            product.updated_at = moment
        if events.are_wanted():
            events.publish_on_commit(
                [
                    event.row(pk=pk, by=self._by, occurred_at=moment)
                    for pk, event in zip(ids, self._events, strict=True)
                ]
            )

    def _watch(
        self, before: Levels | None, after: Levels, product: Product, *, reference: str = ""
    ) -> bool:
        found = self._monitor.events_for(before, after)
        for event_type in found:
            self._append(product, event_type, reference=reference)
        return bool(found)

    def _append(
        self,
        product: Product,
        event_type: StockEvent.Type,
        quantity_change: int = 0,
        reserved_change: int = 0,
        reservation: Reservation | None = None,
        reason: str = "",
        reference: str = "",
    ) -> None:
        product.version += 1
        self._events.append(
            _Event(
                product,
                product.version,
                event_type,
                product.quantity,
                product.reserved_quantity,
                quantity_change,
                reserved_change,
                reservation,
                reason,
                reference,
            )
        )
