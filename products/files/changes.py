"""What the rows of a table ask for, in the words of `products.stock`; the back office and the
commands read them alike."""

import dataclasses
from typing import Any

from products import stock
from products.files.exports import PRODUCT_EXPORT
from products.files.rows import Row
from products.models import Product

AnyChange = stock.Operation | stock.NewProduct | stock.Edit


PRODUCT_COLUMNS = ("sku", "name", "description", "quantity", "minimum_stock_level")

DERIVED_COLUMNS = tuple(name for name in PRODUCT_EXPORT if name not in PRODUCT_COLUMNS)
"""The other columns of an export of products, which an import does not read."""

ADJUSTMENT_COLUMNS = (
    "sku",
    "add",
    "remove",
    "quantity",
    "reason",
    "reference",
    "expected_quantity",
)

_OPERATIONS: dict[str, tuple[type[stock.Operation], str]] = {
    "add": (stock.Add, "amount"),
    "remove": (stock.Remove, "amount"),
    "quantity": (stock.Adjust, "quantity"),
}

_NUMBERS = {"add", "remove", "quantity", "expected_quantity", "minimum_stock_level"}


@dataclasses.dataclass
class FileLine:
    """A row of the file: the change that it asks for, if any, and what is wrong with it."""

    number: int
    sku: str
    change: AnyChange | None = None
    problems: list[stock.StockError] = dataclasses.field(default_factory=list)

    @property
    def problem(self) -> stock.StockError | None:
        """The first of the problems."""
        return self.problems[0] if self.problems else None

    def ask_for(self, change: type[AnyChange], **values: Any) -> None:
        """Note the change that the row asks for, or what is wrong in it."""
        if self.problems:
            return
        try:
            self.change = change(sku=self.sku, **values)
        except stock.Invalid as problem:
            self.problems.append(problem)


def _read(row: Row) -> tuple[FileLine, dict[str, Any]]:
    """Return the line of a row without its change, and the values of its other cells."""
    line = FileLine(row.line, "")
    values: dict[str, Any] = {}
    if row.fault:
        line.problems.append(stock.Invalid("line", row.fault))
    for column in row.cells:
        try:
            values[column] = row.number(column) if column in _NUMBERS else row.text(column)
        except stock.Invalid as problem:
            line.problems.append(problem)
    line.sku = values.pop("sku", "")
    return line, values


def product_line(row: Row, product: Product | None) -> FileLine:
    """Return what a row asks for: a new product, or an edit of the one that exists, if any.

    An edit that changes nothing is none. An empty cell asks for no change.
    """
    line, values = _read(row)
    if product is None:
        # `stock` says what an empty name lacks.
        line.ask_for(stock.NewProduct, **{"name": "", "reason": "import", **values})
        return line
    if values.pop("quantity", product.quantity) != product.quantity:
        line.problems.append(_not_the_quantity(product))
    line.ask_for(stock.Edit, **values)
    if isinstance(line.change, stock.Edit) and not changed_fields(line.change, product):
        line.change = None
    return line


def changed_fields(edit: stock.Edit, product: Product) -> list[tuple[str, Any, Any]]:
    """Return the label, the present and the new value of each field that an edit changes."""
    edited = [
        ("Name", product.name, edit.name),
        ("Description", product.description, edit.description),
        ("Minimum", product.minimum_stock_level, edit.minimum_stock_level),
    ]
    return [each for each in edited if each[2] not in (None, each[1])]


def _not_the_quantity(product: Product) -> stock.Invalid:
    detail = (
        f"{product.sku} exists and has {product.quantity} on hand: leave this cell empty, and use "
        "an adjustment to change what is on hand."
    )
    return stock.Invalid("quantity", detail)


def repeated(line: FileLine, first: int) -> stock.Invalid:
    """Return what is wrong with a line whose SKU is on another one already."""
    return stock.Invalid("sku", f"{line.sku} is on line {first} already.")


def adjustment_line(row: Row, *, reason: str = "", reference: str = "") -> FileLine:
    """Return what a row asks for: to add, to remove or to set what is on hand.

    `reason` and `reference` stand where the row has none.
    """
    line, values = _read(row)
    given = [column for column in _OPERATIONS if column in row.cells]
    if len(given) != 1:
        one = "Exactly one of add, remove and quantity is required."
        line.problems.append(stock.Invalid(given[1] if given else "quantity", one))
        return line
    operation, field = _OPERATIONS[given[0]]
    if operation is not stock.Adjust and "expected_quantity" in row.cells:
        only = "This is for a row with a quantity alone."
        line.problems.append(stock.Invalid("expected_quantity", only))
    values[field] = values.pop(given[0], None)
    line.ask_for(operation, **{"reason": reason, "reference": reference, **values})
    for problem in line.problems:
        if isinstance(problem, stock.Invalid) and problem.field == field:
            problem.field = given[0]
    return line


def describe(*errors: stock.StockError) -> str:
    """Return what is wrong, with the name of each value that is."""
    return " ".join(
        f"{error.field}: {error.detail}" if isinstance(error, stock.Invalid) else error.detail
        for error in errors
    )
