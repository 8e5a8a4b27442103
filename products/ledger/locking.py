"""Lock products and reservations, and read their lines. Only this module locks them.

The lock order is always the same (ADR 2): first products by id, then reservations by id, each in
one statement. Lines are read after that. A verb declares its rows by one of the `Wants` below.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import starmap
from typing import Any, NamedTuple, Protocol, TypeVar

from django.db.models import Count, Min, QuerySet, Sum

from products.db.compiled import CompiledQuery
from products.db.prepared import array
from products.ledger.past import read_past_levels, read_undone
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
_LOCK_SKIPPING = CompiledQuery(lambda: _locked_products(skip_locked=True))
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

    One statement locks them in the order of their primary keys. So callers that need the same
    products wait for each other and cannot deadlock. `no_key` lets others insert rows that refer to
    a locked product.
    """
    query = _LOCK_SKIPPING if skip_locked else _LOCK_LEVELS if levels_only else _LOCK
    return {product.sku: product for product in query.fetch(array(set(skus)))}


def lock_rows(products: QuerySet[Product]) -> None:
    """Lock products as `lock_products` does, without loading them: there may be a million."""
    ids = products.order_by("pk").select_for_update(no_key=True).values_list("pk")
    for _ in ids.iterator(chunk_size=10_000):
        pass


def lock_reservations(ids: Iterable[int], *, skip_locked: bool = False) -> dict[int, Reservation]:
    """Lock reservations and return them by id. Their products must be locked already.

    `skip_locked` leaves out reservations that others have locked, instead of waiting.
    """
    reservations = Reservation.objects.filter(pk__in=set(ids)).order_by("pk")
    locked = reservations.select_for_update(no_key=True, skip_locked=skip_locked)
    return {found.pk: found for found in locked}


def lock_lines(
    lines: Iterable[ReservationLine],
    products: Iterable[Product],
    *,
    matching: QuerySet[ReservationLine],
    skip_locked: bool = False,
) -> list[ReservationLine]:
    """Lock the reservations of lines, and return the lines that still match.

    `products` are the locked products; lines of other products are left out. The lines are read
    again under the lock, in the order of reservations. Each has its product and its reservation,
    and the reservation has its `units`.

    A line that is no longer in `matching` is left out: its reservation may have expired or been
    extended since it was found.
    """
    by_id = {product.pk: product for product in products}
    wanted = [line for line in lines if line.product_id in by_id]
    ids = {line.reservation_id for line in wanted}
    reservations = lock_reservations(ids, skip_locked=skip_locked) if ids else {}
    if not reservations:
        return []
    for reservation_id, units in _units_of(reservations):
        reservations[reservation_id].units = units
    of_locked = matching.filter(pk__in=[line.pk for line in wanted], reservation__in=reservations)
    found = list(of_locked.order_by("reservation_id", "pk"))
    for line in found:
        line.product, line.reservation = by_id[line.product_id], reservations[line.reservation_id]
    return found


def _units_of(reservations: Collection[int]) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield the id of each reservation, and its units by part (`open`, `fulfilled`, ...)."""
    totals = ReservationLine.objects.filter(reservation__in=reservations)
    rows = totals.values_list("reservation_id").annotate(*(Sum(part) for part in _PARTS))
    for reservation_id, *sums in rows:
        # PostgreSQL's sum of a BIGINT column is a Decimal.
        yield reservation_id, dict(zip(_PARTS, map(int, sums), strict=True))


_PARTS = ("open", "fulfilled", "released", "expired")
_LINES_AT_ONCE = 1_000


# ------------------------------------------------------------------------ the rows a verb can lock

NO_PRODUCTS: Mapping[str, Product] = {}


@dataclass
class Locked:
    """Locked products by SKU. Unknown SKUs are missing."""

    products: dict[str, Product]


L_co = TypeVar("L_co", bound=Locked, covariant=True)


class Wants(Protocol[L_co]):
    """The rows that a verb needs locked and read."""

    @property
    def skus(self) -> Collection[str] | None:
        """The SKUs of the products, or None if they are not known in advance."""

    def lock(self) -> L_co:
        """Lock and read the rows. May be called again in the same transaction."""


@dataclass(frozen=True)
class Products:
    """Lock products by SKU, and read what late counts and undos need from the ledger."""

    skus: Collection[str]
    levels_only: bool = False
    moments: Mapping[str, datetime] = field(default_factory=dict)
    """The moment of each late count by SKU."""
    undoes: Collection[int] = ()
    """The ids of the events to undo."""

    def lock(self, known: Mapping[str, Product] = NO_PRODUCTS) -> Locked:
        """Lock the products that are not `known`."""
        unknown = set(self.skus) - known.keys()
        products = {**known, **lock_products(unknown, levels_only=self.levels_only)}
        if self.moments:
            read_past_levels(products, self.moments)
        if self.undoes:
            read_undone(products, self.undoes)
        return Locked(products)


def lock_next(wants: Wants[Any], *, before: Locked) -> Locked:
    """Lock the rows of a batch, reusing the products of the batch before.

    The changes of that batch are in memory only: its products must not be read from the database.
    """
    if not isinstance(wants, Products):
        return wants.lock()
    # The events of that batch happen later than any moment that is not in the future now.
    return wants.lock({sku: before.products[sku] for sku in wants.skus if sku in before.products})


class Taken(NamedTuple):
    """The SKU of a product that exists."""

    sku: str
    is_archived: bool


@dataclass
class LockedCatalogue(Locked):
    """The products to edit, and the SKUs that already exist among those to create.

    `taken` has the existing SKUs by their form in capitals.
    """

    taken: dict[str, Taken]


@dataclass(frozen=True)
class Catalogue:
    """Lock products to edit, and look up which SKUs to create already exist."""

    edited: Collection[str]
    created: Collection[str]

    @property
    def skus(self) -> Collection[str]:
        return self.edited

    def lock(self) -> LockedCatalogue:
        products = lock_products(self.edited) if self.edited else {}
        taken = Product.objects.with_skus(self.created) if self.created else Product.objects.none()
        rows = starmap(Taken, taken.values_list("sku", "archived"))
        return LockedCatalogue(products, {row.sku.upper(): row for row in rows})


@dataclass
class LockedReservation(Locked):
    """A reservation with its `loaded_lines`, `units` and `is_overdue`, or None if it is unknown."""

    reservation: Reservation | None


@dataclass(frozen=True)
class ReservationWithLines:
    """Lock a reservation and products of its lines.

    The products are those of `skus`, or of all lines if it is None.
    """

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
        # Checked after the lock: the reservation may have expired during the wait.
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
        # A reservation's set of products never changes, so it can be read without a lock.
        found = _LOCK_OF_RESERVATION.fetch(str(self.reservation_id))
        return {product.sku: product for product in found}


@dataclass
class LockedLines(Locked):
    """Lines whose products and reservations are locked, each with both."""

    lines: list[ReservationLine]


@dataclass(frozen=True)
class UnreferencedLines:
    """Lock the oldest lines of a product in reservations without a reference.

    Locks lines until they hold `amount` units together, or all such lines if they hold less.
    """

    sku: str
    amount: int

    @property
    def skus(self) -> Collection[str]:
        return (self.sku,)

    def lock(self) -> LockedLines:
        products = lock_products([self.sku])
        lines: list[ReservationLine] = []
        missing, last_id = self.amount, 0
        # Other transactions cannot change the lines of a locked product.
        held = ReservationLine.objects.holding().filter(
            product__sku=self.sku, reservation__reference=""
        )
        while products and missing > 0:
            oldest = oldest_covering(held.filter(reservation__gt=last_id), missing)
            if not oldest:
                break
            last_id = oldest[-1].reservation_id
            # A reservation may have expired since it was found. Then the next ones are needed.
            still_held = lock_lines(oldest, products.values(), matching=held)
            missing -= sum(line.open for line in still_held)
            lines += still_held
        return LockedLines(products, lines)


def oldest_covering(lines: QuerySet[ReservationLine], units: int) -> list[ReservationLine]:
    """Return the oldest lines of a product that hold `units` open units together.

    Returns all lines if they hold less.
    """
    covering: list[ReservationLine] = []
    last_id = 0
    while units > 0:
        # Each line holds at least one unit, so `units` lines are enough.
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
    """The overdue lines that could be locked."""

    found: set[int]
    """The ids of all overdue reservations that were found."""
    skipped: set[int]
    """The ids of reservations that still hold units, because others have locked them or a
    product."""


@dataclass(frozen=True)
class OverdueReservations:
    """Lock overdue reservations in the order of their expiry, skipping those that others lock.

    Locks at most `limit` lines, but at least one whole reservation, so that locks are held briefly.
    """

    limit: int
    excluding: Collection[int] = ()

    skus = None

    def lock(self) -> LockedOverdue:
        ids = set(self._reservation_ids())
        overdue = ReservationLine.objects.overdue()
        found = list(overdue.filter(reservation__in=ids).select_related("product"))
        skus = {line.product.sku for line in found}
        products = lock_products(skus, skip_locked=True) if skus else {}
        lines = lock_lines(found, products.values(), matching=overdue, skip_locked=True)
        others = {line.pk for line in found} - {line.pk for line in lines}
        skipped = overdue.filter(pk__in=others).values_list("reservation_id", flat=True)
        return LockedOverdue(products, lines, ids, set(skipped))

    def _reservation_ids(self) -> Iterator[int]:
        overdue = (
            ReservationLine.objects.overdue()
            .exclude(reservation__in=self.excluding)
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
