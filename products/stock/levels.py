"""Changes of the quantity on hand: add, remove, adjust."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from products.ledger.locking import Locked, Products
from products.ledger.posting import Actor, LevelChange, Posting
from products.models import Levels, Product
from products.stock import overdue
from products.stock.errors import ProductNotFound, Refusals, StockError, shortages_among
from products.stock.once import A, Once
from products.stock.requests import Add, Adjust, Operation, Remove
from products.stock.runner import Verb, run

Outcome = LevelChange | StockError
"""What an operation does, or why it cannot be carried out."""


def add(
    *,
    sku: str,
    amount: int,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[A] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | A:
    """Take `amount` units in.

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
    once: Once[A] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | A:
    """Take `amount` units out, from what is available.

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
    by: Actor,
    once: Once[A] | None = None,
    if_match: Collection[int] | None = None,
) -> Product | A:
    """Set the quantity on hand to a count, and record it even if it is equal.

    Raises `ProductNotFound`, `BelowReserved`, and `QuantityChanged` where the level is not the
    `expected_quantity`.
    """
    operation = Adjust(
        sku=sku,
        quantity=quantity,
        expected_quantity=expected_quantity,
        reason=reason,
        reference=reference,
    )
    return run(_ApplyOne(operation), by=by, once=once, if_match=if_match)


def apply(
    operations: Sequence[Operation], *, by: Actor, once: Once[A] | None = None
) -> list[Product] | A:
    """Apply several operations in their order, all or none, as one event each.

    Returns the product of each, as it is after all of them. Raises as `add`, `remove` and
    `adjust` do, with every refused line.
    """
    return run(_Apply(operations), by=by, once=once)


def preview(
    operations: Sequence[Operation], *, levels: Mapping[str, Levels] | None = None, by: Actor
) -> list[Outcome]:
    """Return what each operation would do if `apply` were called now, or why it could not.

    Only reads: it waits for nobody, and nobody waits for it. Its answer may be over a moment later,
    so `apply` decides anew. `levels`, by SKU, are those after operations that were previewed
    before.
    """
    wants = Products([operation.sku for operation in operations])
    products = _products_at(levels or {}, wants.skus)
    outcomes = record_all(operations, products, Posting(by=by))
    held = overdue.lines_for(shortages_among(outcomes), wants, products, whole=False)
    if not held:
        return outcomes
    skus = {product.pk: sku for sku, product in products.items()}
    given_back: Counter[str] = Counter()
    for line in held:
        given_back[skus[line.product_id]] += line.open
    products = _products_at(levels or {}, wants.skus, given_back)
    return record_all(operations, products, Posting(by=by))


def _products_at(
    levels: Mapping[str, Levels], skus: Iterable[str], given_back: Mapping[str, int] | None = None
) -> dict[str, Product]:
    """Return the products of `skus`, with known levels, and after units were given back."""
    products = {product.sku: product for product in Product.objects.filter(sku__in=set(skus))}
    for sku, units in (given_back or {}).items():
        products[sku].reserved_quantity -= units
    for sku in levels.keys() & products.keys():
        products[sku].quantity = levels[sku].quantity
        # Less, if some of the units that are given back were so in the known levels already.
        products[sku].reserved_quantity = min(
            products[sku].reserved_quantity, levels[sku].reserved_quantity
        )
    return products


def record_all(
    operations: Iterable[Operation], products: Mapping[str, Product], posting: Posting
) -> list[Outcome]:
    """Record operations in memory, in their order, and return the outcome of each."""
    outcomes: list[Outcome] = []
    for operation in operations:
        try:
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
    )


class _ApplyOne(Verb[Locked, Product]):
    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.wants = Products([operation.sku])

    def decide(self, locked: Locked, posting: Posting) -> Product:
        _record_one(self._operation, locked.products, posting)
        return locked.products[self._operation.sku]


class _Apply(Verb[Locked, list[Product]]):
    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self.wants = Products([operation.sku for operation in operations])

    def decide(self, locked: Locked, posting: Posting) -> list[Product]:
        refusals = Refusals()
        for index, outcome in enumerate(record_all(self._operations, locked.products, posting)):
            if isinstance(outcome, StockError):
                refusals.add(index, outcome)
        refusals.raise_any()
        return [locked.products[operation.sku] for operation in self._operations]


class ApplyPossible(Verb[Locked, list[Outcome]]):
    """A batch of a file: the operations that are possible, as one event each."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self.wants = Products([operation.sku for operation in operations], levels_only=True)

    def decide(self, locked: Locked, posting: Posting) -> list[Outcome]:
        return record_all(self._operations, locked.products, posting)
