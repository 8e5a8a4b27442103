"""The change feed: all stock events, in an order in which a follower misses none (ADR 8).

Ids are drawn before the commit. A reader that continued after the highest id it has seen would miss
events that commit later. So on PostgreSQL, each statement that inserts events first takes a shared
lock on the next id (`products.triggers`). Its transaction holds the lock to its end. All ids below
the lowest locked id are settled: their events are committed and visible, or will never exist.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max

from products.db.sqlite import is_sqlite
from products.models import StockEvent
from products.triggers import ANNOUNCEMENT_TAG

# These statements must run in this order, each with its own snapshot. An id that was drawn before
# the first statement was locked before it was drawn. If the second statement does not see the lock,
# the transaction has ended. Then the third statement, which reads the events, sees its events.
_LAST_ID_DRAWN = "SELECT last_value - (NOT is_called)::int FROM products_stockevent_id_seq"
_LOWEST_ID_LOCKED = """
    SELECT min(((classid::bigint << 32) | objid::bigint) & ((1::bigint << 48) - 1))
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

START = "start"
"""The cursor before the first event."""

# The id and the time (microseconds since 1970) of the last event. A ledger that was restored from a
# backup draws the same ids again for other events. The time tells the events apart.
_CURSOR = re.compile("([1-9][0-9]{0,17})-([1-9][0-9]{0,17})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# An unfinished transaction with events holds up the feed.
_OLDEST_WRITER = """
    SELECT extract(epoch FROM clock_timestamp() - min(xact_start))
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class UnknownCursor(Exception):
    """The ledger has no event with the id and the time of the cursor."""


class FeedPage(NamedTuple):
    """A page of stock events, oldest first, and the cursor after its last event."""

    events: list[StockEvent]
    cursor: str
    more: bool
    """Whether more settled events follow."""
    settled: int
    """The highest settled id when the page was read."""


def read(*, after: str = START, limit: int) -> FeedPage:
    """Return up to `limit` settled events that follow the cursor `after`.

    The events of each product come in the order of their versions. Must not be called in a
    transaction with a single snapshot (REPEATABLE READ). Raises `UnknownCursor`.
    """
    last_id = id_in(after)
    # A slow writer may lock an id after its event was committed and read. The cursor stays valid.
    settled = max(last_settled_id(), last_id)
    # Two more rows than the page: the event of the cursor, and one to tell whether more follow.
    rows = StockEvent.objects.filter(pk__gte=last_id, pk__lte=settled).order_by("pk")
    events = list(rows[: limit + 2])
    if after != START and (not events or cursor_after(events.pop(0)) != after):
        raise UnknownCursor(after)
    page = events[:limit]
    cursor = cursor_after(page[-1]) if page else after
    return FeedPage(page, cursor, more=len(events) > limit, settled=settled)


def latest() -> FeedPage:
    """Return an empty page with the cursor after the last settled event."""
    settled = last_settled_id()
    last = StockEvent.objects.filter(pk__lte=settled).order_by("-pk").first()
    cursor = START if last is None else cursor_after(last)
    return FeedPage([], cursor, more=False, settled=settled)


def cursor_after(event: StockEvent) -> str:
    """Return the cursor of a reader that has read `event` last."""
    microseconds = (event.occurred_at - _EPOCH) // timedelta(microseconds=1)
    return f"{event.pk}-{microseconds}"


def id_in(cursor: str) -> int:
    """Return the id of the last event before a cursor, or 0. Raises `UnknownCursor`."""
    if cursor == START:
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise UnknownCursor(cursor)
    return int(match[1])


def time_of(cursor: str) -> datetime:
    """Return the time of the last event that a reader with this cursor has read."""
    _, _, microseconds = cursor.partition("-")
    return _EPOCH + timedelta(microseconds=int(microseconds))


def data_of(event: StockEvent) -> dict[str, Any]:
    """Return the form of an event in JSON, in which all consumers get it."""
    data = {
        "id": event.pk,
        "sku": event.sku,
        "version": event.version,
        "type": event.type,
        "quantity_change": event.quantity_change,
        "reserved_change": event.reserved_change,
        "quantity": event.quantity,
        "reserved_quantity": event.reserved_quantity,
        "available_quantity": event.available_quantity,
        "reservation": event.reservation_id,
        "reason": event.reason,
        "reference": event.reference,
        "actor": event.actor,
        "source": event.source,
        "request_id": event.request_id,
        "occurred_at": event.occurred_at,
        "details": event.details,
    }
    if event.undoes_id is not None:
        data["undoes"] = event.undoes_id
    return data


def last_id_drawn() -> int:
    """Return the highest id of an event so far. The event may not be committed yet."""
    if is_sqlite():
        return StockEvent.objects.aggregate(last=Max("pk"))["last"] or 0
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ID_DRAWN)
        (last,) = cursor.fetchone()
    return int(last)


def seconds_held_up() -> float:
    """Return the age of the oldest transaction that holds up the feed, or 0."""
    if is_sqlite():
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_WRITER, [ANNOUNCEMENT_TAG])
        (seconds,) = cursor.fetchone()
    return float(seconds or 0)


def last_settled_id() -> int:
    """Return the highest settled id: all events up to it are visible, or will never exist."""
    last = last_id_drawn()
    if is_sqlite():
        return last  # SQLite has one writer at a time, so ids are in the order of the commits.
    with connection.cursor() as cursor:
        cursor.execute(_LOWEST_ID_LOCKED, [ANNOUNCEMENT_TAG])
        (lowest_locked,) = cursor.fetchone()
    return last if lowest_locked is None else min(last, lowest_locked - 1)
