"""Refusals: why a request cannot be met."""

from collections.abc import Iterable

from products.models import Levels, Product, Reservation
from products.validators import MAX_UNITS


class StockError(Exception):
    """A request that cannot be met. Nothing was changed.

    `lines` holds, for a request of several lines, each refused line's index and its error; the
    first of them is the error itself.
    """

    code: str

    def __init__(
        self,
        detail: str,
        *,
        sku: str | None = None,
        requested: int | None = None,
        available: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sku = sku
        self.requested = requested
        self.available = available
        self.lines: list[tuple[int, StockError]] = []

    @property
    def shortages(self) -> "list[Shortage]":
        """The refused lines that lack units which overdue reservations may hold."""
        return shortages_among([error for _, error in self.lines] or [self])


class Invalid(StockError):
    """A value that is wrong in itself, whatever the stock; `field` names it."""

    code = "invalid"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class ProductNotFound(StockError):
    code = "product_not_found"

    def __init__(self, sku: str) -> None:
        super().__init__(f"There is no product {sku}.", sku=sku)


class DuplicateSku(StockError):
    code = "duplicate_sku"

    def __init__(self, sku: str) -> None:
        super().__init__(f"There is a product {sku} already.", sku=sku)


class InsufficientStock(StockError):
    """More units were asked for than are available."""

    code = "insufficient_stock"

    def __init__(self, sku: str, requested: int, available: int) -> None:
        super().__init__(
            f"{requested} of {sku} requested, {available} available.",
            sku=sku,
            requested=requested,
            available=available,
        )
        self.missing = requested - available


class InsufficientReserved(StockError):
    """More units were to be released or fulfilled than are open."""

    code = "insufficient_reserved"

    def __init__(self, sku: str, requested: int, available: int, *, where: str) -> None:
        super().__init__(
            f"{requested} of {sku} requested, {available} open {where}.",
            sku=sku,
            requested=requested,
            available=available,
        )


class BelowReserved(StockError):
    """A count is lower than what is promised to open reservations."""

    code = "below_reserved"

    def __init__(self, sku: str, requested: int, levels: Levels) -> None:
        super().__init__(
            f"{sku} cannot be set to {requested}: {levels.reserved_quantity} are reserved.",
            sku=sku,
            requested=requested,
            available=levels.available_quantity,
        )
        self.missing = levels.reserved_quantity - requested


class QuantityChanged(StockError):
    """The level is no longer the one that the caller expected."""

    code = "quantity_changed"

    def __init__(self, sku: str, expected: int, levels: Levels) -> None:
        super().__init__(
            f"{sku} was expected to have {expected} on hand and has {levels.quantity}.",
            sku=sku,
            available=levels.available_quantity,
        )


class PreconditionFailed(StockError):
    """The product is no longer as the caller knows it."""

    code = "precondition_failed"

    def __init__(self, product: Product) -> None:
        super().__init__(
            f"{product.sku} has changed: its version is {product.version} now.", sku=product.sku
        )


class StockLimitExceeded(StockError):
    code = "stock_limit_exceeded"

    def __init__(self, sku: str, requested: int, levels: Levels) -> None:
        super().__init__(
            f"{sku} has {levels.quantity} on hand; {requested} more would pass {MAX_UNITS}.",
            sku=sku,
            requested=requested,
        )


class ProductArchived(StockError):
    """The product is retired: no unit comes in or is promised any more."""

    code = "product_archived"

    def __init__(self, product: Product, requested: int) -> None:
        super().__init__(
            f"{product.sku} is archived.",
            sku=product.sku,
            requested=requested,
            available=product.available_quantity,
        )


class ReservationNotFound(StockError):
    code = "reservation_not_found"

    def __init__(self, reservation_id: int) -> None:
        super().__init__(f"There is no reservation {reservation_id}.")


class ReservationExpired(StockError):
    """The time of the reservation is over, whether its units were given back yet or not."""

    code = "reservation_expired"

    def __init__(self, reservation: Reservation) -> None:
        super().__init__(f"Reservation {reservation.pk} has expired.")


class ReservationClosed(StockError):
    """No unit of the reservation is open any more."""

    code = "reservation_closed"

    def __init__(self, reservation: Reservation) -> None:
        super().__init__(f"Reservation {reservation.pk} is {reservation.status}.")


class CannotReconcile(StockError):
    """The books of a product are such that no adjustment can mend them."""

    code = "cannot_reconcile"


class KeyReused(StockError):
    """An idempotency key was used for another request before."""

    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__("This key was used for another request. Use a new key.")


Shortage = InsufficientStock | BelowReserved


def shortages_among(outcomes: Iterable[object]) -> list[Shortage]:
    """Return the outcomes that are shortages."""
    return [outcome for outcome in outcomes if isinstance(outcome, Shortage)]


class Refusals:
    """Collects the refused lines of a request, each with its index."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, StockError]] = []

    def add(self, index: int, error: StockError) -> None:
        """Refuse the line at `index`."""
        self._lines.append((index, error))

    def raise_any(self, *, has_lines: bool = True) -> None:
        """Raise the first refusal, if any, with all lines, or alone if the request has no lines."""
        if not self._lines:
            return
        self._lines.sort(key=lambda line: line[0])
        _, error = self._lines[0]
        if has_lines:
            error.lines = self._lines
        raise error
