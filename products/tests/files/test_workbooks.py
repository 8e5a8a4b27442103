"""XLSX files: merged cells, wide and damaged sheets, and other formats in a ZIP archive."""

import re
import zipfile
from io import BytesIO
from typing import Any

import pytest

from products.tests.files.sheets import Read, saved, sheet_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shop")]

SHEET = "xl/worksheets/sheet1.xml"


def with_xml(content: bytes, name: str, *changes: tuple[str, str]) -> bytes:
    """Return an XLSX file with changes in one of its parts. Each is a pattern and its text."""
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.namelist():
            text = old.read(part)
            if part == name:
                for pattern, replacement in changes:
                    assert re.search(pattern, text.decode())
                    text = re.sub(pattern, replacement, text.decode()).encode()
            new.writestr(part, text)
    return file.getvalue()


def merged(cells: str, *rows: list[Any]) -> bytes:
    workbook, sheet = sheet_of(*rows)
    for each in cells.split():
        sheet.merge_cells(each)
    return saved(workbook)


def archive_of(*names: str) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


# -------------------------------------------------------------------------------- merged cells


@pytest.mark.parametrize("amount", [5, "5"])
def test_an_amount_that_is_merged_with_the_one_above_is_refused(
    by_admin: Read, amount: int | str
) -> None:
    ended = by_admin(merged("B2:B3", ["sku", "quantity"], ["SKU-1", amount], ["SKU-2"]))

    assert ended.changed == {}
    assert "3: The cell is merged with the one above." in ended.said


def test_a_merged_text_is_the_text_of_each_row(by_admin: Read) -> None:
    content = merged(
        "A2:A3 A4:A5", ["sku", "add"], ["SKU-1", 2], [None, 3], [123, 4], [None, 5], ["SKU-2", 6]
    )

    assert by_admin(content).changed == {"SKU-1": 15, "123": 909, "SKU-2": 26}


def test_two_counts_below_a_merged_sku_are_repeated(by_admin: Read) -> None:
    content = merged("A2:A3", ["Item", "quantity"], ["SKU-1", 2], [None, 3])

    ended = by_admin(content, sku_column="Item")

    assert ended.changed == {}
    assert "3: SKU-1 is already counted on line 2." in ended.said
    assert by_admin(content, sku_column="Item", sum_repeated="on").changed == {"SKU-1": 5}


def test_a_long_number_is_no_merged_text(by_admin: Read) -> None:
    content = merged("A2:A3", ["sku", "add"], [9876543210987600, None], [None, 3])

    assert "3: The cell is merged with the one above." in by_admin(content).said


@pytest.mark.parametrize(
    ("cells", "rows", "header_line"),
    [
        ("A2:A3", [["vendor", "sku", "quantity"], ["Acme", "SKU-1", 5], ["", "SKU-2", 20]], 1),
        ("A2:C2", [["sku", "quantity", "vendor"], ["Shelf A"], ["SKU-1", 5, "Acme"]], 1),
        ("A1:A2 B1:C1", [["sku", "Stock"], ["", "quantity", "vendor"], ["SKU-1", 5]], 2),
    ],
    ids=["the rows of a group", "a title between rows", "a header of two lines"],
)
def test_other_merged_cells_are_not_in_the_way(
    by_admin: Read, cells: str, rows: list[list[Any]], header_line: int
) -> None:
    ended = by_admin(merged(cells, *rows), ignore_other_columns="on", header_line=header_line)

    assert ended.changed == {"SKU-1": 5}


def test_a_hostile_number_of_merged_cells_is_refused(by_admin: Read) -> None:
    cells = '<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'
    far = saved(sheet_of(*[["sku", "add"]] * 500)[0])

    ended = by_admin(with_xml(far, SHEET, ("</sheetData>", f"</sheetData>{cells}")))

    assert "The sheet has too many merged cells." in ended.said


# -------------------------------------------------------------------------------- sheets


def test_a_column_far_to_the_right_is_read(by_admin: Read) -> None:
    others = [f"c{number}" for number in range(100)]
    workbook, _ = sheet_of(
        ["sku", "quantity", *others, "expected_quantity"], ["SKU-1", 5, *others, 11]
    )

    ended = by_admin(saved(workbook), ignore_other_columns="on")

    assert ended.changed == {}
    assert "SKU-1 has 10 on hand, not 11." in ended.said


def test_a_value_too_far_to_the_right_is_refused(by_admin: Read) -> None:
    workbook, sheet = sheet_of(["sku", "quantity"], ["SKU-1", 5])
    sheet["XFD1"].number_format = "0"
    sheet["ZZ2"] = 1

    ended = by_admin(saved(workbook), ignore_other_columns="on")

    assert ended.changed == {}
    assert "Row 2 has a value in column ZZ." in ended.said


def test_a_note_beside_the_table_is_another_column(by_admin: Read) -> None:
    workbook, _ = sheet_of(["sku", "quantity"], ["SKU-1", 5, "", "see Bob"])

    assert "A column without a name has a value." in by_admin(saved(workbook)).said
    assert by_admin(saved(workbook), ignore_other_columns="on").changed == {"SKU-1": 5}


def test_a_row_without_height_is_hidden(by_admin: Read) -> None:
    content = saved(sheet_of(["sku", "quantity"], ["SKU-1", 5], ["SKU-2", 6])[0])

    ended = by_admin(with_xml(content, SHEET, ('<row r="3"', '<row r="3" ht="0"')))

    assert ended.changed == {"SKU-1": 5}
    assert "1 hidden or filtered row left out: 3." in ended.said


def test_a_sheet_that_does_not_show_zeros_says_so(by_admin: Read) -> None:
    workbook, sheet = sheet_of(["sku", "quantity"], ["SKU-1", 0])
    sheet.sheet_view.showZeros = False

    assert "The sheet does not show zeros. They are read." in by_admin(saved(workbook)).said


def test_rows_out_of_order_are_refused(by_admin: Read) -> None:
    content = saved(sheet_of(["sku", "quantity"], ["SKU-1", 5], ["SKU-2", 6])[0])
    rows = r'(<row r="2".*?</row>)(<row r="3".*?</row>)'

    ended = by_admin(with_xml(content, SHEET, (rows, r"\2\1")))

    assert ended.changed == {}
    assert "Row 2 comes after row 3 in the file." in ended.said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive_of("mimetype", "content.xml"), "The file is an OpenDocument file (.ods)."),
        (archive_of("[Content_Types].xml", "xl/workbook.bin"), "a binary workbook (.xlsb)"),
        (archive_of("stock.csv"), "The file is a ZIP archive and not an XLSX workbook."),
    ],
    ids=["ods", "xlsb", "zip"],
)
def test_another_kind_of_archive_is_named(by_admin: Read, content: bytes, said: str) -> None:
    assert said in by_admin(content).said


def test_a_strict_workbook_is_named(by_admin: Read) -> None:
    content = saved(sheet_of(["sku", "quantity"], ["SKU-1", 5])[0])
    change = (
        "http://schemas.openxmlformats.org/(officeDocument|spreadsheetml)/2006",
        r"http://purl.oclc.org/ooxml/\1",
    )
    for part in ("_rels/.rels", "xl/workbook.xml", SHEET):
        content = with_xml(content, part, change)

    assert "a “Strict Open XML” workbook." in by_admin(content).said
