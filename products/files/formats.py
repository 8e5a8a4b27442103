"""The formats of exports: CSV, JSON lines and XLSX.

Times are RFC 3339 in UTC, as in the API. In CSV and XLSX no text is a formula: `escape_formula`
marks each that a spreadsheet would run, and an import takes the mark off again.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import TextIOBase
from typing import Any, BinaryIO

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from products.files.exports import OMITTED_WHERE_NULL, Row
from products.files.rows import escape_formula

Writer = Callable[[TextIOBase, Sequence[str], Iterable[Row]], int]
"""Writes the rows under the names of their columns, and returns how many there were."""


def moment(value: datetime) -> str:
    """Return a time as RFC 3339, such as 2026-11-20T09:30:00Z."""
    return value.isoformat().replace("+00:00", "Z")


def cell(value: Any) -> str | int:
    """Return a value as a cell of CSV or XLSX."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int():
            return value
        case datetime():
            return moment(value)
        case dict():
            return json.dumps(value)
    return escape_formula(str(value))


class _Echo:
    """A file for `csv.writer` whose `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def to_csv(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield CSV line by line: the names of the columns, then the rows."""
    writer = csv.writer(_Echo())
    yield writer.writerow(names)
    for row in rows:
        yield writer.writerow(map(cell, row))


def write_csv(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write CSV, and return the number of rows."""
    lines = to_csv(names, rows)
    file.write(next(lines))
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    return count


def write_json_lines(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write a JSON object a line, its values as in the API, and return their number.

    In ASCII: no reader takes one of Unicode's other line ends in a text for the end of the object.
    """
    encode = json.JSONEncoder(default=moment).encode
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
    """Write XLSX row by row, which takes less memory than a workbook that can be edited."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    sheet.freeze_panes = "A2"
    sheet.append(list(names))
    for row in rows:
        sheet.append([_xlsx_cell(value) for value in row])
    workbook.save(file)


def _xlsx_cell(value: Any) -> str | int:
    """Return a cell without the control characters that XLSX cannot hold."""
    written = cell(value)
    if isinstance(written, int):
        return written
    return ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", written)
