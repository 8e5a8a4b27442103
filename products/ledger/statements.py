"""The SQL of a change: a single statement on PostgreSQL, several on SQLite.

It is written by hand because the ORM would send several parameters for each row (ADR 12).
"""

import functools
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from django.db import connection
from django.db.models import Field, Model

from products.db.clock import now_sql
from products.db.prepared import array
from products.db.sqlite import is_sqlite
from products.models import Product, Reservation, ReservationLine, StockEvent

EVENT_COLUMNS = (
    *("product_id", "sku", "version", "type", "quantity", "reserved_quantity"),
    *("quantity_change", "reserved_change", "reservation_id", "reason", "reference"),
    *("undoes_id", "details"),
)
LEVEL_COLUMNS = ("id", "quantity", "reserved_quantity", "version")
OPENED_LINE_COLUMNS = ("product_id", "amount")
STATUS_COLUMNS = ("id", "status")

LAST_COUNT = "last_counted_at"
"""A further column of levels, if products were counted."""

COUNTED_NOW = "infinity"
"""A moment after every other one, also as a text. It stands for the time of the change."""

NEW_RESERVATION = 0
"""A placeholder for the id of the reservation that the same statement opens."""

NOW = "STATEMENT_TIMESTAMP()"
_GIVEN_TIME = "(SELECT given_time FROM given)"


class Rows(NamedTuple):
    """A table expression in SQL, with its rows as parameters."""

    columns: tuple[str, ...]
    sql: str
    parameters: list[Any]


class Opening(NamedTuple):
    """A reservation to open."""

    lines: Rows
    parameters: list[Any]
    """Its reference, its status, and its seconds to live or None."""


class Write(NamedTuple):
    """All rows of a change."""

    events: Rows
    event_parameters: list[Any]
    """Actor, source and request id of all events."""
    levels: Rows
    lines: Rows | None
    """Reservation lines with units that ended."""
    statuses: Rows | None
    """Reservations that were closed."""
    opening: Opening | None
    backdated_to: datetime | None
    """The time of the change, if it is not now."""


def compose(write: Write) -> tuple[str, list[Any]]:
    """Return the PostgreSQL statement of a change, and its parameters."""
    events, event_parameters, levels, lines, statuses, opening, backdated_to = write
    sql = _write_sql(
        (events.sql, events.columns),
        (levels.sql, levels.columns),
        lines and (lines.sql, lines.columns),
        statuses and (statuses.sql, statuses.columns),
        opening and (opening.lines.sql, opening.lines.columns),
        is_backdated=backdated_to is not None,
    )
    parameters: list[Any] = [] if backdated_to is None else [backdated_to]
    if opening:
        parameters += [*opening.parameters, *opening.lines.parameters]
    if lines:
        parameters += lines.parameters
    if statuses:
        parameters += statuses.parameters
    return sql, [*parameters, *event_parameters, *events.parameters, *levels.parameters]


def rows_of(model: type[Model], columns: tuple[str, ...], values: Sequence[Sequence[Any]]) -> Rows:
    """Return the table expression for rows of a model. `values` holds a list for each column.

    A single row, the most frequent case, is passed as plain values, which need no quoting.
    """
    if is_sqlite():
        return Rows(columns, _json_sql(columns), [json.dumps(list(zip(*values, strict=True)))])
    if len(values[0]) == 1:
        return Rows(columns, _row_sql(model, columns), [value for (value,) in values])
    return Rows(columns, _arrays_sql(model, columns), list(map(array, values)))


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
    field = cast("Field[Any, Any]", model._meta.get_field(column))
    return field.db_type(connection)


def insert_events(
    events: str, *, reservation_id: str = "event.reservation_id", at: str | None = None
) -> str:
    """Return the SQL that inserts events; by default, they happen now."""
    selected = [f"event.{name}" for name in EVENT_COLUMNS]
    selected[EVENT_COLUMNS.index("reservation_id")] = reservation_id
    return f"""
        INSERT INTO {StockEvent._meta.db_table}
            ({", ".join(EVENT_COLUMNS)}, actor, source, request_id{", occurred_at" * bool(at)})
        SELECT {", ".join(selected)}, %s, %s, %s{f", {at}" if at else ""}
        FROM {events} AS event
        RETURNING id, occurred_at
    """


def past_levels(moments: str) -> str:
    """Return the SQL that reads the `PastLevel` of products.

    `moments` has the columns `product_id` and `occurred_at`, which is the moment of the count.
    """
    events = StockEvent._meta.db_table

    def last(condition: str) -> str:
        return f"""
            (SELECT id FROM {events} AS each WHERE product_id = moment.product_id AND {condition}
             ORDER BY version DESC LIMIT 1)
        """

    # The same event as in `StockEvent.objects.as_of`.
    then = last("occurred_at <= moment.occurred_at")
    # A count and its undo add up to nothing if both are after the moment. If only the undo is, the
    # level at the moment was wrong.
    count = last(f"""
        version > COALESCE(event.version, 0)
        AND (type = '{StockEvent.Type.ADJUSTED}' OR undoes_id IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM {events} AS undo WHERE undo.undoes_id = each.id)
        AND COALESCE(
            (SELECT occurred_at FROM {events} AS undone WHERE undone.id = each.undoes_id)
            <= moment.occurred_at, TRUE
        )
    """)
    return f"""
        SELECT moment.product_id, moment.occurred_at > {now_sql()}, event.quantity,
               count.occurred_at
        FROM {moments} AS moment
        LEFT JOIN {events} AS event ON event.id = {then}
        LEFT JOIN {events} AS count ON count.id = {count}
    """


def update_products(rows: str, columns: Sequence[str], *, at: str = NOW) -> str:
    """Return the SQL that writes levels. Products that were not counted keep their last count."""
    also = f", updated_at = {at}"
    if LAST_COUNT in columns:
        given, kept = f"new.{LAST_COUNT}", f"{Product._meta.db_table}.{LAST_COUNT}"
        also += (
            f", {LAST_COUNT} = CASE WHEN {given} IS NULL THEN {kept} ELSE {_earlier(given, at)} END"
        )
    written = [name for name in columns if name != LAST_COUNT]
    return _update(Product, rows, written, also=also)


def _earlier(given: str, at: str) -> str:
    return f"MIN({given}, {at})" if is_sqlite() else f"LEAST({given}, {at})"


def update_lines(rows: str, columns: Sequence[str]) -> str:
    return _update(ReservationLine, rows, columns)


def update_statuses(rows: str, columns: Sequence[str]) -> str:
    return _update(Reservation, rows, columns)


def _update(model: type[Model], rows: str, columns: Sequence[str], *, also: str = "") -> str:
    table = model._meta.db_table
    assignments = ", ".join(f"{name} = new.{name}" for name in columns if name != "id")
    return f"UPDATE {table} SET {assignments}{also} FROM {rows} AS new WHERE {table}.id = new.id"


_Table = tuple[str, tuple[str, ...]]


@functools.cache
def _write_sql(
    events: _Table,
    levels: _Table,
    lines: _Table | None,
    statuses: _Table | None,
    opened: _Table | None,
    *,
    is_backdated: bool,
) -> str:
    parts, now = [], NOW
    if is_backdated:
        parts.append("given AS (SELECT %s::timestamptz AS given_time)")
        now = _GIVEN_TIME
    reservation_id = "event.reservation_id"
    selected, source = f"SELECT {now}, ARRAY(SELECT id FROM event ORDER BY id)", ""
    if opened:
        parts.append(_open_reservation(opened[0], now))
        reservation_id = f"""
            CASE event.reservation_id WHEN {NEW_RESERVATION} THEN (SELECT id FROM reservation)
            ELSE event.reservation_id END
        """
        selected += (
            ", reservation.id, reservation.expires_at, ARRAY(SELECT id FROM line ORDER BY id)"
        )
        source = " FROM reservation"
    if lines:
        parts.append(f"ended AS ({update_lines(*lines)})")
    if statuses:
        parts.append(f"closed AS ({update_statuses(*statuses)})")
    inserted = insert_events(
        events[0], reservation_id=reservation_id, at=now if is_backdated else None
    )
    parts.append(f"event AS ({inserted})")
    parts.append(f"level AS ({update_products(*levels, at=now)})")
    return f"WITH {', '.join(parts)} {selected}{source}"


def _open_reservation(lines: str, now: str) -> str:
    return f"""
        reservation AS (
            INSERT INTO {Reservation._meta.db_table} (reference, status, expires_at, created_at)
            VALUES (%s, %s, {now} + %s::float8 * interval '1 second', {now})
            RETURNING id, expires_at
        ), line AS (
            INSERT INTO {ReservationLine._meta.db_table}
                (reservation_id, product_id, amount, fulfilled, released, expired, open)
            SELECT reservation.id, new.product_id, new.amount, 0, 0, 0, new.amount
            FROM reservation, {lines} AS new RETURNING id
        )
    """
