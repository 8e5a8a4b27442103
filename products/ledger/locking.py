"""Locks rows and reads what belongs to them: the only place that does.

The order is the same everywhere: products by id, then reservations by id, each in one statement.
Only then lines are read (ADR 2). What a verb wants locked is declared by one of the `Wants` below.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.db.models import Count, Min, QuerySet, Sum

from products.db.compiled import CompiledQuery
from products.db.prepared import array
from products.models import Product, Reservation, ReservationLine

# The columns that rules and postings read.
_LEVELS_ONLY = (
    "sku",
    "quantity",
    "reserved_quantity",
    "minimum_stock_level",
    "archived",
    "version",
)


def _locked_products(*, skip_locked: bool = False) -> QuerySet[Product]:
    products = Product.objects.filter(sku__any_of=[]).order_by("pk")
    return products.select_for_update(no_key=True, skip_locked=skip_locked)


_LOCK = CompiledQuery(_locked_products)
_LOCK_LEVELS = CompiledQuery(lambda: _locked_products().only(*_LEVELS_ONLY))
_LOCK_FREE = CompiledQuery(lambda: _locked_products(skip_locked=True))
_LOCK_OF_RESERVATION = CompiledQuery(
    lambda: (
        Product.objects.filter(
            pk__in=ReservationLine.objects.filter(reservation_id=0).values("product_id")
        )
        .order_by("pk")
        .select_for_update(no_key=True)
    )
)


def lock_products(
    skus: Iterable[str], *, levels_only: bool = False, skip_locked: bool = False
) -> dict[str, Product]:
    """Lock products and return them by SKU. Unknown SKUs are left out.

    `levels_only` skips the descriptive columns. `skip_locked` leaves out products that others have
    locked, instead of waiting.

    One statement, ordered by primary key: callers that want the same products in another order wait
    for each other instead of deadlocking. `no_key` lets rows that point to a locked product be
    inserted meanwhile.
    """
    query = _LOCK_FREE if skip_locked else _LOCK_LEVELS if levels_only else _LOCK
    return {product.sku: product for product in query.fetch(array(set(skus)))}


def lock_rows(products: QuerySet[Product]) -> None:
    """Lock products as `lock_products` does, but do not load them: there may be a million."""
    ids = products.order_by("pk").select_for_update(no_key=True).values_list("pk")
    for _ in ids.iterator(chunk_size=10_000):
        pass


def lock_reservations(ids: Iterable[int], *, skip_locked: bool = False) -> dict[int, Reservation]:
    """Lock reservations and return them by id. Always after their products.

    `skip_locked` leaves out reservations that others have locked, instead of waiting.
    """
    reservations = Reservation.objects.filter(pk__in=set(ids)).order_by("pk")
    locked = reservations.select_for_update(no_key=True, skip_locked=skip_locked)
    return {found.pk: found for found in locked}


def lock_lines(
    lines: Iterable[ReservationLine],
    products: Iterable[Product],
    *,
    still: QuerySet[ReservationLine],
    skip_locked: bool = False,
) -> list[ReservationLine]:
    """Lock the reservations of lines whose products are locked, and return the lines.

    Each line is read again under the lock, in the order of reservations, with its product and its
    reservation, which has its `units`. A line that is no longer among `still` is left out: its
    time may be over by now, or somebody may have extended it.
    """
    by_id = {product.pk: product for product in products}
    wanted = [line for line in lines if line.product_id in by_id]
    ids = {line.reservation_id for line in wanted}
    reservations = lock_reservations(ids, skip_locked=skip_locked) if ids else {}
    if not reservations:
        return []
    for reservation_id, units in _units_of(reservations):
        reservations[reservation_id].units = units
    of_locked = still.filter(pk__in=[line.pk for line in wanted], reservation__in=reservations)
    found = list(of_locked.order_by("reservation_id", "pk"))
    for line in found:
        line.product, line.reservation = by_id[line.product_id], reservations[line.reservation_id]
    return found


def _units_of(reservations: Collection[int]) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield the id of each reservation and its units by their part."""
    totals = ReservationLine.objects.filter(reservation__in=reservations)
    rows = totals.values_list("reservation_id").annotate(*(Sum(part) for part in _PARTS))
    for reservation_id, *sums in rows:
        # PostgreSQL's sum of a BIGINT column is a Decimal.
        yield reservation_id, dict(zip(_PARTS, map(int, sums), strict=True))


_PARTS = ("open", "fulfilled", "released", "expired")
_LINES_AT_ONCE = 1_000


# ------------------------------------------------------------------------- what a verb wants locked


@dataclass
class Locked:
    """The locked products by SKU; unknown SKUs are missing."""

    products: dict[str, Product]


L_co = TypeVar("L_co", bound=Locked, covariant=True)


class Wants(Protocol[L_co]):
    """What a verb wants locked and read."""

    @property
    def skus(self) -> Collection[str] | None:
        """The SKUs of the products, as far as they are known beforehand."""

    def lock(self) -> L_co:
        """Lock and read it. May be called again in the same transaction."""


@dataclass(frozen=True)
class Products:
    """Products by SKU."""

    skus: Collection[str]
    levels_only: bool = False

    def lock(self) -> Locked:
        return Locked(lock_products(self.skus, levels_only=self.levels_only))


def lock_next(wants: Wants[Any], *, before: Locked) -> Locked:
    """Lock what a batch wants, while the changes of the batch before are in memory alone."""
    if not isinstance(wants, Products):
        return wants.lock()
    known = {sku: before.products[sku] for sku in wants.skus if sku in before.products}
    skus = set(wants.skus) - known.keys()
    return Locked(known | lock_products(skus, levels_only=wants.levels_only))


@dataclass
class LockedCatalogue(Locked):
    """The products to edit, and which SKUs of those to create are taken."""

    taken: set[str]


@dataclass(frozen=True)
class Catalogue:
    """Products to edit, and whether the SKUs of those to create are free."""

    edited: Collection[str]
    created: Collection[str]

    @property
    def skus(self) -> Collection[str]:
        return self.edited

    def lock(self) -> LockedCatalogue:
        products = lock_products(self.edited) if self.edited else {}
        taken = Product.objects.filter(sku__any_of=sorted(self.created))
        return LockedCatalogue(
            products, set(taken.values_list("sku", flat=True)) if self.created else set()
        )


@dataclass
class LockedReservation(Locked):
    """A reservation with its `loaded_lines`, `units` and `is_overdue`; None where there is none."""

    reservation: Reservation | None


@dataclass(frozen=True)
class ReservationWithLines:
    """A reservation with its lines, and the products of them: all, the given ones, or none."""

    reservation_id: int
    skus: Collection[str] | None = None

    @property
    def _lines(self) -> QuerySet[ReservationLine]:
        return ReservationLine.objects.filter(reservation_id=self.reservation_id)

    def lock(self) -> LockedReservation:
        products = self._lock_products()
        reservation = lock_reservations([self.reservation_id]).get(self.reservation_id)
        if reservation is None:
            return LockedReservation(products, None)
        # Asked after the lock: the time may have ended while this waited for it.
        reservation.is_overdue = (
            reservation.expires_at is not None
            and Reservation.objects.overdue().filter(pk=reservation.pk).exists()
        )
        reservation.loaded_lines = list(self._lines.select_related("product").order_by("pk"))
        for line in reservation.loaded_lines:
            line.reservation = reservation
            line.product = products.get(line.product.sku, line.product)
        reservation.units = {
            part: sum(getattr(line, part) for line in reservation.loaded_lines) for part in _PARTS
        }
        return LockedReservation(products, reservation)

    def _lock_products(self) -> dict[str, Product]:
        if self.skus is not None:
            return lock_products(self.skus) if self.skus else {}
        # A reservation's set of products never changes, so it is found unlocked.
        found = _LOCK_OF_RESERVATION.fetch(str(self.reservation_id))
        return {product.sku: product for product in found}


@dataclass
class LockedLines(Locked):
    """Lines of locked products and reservations, each with both."""

    lines: list[ReservationLine]


@dataclass(frozen=True)
class UnreferencedLines:
    """The oldest lines of a product, in reservations without a reference, that hold `amount` units
    together, or all of these lines if they hold less."""

    sku: str
    amount: int

    @property
    def skus(self) -> Collection[str]:
        return (self.sku,)

    def lock(self) -> LockedLines:
        products = lock_products([self.sku])
        lines: list[ReservationLine] = []
        missing, last_id = self.amount, 0
        # Nobody else can change a line of a locked product.
        held = ReservationLine.objects.holding().filter(
            product__sku=self.sku, reservation__reference=""
        )
        while products and missing > 0:
            oldest = oldest_covering(held.filter(reservation__gt=last_id), missing)
            if not oldest:
                break
            last_id = oldest[-1].reservation_id
            # The time of one may be over by now, and the next is needed.
            still_held = lock_lines(oldest, products.values(), still=held)
            missing -= sum(line.open for line in still_held)
            lines += still_held
        return LockedLines(products, lines)


def oldest_covering(lines: QuerySet[ReservationLine], units: int) -> list[ReservationLine]:
    """Return the oldest lines of a product that together hold `units` open units, or all lines if
    they hold less."""
    covering: list[ReservationLine] = []
    last_id = 0
    while units > 0:
        # Each line holds a unit at least, so `units` lines are enough.
        following = lines.filter(reservation__gt=last_id).order_by("reservation_id")
        batch = list(following[: min(units, _LINES_AT_ONCE)])
        if not batch:
            break
        for line in batch:
            covering.append(line)
            units -= line.open
            if units <= 0:
                break
        last_id = batch[-1].reservation_id
    return covering


@dataclass
class LockedOverdue(LockedLines):
    """Overdue lines that could be locked."""

    found: set[int]
    """The ids of all overdue reservations that were looked at."""
    left: set[int]
    """The ids of those that still hold something, because others have locked it."""


@dataclass(frozen=True)
class OverdueReservations:
    """Overdue reservations, those first that ended first, as far as nobody else has locked them.

    At most `limit` lines, and one reservation at least, so that it holds locks briefly.
    """

    limit: int
    skipping: Collection[int] = ()

    skus = None

    def lock(self) -> LockedOverdue:
        ids = set(self._reservation_ids())
        overdue = ReservationLine.objects.overdue()
        found = list(overdue.filter(reservation__in=ids).select_related("product"))
        skus = {line.product.sku for line in found}
        products = lock_products(skus, skip_locked=True) if skus else {}
        lines = lock_lines(found, products.values(), still=overdue, skip_locked=True)
        others = {line.pk for line in found} - {line.pk for line in lines}
        left = overdue.filter(pk__in=others).values_list("reservation_id", flat=True)
        return LockedOverdue(products, lines, ids, set(left))

    def _reservation_ids(self) -> Iterator[int]:
        overdue = (
            ReservationLine.objects.overdue()
            .exclude(reservation__in=self.skipping)
            .values("reservation_id")
            .annotate(lines=Count("pk"), end=Min("reservation__expires_at"))
            .order_by("end", "reservation_id")
        )
        lines_left = self.limit
        for index, row in enumerate(overdue[: self.limit]):
            lines_left -= row["lines"]
            if index and lines_left < 0:
                return
            yield row["reservation_id"]
