"""The errors of requests to change stock that are refused."""

from collections.abc import Iterable
from datetime import datetime

from products.models import Levels, Product, Reservation
from products.validators import MAX_UNITS, format_time


class StockError(Exception):
    """A request was refused. Nothing has changed.

    For a request with lines, `lines` holds the index and the error of each refused line. The first
    of these errors is this one.
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
        """The refused lines that lack units, which overdue reservations may hold."""
        return shortages_among([error for _, error in self.lines] or [self])


class Invalid(StockError):
    """A value breaks the rules of its field, which `field` names."""

    code = "invalid"

    def __init__(self, field: str, detail: str, *, sku: str | None = None) -> None:
        super().__init__(detail, sku=sku)
        self.field = field


class ProductNotFound(StockError):
    code = "product_not_found"

    def __init__(self, sku: str) -> None:
        super().__init__(f"Product {sku} does not exist.", sku=sku)


class DuplicateSku(StockError):
    """A product has this SKU, or one that differs from it by case alone."""

    code = "duplicate_sku"

    def __init__(
        self, sku: str, *, existing: str = "", is_archived: bool = False, on_line: int | None = None
    ) -> None:
        existing = existing or sku
        detail = f"Product {existing} already exists."
        if on_line:
            detail = f"{existing} is on line {on_line}."
        elif is_archived:
            # Lists do not show it, so its SKU seems to be free.
            detail = f"Product {existing} already exists and is archived. Restore it instead."
        if existing != sku:
            detail = f"{detail} Only case distinguishes {sku} from {existing}."
        super().__init__(detail, sku=sku)


class InsufficientStock(StockError):
    """More units were requested than are available."""

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
    """The request fulfills or releases more units than are open."""

    code = "insufficient_reserved"

    def __init__(self, sku: str, requested: int, available: int, *, where: str) -> None:
        super().__init__(
            f"{requested} of {sku} requested, {available} open {where}.",
            sku=sku,
            requested=requested,
            available=available,
        )


class InsufficientFulfilled(StockError):
    """The request returns more units than were fulfilled and have not come back yet."""

    code = "insufficient_fulfilled"

    def __init__(self, sku: str, requested: int, available: int, reservation: Reservation) -> None:
        super().__init__(
            f"{requested} of {sku} requested, {available} fulfilled in reservation "
            f"{reservation.pk} and not returned yet.",
            sku=sku,
            requested=requested,
            available=available,
        )


class BelowReserved(StockError):
    """A count would set the quantity on hand below the reserved quantity.

    `requested` is that quantity. For a late count, it may be negative.
    """

    code = "below_reserved"

    def __init__(self, sku: str, requested: int, levels: Levels) -> None:
        why = f"{levels.reserved_quantity} are reserved. Release reservations first."
        if requested < 0:
            why = "more units have left since the count than were counted. Check the count."
        super().__init__(
            f"{sku} cannot be set to {requested}: {why}",
            sku=sku,
            requested=requested,
            available=levels.available_quantity,
        )
        self.missing = levels.reserved_quantity - requested


class QuantityChanged(StockError):
    """The quantity on hand is not the one that the caller expected."""

    code = "quantity_changed"

    def __init__(self, sku: str, expected: int, levels: Levels) -> None:
        super().__init__(
            f"{sku} has {levels.quantity} on hand, not {expected}. Check the count and try again.",
            sku=sku,
            available=levels.available_quantity,
        )


class CountedAgain(StockError):
    """The product was counted again since the moment of a late count.

    Or a change before that moment was undone since, so that the level then is not known.
    """

    code = "quantity_changed"

    def __init__(self, sku: str, counted_again_at: datetime, levels: Levels) -> None:
        super().__init__(
            f"{sku} was counted again at {format_time(counted_again_at)}, or an earlier change was "
            "undone then. Leave this count out, or count the product again.",
            sku=sku,
            available=levels.available_quantity,
        )


class RepeatedCount(StockError):
    """A request or a file counts a product more than once. The last count would hide the others."""

    code = "repeated_count"

    def __init__(self, sku: str, first: str, advice: str = "Send one count of a product.") -> None:
        super().__init__(f"{sku} is already counted {first}. {advice}", sku=sku)


class PreconditionFailed(StockError):
    """The product has changed since the caller read it."""

    code = "precondition_failed"

    def __init__(self, product: Product) -> None:
        super().__init__(
            f"{product.sku} has changed: its version is now {product.version}. "
            "Read it again before you retry.",
            sku=product.sku,
        )


class ProductChanged(StockError):
    """A field of the product no longer has the value that the caller expected."""

    code = "precondition_failed"

    def __init__(self, sku: str, field: str, value: object) -> None:
        super().__init__(
            f"{sku} was edited: {field} is now {value!r}. Check the change and try again.",
            sku=sku,
        )


class StockLimitExceeded(StockError):
    """The change would raise the quantity on hand above `MAX_UNITS`."""

    code = "stock_limit_exceeded"

    def __init__(self, sku: str, requested: int, levels: Levels) -> None:
        super().__init__(
            f"{sku} has {levels.quantity} on hand. Adding {requested} would exceed the limit of "
            f"{MAX_UNITS}.",
            sku=sku,
            requested=requested,
        )


class ProductArchived(StockError):
    """The product is archived: its units can be neither added nor reserved."""

    code = "product_archived"

    def __init__(self, product: Product, requested: int) -> None:
        super().__init__(
            f"{product.sku} is archived. Restore it to add or reserve units.",
            sku=product.sku,
            requested=requested,
            available=product.available_quantity,
        )


class ReservationNotFound(StockError):
    code = "reservation_not_found"

    def __init__(self, reservation_id: int) -> None:
        super().__init__(f"Reservation {reservation_id} does not exist.")


class ReservationExpired(StockError):
    """The reservation has expired. Its units may still be reserved until `expire_overdue` runs."""

    code = "reservation_expired"

    def __init__(self, reservation: Reservation) -> None:
        super().__init__(f"Reservation {reservation.pk} has expired. Reserve the units again.")


class ReservationClosed(StockError):
    """The reservation has no open units left."""

    code = "reservation_closed"

    def __init__(self, reservation: Reservation) -> None:
        super().__init__(f"Reservation {reservation.pk} is already {reservation.status}.")


class CannotUndo(StockError):
    """An event of this kind cannot be undone."""

    code = "cannot_undo"


class AlreadyUndone(StockError):
    """The event was undone before. It is undone once only."""

    code = "already_undone"

    def __init__(self, sku: str) -> None:
        super().__init__(f"This change of {sku} was already undone. Nothing was changed.", sku=sku)


class CannotReconcile(StockError):
    """An adjustment cannot repair the ledger of the product."""

    code = "cannot_reconcile"


class KeyReused(StockError):
    """The idempotency key was already used for another request."""

    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__("This key was used for another request. Use a new key.")


Shortage = InsufficientStock | BelowReserved


def shortages_among(outcomes: Iterable[object]) -> list[Shortage]:
    """Return the outcomes that are shortages."""
    return [outcome for outcome in outcomes if isinstance(outcome, Shortage)]


class Refusals:
    """Collect the refused lines of a request by their index."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, StockError]] = []

    def add(self, index: int, error: StockError) -> None:
        """Refuse the line at `index`."""
        self._lines.append((index, error))

    def raise_any(self, *, has_lines: bool = True) -> None:
        """Raise the first refusal, if any. It carries all refusals if the request has lines."""
        if not self._lines:
            return
        self._lines.sort(key=lambda line: line[0])
        _, error = self._lines[0]
        if has_lines:
            error.lines = self._lines
        raise error
