"""Read the rows of a file as changes for `products.stock`. The admin and the commands use it."""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.text import get_text_list

from products import stock
from products.files.cells import Row, is_filled, shown
from products.files.columns import Columns
from products.validators import (
    OPTIONAL_MARKS,
    RESERVED_SKUS,
    is_possible_sku,
    is_sku,
    validate_sku,
)

AnyChange = stock.Operation | stock.NewProduct | stock.Edit

Reader = Callable[[Row, str], Any]
"""Reads the cell of a column. Raises `stock.Invalid`."""

WITHOUT_SKU = "without a SKU"

_NEVER_IN_SKUS = {"/": "slash", ",": "comma"}
_MONTHS = "jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_DATE = re.compile(
    rf"[0-9]{{1,2}}[-./ ]+({_MONTHS})\.?|({_MONTHS})[-. ]+[0-9]{{2,4}}"
    r"|[0-9]{1,4}([-./])[0-9]{1,2}\3[0-9]{1,4}",
    re.IGNORECASE,
)
_EXPONENT = re.compile(r"[0-9]+([.,][0-9]+)?[Ee][+-]?[0-9]+")


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


def read_line(row: Row, readers: Mapping[str, Reader]) -> tuple[FileLine, dict[str, Any]]:
    """Return the line of a row, still without its change, and the values of the other cells.

    `readers` maps columns to how their cells are read. A blank cell of such a column has no value.
    All other columns are text.
    """
    line = FileLine(row.line, "")
    values: dict[str, Any] = {}
    if row.problem:
        line.problems.append(stock.Invalid("line", row.problem))
    for column, cell in row.cells.items():
        if column in readers and not is_filled(cell):
            continue
        try:
            values[column] = readers.get(column, Row.text)(row, column)
        except stock.Invalid as problem:
            line.problems.append(problem)
    line.sku = values.pop("sku", "")
    if not is_sku(line.sku) and "sku" not in line.fields_with_problems():
        line.problems.insert(0, _not_a_sku(line.sku))
    return line, values


def sku_of(row: Row) -> str:
    """Return the SKU of a row, empty if it cannot be read."""
    try:
        return row.text("sku") or ""
    except stock.Invalid:
        return ""


def lacks_sku(row: Row, columns: Columns) -> bool:
    """Return whether a row is passed over because it has no SKU.

    In the layout of another system, such a row describes no product of its own, but a picture.
    """
    return "sku" in columns.renamed and not row.problem and not is_filled(row.cells.get("sku"))


def level_in(row: Row, column: str) -> int | None:
    """Return the level in a cell, None if it is empty. Raises `stock.Invalid`."""
    number = row.number(column)
    if number is not None and number < 0:
        detail = f"{number} is a negative level. Enter 0 or more, or leave the cell empty."
        raise stock.Invalid(column, detail)
    return number


def _not_a_sku(text: str) -> stock.Invalid:
    detail = ""
    try:
        validate_sku(text)
    except ValidationError as error:
        detail = error.messages[0]
    if text:
        detail = f"{detail} The cell has {shown(text)}."
        if foreign := next((mark for mark in text if not mark.isascii()), ""):
            # It may look like an allowed character.
            name = unicodedata.name(foreign, "a character")
            detail = f"{detail} It contains {name} (U+{ord(foreign):04X})."
    if remedy := _remedy(text):
        detail = f"{detail} {remedy}"
    if _EXPONENT.fullmatch(text):
        detail = f"{detail} A spreadsheet has shortened a long number: enter the SKU as text."
    if _DATE.fullmatch(text):
        detail = f"{detail} A spreadsheet may have turned the SKU into a date: enter it as text."
    return stock.Invalid("sku", detail)


def _remedy(text: str) -> str:
    """Say how a text that is no SKU can become one, if it can."""
    if unusable := [f"a {name}" for mark, name in _NEVER_IN_SKUS.items() if mark in text]:
        return f"A SKU can never have {get_text_list(unusable, 'or')}. Change the SKU."
    if not is_possible_sku(text):
        return ""
    if text in RESERVED_SKUS:
        return "Read SKUs in capitals (--upper-case), or change the SKU."
    if is_sku(text.upper()):
        return "Read SKUs in capitals (--upper-case), or allow lower case (SKU_CHARACTERS)."
    lower = ["lower case"] if re.search("[a-z]", text) else []
    marks = [name for mark, name in OPTIONAL_MARKS.items() if mark in text]
    return f"The setting SKU_CHARACTERS can allow {get_text_list([*lower, *marks], 'and')}."


def describe(*errors: stock.StockError) -> str:
    """Return the details of the errors, each with its column if it has one."""
    return " ".join(
        f"{error.field}: {error.detail}" if isinstance(error, stock.Invalid) else error.detail
        for error in errors
    )
