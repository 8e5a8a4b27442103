"""Requests to change stock. Each checks its values on construction, by the rules of their types."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from django.core.exceptions import ValidationError

from products import validators
from products.ledger.posting import NO_DETAILS
from products.models import REPAIR_ACTOR, Product, StockEvent
from products.stock.errors import (
    AlreadyUndone,
    BelowReserved,
    CannotUndo,
    CountedAgain,
    InsufficientStock,
    Invalid,
    ProductArchived,
    QuantityChanged,
    StockLimitExceeded,
)
from products.validators import MAX_UNITS, Rules, format_time

Sku = Annotated[str, validators.SKU]
ExistingSku = Annotated[str, validators.EXISTING_SKU]
Name = Annotated[str, validators.NAME]
Description = Annotated[str, validators.DESCRIPTION]
Note = Annotated[str, validators.NOTE]
Reason = Annotated[str, validators.REASON]
Level = Annotated[int, validators.LEVEL]
Amount = Annotated[int, validators.AMOUNT]
Boolean = Annotated[bool, validators.BOOLEAN]
Moment = Annotated[datetime, validators.MOMENT]


def check(field: str, value: Any, rules: Rules) -> None:
    """Raise `Invalid` if a value breaks one of the rules."""
    try:
        for rule in rules:
            rule(value)
    except ValidationError as error:
        raise Invalid(field, error.messages[0]) from error


@cache
def _checks(kind: Any) -> list[tuple[str, Rules, Any]]:
    """Return the name and the rules of each field, and its default if that needs no check."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        (field.name, rules, field.default if _is_exempt(field.default, rules) else MISSING)
        for field in fields(kind)
        for rules in [_rules(hints[field.name])]
    ]


def _is_exempt(default: Any, rules: Rules) -> bool:
    """Return whether the default passes the rules. The default of a required reason does not."""
    if default is None:
        return True
    try:
        check("", default, rules)
    except Invalid:
        return False
    return True


def _rules(hint: Any) -> Rules:
    if get_origin(hint) is Annotated:
        rules: Rules = hint.__metadata__[0]
        return rules
    return next(filter(None, map(_rules, get_args(hint))), ())  # A union, such as `Sku | None`.


COUNTED_AT_AND_EXPECTED = (
    "A late count has no expected quantity. Give counted_at or expected_quantity, not both."
)


class _Checked:
    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, rules, default in _checks(kind):
            value = getattr(self, name)
            if value is not default:
                check(name, value, rules)


def faults_of(kind: Any, **values: Any) -> list[Invalid]:
    """Return the error of each given value that breaks the rules of its field in a request."""
    faults = []
    for name, rules, default in _checks(kind):
        if name in values and values[name] is not default:
            try:
                check(name, values[name], rules)
            except Invalid as fault:
                faults.append(fault)
    return faults


@dataclass(frozen=True, kw_only=True)
class NewProduct(_Checked):
    """A product to create; `quantity` is its opening stock. It can be archived from the start."""

    sku: Sku
    name: Name
    description: Description = ""
    quantity: Level = 0
    minimum_stock_level: Level = 0
    archived: Boolean = False
    reason: Note = ""
    reference: Note = ""


@dataclass(frozen=True, kw_only=True)
class Edit(_Checked):
    """New values of a product's descriptive fields. None leaves a field unchanged."""

    sku: ExistingSku
    name: Name | None = None
    description: Description | None = None
    minimum_stock_level: Level | None = None
    archived: Boolean | None = None
    expected: Mapping[str, Any] | None = None
    """Values that fields must have. Otherwise the edit is refused."""


@dataclass(frozen=True)
class Line(_Checked):
    """Units of one product in a reservation."""

    sku: ExistingSku
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class Operation(_Checked):
    """A change of one product's quantity on hand: `Add`, `Remove`, `Adjust` or `Undo`."""

    sku: ExistingSku
    reason: Note = ""
    reference: Note = ""

    @property
    def event_type(self) -> StockEvent.Type:
        """The type of the event that records the change."""
        raise NotImplementedError

    @property
    def undoes_id(self) -> int | None:
        """The id of the event that the change undoes, if any."""
        return None

    @property
    def details(self) -> Mapping[str, Any]:
        """The `details` of the event."""
        return NO_DETAILS

    def quantity_change(self, product: Product) -> int:
        """Return the units to add to `product.quantity`; negative to remove.

        Raises a `StockError` if the product does not allow the change.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Add(Operation):
    """Add units that come in."""

    amount: Amount

    event_type = StockEvent.Type.ADDED

    def quantity_change(self, product: Product) -> int:
        if product.archived:
            raise ProductArchived(product, self.amount)
        if product.quantity + self.amount > MAX_UNITS:
            raise StockLimitExceeded(self.sku, self.amount, product.levels)
        return self.amount


@dataclass(frozen=True, kw_only=True)
class Remove(Operation):
    """Remove available units."""

    amount: Amount

    event_type = StockEvent.Type.REMOVED

    def quantity_change(self, product: Product) -> int:
        if self.amount > product.available_quantity:
            raise InsufficientStock(self.sku, self.amount, product.available_quantity)
        return -self.amount


@dataclass(frozen=True, kw_only=True)
class Adjust(Operation):
    """Set the quantity on hand to the count of a stocktake.

    A late count has a moment, `counted_at`. The difference between the count and the quantity on
    hand at that moment is applied to the quantity on hand now.
    """

    quantity: Level
    expected_quantity: Level | None = None
    counted_at: Moment | None = None
    reason: Reason = ""

    event_type = StockEvent.Type.ADJUSTED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.counted_at is not None and self.expected_quantity is not None:
            raise Invalid("counted_at", COUNTED_AT_AND_EXPECTED)

    @property
    def details(self) -> Mapping[str, Any]:
        if self.counted_at is None:
            return NO_DETAILS
        return {"counted_at": format_time(self.counted_at)}

    def quantity_change(self, product: Product) -> int:
        if self.counted_at is not None:
            return self._late_change(product, self.counted_at)
        if self.expected_quantity not in (None, product.quantity):
            raise QuantityChanged(self.sku, self.expected_quantity, product.levels)
        if self.quantity < product.reserved_quantity:
            raise BelowReserved(self.sku, self.quantity, product.levels)
        return self.quantity - product.quantity

    def _late_change(self, product: Product, counted_at: datetime) -> int:
        is_future, quantity_then, counted_again_at = product.past_level
        if is_future:
            detail = (
                f"{format_time(counted_at)} is in the future. Correct the time, or leave it out if "
                "you counted now."
            )
            raise Invalid("counted_at", detail, sku=self.sku)
        if quantity_then is None:
            detail = f"{self.sku} did not exist at {format_time(counted_at)}. Correct the time."
            raise Invalid("counted_at", detail, sku=self.sku)
        if counted_again_at is not None:
            raise CountedAgain(self.sku, counted_again_at, product.levels)
        change = self.quantity - quantity_then
        if product.quantity + change < product.reserved_quantity:
            raise BelowReserved(self.sku, product.quantity + change, product.levels)
        if product.quantity + change > MAX_UNITS:
            raise StockLimitExceeded(self.sku, change, product.levels)
        return change


_UNDONE_BY = {
    StockEvent.Type.ADDED: StockEvent.Type.REMOVED,
    StockEvent.Type.REMOVED: StockEvent.Type.ADDED,
    StockEvent.Type.ADJUSTED: StockEvent.Type.ADJUSTED,
}
UNDOABLE = tuple(_UNDONE_BY)
"""The types of events that an `Undo` can undo."""


def why_not_undone(event: StockEvent) -> str:
    """Return why events of this kind cannot be undone, or an empty text."""
    if event.type not in UNDOABLE or event.reserved_change or event.actor == REPAIR_ACTOR:
        return "Only units that were added, removed or counted can be undone."
    if event.undoes_id is not None:
        return "An undo cannot be undone. Make the change again instead."
    if not event.quantity_change:
        return "This count changed nothing, so there is nothing to undo."
    return ""


@dataclass(frozen=True, kw_only=True)
class Undo(Operation):
    """Take back the change that an event has made to the quantity on hand."""

    sku: str  # Not checked: settings may allow fewer characters now than when it was created.
    event_id: int
    type_of_event: StockEvent.Type
    change: int
    """The units to add; negative to remove."""
    total_change: int
    """The sum of these changes for all events of the product that are undone together."""

    @property
    def event_type(self) -> StockEvent.Type:
        return _UNDONE_BY[self.type_of_event]

    @property
    def undoes_id(self) -> int:
        return self.event_id

    @classmethod
    def of(cls, event: StockEvent, *, reason: str = "") -> "Undo":
        """Return the request that undoes a single event. Raises `CannotUndo`."""
        if problem := why_not_undone(event):
            raise CannotUndo(problem, sku=event.sku)
        change = -event.quantity_change
        return cls(
            sku=event.sku,
            event_id=event.pk,
            type_of_event=StockEvent.Type(event.type),
            change=change,
            total_change=change,
            reason=reason,
            reference=event.reference,
        )

    @classmethod
    def of_all(cls, events: Sequence[StockEvent], *, reason: str = "") -> "list[Undo]":
        """Return the requests that undo several events together, the latest event first.

        Their levels have existed before, in this order. Raises `CannotUndo`.
        """
        undos = [cls.of(event, reason=reason) for event in events]
        totals: Counter[str] = Counter()
        for undo in undos:
            totals[undo.sku] += undo.change
        latest_first = sorted(undos, key=lambda undo: undo.event_id, reverse=True)
        return [replace(undo, total_change=totals[undo.sku]) for undo in latest_first]

    def quantity_change(self, product: Product) -> int:
        if self.event_id in product.undone:
            raise AlreadyUndone(self.sku)
        if self.change < 0 and -self.change > product.available_quantity:
            raise InsufficientStock(self.sku, -self.change, product.available_quantity)
        if self.change > 0 and self.total_change > 0 and product.archived:
            raise ProductArchived(product, self.change)
        if product.quantity + self.change > MAX_UNITS:
            raise StockLimitExceeded(self.sku, self.change, product.levels)
        return self.change
