"""Uploaded CSV and XLSX files, read into rows within bounds.

The cells of a CSV file are texts, and a number in one is written in ASCII digits alone. XLSX knows
numbers: one without a fraction is a whole number. Of a text, in a column of numbers, the digits
count there as well.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from openpyxl import load_workbook

from products.files.csv import csv_lines
from products.files.rows import Cell, Columns, Faulty, Row, UnreadableFile, rows_of

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000

# What an XLSX file of that many rows with the longest texts may come to, with room to spare.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# A sheet may say that its next cell is a billion rows down or 18,000 columns to the right.
_MAX_SHEET_ROWS = 1_048_576
_MAX_SHEET_COLUMNS = 50


def read(content: bytes, *, columns: Columns) -> list[Row]:
    """Return the rows of a CSV or XLSX file. Raises `UnreadableFile`."""
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(f"The file has more than {MAX_FILE_BYTES // 1024 // 1024} MiB.")
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(
            "This is an old .xls file, or one with a password: save it as .xlsx or CSV."
        )
    is_xlsx = content.startswith(b"PK\3\4")
    lines = _xlsx_lines(content) if is_xlsx else csv_lines(io.BytesIO(content))
    rows: list[Row] = []
    for row in rows_of(lines, columns):
        if len(rows) == MAX_ROWS:
            raise UnreadableFile(f"The file has more than {MAX_ROWS:,} rows.")
        rows.append(row)
    if not rows:
        raise UnreadableFile("The file has no row below its header.")
    return rows


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
            # openpyxl yields one and the same object for each row of a gap.
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
