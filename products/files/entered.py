"""Read lines that a user typed or pasted: a SKU and a number of units on each."""

import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from products.files.adjustments import COLUMN_OF, adjustment_columns
from products.files.cells import Row, UnreadableFile
from products.files.columns import DELIMITERS, Columns, folded
from products.files.csv import csv_lines
from products.files.rows import rows_of
from products.validators import is_sku

MAX_LINES = 1_000

_SKU_NAMES = ("sku", "article", "article number", "item", "item number", "product code", "code")
_AMOUNT_NAMES = {
    "add": ("add", "received", "delivered", "amount", "units", "quantity", "qty"),
    "remove": ("amount", "ordered", "units", "quantity", "qty", "remove"),
    "adjust": ("quantity", "counted", "count", "amount", "units", "qty"),
}
_LISTED_STOCK = "available_quantity"
"""A column of our lists. Their `quantity` was neither received nor counted."""

_NUMBER_AT_END = re.compile(r"[ \u00a0]+(?=[+-]?[0-9][0-9.,']*[ \u00a0]*$)", re.MULTILINE)


class Entered(NamedTuple):
    """The rows of entered lines. The first line below the names of columns is line 1."""

    rows: list[Row]
    columns: Columns


def read_entered(text: str, *, operation: str) -> Entered:
    """Read entered lines, with or without names of columns. Raises `UnreadableFile`.

    `operation` is what the numbers mean, such as `add`.
    """
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    columns = _columns_named(lines[first], operation) if lines[first:] else None
    filled = sum(bool(line.strip()) for line in lines) - (columns is not None)
    if filled > MAX_LINES:
        raise UnreadableFile(
            f"{filled:,} lines are too many: this page takes {MAX_LINES:,}. Divide them."
        )
    if columns is None:
        columns = adjustment_columns(renamed={"amount": COLUMN_OF[operation]}, operation=operation)
        lines, first = [_header(lines, operation), *_with_tabs(lines)], 0
    # The reader knows only these line breaks.
    content = io.BytesIO("\n".join(lines).encode())
    columns = columns._replace(header_line=first + 1, upper_case=not is_sku("a"))
    rows = [
        row._replace(line=row.line - first - 1)
        for row in rows_of(csv_lines(content, columns), columns)
    ]
    if not rows:
        raise UnreadableFile("Enter at least one line.")
    return Entered(rows, columns)


def _columns_named(line: str, operation: str) -> Columns | None:
    """Return the columns that a line names, None if it has a SKU instead."""
    names = [folded(cell.strip().strip('"')) for cell in re.split(r"[\t;,|]", line)]
    sku = next((name for name in _SKU_NAMES if name in names), None)
    if sku is None:
        return None
    amount_names = _AMOUNT_NAMES[operation]
    if operation != "adjust" and _LISTED_STOCK in names:
        amount_names = tuple(name for name in amount_names if name != "quantity")
    amount = next((name for name in amount_names if name in names), None)
    if amount is None:
        raise UnreadableFile(
            "The first line names the columns, but no column with the number of units. Name this "
            f"column {amount_names[0]}."
        )
    renamed = {"amount": amount} if sku == "sku" else {"amount": amount, "sku": sku}
    columns = adjustment_columns(renamed=renamed, operation=operation, allow_others=True)
    # Reason and reference hold for all lines.
    own = ["expected_quantity"] if operation == "adjust" else []
    return columns._replace(known=["sku", COLUMN_OF[operation], *own])


def _header(lines: Sequence[str], operation: str) -> str:
    delimiter = _delimiter_of(lines) or "\t"
    return f"sku{delimiter}{COLUMN_OF[operation]}"


def _with_tabs(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines with a tab before the number, if only blanks separate it from the SKU."""
    delimiter = _delimiter_of(lines)
    if not delimiter:
        return [_NUMBER_AT_END.sub("\t", line.strip()) for line in lines]
    for number, line in enumerate(lines, start=1):
        if len([cell for cell in line.split(delimiter) if cell.strip()]) > 2:
            raise UnreadableFile(
                f"Line {number} has more than a SKU and a number. Copy the line with the names of "
                "the columns, too, or copy only these two columns."
            )
    return lines


def _delimiter_of(lines: Sequence[str]) -> str:
    """Return the first delimiter of any line, empty if there is none."""
    preferred = "\t" + DELIMITERS.replace("\t", "")
    return next((mark for mark in preferred if any(mark in line for line in lines)), "")
