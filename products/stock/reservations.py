"""Reservations: hold units for an order, then fulfill or release them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from products import validators
from products.ledger.locking import (
    Locked,
    LockedLines,
    LockedReservation,
    Products,
    ReservationWithLines,
    UnreferencedLines,
)
from products.ledger.posting import Actor, Posting
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.stock.endings import FULFILL, RELEASE, Ending, end_portions
from products.stock.errors import (
    InsufficientReserved,
    InsufficientStock,
    Invalid,
    ProductArchived,
    ProductNotFound,
    Refusals,
    ReservationClosed,
    ReservationExpired,
    ReservationNotFound,
    StockError,
)
from products.stock.once import Once, S
from products.stock.requests import Line, check
from products.stock.runner import Verb, run

Sums = Mapping[str, tuple[int, int]]
"""By SKU: the index of its first line, and its total amount."""


def reserve(
    *,
    sku: str,
    amount: int,
    reference: str = "",
    expires_in: int | None = None,
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> Reservation | S:
    """Reserve `amount` units of one product. See `reserve_lines`."""
    verb = _Reserve([Line(sku, amount)], reference, expires_in, has_lines=False)
    return run(verb, by=by, once=once, if_match=if_match)


def reserve_lines(
    *,
    lines: Sequence[Line],
    reference: str = "",
    expires_in: int | None = None,
    by: Actor,
    once: Once[S] | None = None,
) -> Reservation | S:
    """Reserve the units of all lines for one order, or of none. Repeated SKUs are summed.

    The reservation expires after `expires_in` seconds, or never. Returns it with its
    `loaded_lines`, each with its product after the change. Raises `ProductNotFound`,
    `ProductArchived`, `InsufficientStock`, with every refused line.
    """
    return run(_Reserve(lines, reference, expires_in), by=by, once=once)


def fulfill(
    *,
    reservation_id: int,
    lines: Sequence[Line] | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
) -> Reservation | S:
    """Ship reserved units: all open units, or the given lines. On hand and reserved fall.

    Returns the reservation with its `loaded_lines`. Raises `ReservationNotFound`,
    `ReservationClosed`, `ReservationExpired`, `ProductNotFound`, `InsufficientReserved`, with
    every refused line.
    """
    return run(_End(FULFILL, reservation_id, lines, reason, reference), by=by, once=once)


def release(
    *,
    reservation_id: int,
    lines: Sequence[Line] | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
) -> Reservation | S:
    """Release reserved units: all open units, or the given lines. Only reserved falls.

    Returns and raises as `fulfill` does.
    """
    return run(_End(RELEASE, reservation_id, lines, reason, reference), by=by, once=once)


def release_product(
    *,
    sku: str,
    amount: int,
    reservation_id: int | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | S:
    """Release `amount` units of one product, and return the product.

    The units come from the given reservation. Without one, they come from reservations without a
    reference, oldest first. Raises as `release` does.
    """
    line = Line(sku, amount)
    verb: Verb[Any, Product] = (
        _ReleaseOldest(line, reason, reference)
        if reservation_id is None
        else _ReleaseLine(line, reservation_id, reason, reference)
    )
    return run(verb, by=by, once=once, if_match=if_match)


def extend(
    *, reservation_id: int, expires_in: int, by: Actor, once: Once[S] | None = None
) -> Reservation | S:
    """Make a reservation expire `expires_in` seconds from now. Records no event.

    Returns the reservation with its `loaded_lines`. Raises `ReservationNotFound`,
    `ReservationClosed`, `ReservationExpired`.
    """
    return run(_Extend(reservation_id, expires_in), by=by, once=once)


def sum_lines(lines: Sequence[Line]) -> Sums:
    """Sum the lines by SKU, in the order of first use. Raises `Invalid` if there are none."""
    if not lines:
        raise Invalid("lines", "At least one line is required.")
    sums: dict[str, tuple[int, int]] = {}
    for index, line in enumerate(lines):
        first, amount = sums.get(line.sku, (index, 0))
        sums[line.sku] = (first, amount + line.amount)
    return sums


def open_reservation(
    units: Iterable[tuple[Product, int]], reference: str, expires_in: int | None, posting: Posting
) -> Reservation:
    """Reserve units of locked products, which the caller has checked."""
    reservation = Reservation(reference=reference)
    reservation.loaded_lines = [
        ReservationLine(product=product, amount=amount, open=amount) for product, amount in units
    ]
    posting.open(reservation, expires_in=expires_in)
    for line in reservation.loaded_lines:
        posting.record(
            line.product,
            StockEvent.Type.RESERVED,
            reserved_change=line.amount,
            reservation=reservation,
            reference=reference,
        )
    return reservation


class _Reserve(Verb[Locked, Reservation]):
    def __init__(
        self,
        lines: Sequence[Line],
        reference: str,
        expires_in: int | None,
        *,
        has_lines: bool = True,
    ) -> None:
        check("reference", reference, validators.NOTE)
        if expires_in is not None:
            check("expires_in", expires_in, validators.DURATION)
        self._sums = sum_lines(lines)
        self._reference, self._expires_in, self._has_lines = reference, expires_in, has_lines
        self.wants = Products(self._sums.keys())

    def decide(self, locked: Locked, posting: Posting) -> Reservation:
        self._refuse_any(locked.products)
        units = [(locked.products[sku], amount) for sku, (_, amount) in self._sums.items()]
        return open_reservation(units, self._reference, self._expires_in, posting)

    def _refuse_any(self, products: Mapping[str, Product]) -> None:
        refusals = Refusals()
        for sku, (index, amount) in self._sums.items():
            product = products.get(sku)
            if product is None:
                refusals.add(index, ProductNotFound(sku))
            elif product.archived:
                refusals.add(index, ProductArchived(product, amount))
            elif amount > product.available_quantity:
                refusals.add(index, InsufficientStock(sku, amount, product.available_quantity))
        refusals.raise_any(has_lines=self._has_lines)


def require_open(locked: LockedReservation, reservation_id: int) -> Reservation:
    """Return the locked reservation if it is open and not overdue. Else raise a `StockError`."""
    reservation = locked.reservation
    if reservation is None:
        raise ReservationNotFound(reservation_id)
    if reservation.is_overdue:
        raise ReservationExpired(reservation)
    if reservation.status != Reservation.Status.OPEN:
        raise closed(reservation)
    return reservation


def closed(reservation: Reservation) -> StockError:
    """Return the refusal of a locked reservation without open units."""
    has_expired = reservation.units["expired"] > 0
    return (ReservationExpired if has_expired else ReservationClosed)(reservation)


class _End(Verb[LockedReservation, Reservation]):
    """End all open units of a reservation, or the given lines."""

    def __init__(
        self,
        ending: Ending,
        reservation_id: int,
        lines: Sequence[Line] | None,
        reason: str,
        reference: str,
        *,
        has_lines: bool = True,
    ) -> None:
        check("reason", reason, validators.NOTE)
        check("reference", reference, validators.NOTE)
        self._ending, self._reservation_id = ending, reservation_id
        self._sums = None if lines is None else sum_lines(lines)
        self._reason, self._reference, self._has_lines = reason, reference, has_lines
        skus = None if self._sums is None else self._sums.keys()
        self.wants = ReservationWithLines(reservation_id, skus)

    def decide(self, locked: LockedReservation, posting: Posting) -> Reservation:
        reservation = require_open(locked, self._reservation_id)
        portions = self._portions(reservation, locked.products)
        end_portions(
            self._ending, portions, posting, reason=self._reason, reference=self._reference
        )
        return reservation

    def _portions(
        self, reservation: Reservation, products: Mapping[str, Product]
    ) -> list[tuple[ReservationLine, int]]:
        held = {line.product.sku: line for line in reservation.loaded_lines}
        if self._sums is None:
            return [(line, line.open) for line in held.values() if line.open]
        refusals = Refusals()
        for sku, (index, amount) in self._sums.items():
            available = held[sku].open if sku in held else 0
            if sku not in products:
                refusals.add(index, ProductNotFound(sku))
            elif amount > available:
                where = f"in reservation {reservation.pk}"
                refusals.add(index, InsufficientReserved(sku, amount, available, where=where))
        refusals.raise_any(has_lines=self._has_lines)
        return [(held[sku], amount) for sku, (_, amount) in self._sums.items()]


class _ReleaseLine(Verb[LockedReservation, Product]):
    def __init__(self, line: Line, reservation_id: int, reason: str, reference: str) -> None:
        self._sku = line.sku
        self._end = _End(RELEASE, reservation_id, [line], reason, reference, has_lines=False)
        self.wants = self._end.wants

    def decide(self, locked: LockedReservation, posting: Posting) -> Product:
        self._end.decide(locked, posting)
        return locked.products[self._sku]


class _ReleaseOldest(Verb[LockedLines, Product]):
    def __init__(self, line: Line, reason: str, reference: str) -> None:
        check("reason", reason, validators.NOTE)
        check("reference", reference, validators.NOTE)
        self._line, self._reason, self._reference = line, reason, reference
        self.wants = UnreferencedLines(line.sku, line.amount)

    def decide(self, locked: LockedLines, posting: Posting) -> Product:
        sku, missing = self._line.sku, self._line.amount
        if sku not in locked.products:
            raise ProductNotFound(sku)
        portions: list[tuple[ReservationLine, int]] = []
        for line in locked.lines:
            portions.append((line, min(line.open, missing)))
            missing -= portions[-1][1]
        if missing:
            found = self._line.amount - missing
            where = "in reservations without a reference"
            raise InsufficientReserved(sku, self._line.amount, found, where=where)
        end_portions(RELEASE, portions, posting, reason=self._reason, reference=self._reference)
        return locked.products[sku]


class _Extend(Verb[LockedReservation, Reservation]):
    def __init__(self, reservation_id: int, expires_in: int) -> None:
        check("expires_in", expires_in, validators.DURATION)
        self._reservation_id, self._expires_in = reservation_id, expires_in
        self.wants = ReservationWithLines(reservation_id, skus=())

    def decide(self, locked: LockedReservation, posting: Posting) -> Reservation:
        reservation = require_open(locked, self._reservation_id)
        posting.extend(reservation, expires_in=self._expires_in)
        return reservation
