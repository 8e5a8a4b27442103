"""CSV and XLSX files: read into rows within bounds, and text that no spreadsheet runs as a formula.

A cell is understood in one way or refused. The cells of a CSV file are texts, and a number in one
is written in ASCII digits alone. XLSX knows numbers: one without a fraction is a whole number. Of a
text, in a column of numbers, the digits count there as well.
"""

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from openpyxl import load_workbook

from products import stock

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000

# What an XLSX file of that many rows with the longest texts may come to, with room to spare.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# A sheet may say that its next cell is a billion rows down or 18,000 columns to the right.
_MAX_SHEET_ROWS = 1_048_576
_MAX_SHEET_COLUMNS = 50

_DELIMITERS = ",;\t"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


class UnreadableFile(Exception):
    """A file of which not even the rows can be told; says why, to the person who sent it."""


class Faulty(NamedTuple):
    """A cell that is neither a text nor a whole number."""

    detail: str


Cell = str | int | Faulty | None


class Row(NamedTuple):
    """A row that is not empty: its line in the file, and its cells by column but the empty ones."""

    line: int
    cells: dict[str, Cell]

    def text(self, column: str) -> str | None:
        """Return the text of a cell, none for an empty one. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if isinstance(cell, Faulty):
            raise stock.Invalid(column, cell.detail)
        return plain(str(cell)) if cell is not None else None

    def number(self, column: str) -> int | None:
        """Return the whole number of a cell, none for an empty one. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None or isinstance(cell, int):
            return cell
        if isinstance(cell, Faulty):
            raise stock.Invalid(column, cell.detail)
        if not _WHOLE_NUMBER.fullmatch(cell):
            raise stock.Invalid(
                column, f"A whole number is required, in digits alone: not {cell[:40]!r}."
            )
        return int(cell)


def neutral(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain(text: str) -> str:
    """Undo `neutral`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read(content: bytes, *, columns: Collection[str], required: Collection[str]) -> list[Row]:
    """Return the rows of a CSV or XLSX file whose header names `columns`, the `required` at least.

    Raises `UnreadableFile`.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(f"The file has more than {MAX_FILE_BYTES // 1024 // 1024} MiB.")
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(
            "This is an old .xls file, or one with a password: save it as .xlsx or CSV."
        )
    lines = _xlsx_lines(content) if content.startswith(b"PK\3\4") else _csv_lines(content)
    filled = ((line, cells) for line, cells in lines if any(cell is not None for cell in cells))
    _, header = next(filled, (0, []))
    names = _check_header(header, columns=columns, required=required)
    rows = [_row(line, cells, names) for line, cells in _at_most(MAX_ROWS, filled)]
    if not rows:
        raise UnreadableFile("The file has no row below its header.")
    return rows


def _csv_lines(content: bytes) -> Iterator[tuple[int, Sequence[Cell]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            "The file is neither XLSX nor text in UTF-8: save it as “CSV UTF-8”."
        ) from error
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=header.count), strict=True
    )
    line = 1
    try:
        for cells in reader:
            yield line, [cell or None for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableFile(f"The file is not CSV: line {line}: {error}.") from error


def _xlsx_lines(content: bytes) -> Iterator[tuple[int, Sequence[Cell]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableFile(
                f"The file unpacks to more than {MAX_UNPACKED_BYTES // 1024 // 1024} MiB: remove "
                "what is not needed from it, or save it as CSV."
            )
        sheet = load_workbook(io.BytesIO(content), read_only=True).worksheets[0]
        # What the sheet says of its size may be wrong.
        sheet.reset_dimensions()
        rows = sheet.iter_rows(max_row=_MAX_SHEET_ROWS, max_col=_MAX_SHEET_COLUMNS)
        gap = None
        for line, cells in enumerate(rows, start=1):
            # The rows of a gap, of which there may be a million, are one and the same object.
            if cells is not gap:
                yield line, [_xlsx_cell(cell) for cell in cells]
            gap = cells
    except UnreadableFile:
        raise
    # Whatever a broken file makes the libraries stumble over.
    except Exception as error:
        raise UnreadableFile("The file is not a readable XLSX file.") from error


def _xlsx_cell(cell: Any) -> Cell:
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "f":
        return Faulty("This is a formula: put its value into the cell.")
    if cell.data_type == "e":
        return Faulty(f"This is an error of the spreadsheet: {value}.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return Faulty(f"A text or a whole number is required: not {value}.")
    return value


def _check_header(
    header: Sequence[Cell], *, columns: Collection[str], required: Collection[str]
) -> list[str | None]:
    """Return the name of each column, none for one without."""
    names = [None if cell is None else str(cell) for cell in header]
    counts = Counter(name for name in names if name is not None)
    complaints = [
        (_named(name for name in required if name not in counts), "is missing"),
        (_named(name for name in counts if name not in columns), "is not known"),
        (_named(name for name, count in counts.items() if count > 1), "is there more than once"),
    ]
    found = [f"Of the columns, {names} {what}." for names, what in complaints if names]
    if found:
        known = f"The first line names the columns; there may be {', '.join(columns)}."
        raise UnreadableFile(" ".join([*found, known]))
    return names


def _named(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:40]) for name in list(names)[:10])


def _at_most(
    count: int, lines: Iterator[tuple[int, Sequence[Cell]]]
) -> Iterator[tuple[int, Sequence[Cell]]]:
    for number, line in enumerate(lines, start=1):
        if number > count:
            raise UnreadableFile(f"The file has more than {count:,} rows.")
        yield line


def _row(line: int, cells: Sequence[Cell], names: Sequence[str | None]) -> Row:
    named: dict[str, Cell] = {}
    for index, cell in enumerate(cells):
        name = names[index] if index < len(names) else None
        if cell is not None and name is None:
            raise UnreadableFile(f"Line {line} has a value in a column without a name.")
        if cell is not None and name is not None:
            named[name] = cell
    return Row(line, named)
