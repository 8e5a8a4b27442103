"""Read uploaded CSV and XLSX files of limited size into rows.

All cells of a CSV file are text. XLSX has numbers: a number without a fraction is a whole number.
In both, text in a number column must consist of ASCII digits.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from openpyxl import load_workbook

from products.files.csv import csv_lines
from products.files.rows import NO_ROWS, Cell, Columns, InvalidCell, Row, UnreadableFile, rows_of

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000

# More than an XLSX file of `MAX_ROWS` rows with the longest texts needs.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# A hostile sheet may claim a cell a billion rows down or 18,000 columns to the right.
_MAX_SHEET_ROWS = 1_048_576
_MAX_SHEET_COLUMNS = 50


def read(content: bytes, *, columns: Columns) -> list[Row]:
    """Return the rows of a CSV or XLSX file. Raises `UnreadableFile`."""
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(
            f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB. Split it into smaller "
            "files."
        )
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(
            "The file is an old .xls file, or has a password. Save it as .xlsx without a password, "
            "or as CSV."
        )
    is_xlsx = content.startswith(b"PK\3\4")
    lines = _xlsx_lines(content) if is_xlsx else csv_lines(io.BytesIO(content), columns)
    rows: list[Row] = []
    for row in rows_of(lines, columns):
        if len(rows) == MAX_ROWS:
            raise UnreadableFile(
                f"The file has more than {MAX_ROWS:,} rows. Split it into smaller files."
            )
        rows.append(row)
    if not rows:
        raise UnreadableFile(NO_ROWS)
    return rows


def _xlsx_lines(content: bytes) -> Iterator[tuple[int, Sequence[Cell]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableFile(
                f"The file unpacks to more than {MAX_UNPACKED_BYTES // 1024 // 1024} MiB. Delete "
                "the sheets and pictures that are not needed, or save it as CSV."
            )
        sheet = load_workbook(io.BytesIO(content), read_only=True).worksheets[0]
        # The size stated in the sheet may be wrong.
        sheet.reset_dimensions()
        rows = sheet.iter_rows(max_row=_MAX_SHEET_ROWS, max_col=_MAX_SHEET_COLUMNS)
        gap = None
        for line, cells in enumerate(rows, start=1):
            # openpyxl yields the same object for each empty row of a gap.
            if cells is not gap:
                yield line, [_xlsx_cell(cell) for cell in cells]
            gap = cells
    except UnreadableFile:
        raise
    # A broken file can make the libraries raise any exception.
    except Exception as error:
        raise UnreadableFile(
            "The file cannot be read as XLSX. Open it in a spreadsheet program and save it again."
        ) from error


def _xlsx_cell(cell: Any) -> Cell:
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "f":
        return InvalidCell("The cell has a formula. Replace it with its value.")
    if cell.data_type == "e":
        return InvalidCell(f"The cell has the error {value}. Correct it in the spreadsheet.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        detail = f"Unsupported value: {value}. Enter text or a whole number."
        return InvalidCell(detail, value if isinstance(value, bool) else None)
    return value
