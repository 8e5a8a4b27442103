"""What the lines of a file ask for: adjustments of stock, or products."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Protocol

from products import stock
from products.files.changes import FileLine, describe, product_line, repeated
from products.files.rows import Row
from products.files.staging import Form, NewLine, Staged
from products.models import Levels, Product
from products.validators import is_sku

Errors = list[stock.StockError | None]
"""What refuses each of some lines."""


class BulkOperation(Protocol):
    """What the lines of a file ask for, and how it is done."""

    by: stock.Actor

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        """Return the verb that does what lines ask for that are right in themselves, and refuses
        those that cannot be done."""

    def preview(self, lines: Sequence[Staged]) -> Errors:
        """Return what would refuse each line. Called with all lines in order; only reads."""


_OPERATIONS: dict[str, type[stock.Operation]] = {
    operation.__name__: operation for operation in (stock.Add, stock.Remove, stock.Adjust)
}
_FIELDS = {
    name: [field.name for field in dataclasses.fields(operation)]
    for name, operation in _OPERATIONS.items()
}
_encoded = json.JSONEncoder(check_circular=False).encode


def _decoded(texts: Sequence[str]) -> list[Any]:
    """Decode all in one go, which is faster."""
    contents: list[Any] = json.loads(f"[{','.join(texts)}]")
    return contents


def _packed(operation: stock.Operation | None) -> Any:
    return operation and [type(operation).__name__, *vars(operation).values()]


def _restored(name: str, *values: Any) -> stock.Operation:
    """Return an operation that was staged, without checking it again."""
    operation_type = _OPERATIONS[name]
    operation = operation_type.__new__(operation_type)
    vars(operation).update(zip(_FIELDS[name], values, strict=True))
    return operation


class AdjustmentLines:
    """Adds, removes and counts: each line is one operation."""

    form = Form(
        lambda operation: _encoded(_packed(operation)),
        lambda texts: [content and _restored(*content) for content in _decoded(texts)],
    )

    def __init__(self, *, by: stock.Actor) -> None:
        self.by = by
        self._levels: dict[str, Levels] = {}

    @staticmethod
    def staged(line: FileLine) -> NewLine:
        """Return a line as it is staged."""
        if line.change is None:
            sku = line.sku if is_sku(line.sku) else ""
            return line.number, sku, None, "invalid", describe(*line.problems)
        return line.number, line.sku, line.change, "", ""

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        return stock.ApplyPossible([line.content for line in lines])

    def preview(self, lines: Sequence[Staged]) -> Errors:
        outcomes = stock.preview([line.content for line in lines], levels=self._levels, by=self.by)
        for line, outcome in zip(lines, outcomes, strict=True):
            if isinstance(outcome, stock.LevelChange):
                self._levels[line.sku] = outcome.after
        # The next lines may be of the last of these products, but of no other.
        last = lines[-1].sku
        self._levels = {sku: levels for sku, levels in self._levels.items() if sku == last}
        return _errors(outcomes)


class ProductLines:
    """Products to create, and what describes those that exist: each line is one product."""

    form = Form(json.dumps, lambda texts: [Row(*content) for content in _decoded(texts)])

    def __init__(self, *, by: stock.Actor) -> None:
        self.by = by
        self._last = FileLine(0, "")
        self._new: set[int] = set()
        """The lines that were read as new products, also before the transaction was run again."""

    @staticmethod
    def staged(row: Row) -> NewLine:
        """Return a row as it is staged. What it asks for depends on what there is when it is
        carried out, and is read then."""
        sku = str(row.cells.get("sku", ""))
        return row.line, sku if is_sku(sku) else "", row, "", ""

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        asked: list[Any] = [line.problem or line.change for line in self._asked(lines)]
        return stock.SavePossible(asked)

    def preview(self, lines: Sequence[Staged]) -> Errors:
        return [line.problem for line in self._asked(lines)]

    def _asked(self, lines: Sequence[Staged]) -> list[FileLine]:
        found = Product.objects.filter(sku__any_of=sorted({line.sku for line in lines}))
        products = {product.sku: product for product in found}
        asked = []
        for staged in lines:
            line = product_line(staged.content, products.get(staged.sku))
            # Lines of one SKU come one after the other, and all come again if the transaction does.
            if line.sku and line.sku == self._last.sku and line.number > self._last.number:
                line.problems.append(repeated(line, self._last.number))
            else:
                self._last = line
            if isinstance(line.change, stock.NewProduct):
                self._new.add(line.number)
            elif line.number in self._new:
                # Somebody else has just created it: not what the file asked to edit.
                line.problems.append(stock.DuplicateSku(line.sku))
            asked.append(line)
        return asked


def _errors(outcomes: Sequence[Any]) -> Errors:
    return [outcome if isinstance(outcome, stock.StockError) else None for outcome in outcomes]
