"""Returns: fulfilled units of a reservation come back."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import Sum

from products import validators
from products.ledger.locking import LockedReservation, ReservationWithLines
from products.ledger.posting import Actor, Posting
from products.models import Product, Reservation, StockEvent
from products.stock.errors import (
    InsufficientFulfilled,
    ProductNotFound,
    Refusals,
    ReservationNotFound,
    StockError,
)
from products.stock.once import Once, S
from products.stock.requests import Add, Line, check
from products.stock.reservations import sum_lines
from products.stock.runner import Verb, run


def return_lines(
    *,
    reservation_id: int,
    lines: Sequence[Line],
    reason: str = "return",
    by: Actor,
    once: Once[S] | None = None,
) -> Reservation | S:
    """Add fulfilled units of a reservation to the stock again, all lines or none.

    Records an `InventoryAdded` for each product, with the reservation and its reference. Of each
    line, at most the fulfilled units that have not come back yet can be returned.

    Returns the reservation with its `loaded_lines`. Raises `ReservationNotFound`,
    `ProductNotFound`, `ProductArchived`, `StockLimitExceeded`, `InsufficientFulfilled`, with every
    refused line.
    """
    return run(_Return(reservation_id, lines, reason), by=by, once=once)


def returned_units(reservation: Reservation) -> dict[int, int]:
    """Return the units of a reservation that have come back, by the id of their product.

    Returns that were undone do not count.
    """
    events = StockEvent.objects.of_reference(return_reference(reservation)).filter(
        product__in=reservation.lines.values("product"),
        reservation=reservation,
        type=StockEvent.Type.ADDED,
        undone_by=None,
    )
    sums = events.order_by().values_list("product").annotate(Sum("quantity_change"))
    # PostgreSQL's sum of a BIGINT column is a Decimal.
    return {product_id: int(units) for product_id, units in sums}


def return_reference(reservation: Reservation) -> str:
    """Return the reference of the events of a return."""
    return reservation.reference or f"reservation {reservation.pk}"


@dataclass
class _LockedReturns(LockedReservation):
    returned: dict[int, int]


@dataclass(frozen=True)
class _FulfilledLines:
    """Lock a reservation and the products that come back, and read what came back before."""

    reservation_id: int
    skus: Collection[str]

    def lock(self) -> _LockedReturns:
        locked = ReservationWithLines(self.reservation_id, self.skus).lock()
        # Each return locks its products, so the sums cannot change until the commit.
        returned = returned_units(locked.reservation) if locked.reservation else {}
        return _LockedReturns(locked.products, locked.reservation, returned)


class _Return(Verb[_LockedReturns, Reservation]):
    def __init__(self, reservation_id: int, lines: Sequence[Line], reason: str) -> None:
        check("reason", reason, validators.NOTE)
        self._reservation_id, self._reason = reservation_id, reason
        self._sums = sum_lines(lines)
        self.wants = _FulfilledLines(reservation_id, self._sums.keys())

    def decide(self, locked: _LockedReturns, posting: Posting) -> Reservation:
        reservation = locked.reservation
        if reservation is None:
            raise ReservationNotFound(self._reservation_id)
        refusals = Refusals()
        for sku, (index, amount) in self._sums.items():
            try:
                _check(sku, amount, locked, reservation)
            except StockError as refusal:
                refusals.add(index, refusal)
        refusals.raise_any()
        for sku, (_, amount) in self._sums.items():
            posting.record(
                locked.products[sku],
                StockEvent.Type.ADDED,
                quantity_change=amount,
                reservation=reservation,
                reason=self._reason,
                reference=return_reference(reservation),
            )
        return reservation


def _check(sku: str, amount: int, locked: _LockedReturns, reservation: Reservation) -> None:
    product: Product | None = locked.products.get(sku)
    if product is None:
        raise ProductNotFound(sku)
    fulfilled = {line.product_id: line.fulfilled for line in reservation.loaded_lines}
    left = fulfilled.get(product.pk, 0) - locked.returned.get(product.pk, 0)
    if amount > left:
        raise InsufficientFulfilled(sku, amount, left, reservation)
    Add(sku=sku, amount=amount).quantity_change(product)
