"""Create, edit, archive and restore products."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from products.ledger.locking import Catalogue, LockedCatalogue, Taken
from products.ledger.posting import Actor, Posting
from products.models import Product, StockEvent, terms_of
from products.stock.errors import (
    DuplicateSku,
    ProductChanged,
    ProductNotFound,
    Refusals,
    StockError,
)
from products.stock.once import Once, S
from products.stock.requests import Edit, NewProduct
from products.stock.runner import Verb, run

CatalogueChange = NewProduct | Edit

_DESCRIPTION = ("name", "description", "minimum_stock_level")
"""The fields whose changes a `ProductEdited` lists in its `details`."""


def create(
    *,
    sku: str,
    name: str,
    description: str = "",
    quantity: int = 0,
    minimum_stock_level: int = 0,
    reason: str = "",
    reference: str = "",
    by: Actor,
    once: Once[S] | None = None,
) -> Product | S:
    """Create a product with its opening stock, which `reason` and `reference` explain.

    Raises `DuplicateSku` if a product has this SKU, or one that differs by case alone.
    """
    product = NewProduct(
        sku=sku,
        name=name,
        description=description,
        quantity=quantity,
        minimum_stock_level=minimum_stock_level,
        reason=reason,
        reference=reference,
    )
    return run(_SaveOne(product), by=by, once=once)


def edit(
    *,
    sku: str,
    name: str | None = None,
    description: str | None = None,
    minimum_stock_level: int | None = None,
    archived: bool | None = None,
    expected: Mapping[str, Any] | None = None,
    by: Actor,
    if_match: Collection[int] | None = None,
) -> Product:
    """Change descriptive fields of a product, never its stock. None leaves a field unchanged.

    Records a `ProductEdited`, `ProductArchived` or `ProductRestored` for the fields that change.
    Units of an archived product cannot be added or reserved. Raises `ProductNotFound`, and
    `ProductChanged` if a field does not have its `expected` value.
    """
    edited = Edit(
        sku=sku,
        name=name,
        description=description,
        minimum_stock_level=minimum_stock_level,
        archived=archived,
        expected=expected,
    )
    return run(_SaveOne(edited), by=by, if_match=if_match)


def save_products(
    changes: Sequence[CatalogueChange], *, by: Actor, once: Once[S] | None = None
) -> list[Product] | S:
    """Create and edit several products, all or none, and return the product of each change.

    New products get their opening stock, edited products keep their stock. Raises `DuplicateSku`
    if a new SKU exists or is repeated, `ProductNotFound` if an edited SKU is unknown, and
    `ProductChanged` if an edited product does not have the expected values. The error carries every
    refused line.
    """
    return run(_SaveAll(changes), by=by, once=once)


def _wants(changes: Sequence[CatalogueChange]) -> Catalogue:
    return Catalogue(
        edited={change.sku for change in changes if isinstance(change, Edit)},
        created={change.sku for change in changes if isinstance(change, NewProduct)},
    )


class _SaveOne(Verb[LockedCatalogue, Product]):
    def __init__(self, change: CatalogueChange) -> None:
        self._change = change
        self.wants = _wants([change])

    def decide(self, locked: LockedCatalogue, posting: Posting) -> Product:
        return _save([self._change], locked, posting, has_lines=False)[0]


class _SaveAll(Verb[LockedCatalogue, list[Product]]):
    def __init__(self, changes: Sequence[CatalogueChange]) -> None:
        self._changes = changes
        self.wants = _wants(changes)

    def decide(self, locked: LockedCatalogue, posting: Posting) -> list[Product]:
        return _save(self._changes, locked, posting)


class SavePossible(Verb[LockedCatalogue, list[StockError | None]]):
    """Save all lines of a batch of a file, or none, and return the error of each line.

    A line is a change, None if it changes nothing, or an error that was found before.
    """

    def __init__(self, lines: Sequence[CatalogueChange | StockError | None]) -> None:
        self._errors = [line if isinstance(line, StockError) else None for line in lines]
        self._changes = {
            index: line
            for index, line in enumerate(lines)
            if line is not None and not isinstance(line, StockError)
        }
        self.wants = _wants([] if any(self._errors) else list(self._changes.values()))

    def decide(self, locked: LockedCatalogue, posting: Posting) -> list[StockError | None]:
        outcomes = [*self._errors]
        if any(outcomes):
            return outcomes
        try:
            _save(list(self._changes.values()), locked, posting)
        except StockError as refused:
            indexes = list(self._changes)
            for index, error in refused.lines:
                outcomes[indexes[index]] = error
        return outcomes


def _save(
    changes: Sequence[CatalogueChange],
    locked: LockedCatalogue,
    posting: Posting,
    *,
    has_lines: bool = True,
) -> list[Product]:
    _refuse_duplicates(changes, locked.taken, has_lines=has_lines)
    _refuse_unknown(changes, locked.products, has_lines=has_lines)
    _refuse_edited(changes, locked.products, has_lines=has_lines)
    return [
        _create(change, posting)
        if isinstance(change, NewProduct)
        else _edit(locked.products[change.sku], change, posting)
        for change in changes
    ]


def _refuse_duplicates(
    changes: Sequence[CatalogueChange], taken: Mapping[str, Taken], *, has_lines: bool
) -> None:
    refusals, known = Refusals(), dict(taken)
    for index, change in enumerate(changes):
        if isinstance(change, NewProduct):
            existing = known.setdefault(change.sku.upper(), new := Taken(change.sku, False))
            if existing is not new:
                sku, is_archived = existing
                error = DuplicateSku(change.sku, existing=sku, is_archived=is_archived)
                refusals.add(index, error)
    refusals.raise_any(has_lines=has_lines)


def _refuse_unknown(
    changes: Sequence[CatalogueChange], products: Mapping[str, Product], *, has_lines: bool
) -> None:
    refusals = Refusals()
    for index, change in enumerate(changes):
        if isinstance(change, Edit) and change.sku not in products:
            refusals.add(index, ProductNotFound(change.sku))
    refusals.raise_any(has_lines=has_lines)


def _refuse_edited(
    changes: Sequence[CatalogueChange], products: Mapping[str, Product], *, has_lines: bool
) -> None:
    refusals = Refusals()
    for index, change in enumerate(changes):
        expected = (isinstance(change, Edit) and change.expected) or {}
        for name, value in expected.items():
            current = getattr(products[change.sku], name)
            if current != value:
                refusals.add(index, ProductChanged(change.sku, name, current))
                break
    refusals.raise_any(has_lines=has_lines)


def _create(new: NewProduct, posting: Posting) -> Product:
    product = Product(
        sku=new.sku,
        name=new.name,
        description=new.description,
        quantity=new.quantity,
        minimum_stock_level=new.minimum_stock_level,
        archived=new.archived,
    )
    posting.create(product, reason=new.reason, reference=new.reference)
    return product


def _edit(product: Product, edit: Edit, posting: Posting) -> Product:
    columns = {name: getattr(edit, name) for name in _DESCRIPTION if _differs(product, edit, name)}
    if columns:
        details = {
            name: {"old": getattr(product, name), "new": value} for name, value in columns.items()
        }
        if "name" in columns:
            columns["search_terms"] = terms_of(product.sku, columns["name"])
        posting.edit(product, StockEvent.Type.PRODUCT_EDITED, columns, details)
    if _differs(product, edit, "archived"):
        archived, restored = StockEvent.Type.PRODUCT_ARCHIVED, StockEvent.Type.PRODUCT_RESTORED
        event = archived if edit.archived else restored
        posting.edit(product, event, {"archived": edit.archived}, {})
    return product


def _differs(product: Product, edit: Edit, name: str) -> bool:
    new: Any = getattr(edit, name)
    return new is not None and new != getattr(product, name)
