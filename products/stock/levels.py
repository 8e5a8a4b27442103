"""Changes of the quantity on hand: add, remove, adjust."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from products.ledger.locking import Locked, Products
from products.ledger.past import read_past_levels, read_undone
from products.ledger.posting import Actor, LevelChange, Posting
from products.models import Levels, Product, StockEvent
from products.stock import overdue
from products.stock.errors import (
    ProductNotFound,
    Refusals,
    RepeatedCount,
    StockError,
    shortages_among,
)
from products.stock.once import Once, S
from products.stock.requests import Add, Adjust, Operation, Remove, Undo
from products.stock.runner import Verb, run

Outcome = LevelChange | StockError
"""The change of an operation, or the error that refuses it."""


def add(
    *,
    sku: str,
    amount: int,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | S:
    """Add `amount` units.

    Raises `ProductNotFound`, `ProductArchived`, `StockLimitExceeded`.
    """
    operation = Add(sku=sku, amount=amount, reason=reason, reference=reference)
    return run(_ApplyOne(operation), by=by, once=once, if_match=if_match)


def remove(
    *,
    sku: str,
    amount: int,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | S:
    """Remove `amount` available units.

    Raises `ProductNotFound`, `InsufficientStock`.
    """
    operation = Remove(sku=sku, amount=amount, reason=reason, reference=reference)
    return run(_ApplyOne(operation), by=by, once=once, if_match=if_match)


def adjust(
    *,
    sku: str,
    quantity: int,
    reason: str,
    reference: str = "",
    expected_quantity: int | None = None,
    counted_at: datetime | None = None,
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | S:
    """Set the quantity on hand to a count. An equal count is recorded, too.

    `counted_at` is the moment of a late count. The difference between the count and the quantity on
    hand at that moment is applied, so that later sales and deliveries stay.

    Raises `ProductNotFound`, `BelowReserved`, and `QuantityChanged` if the quantity on hand is not
    the `expected_quantity`. A late count raises `CountedAgain` if the product was counted after
    `counted_at`, and `StockLimitExceeded`.
    """
    operation = Adjust(
        sku=sku,
        quantity=quantity,
        expected_quantity=expected_quantity,
        counted_at=counted_at,
        reason=reason,
        reference=reference,
    )
    return run(_ApplyOne(operation), by=by, once=once, if_match=if_match)


def undo(
    event: StockEvent, *, reason: str = "", by: Actor, once: Once[S] | None = None
) -> Product | S:
    """Take back the change that an event has made to the quantity on hand, at most once.

    Raises `CannotUndo`, `AlreadyUndone`, `InsufficientStock`, `ProductArchived` and
    `StockLimitExceeded`.
    """
    return run(_ApplyOne(Undo.of(event, reason=reason)), by=by, once=once)


def undo_all(events: Sequence[StockEvent], *, reason: str = "", by: Actor) -> list[Product]:
    """Take back the changes of several events, all or none, the latest first.

    Raises the errors of `undo`, with every refused line.
    """
    return run(_Apply(Undo.of_all(events, reason=reason)), by=by)


def apply(
    operations: Sequence[Operation], *, by: Actor, once: Once[S] | None = None
) -> list[Product] | S:
    """Apply several operations in their order, all or none, with one event each.

    Returns the product of each operation, as it is after the last one. Raises the errors of `add`,
    `remove` and `adjust`, and `RepeatedCount` for the second count of a product, with every refused
    line.
    """
    return run(_Apply(operations), by=by, once=once)


def preview(
    operations: Sequence[Operation], *, levels: Mapping[str, Levels] | None = None, by: Actor
) -> list[Outcome]:
    """Return the outcome that each operation would have if it were applied now.

    Takes no locks, so the outcomes may be out of date at once: `apply` decides again. `levels`
    holds the levels by SKU after operations that were previewed earlier.
    """
    wants = _products_of(operations)
    products = _products_at(levels or {}, wants)
    outcomes = record_all(operations, products, Posting(by=by))
    held = overdue.lines_for(shortages_among(outcomes), wants, products, whole=False)
    if not held:
        return outcomes
    skus = {product.pk: sku for sku, product in products.items()}
    returned: Counter[str] = Counter()
    for line in held:
        returned[skus[line.product_id]] += line.open
    products = _products_at(levels or {}, wants, returned)
    return record_all(operations, products, Posting(by=by))


def _products_of(operations: Collection[Operation], *, levels_only: bool = False) -> Products:
    """Return the products to lock for operations."""
    moments: dict[str, datetime] = {}
    for operation in operations:
        if isinstance(operation, Adjust) and operation.counted_at is not None:
            # A second count of a product is refused.
            moments.setdefault(operation.sku, operation.counted_at)
    skus = [operation.sku for operation in operations]
    undoes = [event_id for each in operations if (event_id := each.undoes_id) is not None]
    return Products(skus, levels_only=levels_only, moments=moments, undoes=undoes)


def _products_at(
    levels: Mapping[str, Levels], wants: Products, returned: Mapping[str, int] | None = None
) -> dict[str, Product]:
    """Return the products by SKU, at the known levels.

    `returned` holds the units by SKU that overdue reservations would return.
    """
    products = {product.sku: product for product in Product.objects.filter(sku__in=set(wants.skus))}
    read_past_levels(products, wants.moments)
    if wants.undoes:
        read_undone(products, wants.undoes)
    for sku, units in (returned or {}).items():
        products[sku].reserved_quantity -= units
    for sku in levels.keys() & products.keys():
        products[sku].quantity = levels[sku].quantity
        # The known levels may already include some of the returned units.
        products[sku].reserved_quantity = min(
            products[sku].reserved_quantity, levels[sku].reserved_quantity
        )
    return products


def record_all(
    operations: Iterable[Operation], products: Mapping[str, Product], posting: Posting
) -> list[Outcome]:
    """Record operations in memory, in their order, and return their outcomes.

    A second count of a product is refused.
    """
    outcomes: list[Outcome] = []
    counted: dict[str, int] = {}
    for index, operation in enumerate(operations):
        try:
            if isinstance(operation, Adjust):
                first = counted.setdefault(operation.sku, index)
                if first != index:
                    raise RepeatedCount(operation.sku, f"by operation {first}")
            outcomes.append(_record_one(operation, products, posting))
        except StockError as error:
            outcomes.append(error)
    return outcomes


def _record_one(
    operation: Operation, products: Mapping[str, Product], posting: Posting
) -> LevelChange:
    product = products.get(operation.sku)
    if product is None:
        raise ProductNotFound(operation.sku)
    return posting.record(
        product,
        operation.event_type,
        quantity_change=operation.quantity_change(product),
        reason=operation.reason,
        reference=operation.reference,
        undoes_id=operation.undoes_id,
        details=operation.details,
    )


class _ApplyOne(Verb[Locked, Product]):
    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.wants = _products_of([operation])

    def decide(self, locked: Locked, posting: Posting) -> Product:
        _record_one(self._operation, locked.products, posting)
        return locked.products[self._operation.sku]


class _Apply(Verb[Locked, list[Product]]):
    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self.wants = _products_of(operations)

    def decide(self, locked: Locked, posting: Posting) -> list[Product]:
        refusals = Refusals()
        for index, outcome in enumerate(record_all(self._operations, locked.products, posting)):
            if isinstance(outcome, StockError):
                refusals.add(index, outcome)
        refusals.raise_any()
        return [locked.products[operation.sku] for operation in self._operations]


class ApplyPossible(Verb[Locked, list[Outcome]]):
    """Apply the possible operations of a batch of a file, with one event each.

    `by_line` converts the outcomes of the operations to the outcomes of the lines.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        by_line: Callable[[list[Outcome]], list[Outcome]] = list,
    ) -> None:
        self._operations, self._by_line = operations, by_line
        self.wants = _products_of(operations, levels_only=True)

    def decide(self, locked: Locked, posting: Posting) -> list[Outcome]:
        return self._by_line(record_all(self._operations, locked.products, posting))
