"""Overdue reservations of products that are short: their units are given back at once, instead of
waiting for the next sweep."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.db.models import Sum

from products.ledger.locking import Products, Wants, lock_lines, oldest_covering
from products.ledger.posting import Posting
from products.models import Product, ReservationLine
from products.stock.endings import EXPIRE, end_portions
from products.stock.errors import Shortage
from products.validators import MAX_UNITS


def lines_for(
    shortages: Sequence[Shortage],
    wants: Wants[Any],
    products: Mapping[str, Product],
    *,
    whole: bool,
) -> list[ReservationLine]:
    """Return the overdue lines, the oldest first, that may end the shortages.

    None are returned if they cannot, or for a request that need not be met as a `whole`, if they
    cannot end any of them. Only lines of locked products are returned: to lock another product of
    the same reservation now would be out of order.

    A product that the request names once needs the units that it misses. What several operations
    on one product need depends on each other, so all its overdue units are given back.
    """
    if not shortages or not isinstance(wants, Products):
        return []
    times_asked = Counter(wants.skus)

    # One query for all of them: most often nothing is overdue.
    of_short = ReservationLine.objects.overdue().filter(
        product__in={products[_sku_of(error)].pk for error in shortages}
    )
    overdue_units = dict(of_short.values_list("product_id").annotate(Sum("open")))
    chosen: list[ReservationLine] = []
    for sku, errors in groupby(sorted(shortages, key=_sku_of), key=_sku_of):
        missing = max(error.missing for error in errors)
        product = products[sku]
        is_enough = overdue_units.get(product.pk, 0) >= missing
        if whole and not is_enough:
            return []
        is_asked_once = times_asked[sku] == 1
        if product.pk not in overdue_units or (is_asked_once and not is_enough):
            continue
        units = missing if is_asked_once else MAX_UNITS
        chosen += oldest_covering(of_short.filter(product=product), units)
    return chosen


def lock(
    lines: Iterable[ReservationLine], products: Mapping[str, Product], *, skip_locked: bool = False
) -> list[ReservationLine]:
    """Lock the reservations of lines, and return the lines that are still overdue."""
    still = ReservationLine.objects.overdue()
    return lock_lines(lines, products.values(), still=still, skip_locked=skip_locked)


def expire(lines: Iterable[ReservationLine], posting: Posting) -> set[int]:
    """Record that all open units of locked lines expired, and return the ids of the
    reservations."""
    lines = list(lines)
    portions = [(line, line.open) for line in lines]
    end_portions(EXPIRE, portions, posting, reason="expired")
    return {line.reservation_id for line in lines}


def _sku_of(error: Shortage) -> str:
    return error.sku or ""
