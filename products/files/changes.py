"""Read the rows of a file as changes for `products.stock`. The admin and the commands use it."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from django.core.exceptions import ValidationError
from django.utils.text import get_text_list

from products import stock
from products.files.exports import (
    EVENT_EXPORT,
    LOW_STOCK_EXPORT,
    PRODUCT_EXPORT,
    REFUSED_COLUMNS,
)
from products.files.rows import Columns, Row, folded, is_filled, meaning_of, shown
from products.models import Product
from products.validators import MAX_NOTE_LENGTH, is_sku, validate_sku

AnyChange = stock.Operation | stock.NewProduct | stock.Edit


PRODUCT_COLUMNS = ("sku", "name", "description", "quantity", "minimum_stock_level", "archived")

_LISTS = dict.fromkeys((*PRODUCT_EXPORT, *LOW_STOCK_EXPORT))
"""The columns of our lists of products."""

DERIVED_COLUMNS = tuple(name for name in _LISTS if name not in PRODUCT_COLUMNS)
"""The other columns of our lists of products. An import of products ignores them."""

MAPPED_COLUMNS = ("sku", "name", "description", "quantity", "minimum_stock_level")
"""The columns of a file of products that can have other names."""


def product_columns(
    *,
    ignore_quantity: bool = False,
    renamed: Mapping[str, str] | None = None,
    allow_others: bool = False,
) -> Columns:
    """Return the columns of a file of products."""
    unread = ("quantity",) if ignore_quantity else ()
    return Columns(
        known=[name for name in PRODUCT_COLUMNS if name not in unread],
        required=("sku",),
        ignored=(*unread, *DERIVED_COLUMNS),
        renamed=renamed or {},
        allow_others=allow_others,
    )


def lacks_sku(row: Row, columns: Columns) -> bool:
    """Return whether a row is passed over because it has no SKU.

    In the layout of another system, such a row describes no product of its own, but a picture.
    """
    return "sku" in columns.renamed and not row.problem and not is_filled(row.cells.get("sku"))


def sku_of(row: Row) -> str:
    """Return the SKU of a row, empty if it cannot be read."""
    try:
        return row.text("sku") or ""
    except stock.Invalid:
        return ""


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

OPERATION_TYPES = {each.operation.__name__: each.operation for each in OPERATIONS.values()}
"""Maps names to operations. Lines are stored with these names until they are applied."""

ADJUSTMENT_COLUMNS = ("sku", *OPERATIONS, "reason", "reference", "expected_quantity")

CHANGE_IN_EVENTS = "quantity_change"
"""The column of an export of events that can be read as changes."""


def columns_ignored_in_adjustments(amount_column: str = "") -> tuple[str, ...]:
    """Return the columns of our own lists that a file of adjustments may have.

    `amount_column` is the name of the column that alone holds amounts, if there is one. An export
    of events is read only by its changes: the `quantity` in it was not counted.
    """
    lists = [*_LISTS, *REFUSED_COLUMNS]
    if folded(amount_column) == CHANGE_IN_EVENTS:
        lists += EVENT_EXPORT
    read = {*ADJUSTMENT_COLUMNS} - ({*OPERATIONS} if amount_column else set())
    return tuple(dict.fromkeys(name for name in lists if name not in read))


_LEVELS = {"quantity", "expected_quantity", "minimum_stock_level"}
_NUMBERS = {*OPERATIONS, *_LEVELS}

_PLUS = re.compile(r"\+\s*([0-9].*)")

WITHOUT_SKU = "without a SKU"
WITHOUT_AMOUNT = "without an amount"
CHANGE_OF_ZERO = "change of 0"

_LINE_BREAK = re.compile(r"[\r\n]")
_EXPONENT = re.compile(r"[0-9]+([.,][0-9]+)?E[+-]?[0-9]+")


@dataclasses.dataclass
class FileLine:
    """A row of a file: the change that it requests, if any, and its problems."""

    number: int
    sku: str
    change: AnyChange | None = None
    problems: list[stock.StockError] = dataclasses.field(default_factory=list)
    is_count: bool = False
    added_to: int | None = None
    """The line of the first count of the SKU, if this count is added to it."""
    shown: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The values before the change in the preview, by field."""
    moved: str = ""
    """Which of these values differed when the preview was confirmed."""
    passed_over: str = ""
    """Why the row requests nothing. Its other cells are not read."""

    @property
    def problem(self) -> stock.StockError | None:
        """All problems as one error, with the code of the first."""
        if len(self.problems) < 2:
            return self.problems[0] if self.problems else None
        error = stock.StockError(describe(*self.problems))
        error.code = self.problems[0].code
        return error

    def set_change(self, change: type[AnyChange], **values: Any) -> None:
        """Set the change of a row without problems, or add all problems that prevent it."""
        if not self.problems:
            try:
                self.change = change(sku=self.sku, **values)
            except stock.Invalid:
                pass
            else:
                return
        known = self.fields_with_problems()
        faults = stock.faults_of(change, sku=self.sku, **values)
        self.problems += [fault for fault in faults if fault.field not in known]

    def fields_with_problems(self) -> set[str]:
        """Return the columns that have a problem."""
        return {problem.field for problem in self.problems if isinstance(problem, stock.Invalid)}


def _read(row: Row) -> tuple[FileLine, dict[str, Any]]:
    """Return the line of a row, still without its change, and the values of the other cells."""
    line = FileLine(row.line, "")
    values: dict[str, Any] = {}
    if row.problem:
        line.problems.append(stock.Invalid("line", row.problem))
    for column, cell in row.cells.items():
        if column in _NUMBERS and not is_filled(cell):
            continue
        try:
            values[column] = _READERS.get(column, Row.text)(row, column)
        except stock.Invalid as problem:
            line.problems.append(problem)
    line.sku = values.pop("sku", "")
    if not is_sku(line.sku) and "sku" not in line.fields_with_problems():
        line.problems.insert(0, _not_a_sku(line.sku))
    return line, values


def _number(row: Row, column: str) -> int | None:
    """Return the number in a cell, None if it is empty.

    Only a change may be negative, or have a plus sign. Raises `stock.Invalid`.
    """
    cell = row.cells[column]
    if column == "change" and isinstance(cell, str):
        plus = _PLUS.fullmatch(meaning_of(cell))
        row = row._replace(cells={column: plus[1]}) if plus else row
    number = row.number(column)
    if number is None or number >= 0 or column == "change":
        return number
    if column in _LEVELS:
        detail = f"{number} is a negative level. Enter 0 or more, or leave the cell empty."
    else:
        detail = (
            f"{number} is a negative amount. For changes with a sign, use the column change "
            "(--operation change)."
        )
    raise stock.Invalid(column, detail)


_READERS: dict[str, Callable[[Row, str], Any]] = {
    **dict.fromkeys(_NUMBERS, _number),
    "archived": Row.boolean,
}
"""Maps columns to how their cells are read. All others are text."""


def _not_a_sku(text: str) -> stock.Invalid:
    detail = ""
    try:
        validate_sku(text)
    except ValidationError as error:
        detail = error.messages[0]
    if text:
        detail = f"{detail} The cell has {shown(text)}."
    if _EXPONENT.fullmatch(text):
        detail = f"{detail} A spreadsheet has shortened a long number: enter the SKU as text."
    return stock.Invalid("sku", detail)


def product_line(row: Row, product: Product | None, *, existing_only: bool = False) -> FileLine:
    """Read a row as a new product, or as an edit of `product` if there is one.

    An empty cell changes nothing. A row that changes nothing has no change. With `existing_only`,
    a SKU without a product is refused.
    """
    line, values = _read(row)
    values = {name: value for name, value in values.items() if value is not None}
    name = values.get("name", "")
    if _LINE_BREAK.search(name) and not (product and product.name == name):
        # A stray quotation mark in CSV joins lines.
        line.problems.append(stock.Invalid("name", f"A name has no line break: {shown(name)}."))
    if product is None and existing_only and is_sku(line.sku):
        line.problems.append(stock.ProductNotFound(line.sku))
    if product is None:
        # `stock` refuses an empty name.
        line.set_change(stock.NewProduct, **{"name": "", "reason": "import", **values})
        return line
    if values.pop("quantity", product.quantity) != product.quantity:
        line.problems.append(_quantity_not_editable(product))
    line.set_change(stock.Edit, **values)
    if isinstance(line.change, stock.Edit) and not changed_fields(line.change, product):
        line.change = None
    return line


def changed_fields(edit: stock.Edit, product: Product) -> list[tuple[str, Any, Any]]:
    """Return the label, the current value and the new value of each field that an edit changes."""
    edited = [
        ("Name", product.name, edit.name),
        ("Description", product.description, edit.description),
        ("Minimum", product.minimum_stock_level, edit.minimum_stock_level),
        ("Archived", product.archived, edit.archived),
    ]
    return [each for each in edited if each[2] not in (None, each[1])]


NEW, CHANGED, UNCHANGED = "new", "changed", "unchanged"
ARCHIVED, RESTORED, STILL_ARCHIVED = "archived", "restored", "changed, still archived"

EFFECTS = (NEW, CHANGED, UNCHANGED, ARCHIVED, RESTORED, STILL_ARCHIVED)
"""The effects of rows of products, in the order of reports.

Each row has one of the first three. A row may also have one of the others.
"""


def effects_of(line: FileLine, product: Product | None) -> tuple[str, ...]:
    """Return the effects of a row on `product`, before it is applied. A refused row has none."""
    if line.problems:
        return ()
    match line.change:
        case stock.NewProduct() as new:
            return (NEW, ARCHIVED) if new.archived else (NEW,)
        case stock.Edit() as edit if product:
            if edit.archived not in (None, product.archived):
                return CHANGED, ARCHIVED if edit.archived else RESTORED
            return (CHANGED, STILL_ARCHIVED) if product.archived else (CHANGED,)
    return (UNCHANGED,)


def tally_of(effects: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return each effect with its number of rows. The first three are always included."""
    always = (NEW, CHANGED, UNCHANGED)
    return [(name, effects.get(name, 0)) for name in EFFECTS if effects.get(name) or name in always]


def _quantity_not_editable(product: Product) -> stock.Invalid:
    detail = (
        f"{product.sku} already exists with {product.quantity} on hand. Ignore the column "
        "quantity, or leave this cell empty. To change the stock on hand, import an adjustment."
    )
    return stock.Invalid("quantity", detail)


def repeated(line: FileLine, first: int) -> stock.Invalid:
    """Return the problem of a line whose SKU is on an earlier line."""
    return stock.Invalid("sku", f"{line.sku} is already on line {first}. Delete one of the two.")


def adjustment_line(row: Row, *, reason: str = "", reference: str = "") -> FileLine:
    """Read a row as an operation: add, remove or adjust.

    `reason` and `reference` are the defaults for a row that has none. A row without an amount was
    not counted: it is passed over, and its other cells are not checked. A change of 0 is passed
    over, too.
    """
    given = [column for column in OPERATIONS if is_filled(row.cells.get(column))]
    if not given and not row.problem:
        return FileLine(row.line, "", passed_over=WITHOUT_AMOUNT)
    line, values = _read(row)
    line.is_count = "quantity" in given and is_sku(line.sku)
    if len(given) != 1:
        detail = f"Fill in exactly one of {get_text_list(list(OPERATIONS), 'and')}."
        line.problems.append(stock.Invalid(given[1] if given else "quantity", detail))
        return line
    _, operation, field, if_negative = OPERATIONS[given[0]]
    if operation is not stock.Adjust and is_filled(row.cells.get("expected_quantity")):
        detail = "Only a row with a quantity can have an expected quantity. Empty the cell."
        line.problems.append(stock.Invalid("expected_quantity", detail))
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

    The expected quantities are added up, too. Different reasons and references are joined.
    """
    expected = [count.expected_quantity for count in counts]
    given = [number for number in expected if number is not None]
    if given and len(given) < len(expected):
        detail = (
            f"Some counts of {counts[0].sku} have an expected quantity, and others do not. Fill it "
            "in for all of them, or for none."
        )
        raise stock.Invalid("expected_quantity", detail)
    return stock.Adjust(
        sku=counts[0].sku,
        quantity=sum(count.quantity for count in counts),
        expected_quantity=sum(given) if given else None,
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


def describe(*errors: stock.StockError) -> str:
    """Return the details of the errors, each with its column if it has one."""
    return " ".join(
        f"{error.field}: {error.detail}" if isinstance(error, stock.Invalid) else error.detail
        for error in errors
    )
