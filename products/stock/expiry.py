"""Expire overdue reservations, whose units then become available again."""

from collections.abc import Collection
from typing import NamedTuple

from products import validators
from products.ledger.locking import (
    LockedOverdue,
    LockedReservation,
    OverdueReservations,
    ReservationWithLines,
)
from products.ledger.posting import Actor, Posting
from products.models import Reservation
from products.stock import overdue
from products.stock.errors import Invalid, ProductArchived, Refusals, ReservationNotFound
from products.stock.once import Once, S
from products.stock.requests import check
from products.stock.reservations import closed, open_reservation
from products.stock.runner import Verb, run


class ExpiryResult(NamedTuple):
    """The outcome of one call of `expire_overdue`."""

    found: int
    """The number of overdue reservations that were found."""
    expired: int
    """The number of reservations whose units were expired."""
    skipped: set[int]
    """The ids of reservations that still hold units, because others have locked them or a
    product."""


def expire_overdue(*, limit: int, excluding: Collection[int] = (), by: Actor) -> ExpiryResult:
    """Expire overdue reservations, in the order of their expiry.

    Expires at most `limit` lines, but at least one whole reservation, so that locks are held
    briefly. Skips reservations that others have locked: pass `skipped` as `excluding` to the
    next call.
    """
    return run(_ExpireOverdue(limit, excluding), by=by)


def expire(*, reservation_id: int, by: Actor, once: Once[S] | None = None) -> Reservation | S:
    """Expire the open units of one overdue reservation.

    Returns the reservation with its `loaded_lines`. Raises `ReservationNotFound`,
    `ReservationClosed`, `ReservationExpired`, and `Invalid` if it is not overdue.
    """
    return run(_Expire(reservation_id), by=by, once=once)


def reserve_again(
    *,
    reservation_id: int,
    expires_in: int | None = None,
    by: Actor,
    once: Once[S] | None = None,
) -> Reservation | S:
    """Expire an overdue reservation, and reserve its open units again under its reference.

    Returns the new reservation with its `loaded_lines`. No other caller can get the units in
    between. Raises as `expire` does, and `ProductArchived` with every refused line.
    """
    return run(_ReserveAgain(reservation_id, expires_in), by=by, once=once)


class _Expire(Verb[LockedReservation, Reservation]):
    def __init__(self, reservation_id: int) -> None:
        self._reservation_id = reservation_id
        self.wants = ReservationWithLines(reservation_id)

    def decide(self, locked: LockedReservation, posting: Posting) -> Reservation:
        reservation = _require_overdue(locked, self._reservation_id)
        overdue.expire([line for line in reservation.loaded_lines if line.open], posting)
        return reservation


class _ReserveAgain(Verb[LockedReservation, Reservation]):
    def __init__(self, reservation_id: int, expires_in: int | None) -> None:
        if expires_in is not None:
            check("expires_in", expires_in, validators.DURATION)
        self._reservation_id, self._expires_in = reservation_id, expires_in
        self.wants = ReservationWithLines(reservation_id)

    def decide(self, locked: LockedReservation, posting: Posting) -> Reservation:
        reservation = _require_overdue(locked, self._reservation_id)
        lines = [line for line in reservation.loaded_lines if line.open]
        units = [(line.product, line.open) for line in lines]
        refusals = Refusals()
        for index, (product, amount) in enumerate(units):
            if product.archived:
                refusals.add(index, ProductArchived(product, amount))
        refusals.raise_any()
        overdue.expire(lines, posting)
        return open_reservation(units, reservation.reference, self._expires_in, posting)


def _require_overdue(locked: LockedReservation, reservation_id: int) -> Reservation:
    """Return the locked reservation if it is overdue. Else raise a `StockError`."""
    reservation = locked.reservation
    if reservation is None:
        raise ReservationNotFound(reservation_id)
    if reservation.status != Reservation.Status.OPEN:
        raise closed(reservation)
    if not reservation.is_overdue:
        detail = f"Reservation {reservation_id} is not overdue. Release it instead."
        raise Invalid("reservation_id", detail)
    return reservation


class _ExpireOverdue(Verb[LockedOverdue, ExpiryResult]):
    def __init__(self, limit: int, excluding: Collection[int]) -> None:
        self.wants = OverdueReservations(limit, excluding)

    def decide(self, locked: LockedOverdue, posting: Posting) -> ExpiryResult:
        expired = overdue.expire(locked.lines, posting)
        return ExpiryResult(len(locked.found), len(expired), locked.skipped)
