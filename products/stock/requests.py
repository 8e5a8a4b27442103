"""What is asked for, checked on construction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.exceptions import ValidationError

from products import validators

# Callers know these as `stock.Actor`, `stock.LevelChange` and `stock.transactional`.
from products.ledger import Actor as Actor
from products.ledger import LevelChange as LevelChange
from products.ledger import transactional as transactional
from products.models import Product, StockEvent
from products.stock.errors import (
    BelowReserved,
    InsufficientStock,
    Invalid,
    ProductArchived,
    QuantityChanged,
    StockLimitExceeded,
)
from products.validators import MAX_UNITS


def check(field: str, value: Any, rules: Iterable[validators.Rule]) -> None:
    try:
        for rule in rules:
            rule(value)
    except ValidationError as error:
        raise Invalid(field, error.messages[0]) from error


def check_note(reason: str, reference: str) -> None:
    if reason != "":  # As in most lines.
        check("reason", reason, validators.NOTE)
    if reference != "":
        check("reference", reference, validators.NOTE)


@dataclass(frozen=True, kw_only=True)
class NewProduct:
    """A product to create; `quantity` is its opening stock."""

    sku: str
    name: str
    description: str = ""
    quantity: int = 0
    minimum_stock_level: int = 0
    reason: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        check("sku", self.sku, validators.SKU)
        check("name", self.name, validators.NAME)
        check("description", self.description, validators.DESCRIPTION)
        check("quantity", self.quantity, validators.LEVEL)
        check("minimum_stock_level", self.minimum_stock_level, validators.LEVEL)
        check_note(self.reason, self.reference)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What describes a product, anew; what is None stays as it is."""

    sku: str
    name: str | None = None
    description: str | None = None
    minimum_stock_level: int | None = None
    archived: bool | None = None

    def __post_init__(self) -> None:
        check("sku", self.sku, validators.SKU)
        if self.name is not None:
            check("name", self.name, validators.NAME)
        if self.description is not None:
            check("description", self.description, validators.DESCRIPTION)
        if self.minimum_stock_level is not None:
            check("minimum_stock_level", self.minimum_stock_level, validators.LEVEL)
        if self.archived is not None:
            check("archived", self.archived, validators.BOOLEAN)


@dataclass(frozen=True)
class Line:
    """So many units of one product, in a reservation."""

    sku: str
    amount: int

    def __post_init__(self) -> None:
        check("sku", self.sku, validators.SKU)
        check("amount", self.amount, validators.AMOUNT)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A change of what is on hand of one product: `Add`, `Remove` or `Adjust`."""

    sku: str
    reason: str = ""
    reference: str = ""

    event_type: ClassVar[StockEvent.Type]

    def __post_init__(self) -> None:
        check("sku", self.sku, validators.SKU)
        check_note(self.reason, self.reference)

    def quantity_change(self, product: Product) -> int:
        """Return by how many units `product.quantity` changes, or raise why it cannot."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Add(Operation):
    """Goods come in."""

    amount: int

    event_type = StockEvent.Type.ADDED

    def __post_init__(self) -> None:
        super().__post_init__()
        check("amount", self.amount, validators.AMOUNT)

    def quantity_change(self, product: Product) -> int:
        if product.archived:
            raise ProductArchived(product, self.amount)
        if product.quantity + self.amount > MAX_UNITS:
            raise StockLimitExceeded(self.sku, self.amount, product.levels)
        return self.amount


@dataclass(frozen=True, kw_only=True)
class Remove(Operation):
    """Goods go out, from what is available."""

    amount: int

    event_type = StockEvent.Type.REMOVED

    def __post_init__(self) -> None:
        super().__post_init__()
        check("amount", self.amount, validators.AMOUNT)

    def quantity_change(self, product: Product) -> int:
        if self.amount > product.available_quantity:
            raise InsufficientStock(self.sku, self.amount, product.available_quantity)
        return -self.amount


@dataclass(frozen=True, kw_only=True)
class Adjust(Operation):
    """A stocktake's result: what is on hand becomes what was counted."""

    quantity: int
    expected_quantity: int | None = None

    event_type = StockEvent.Type.ADJUSTED

    def __post_init__(self) -> None:
        super().__post_init__()
        check("quantity", self.quantity, validators.LEVEL)
        if self.expected_quantity is not None:
            check("expected_quantity", self.expected_quantity, validators.LEVEL)
        check("reason", self.reason, validators.REASON)

    def quantity_change(self, product: Product) -> int:
        if self.expected_quantity not in (None, product.quantity):
            raise QuantityChanged(self.sku, self.expected_quantity, product.levels)
        if self.quantity < product.reserved_quantity:
            raise BelowReserved(self.sku, self.quantity, product.levels)
        return self.quantity - product.quantity
