"""The change feed: all stock events, in an order in which a follower misses none.

Ids are drawn before commit, so that a reader who goes on after the highest id that it has seen
misses what commits late. On PostgreSQL each statement that inserts events therefore first takes a
shared lock on the next id (`products.triggers`) and holds it until its transaction ends. Below the
lowest id that is locked everything is settled: committed and visible, or never to come.
"""

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


class UnknownPlace(Exception):
    """A follower asked for what comes after an event that this ledger has never had."""


class FeedPage(NamedTuple):
    """Some stock events, oldest first; the id to go on after; and whether there are more yet."""

    events: list[StockEvent]
    last_id: int
    more: bool


def read(*, after: int, limit: int) -> FeedPage:
    """Return up to `limit` settled events that follow the one with the id `after`.

    The events of each product come in the order of their versions. Must not be called in a
    transaction that sees one state of the database throughout. Raises `UnknownPlace` where `after`
    lies beyond the last event, as it does once the database was restored from a backup.
    """
    settled, last_drawn = _settled()
    if after > last_drawn:
        raise UnknownPlace
    following = StockEvent.objects.filter(pk__gt=after, pk__lte=settled)
    events = list(following.order_by("pk")[: limit + 1])
    page = events[:limit]
    return FeedPage(page, page[-1].pk if page else after, more=len(events) > limit)


def last_id() -> int:
    """Return the id to go on after for whoever wants only what is new from now on."""
    return _settled()[0]


def _settled() -> tuple[int, int]:
    """Return the id up to which everything is settled, and the last one drawn."""
    if is_sqlite():
        # Writers come one after the other: ids are in the order of the commits.
        last = StockEvent.objects.aggregate(last=Max("pk"))["last"] or 0
        return last, last
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ID_DRAWN)
        (last,) = cursor.fetchone()
        cursor.execute(_LOWEST_ID_LOCKED, [ANNOUNCEMENT_TAG])
        (lowest_locked,) = cursor.fetchone()
    return (last if lowest_locked is None else min(last, lowest_locked - 1)), last
