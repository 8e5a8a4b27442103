"""The units that came in and went out on each day of the back office, over all products.

Opening stock is left out: the units were there before. They would dwarf those of later days.

Summing a month of the ledger for each page view would be slow. So each view first adds the new
events to the rows of their days. Writers of events are not involved. Events are added in the order
of their ids, up to the last settled id of `products.feed`: none is missed, and none is added twice.
A change of the time zone changes the days, so all events are added again.
"""

from datetime import timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from products import feed
from products.models import DailyTotal, DailyTotalsCursor, StockEvent

# Bounds the time of one call. If more events are left, the next call adds them.
MAX_EVENTS_AT_ONCE = 500_000


def of_last_days(days: int) -> list[DailyTotal]:
    """Return the totals of the last `days` days, oldest first, including today."""
    today = timezone.localdate(timezone=ZoneInfo(settings.BACK_OFFICE_TIME_ZONE))
    wanted = [today - timedelta(days=ago) for ago in reversed(range(days))]
    known = DailyTotal.objects.in_bulk(wanted)
    return [known.get(day, DailyTotal(day=day, units_in=0, units_out=0)) for day in wanted]


def catch_up() -> bool:
    """Add the new events of the ledger to the totals, and return whether none are left.

    Takes a bounded time. Must not be called in a transaction with a single snapshot (see
    `feed.read`).
    """
    settled = feed.last_settled_id()
    time_zone = settings.BACK_OFFICE_TIME_ZONE
    if DailyTotalsCursor.objects.filter(last_id__gte=settled, time_zone=time_zone).exists():
        return True
    with transaction.atomic():
        # Concurrent calls wait here, and then find few or no events to add.
        cursor, _ = DailyTotalsCursor.objects.select_for_update().get_or_create(pk=1)
        if cursor.time_zone != time_zone:
            DailyTotal.objects.all().delete()
            cursor.last_id, cursor.time_zone = 0, time_zone
        last_id = min(settled, cursor.last_id + MAX_EVENTS_AT_ONCE)
        if last_id > cursor.last_id:
            _add(after=cursor.last_id, up_to=last_id)
            cursor.last_id = last_id
        cursor.save(update_fields=["last_id", "time_zone"])
    return cursor.last_id >= settled


def _add(*, after: int, up_to: int) -> None:
    change = "quantity_change"
    sums = (
        StockEvent.objects.filter(pk__gt=after, pk__lte=up_to)
        .exclude(type=StockEvent.Type.PRODUCT_CREATED)
        .values(day=TruncDate("occurred_at", tzinfo=ZoneInfo(settings.BACK_OFFICE_TIME_ZONE)))
        .annotate(
            units_in=Sum(change, filter=Q(quantity_change__gt=0), default=0),
            units_out=-Sum(change, filter=Q(quantity_change__lt=0), default=0),
        )
    )
    new = {row["day"]: DailyTotal(**row) for row in sums}
    for day, known in DailyTotal.objects.in_bulk(new).items():
        new[day].units_in += known.units_in
        new[day].units_out += known.units_out
    DailyTotal.objects.bulk_create(
        new.values(),
        update_conflicts=True,
        unique_fields=["day"],
        update_fields=["units_in", "units_out"],
    )
