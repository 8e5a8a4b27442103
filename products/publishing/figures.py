"""How far behind the receiver of a subscription is."""

from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Min, QuerySet

from products import feed
from products.models import StockEvent, Subscription

MAX_WAITING = 1_000
"""Waiting events are counted up to this number."""
SCANNED = 20_000
"""Events after the cursor among which waiting events are counted. A subscription to rare types may
have to look at many events to find a few."""


class Waiting(NamedTuple):
    """The events that a receiver has not accepted yet."""

    events: int
    """Their number, up to `MAX_WAITING`."""
    is_exact: bool
    """Whether there are certainly no more."""
    since: datetime | None
    """The time of the oldest one that was found."""


def waiting(subscription: Subscription) -> Waiting:
    """Count the events that wait for a receiver, in at most three bounded statements."""
    after = feed.id_in(subscription.cursor)
    last = feed.last_id_drawn()
    if after >= last:
        return Waiting(0, is_exact=True, since=None)
    ids = StockEvent.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
    end = ids[SCANNED - 1 : SCANNED].first()
    wanted = _wanted(subscription, after, end or last)
    # Ordered by id, so that the database stops once it has found enough.
    found = (
        wanted.order_by("pk")
        .values("occurred_at")[: MAX_WAITING + 1]
        .aggregate(events=Count("*"), since=Min("occurred_at"))
    )
    return Waiting(
        min(found["events"], MAX_WAITING),
        is_exact=found["events"] <= MAX_WAITING and end is None,
        since=found["since"],
    )


def _wanted(subscription: Subscription, after: int, to: int) -> QuerySet[StockEvent]:
    """Return the events of a range of ids that the receiver wants and has not accepted."""
    events = StockEvent.objects.filter(pk__gt=after, pk__lte=to)
    if subscription.ahead:
        events = events.exclude(pk__in=subscription.ahead)
    if subscription.types:
        events = events.filter(type__in=subscription.types)
    if prefix := subscription.sku_prefix:
        # SQLite ignores case in `__startswith`. SKUs are ASCII.
        events = events.filter(sku__gte=prefix, sku__lt=f"{prefix}\x7f")
    return events
