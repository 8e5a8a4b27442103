"""Read uploaded CSV and XLSX files of limited size into rows.

All cells of a CSV file are text. XLSX has numbers: a number without a fraction is a whole number.
It is also a text if its cell shows the same digits. Otherwise 00123 would be read as 123.
"""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple

from django.template.defaultfilters import pluralize
from django.utils.text import get_text_list
from openpyxl import load_workbook
from openpyxl.utils import get_column_letter, range_boundaries
from openpyxl.xml.functions import iterparse

from products.files.cells import (
    MAX_DIGITS_OF_TEXT,
    Cell,
    FormattedNumber,
    InvalidCell,
    Row,
    UnreadableFile,
    is_filled,
    shown,
)
from products.files.columns import HEADER_SEARCH_ROWS, Columns, folded
from products.files.csv import csv_lines
from products.files.number_formats import shows_number
from products.files.rows import NO_ROWS, rows_of
from products.files.selection import ReadLines, Selection

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_ROWS = 10_000

# More than an XLSX file of `MAX_ROWS` rows with the longest texts needs.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# A hostile sheet may claim a cell a billion rows down or 18,000 columns to the right.
_MAX_SHEET_ROWS = 1_048_576
_MAX_SHEET_COLUMNS = 256
_MAX_MERGED_CELLS = 100_000

# The elements of cells are cheap to read. Others, such as styles, cost as much as ten cells. Excel
# allows 65,490 styles, with up to three elements each.
_ELEMENT = re.compile(rb"<(?:\w+:)?(?:(?P<cell>c|v|row|t|si|is|r|f)[\s/>]|[a-zA-Z])")
MAX_CELL_ELEMENTS = 1_500_000
MAX_OTHER_ELEMENTS = 200_000
MAX_SHEETS = 100

_ROWS_NAMED = 10

_SHOWS_ALL_DIGITS = {"General", "0", "@"}
"""The formats in which a cell shows a whole number as it is."""


class Sheet(NamedTuple):
    """The rows of a file, and notes for the user: which sheet was read, and which rows were not."""

    rows: list[Row]
    selection: Selection
    notes: list[str]


def read(content: bytes, *, select: Callable[[ReadLines], Selection], sheet: str = "") -> Sheet:
    """Return the rows of a CSV or XLSX file. Raises `UnreadableFile`.

    `select` finds the columns. Of an XLSX file, the visible sheet with the name `sheet` is read.
    Without a name, it is the only visible sheet that has cells. Its hidden and filtered rows are
    left out.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableFile(
            f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB. Split it into smaller "
            "files."
        )
    if not content.startswith(b"PK\3\4"):
        lines = partial(csv_lines, io.BytesIO(content))
        selection = select(lines)
        columns = selection.columns
        return Sheet(_read(rows_of(lines(columns), columns)), selection, [*selection.notes])
    workbook = _Workbook(content, sheet)
    try:
        selection = select(workbook.lines)
        columns = selection.columns
        rows = _read(rows_of(workbook.lines(columns), columns, may_shift=False))
    except UnreadableFile as error:
        error.args = (" ".join([str(error), *workbook.notes()]),)
        raise
    return Sheet(rows, selection, [*selection.notes, *workbook.notes()])


_TOO_MANY_ROWS = f"The file has more than {MAX_ROWS:,} rows. Split it into smaller files."


def _read(found: Iterable[Row]) -> list[Row]:
    rows: list[Row] = []
    for row in found:
        if len(rows) == MAX_ROWS:
            raise UnreadableFile(_TOO_MANY_ROWS)
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
        self._layout = _Layout()
        self._source: Iterator[tuple[int, Sequence[Cell]]] | None = None
        self._kept: list[tuple[int, Sequence[Cell]]] = []

    def notes(self) -> list[str]:
        """Say which sheet was read, which rows were left out, and which columns are hidden."""
        notes = [f"Sheet: {shown(self._sheet)}."] if self._sheet else []
        if self._left_out:
            number = len(self._left_out)
            named = ", ".join(map(str, self._left_out[:_ROWS_NAMED]))
            others = " and others" if number > _ROWS_NAMED else ""
            notes.append(
                f"{number:,} hidden or filtered row{pluralize(number)} left out: {named}{others}."
            )
        if hidden := self._layout.hidden_columns:
            letters = get_text_list(list(map(get_column_letter, hidden)), "and")
            plural = len(hidden) > 1
            notes.append(f"Hidden column{'s' * plural} {letters}: read like the others.")
        if self._layout.hides_zeros:
            notes.append("The sheet does not show zeros. They are read.")
        return notes

    def lines(self, columns: Columns) -> Iterator[tuple[int, Sequence[Cell]]]:
        """Yield the filled visible rows from the header on, with their numbers.

        The file is parsed only once, because that takes long.
        """
        if self._source is None:
            self._source = (
                (line, values)
                for line, values in self._parsed()
                if line >= columns.header_line and any(map(is_filled, values))
            )
        for at in count():
            if at == len(self._kept):
                if at > MAX_ROWS + HEADER_SEARCH_ROWS:
                    raise UnreadableFile(_TOO_MANY_ROWS)
                self._kept += islice(self._source, 1)
            if at == len(self._kept):
                return
            yield self._kept[at]

    def _parsed(self) -> Iterator[tuple[int, Sequence[Cell]]]:
        """Yield the visible rows with their numbers."""
        try:
            with zipfile.ZipFile(io.BytesIO(self._content)) as archive:
                _check_size(archive)
                _refuse_other_archives(archive)
                _check_elements(archive)
            workbook = load_workbook(io.BytesIO(self._content), read_only=True)
            sheet = _sheet_of(workbook, self._wanted)
            self._sheet = sheet.title
            self._layout = _layout_of(sheet)
            for line, values in _with_merged(_rows_of_sheet(sheet), self._layout.merged):
                if line not in self._layout.hidden_rows:
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


def _check_size(archive: zipfile.ZipFile) -> None:
    unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise UnreadableFile(
            f"The file unpacks to more than {MAX_UNPACKED_BYTES // 1024 // 1024} MiB. {_REMEDY}"
        )


def _refuse_other_archives(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if "content.xml" in names:
        kind = "an OpenDocument file (.ods)"
    elif "xl/workbook.bin" in names:
        kind = "a binary workbook (.xlsb)"
    elif "xl/workbook.xml" in names and b"//purl.oclc.org/" in archive.read("xl/workbook.xml"):
        kind = "a “Strict Open XML” workbook"
    elif not any(name.startswith("xl/") for name in names):
        raise UnreadableFile(
            "The file is a ZIP archive and not an XLSX workbook. Unpack it and import the file in "
            "it, or save the table as XLSX or CSV."
        )
    else:
        return
    raise UnreadableFile(
        f"The file is {kind}. Save it as an ordinary XLSX workbook in a spreadsheet program."
    )


def _check_elements(archive: zipfile.ZipFile) -> None:
    """Refuse a file that would take long to parse."""
    cells = others = 0
    for part in archive.infolist():
        # Without NUL, UTF-16 reads as ASCII.
        content = archive.read(part).replace(b"\0", b"")
        for element in _ELEMENT.finditer(content):
            if element["cell"]:
                cells += 1
            else:
                others += 1
        if cells > MAX_CELL_ELEMENTS or others > MAX_OTHER_ELEMENTS:
            raise UnreadableFile(f"The file has too many cells or styles. {_REMEDY}")


_REMEDY = "Delete the sheets, styles and pictures that are not needed, or save it as CSV."


def _sheet_of(workbook: Any, wanted: str) -> Any:
    """Return the visible sheet with this name, or the only visible sheet that has cells."""
    sheets = workbook.worksheets
    if len(sheets) > MAX_SHEETS:
        raise UnreadableFile(f"The file has more than {MAX_SHEETS} sheets. {_REMEDY}")
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
    return any(is_filled(cell) for _, cells in _rows_of_sheet(sheet) for cell in cells)


def _rows_of_sheet(sheet: Any) -> Iterator[tuple[int, list[Cell]]]:
    """Yield the rows of a sheet with their numbers, up to the last filled cell of each.

    Most rows in gaps are left out. Raises `UnreadableFile` if a row is too long.
    """
    # The size stated in the sheet may be wrong.
    sheet.reset_dimensions()
    gap = None
    for line, cells in enumerate(sheet.iter_rows(max_row=_MAX_SHEET_ROWS), start=1):
        # openpyxl yields the same object for each empty row of a gap.
        if cells is not gap:
            values = [_xlsx_cell(cell) for cell in cells]
            while values and not is_filled(values[-1]):
                values.pop()
            if len(values) > _MAX_SHEET_COLUMNS:
                raise UnreadableFile(
                    f"Row {line} has a value in column {get_column_letter(len(values))}. At most "
                    f"{_MAX_SHEET_COLUMNS} columns are read. Delete the columns that are not "
                    "needed."
                )
            yield line, values
        gap = cells


def _with_merged(
    rows: Iterable[tuple[int, list[Cell]]], merged: Mapping[int, Mapping[int, int]]
) -> Iterator[tuple[int, list[Cell]]]:
    """Give each cell that is merged with the one above its text."""
    before, above = 0, list[Cell]()
    for line, values in rows:
        for column, top in merged.get(line, {}).items():
            cell = above[column - 1] if before >= top and column <= len(above) else None
            if is_filled(cell):
                values += [None] * (column - len(values))
                values[column - 1] = _merged_with(cell)
        before, above = line, values
        yield line, values


def _merged_with(above: Cell) -> InvalidCell:
    detail = "The cell is merged with the one above. Split the cells, and fill in each."
    if isinstance(above, InvalidCell):
        return InvalidCell(detail, merged_text=above.merged_text)
    is_text = isinstance(above, str) or (
        isinstance(above, int) and len(str(abs(above))) <= MAX_DIGITS_OF_TEXT
    )
    return InvalidCell(detail, merged_text=str(above) if is_text else "")


class _Layout(NamedTuple):
    """What the rows of a sheet do not tell. A filter hides rows, too."""

    hidden_rows: Collection[int] = ()
    hidden_columns: Collection[int] = ()
    hides_zeros: bool = False
    merged: Mapping[int, Mapping[int, int]] = {}
    """The columns of the cells that are merged with the one above, by row, with the first row."""


def _layout_of(sheet: Any) -> _Layout:
    rows: set[int] = set()
    columns: list[int] = []
    merged: defaultdict[int, dict[int, int]] = defaultdict(dict)
    hides_zeros = False
    line = merged_cells = 0
    # With `read_only`, openpyxl drops the attributes of rows and columns.
    with sheet._get_source() as source:
        for event, element in iterparse(source, events=("start", "end")):
            if event == "end":
                element.clear()
                continue
            kind = element.tag.rpartition("}")[2]
            is_hidden = element.get("hidden") in ("1", "true")
            if kind == "row":
                before, line = line, int(float(element.get("r", line + 1)))
                if line <= before:
                    raise UnreadableFile(
                        f"Row {line} comes after row {before} in the file. Open the file in a "
                        "spreadsheet program and save it again."
                    )
                if is_hidden or float(element.get("ht", 1)) == 0:
                    rows.add(line)
            elif kind == "col" and (is_hidden or float(element.get("width", 1)) == 0):
                last = min(int(element.get("max")), _MAX_SHEET_COLUMNS)
                columns += range(int(element.get("min")), last + 1)
            elif kind == "sheetView":
                hides_zeros = element.get("showZeros") in ("0", "false")
            elif kind == "mergeCell":
                left, top, right, bottom = range_boundaries(element.get("ref"))
                # All rows are known here. A merged cell may extend beyond them.
                width = min(right, _MAX_SHEET_COLUMNS) - left + 1
                merged_cells += max(width, 0) * max(min(bottom, line) - top, 0)
                if merged_cells > _MAX_MERGED_CELLS:
                    raise UnreadableFile(
                        "The sheet has too many merged cells. Split them, or save it as CSV."
                    )
                for row in range(top + 1, min(bottom, line) + 1):
                    merged[row] |= dict.fromkeys(range(left, left + width), top)
    return _Layout(rows, columns, hides_zeros, merged)


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
        if not shows_number(value, cell.number_format):
            return InvalidCell(
                f"The cell holds the number {value}, but shows something else in the format "
                f"{shown(cell.number_format)}. Set the format to General, and check the number."
            )
        return FormattedNumber(value, cell.number_format)
    if isinstance(value, bool) or not isinstance(value, str | int):
        detail = f"Unsupported value: {value}. Enter text or a whole number."
        return InvalidCell(detail, value if isinstance(value, bool) else None)
    return value
