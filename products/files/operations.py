"""The two kinds of bulk file: adjustments of stock, and products."""

import dataclasses
import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from products import stock
from products.files.adjustments import OPERATION_TYPES, sum_of
from products.files.cells import Row
from products.files.lines import FileLine, describe, sku_of
from products.files.products import (
    duplicate,
    effects_of,
    product_line,
    products_of,
    repeated,
    tally_of,
)
from products.files.similar import refuse_similar
from products.files.staging import Codec, NewLine, Staged, Staging
from products.models import Levels
from products.validators import format_time, is_sku, parse_time

Outcome = stock.LevelChange | stock.StockError

Errors = list[stock.StockError | None]
"""One item per line: its error, or None."""


class BulkOperation(Protocol):
    """A kind of bulk file: how its lines are previewed and applied."""

    by: stock.Actor

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        """Return the verb that applies these lines and refuses those that cannot be applied."""

    def preview(self, lines: Sequence[Staged]) -> Errors:
        """Return the error of each line, if any. Call it with all lines in order. Only reads."""


_FIELDS = {
    name: [field.name for field in dataclasses.fields(operation)]
    for name, operation in OPERATION_TYPES.items()
}
_encoded = json.JSONEncoder(check_circular=False, default=format_time).encode


def _decoded(texts: Sequence[str]) -> list[Any]:
    """Decode all texts in one call, which is faster."""
    contents: list[Any] = json.loads(f"[{','.join(texts)}]")
    return contents


def _packed(operation: stock.Operation | None) -> Any:
    return operation and [type(operation).__name__, *vars(operation).values()]


def _restored(name: str, *values: Any) -> stock.Operation:
    """Return a staged operation without validating it again."""
    operation_type = OPERATION_TYPES[name]
    operation = operation_type.__new__(operation_type)
    fields = vars(operation)
    fields.update(zip(_FIELDS[name], values, strict=True))
    if fields.get("counted_at"):
        fields["counted_at"] = parse_time(fields["counted_at"])
    return operation


class AdjustmentLines:
    """Lines that add, remove or adjust stock: one operation per line."""

    codec = Codec(
        lambda operation: _encoded(_packed(operation)),
        lambda texts: [content and _restored(*content) for content in _decoded(texts)],
    )

    def __init__(self, *, by: stock.Actor) -> None:
        self.by = by
        self._levels: dict[str, Levels] = {}

    @staticmethod
    def staged(line: FileLine) -> NewLine:
        """Return the fields of a line for staging."""
        if line.change is None:
            sku = line.sku if is_sku(line.sku) else ""
            is_count = int(line.is_count)
            return line.number, sku, None, "invalid", describe(*line.problems), is_count
        return line.number, line.sku, line.change, "", "", int(line.is_count)

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        sums = _Sums(lines)
        return stock.ApplyPossible(sums.operations, sums.outcomes)

    def preview(self, lines: Sequence[Staged]) -> Errors:
        sums = _Sums(lines)
        previewed = stock.preview(sums.operations, levels=self._levels, by=self.by)
        outcomes = sums.outcomes(previewed)
        for line, outcome in zip(lines, outcomes, strict=True):
            if isinstance(outcome, stock.LevelChange):
                self._levels[line.sku] = outcome.after
        # Lines are ordered by SKU, so only the last product can come again.
        last = lines[-1].sku
        self._levels = {sku: levels for sku, levels in self._levels.items() if sku == last}
        return _errors(outcomes)


class _Sums:
    """The operations of lines. Adjacent counts of one SKU are one operation."""

    def __init__(self, lines: Sequence[Staged]) -> None:
        runs: list[list[Staged]] = []
        for line in lines:
            if runs and line.follows(runs[-1][-1]):
                runs[-1].append(line)
            else:
                runs.append([line])
        self._sizes = [len(run) for run in runs]
        self._decided = [
            run[0].content if len(run) == 1 else _sum_or_problem([line.content for line in run])
            for run in runs
        ]
        self.operations = [each for each in self._decided if not isinstance(each, stock.StockError)]

    def outcomes(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcome of each line, from the outcome of each operation."""
        left = iter(outcomes)
        return [
            outcome
            for each, size in zip(self._decided, self._sizes, strict=True)
            for outcome in [each if isinstance(each, stock.StockError) else next(left)]
            for _ in range(size)
        ]


def _sum_or_problem(counts: Sequence[stock.Adjust]) -> stock.Operation | stock.Invalid:
    try:
        return sum_of(counts)
    except stock.Invalid as problem:
        return problem


class ProductLines:
    """Lines that create or edit products: one product per line."""

    codec = Codec(json.dumps, lambda texts: [Row(*content) for content in _decoded(texts)])

    def __init__(
        self,
        *,
        by: stock.Actor,
        table: Staging,
        existing_only: bool = False,
        allow_similar: bool = False,
    ) -> None:
        self.by = by
        self._table = table
        self._existing_only = existing_only
        self._allow_similar = allow_similar
        self._effects: dict[int, Counter[str]] = {}
        """The effects of each batch, by the place of its first line."""
        self._last = 0, FileLine(0, "")
        """The place and the line of the last SKU that was not repeated."""
        self._new: set[int] = set()
        """Numbers of lines read as new products. Kept when the transaction is retried."""

    @staticmethod
    def staged(row: Row) -> NewLine:
        """Return the fields of a row for staging.

        Its change depends on whether the product exists, so it is read when the row is applied.
        """
        sku = sku_of(row)
        return row.line, sku if is_sku(sku) else "", row, "", "", 0

    def verb(self, lines: Sequence[Staged]) -> stock.Verb[Any, stock.Outcomes]:
        changes: list[Any] = [line.problem or line.change for line in self._read(lines)]
        return stock.SavePossible(changes)

    def preview(self, lines: Sequence[Staged]) -> Errors:
        return [line.problem for line in self._read(lines)]

    def tally(self) -> list[tuple[str, int]]:
        """Return the number of lines by effect, such as new and changed."""
        return tally_of(sum(self._effects.values(), Counter()))

    def _read(self, lines: Sequence[Staged]) -> list[FileLine]:
        products = products_of(line.sku for line in lines)
        read = []
        for staged in lines:
            product = products.get(staged.sku.upper())
            line = product_line(staged.content, product, existing_only=self._existing_only)
            # Lines of one SKU are adjacent, in upper and lower case. A retried transaction reads
            # all lines again.
            place, first = self._last
            if line.sku and line.sku.upper() == first.sku.upper() and staged.place > place:
                line.problems.append(repeated(line, first))
            else:
                self._last = staged.place, line
            if isinstance(line.change, stock.NewProduct):
                self._new.add(line.number)
            elif line.number in self._new and product:
                # Another request has just created the product, so this is not an edit.
                line.problems.append(duplicate(line, product))
            read.append(line)
        if not self._allow_similar:
            refuse_similar(read, products, created=self._created)
        # A retried transaction counts its batches again.
        self._effects[lines[0].place] = Counter(
            effect for line in read for effect in effects_of(line, products.get(line.sku.upper()))
        )
        return read

    def _created(self, skus: Collection[str]) -> set[str]:
        """Return those of the SKUs that this file creates."""
        return {sku for sku, number in self._table.find(skus) if number in self._new}


def _errors(outcomes: Sequence[Any]) -> Errors:
    return [outcome if isinstance(outcome, stock.StockError) else None for outcome in outcomes]
