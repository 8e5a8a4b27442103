"""The formats of exports: CSV, JSON lines and XLSX.

Times are RFC 3339 in UTC, as in the API. In CSV and XLSX, `escape_formula` marks text that a
spreadsheet would run as a formula. An import removes the mark.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import BytesIO, TextIOBase
from typing import Any, BinaryIO

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from products.files.cells import escape_formula
from products.files.exports import OMITTED_WHERE_NULL, Row

Writer = Callable[[TextIOBase, Sequence[str], Iterable[Row]], int]
"""Writes a header with the column names, then the rows. Returns the number of rows."""


CONTENT_TYPES = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def rfc3339(value: datetime) -> str:
    """Format a time as RFC 3339, such as 2026-11-20T09:30:00Z."""
    return value.isoformat().replace("+00:00", "Z")


def cell(value: Any) -> str | int:
    """Convert a value to a cell of CSV or XLSX."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return value
        case datetime():
            return rfc3339(value)
        case dict():
            # The same JSON, without semicolons at which a spreadsheet could split.
            return json.dumps(value).replace(";", "\\u003b")
    return escape_formula(str(value))


class _Echo:
    """A file for `csv.writer` whose `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def to_csv(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file: the header, then the rows."""
    writer = csv.writer(_Echo())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow(map(cell, row))


def write_csv(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write CSV and return the number of rows."""
    lines = to_csv(names, rows)
    file.write(next(lines))
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    return count


def write_json_lines(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write one JSON object per line, with the API's values, and return the number of objects.

    The output is ASCII, so that a Unicode line separator in a text does not end the line.
    """
    encode = json.JSONEncoder(default=rfc3339).encode
    count = 0
    for row in rows:
        members = {
            name: value
            for name, value in zip(names, row, strict=True)
            if value is not None or name not in OMITTED_WHERE_NULL
        }
        file.write(encode(members) + "\n")
        count += 1
    return count


def write_xlsx(file: BinaryIO, names: Sequence[str], rows: Iterable[Row]) -> None:
    """Write an XLSX file row by row, to save memory."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    sheet.freeze_panes = "A2"
    sheet.append(list(names))
    for row in rows:
        sheet.append([_xlsx_cell(value) for value in row])
    workbook.save(file)


def template(names: Sequence[str], file_format: str) -> bytes:
    """Return a file, `csv` or `xlsx`, that has only the names of its columns."""
    if file_format == "csv":
        # The mark tells Excel that the file is UTF-8.
        return "".join(["\ufeff", *to_csv(names, [])]).encode()
    workbook = Workbook()
    sheet = workbook.worksheets[0]
    sheet.append(list(names))
    sheet.freeze_panes = "A2"
    # Otherwise a spreadsheet program would read the SKU 00123 as a number.
    sheet.column_dimensions["A"].number_format = "@"
    file = BytesIO()
    workbook.save(file)
    return file.getvalue()


def _xlsx_cell(value: Any) -> str | int:
    """Convert a value to a cell, and replace control characters, which XLSX cannot hold."""
    written = cell(value)
    if isinstance(written, int):
        return written
    return ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", written)
