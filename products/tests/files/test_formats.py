"""The export formats hold the same values, as a spreadsheet or a program reads them."""

import csv
import json
from datetime import UTC, datetime
from io import BytesIO, StringIO

from openpyxl import load_workbook

from products.files.formats import write_csv, write_json_lines, write_xlsx

NAMES = ["text", "number", "truth", "time", "nothing", "object"]
TIME = datetime(2026, 11, 20, 9, 30, 0, 120_000, tzinfo=UTC)
ROWS = [
    ("=1+1", -3, True, TIME, None, {"name": {"old": "=é", "new": "b"}}),
    ('a "b";\nc', 0, False, TIME.replace(microsecond=0), "", {}),
]
OBJECT = '{"name": {"old": "=\\u00e9", "new": "b"}}'
CELLS = [
    ["'=1+1", -3, "true", "2026-11-20T09:30:00.120000Z", "", OBJECT],
    ['a "b";\nc', 0, "false", "2026-11-20T09:30:00Z", "", "{}"],
]


def test_csv_escapes_formulas() -> None:
    file = StringIO(newline="")

    assert write_csv(file, NAMES, ROWS) == 2

    read = list(csv.reader(StringIO(file.getvalue(), newline="")))
    assert read == [NAMES, *([str(cell) for cell in row] for row in CELLS)]


def test_xlsx_escapes_formulas_and_keeps_numbers() -> None:
    file = BytesIO()

    write_xlsx(file, NAMES, ROWS)

    sheet = load_workbook(file).worksheets[0]
    read = [["" if cell.value is None else cell.value for cell in row] for row in sheet.rows]
    assert read == [NAMES, *CELLS]


def test_json_lines_hold_the_values_of_the_api() -> None:
    file = StringIO()

    assert write_json_lines(file, NAMES, ROWS) == 2

    assert [json.loads(line) for line in file.getvalue().splitlines()] == [
        dict(zip(NAMES, (*row[:3], cells[3], *row[4:]), strict=True))
        for row, cells in zip(ROWS, CELLS, strict=True)
    ]


def test_an_export_without_rows_is_a_header() -> None:
    file, lines = StringIO(newline=""), StringIO()

    assert write_csv(file, NAMES, []) == write_json_lines(lines, NAMES, []) == 0

    assert file.getvalue() == ",".join(NAMES) + "\r\n"
    assert lines.getvalue() == ""
