"""Read the rows of a file of stock changes: adds, removes and counts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from django.utils.text import get_text_list

from products import stock
from products.files.cells import Row, is_filled, meaning_of
from products.files.columns import Columns, folded
from products.files.exports import EVENT_EXPORT, REFUSED_COLUMNS
from products.files.lines import WITHOUT_SKU, FileLine, Reader, lacks_sku, level_in, read_line
from products.files.products import PRODUCT_LISTS
from products.files.profiles import Wanted
from products.validators import MAX_NOTE_LENGTH, is_sku


class Amounts(NamedTuple):
    """What the numbers of a column request."""

    name: str
    """The name of this kind of column in `--operation`."""
    operation: type[stock.Operation]
    field: str
    """The field of the operation that holds the number."""
    if_negative: type[stock.Operation] | None = None
    """The operation that a negative number requests, if the numbers have signs."""


OPERATIONS = {
    "add": Amounts("add", stock.Add, "amount"),
    "remove": Amounts("remove", stock.Remove, "amount"),
    "quantity": Amounts("adjust", stock.Adjust, "quantity"),
    "change": Amounts("change", stock.Add, "amount", if_negative=stock.Remove),
}
"""Maps each column to the operation that its numbers request."""

COLUMN_OF = {each.name: column for column, each in OPERATIONS.items()}
"""Maps the name of each operation to its column."""

OPERATION_TYPES = {each.operation.__name__: each.operation for each in OPERATIONS.values()}
"""Maps names to operations. Lines are stored with these names until they are applied."""

_OTHERS = ("reason", "reference", "expected_quantity", "counted_at")

ADJUSTMENT_COLUMNS = ("sku", *OPERATIONS, *_OTHERS)

DELIVERY_TEMPLATE = ("sku", "add", "reason", "reference")
COUNT_TEMPLATE = ("sku", "quantity", "reason", "reference")
"""The columns of empty files to fill in."""

MAPPED_COLUMNS = ("sku", "amount", *_OTHERS)
"""The columns that can have other names. `amount` is a column that alone holds amounts."""

CHANGE_IN_EVENTS = "quantity_change"
"""The column of an export of events that can be read as changes."""


def adjustment_columns(
    *,
    renamed: Mapping[str, str] | None = None,
    operation: str = "",
    allow_others: bool = False,
) -> Columns:
    """Return the columns of a file of stock changes.

    `operation` is the name of an operation if only one column holds amounts. `renamed["amount"]` is
    then its name in the file.
    """
    renamed = dict(renamed or {})
    known, lists = dict.fromkeys(ADJUSTMENT_COLUMNS), [*PRODUCT_LISTS, *REFUSED_COLUMNS]
    if operation:
        # Only this column holds amounts. A column called `add` is another column.
        amount_column = renamed.pop("amount")
        renamed[COLUMN_OF[operation]] = amount_column
        known = {
            name: None for name in known if name not in OPERATIONS or name == COLUMN_OF[operation]
        }
        if folded(amount_column) == CHANGE_IN_EVENTS:
            # An export of events is read only by its changes: the `quantity` was not counted.
            lists += EVENT_EXPORT
    read = {*ADJUSTMENT_COLUMNS} - ({*OPERATIONS} if operation else set())
    return Columns(
        known=list(known),
        required=("sku",),
        ignored=tuple(dict.fromkeys(name for name in lists if name not in read)),
        renamed=renamed,
        allow_others=allow_others,
    )


def wanted_in_adjustments(operation: str, *, is_late: bool = False) -> Wanted:
    """Return the columns of a file of stock changes that are read with a profile.

    A late count has no expected quantity.
    """
    amount = COLUMN_OF[operation]
    fields = {"sku": "sku", amount: "amount"}
    if operation == "adjust" and not is_late:
        fields["expected_quantity"] = "expected"
    return Wanted(fields, required=("sku", amount))


_COUNTED_AT_AND_EXPECTED = (
    "A late count has no expected quantity. Leave out its time, or empty the cell "
    "expected_quantity."
)

WITHOUT_AMOUNT = "without an amount"
CHANGE_OF_ZERO = "change of 0"

_PLUS = re.compile(r"\+\s*([0-9].*)")


def _amount_in(row: Row, column: str) -> int | None:
    """Return the amount in a cell, None if it is empty. Raises `stock.Invalid`."""
    number = row.number(column)
    if number is not None and number < 0:
        detail = (
            f"{number} is a negative amount. For changes with a sign, use the column change "
            "(--operation change)."
        )
        raise stock.Invalid(column, detail)
    return number


def _change_in(row: Row, column: str) -> int | None:
    """Return the change in a cell, None if it is empty. It may have a sign.

    Raises `stock.Invalid`.
    """
    cell = row.cells[column]
    if isinstance(cell, str) and (plus := _PLUS.fullmatch(meaning_of(cell))):
        row = row._replace(cells={column: plus[1]})
    return row.number(column)


_READERS: Mapping[str, Reader] = {
    "add": _amount_in,
    "remove": _amount_in,
    "quantity": level_in,
    "change": _change_in,
    "expected_quantity": level_in,
    "counted_at": Row.time,
}

_ONLY_OF_COUNTS = {
    "expected_quantity": "an expected quantity",
    "counted_at": "the time of a count",
}


def adjustment_line(
    row: Row,
    columns: Columns,
    *,
    reason: str = "",
    reference: str = "",
    counted_at: datetime | None = None,
) -> FileLine:
    """Read a row as an operation: add, remove or adjust.

    `reason` and `reference` are the defaults for a row that has none, `counted_at` for a count that
    has none. A row without an amount was not counted: it is passed over, and its other cells are
    not checked. A change of 0 is passed over, too. A row without a SKU is passed over if the column
    of SKUs has another name.
    """
    given = [column for column in OPERATIONS if is_filled(row.cells.get(column))]
    if not given and not row.problem:
        return FileLine(row.line, "", passed_over=WITHOUT_AMOUNT)
    if lacks_sku(row, columns):
        return FileLine(row.line, "", passed_over=WITHOUT_SKU)
    line, values = read_line(row, _READERS)
    line.is_count = "quantity" in given and is_sku(line.sku)
    if len(given) != 1:
        detail = f"Fill in exactly one of {get_text_list(list(OPERATIONS), 'and')}."
        line.problems.append(stock.Invalid(given[1] if given else "quantity", detail))
        return line
    _, operation, field, if_negative = OPERATIONS[given[0]]
    if operation is stock.Adjust:
        values.setdefault("counted_at", counted_at)
        if values["counted_at"] and values.get("expected_quantity") is not None:
            line.problems.append(stock.Invalid("counted_at", _COUNTED_AT_AND_EXPECTED))
    else:
        for column, name in _ONLY_OF_COUNTS.items():
            if is_filled(row.cells.get(column)):
                detail = f"Only a row with a quantity can have {name}. Empty the cell."
                line.problems.append(stock.Invalid(column, detail))
    if given[0] in values:
        number = values.pop(given[0])
        if if_negative:
            if number == 0 and not row.problem:
                return FileLine(row.line, "", passed_over=CHANGE_OF_ZERO)
            operation, number = (operation if number > 0 else if_negative), abs(number)
        values[field] = number
    line.set_change(operation, **{"reason": reason, "reference": reference, **values})
    for problem in line.problems:
        if isinstance(problem, stock.Invalid) and problem.field == field:
            problem.field = given[0]
    return line


def counted_before(sku: str, first: int) -> stock.RepeatedCount:
    """Return the problem of a count whose SKU has a count on an earlier line."""
    advice = "Delete one of the counts, or add up repeated counts (--sum-repeated)."
    return stock.RepeatedCount(sku, f"on line {first}", advice)


def incomplete_sum(sku: str, refused: int) -> stock.Invalid:
    """Return the problem of a count that would be added to a refused one."""
    detail = f"Another count of {sku}, on line {refused}, is refused, so the sum is not known."
    return stock.Invalid("quantity", detail)


def sum_of(counts: Sequence[stock.Adjust]) -> stock.Adjust:
    """Return one count for several counts of a SKU. Raises `stock.Invalid`.

    The expected quantities are added up, too. Different reasons and references are joined. Counts
    of different times cannot be added up.
    """
    expected = [count.expected_quantity for count in counts]
    given = [number for number in expected if number is not None]
    if given and len(given) < len(expected):
        detail = (
            f"Some counts of {counts[0].sku} have an expected quantity, and others do not. Fill it "
            "in for all of them, or for none."
        )
        raise stock.Invalid("expected_quantity", detail)
    moments = {count.counted_at for count in counts}
    if len(moments) > 1:
        detail = (
            f"The counts of {counts[0].sku} are of different times, so they cannot be added up. "
            "Give all of them the same time."
        )
        raise stock.Invalid("counted_at", detail)
    return stock.Adjust(
        sku=counts[0].sku,
        quantity=sum(count.quantity for count in counts),
        expected_quantity=sum(given) if given else None,
        counted_at=moments.pop(),
        reason=_joined(count.reason for count in counts),
        reference=_joined(count.reference for count in counts),
    )


def _joined(notes: Iterable[str]) -> str:
    """Join different notes, and cut them to the length that the ledger stores."""
    return "; ".join(dict.fromkeys(filter(None, notes)))[:MAX_NOTE_LENGTH]


def check_counts(lines: Sequence[FileLine], *, adds_up: bool) -> None:
    """Refuse the repeated counts of a file, or add each to the first count of its SKU.

    Counts with another line of the SKU between them are not added up, because the result would
    depend on their order.
    """
    runs: dict[str, list[FileLine]] = {}
    before: dict[str, FileLine] = {}
    for line in lines:
        if line.passed_over:
            continue
        if line.is_count:
            run = runs.setdefault(line.sku, [])
            if not run or (adds_up and before[line.sku] is run[-1]):
                run.append(line)
            else:
                line.problems.append(counted_before(line.sku, run[0].number))
        before[line.sku] = line
    for run in runs.values():
        if len(run) > 1:
            _add_up(run)


def _add_up(run: Sequence[FileLine]) -> None:
    first = run[0]
    refused = next((line for line in run if line.problems), None)
    if refused:
        for line in run:
            if not line.problems:
                line.problems.append(incomplete_sum(line.sku, refused.number))
        return
    try:
        first.change = sum_of([cast("stock.Adjust", line.change) for line in run])
    except stock.Invalid as problem:
        first.problems.append(problem)
    for line in run[1:]:
        line.change, line.added_to = None, first.number
