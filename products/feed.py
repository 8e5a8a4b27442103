"""The change feed: all stock events, in an order in which a follower misses none.

Ids are drawn before commit, so that a reader who goes on after the highest id that it has seen
misses events that commit late. On PostgreSQL each statement that inserts events therefore first
takes a shared lock on the next id (`products.triggers`) and holds it until its transaction ends.
Below the lowest id that is locked everything is settled: committed and visible, or never to come.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import Max

from products.db.sqlite import is_sqlite
from products.models import StockEvent
from products.triggers import ANNOUNCEMENT_TAG

# In this order, and each with a snapshot of its own. An id drawn before the first statement was
# locked before it was drawn. If the second does not see that lock, its transaction has ended, and
# the third, which reads the events, sees what it has left.
_LAST_ID_DRAWN = "SELECT last_value - (NOT is_called)::int FROM products_stockevent_id_seq"
_LOWEST_ID_LOCKED = """
    SELECT min(((classid::bigint << 32) | objid::bigint) & ((1::bigint << 48) - 1))
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

START = "start"
"""The cursor before the first event."""

# The id and the moment (microseconds since 1970) of the last event. A ledger that was restored from
# a backup draws the same ids again for other events; the moment tells them apart.
_CURSOR = re.compile("([1-9][0-9]{0,17})-([1-9][0-9]{0,17})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnknownCursor(Exception):
    """No event of the ledger has the id and the moment of this cursor."""


class FeedPage(NamedTuple):
    """Some stock events, oldest first, the cursor after them, and whether there are more yet."""

    events: list[StockEvent]
    cursor: str
    more: bool


def read(*, after: str = START, limit: int) -> FeedPage:
    """Return up to `limit` settled events that follow the cursor `after`.

    The events of each product come in the order of their versions. Must not be called in a
    transaction that sees one state of the database throughout. Raises `UnknownCursor`.
    """
    last_id = 0 if after == START else _id_in(after)
    # A writer that announces itself late may lock an id that a page has shown already.
    settled = max(last_settled_id(), last_id)
    # One more than the page, to know whether there are more, and the cursor's own event.
    rows = StockEvent.objects.filter(pk__gte=last_id, pk__lte=settled).order_by("pk")
    events = list(rows[: limit + 2])
    if after != START and (not events or cursor_after(events.pop(0)) != after):
        raise UnknownCursor(after)
    page = events[:limit]
    cursor = cursor_after(page[-1]) if page else after
    return FeedPage(page, cursor, more=len(events) > limit)


def latest() -> FeedPage:
    """Return an empty page with the cursor after the last settled event."""
    settled = StockEvent.objects.filter(pk__lte=last_settled_id())
    last = settled.order_by("-pk").first()
    return FeedPage([], START if last is None else cursor_after(last), more=False)


def cursor_after(event: StockEvent) -> str:
    """Return the cursor that names `event` as the last one read."""
    moment = (event.occurred_at - _EPOCH) // timedelta(microseconds=1)
    return f"{event.pk}-{moment}"


def _id_in(cursor: str) -> int:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise UnknownCursor(cursor)
    return int(match[1])


def last_settled_id() -> int:
    """Return the id up to which every event is committed and visible, or will never exist."""
    if is_sqlite():
        # Writers come one after the other: ids are in the order of the commits.
        return StockEvent.objects.aggregate(last=Max("pk"))["last"] or 0
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ID_DRAWN)
        (last,) = cursor.fetchone()
        cursor.execute(_LOWEST_ID_LOCKED, [ANNOUNCEMENT_TAG])
        (lowest_locked,) = cursor.fetchone()
    return last if lowest_locked is None else min(last, lowest_locked - 1)
