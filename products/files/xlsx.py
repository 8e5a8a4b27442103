"""Read uploaded CSV and XLSX files of limited size into rows.

All cells of a CSV file are text. XLSX has numbers: a number without a fraction is a whole number.
It is also a text if its cell shows the same digits. Otherwise 00123 would be read as 123.
"""

import io
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.template.defaultfilters import pluralize
from django.utils.text import get_text_list
from openpyxl import load_workbook
from openpyxl.utils import get_column_letter
from openpyxl.xml.functions import iterparse

from products.files.csv import csv_lines
from products.files.rows import (
    NO_ROWS,
    Cell,
    Columns,
    FormattedNumber,
    InvalidCell,
    Row,
    UnreadableFile,
    folded,
    is_filled,
    rows_of,
    shown,
)

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000

# More than an XLSX file of `MAX_ROWS` rows with the longest texts needs.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# A hostile sheet may claim a cell a billion rows down or 18,000 columns to the right.
_MAX_SHEET_ROWS = 1_048_576
_MAX_SHEET_COLUMNS = 50

_ROWS_NAMED = 10

_SHOWS_ALL_DIGITS = {"General", "0", "@"}
"""The formats in which a cell shows a whole number as it is."""


class Sheet(NamedTuple):
    """The rows of a file, and notes for the user: which sheet was read, and which rows were not."""

    rows: list[Row]
    notes: list[str]


def read(content: bytes, *, columns: Columns, sheet: str = "") -> Sheet:
    """Return the rows of a CSV or XLSX file. Raises `UnreadableFile`.

    Of an XLSX file, the visible sheet with the name `sheet` is read. Without a name, it is the only
    visible sheet that has cells. Its hidden and filtered rows are left out.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(
            f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB. Split it into smaller "
            "files."
        )
    if not content.startswith(b"PK\3\4"):
        return Sheet(_read(csv_lines(io.BytesIO(content), columns), columns), [])
    workbook = _Workbook(content, sheet)
    try:
        rows = _read(workbook.lines(), columns)
    except UnreadableFile as error:
        raise UnreadableFile(" ".join([str(error), *workbook.notes()])) from error
    return Sheet(rows, workbook.notes())


def _read(lines: Iterable[tuple[int, Sequence[Cell]]], columns: Columns) -> list[Row]:
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


class _Workbook:
    """An XLSX file."""

    def __init__(self, content: bytes, sheet: str) -> None:
        self._content, self._wanted = content, sheet
        self._sheet = ""
        self._left_out: list[int] = []
        self._hidden = _Hidden()

    def notes(self) -> list[str]:
        """Say which sheet was read, which rows were left out, and which columns are hidden."""
        notes = [f"Sheet: {shown(self._sheet)}."] if self._sheet else []
        if self._left_out:
            count = len(self._left_out)
            named = ", ".join(map(str, self._left_out[:_ROWS_NAMED]))
            others = " and others" if count > _ROWS_NAMED else ""
            notes.append(
                f"{count:,} hidden or filtered row{pluralize(count)} left out: {named}{others}."
            )
        if self._hidden.columns:
            letters = get_text_list(list(map(get_column_letter, self._hidden.columns)), "and")
            plural = len(self._hidden.columns) > 1
            notes.append(f"Hidden column{'s' * plural} {letters}: read like the others.")
        return notes

    def lines(self) -> Iterator[tuple[int, Sequence[Cell]]]:
        """Yield the visible rows with their numbers."""
        try:
            self._check_size()
            workbook = load_workbook(io.BytesIO(self._content), read_only=True)
            sheet = _sheet_of(workbook, self._wanted)
            self._sheet = sheet.title
            self._hidden = _hidden_in(sheet)
            for line, cells in _rows_of_sheet(sheet):
                values = [_xlsx_cell(cell) for cell in cells]
                if line not in self._hidden.rows:
                    yield line, values
                elif any(map(is_filled, values)):
                    self._left_out.append(line)
        except UnreadableFile:
            raise
        # A broken file can make the libraries raise any exception.
        except Exception as error:
            raise UnreadableFile(
                "The file cannot be read as XLSX. Open it in a spreadsheet program and save it "
                "again."
            ) from error

    def _check_size(self) -> None:
        with zipfile.ZipFile(io.BytesIO(self._content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UnreadableFile(
                f"The file unpacks to more than {MAX_UNPACKED_BYTES // 1024 // 1024} MiB. Delete "
                "the sheets and pictures that are not needed, or save it as CSV."
            )


def _sheet_of(workbook: Any, wanted: str) -> Any:
    """Return the visible sheet with this name, or the only visible sheet that has cells."""
    sheets = workbook.worksheets
    visible = [sheet for sheet in sheets if sheet.sheet_state == "visible"]
    if wanted:
        found = [sheet for sheet in visible if folded(sheet.title) == folded(wanted)]
        if not found:
            raise UnreadableFile(
                f"No visible sheet is called {shown(wanted)}. The visible sheets are "
                f"{_titles(visible)}."
            )
        return found[0]
    if len(visible) == 1:
        return visible[0]
    filled = [sheet for sheet in visible if _has_cells(sheet)]
    if len(filled) > 1:
        raise UnreadableFile(
            f"The file has {len(filled)} visible sheets with cells: {_titles(filled)}. Enter the "
            "name of the one to import in the field Sheet."
        )
    if not filled:
        raise UnreadableFile(f"No visible sheet has cells. The sheets are {_titles(sheets)}.")
    return filled[0]


def _titles(sheets: Iterable[Any]) -> str:
    return get_text_list([shown(sheet.title) for sheet in sheets], "and")


def _has_cells(sheet: Any) -> bool:
    return any(is_filled(_xlsx_cell(cell)) for _, cells in _rows_of_sheet(sheet) for cell in cells)


def _rows_of_sheet(sheet: Any) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the rows of a sheet with their numbers, except those in gaps."""
    # The size stated in the sheet may be wrong.
    sheet.reset_dimensions()
    rows = sheet.iter_rows(max_row=_MAX_SHEET_ROWS, max_col=_MAX_SHEET_COLUMNS)
    gap = None
    for line, cells in enumerate(rows, start=1):
        # openpyxl yields the same object for each empty row of a gap.
        if cells is not gap:
            yield line, cells
        gap = cells


class _Hidden(NamedTuple):
    """The numbers of the hidden rows and columns of a sheet. A filter hides rows, too."""

    rows: Collection[int] = ()
    columns: Collection[int] = ()


def _hidden_in(sheet: Any) -> _Hidden:
    rows: set[int] = set()
    columns: list[int] = []
    line = 0
    # With `read_only`, openpyxl drops the attributes of rows and columns.
    with sheet._get_source() as source:
        for event, element in iterparse(source, events=("start", "end")):
            if event == "end":
                element.clear()
                continue
            kind = element.tag.rpartition("}")[2]
            is_hidden = element.get("hidden") in ("1", "true")
            if kind == "row":
                line = int(float(element.get("r", line + 1)))
                if is_hidden:
                    rows.add(line)
            elif kind == "col" and is_hidden:
                last = min(int(element.get("max")), _MAX_SHEET_COLUMNS)
                columns += range(int(element.get("min")), last + 1)
    return _Hidden(rows, columns)


def _xlsx_cell(cell: Any) -> Cell:
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "f":
        return InvalidCell("The cell has a formula. Replace it with its value.")
    if cell.data_type == "e":
        return InvalidCell(f"The cell has the error {value}. Correct it in the spreadsheet.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and cell.number_format not in _SHOWS_ALL_DIGITS:
        return FormattedNumber(value, cell.number_format)
    if isinstance(value, bool) or not isinstance(value, str | int):
        detail = f"Unsupported value: {value}. Enter text or a whole number."
        return InvalidCell(detail, value if isinstance(value, bool) else None)
    return value
