"""Expire overdue reservations of products that are short, without waiting for `expire_overdue`.

ADR 17 has the reasons.
"""

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
    """Return the overdue lines whose units can cover the shortages, oldest first.

    With `whole`, return no lines unless they cover every shortage. Otherwise return the lines of
    each product whose shortage they cover.

    Only lines of locked products are returned. Locking another product of the same reservation now
    would break the lock order.

    For a product that the request names once, the lines cover the missing units. If the request
    names a product several times, its operations depend on each other: all its overdue lines are
    returned.
    """
    if not shortages or not isinstance(wants, Products):
        return []
    times_named = Counter(wants.skus)

    # One query for all products: usually nothing is overdue.
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
        is_named_once = times_named[sku] == 1
        if product.pk not in overdue_units or (is_named_once and not is_enough):
            continue
        units = missing if is_named_once else MAX_UNITS
        chosen += oldest_covering(of_short.filter(product=product), units)
    return chosen


def lock(
    lines: Iterable[ReservationLine], products: Mapping[str, Product], *, skip_locked: bool = False
) -> list[ReservationLine]:
    """Lock the reservations of lines, and return the lines that are still overdue."""
    overdue = ReservationLine.objects.overdue()
    return lock_lines(lines, products.values(), matching=overdue, skip_locked=skip_locked)


def expire(lines: Iterable[ReservationLine], posting: Posting) -> set[int]:
    """Expire all open units of locked lines, and return the ids of their reservations."""
    lines = list(lines)
    portions = [(line, line.open) for line in lines]
    end_portions(EXPIRE, portions, posting, reason="expired")
    return {line.reservation_id for line in lines}


def _sku_of(error: Shortage) -> str:
    return error.sku or ""
