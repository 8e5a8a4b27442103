"""Sheets as shops have them: each is read as its author meant it, or refused with its line.

The command and the back office use the same reader, so each sheet goes through both.
"""

import csv
import random
import re
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from products import stock
from products.files.adjustments import ADJUSTMENT_COLUMNS, adjustment_line
from products.files.cells import UnreadableFile
from products.files.columns import Columns
from products.files.csv import csv_lines
from products.files.rows import rows_of
from products.tests.factories import ACTOR, ProductFactory
from products.tests.files.sheets import LEVELS, Read, both, changed, saved, sheet_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shop")]

CASES = Path(__file__).parent / "cases"


def case(name: str) -> bytes:
    return (CASES / name).read_bytes()


# ------------------------------------------------------------------------------------ CSV dialects


@pytest.mark.parametrize(
    "content",
    [
        case("08-sep-line.csv"),
        case("09a-space-after-comma.csv"),
        case("09b-capitals.csv"),
        case("09c-nbsp-in-header.csv"),
        case("12c-apostrophe-number.csv"),
        case("18-ctrl-z.csv"),
        "sep=|\nsku|add\nSKU-1|2\n",
        '"sep=\t"\r\nsku\tadd\r\nSKU-1\t2\r\n',
        "SEP=;;\nsku;add\nSKU-1;2\n",
        "sku|add\nSKU-1|2\n",
        "sku,add\nSKU-1,2\n".encode("utf-16"),
        b"\xfe\xff" + "sku\tadd\r\nSKU-1\t2\r\n".encode("utf-16-be"),
        'sku, reason, add\nSKU-1, "a, b", 2\n',
        'sku\treason\tadd\nSKU-1\t"5" or so"\t2\n',
        'sku\treason\tadd\nSKU-1\t"Bag, ""L"""\t2\n',
        "sku,add\nSKU-1,2\n\x1a\x1a\x00",
        "\ufeff SKU ,\u200bAdd\nSKU-1,2\n",
        "\uff33\uff2b\uff35,ADD\nSKU-1,2\n",
        'sku,add,reason\nSKU-1,2,"late\ndelivery, by van"\n',
        'reason,sku,add\n"late\ndelivery",SKU-1,2\n',
    ],
)
def test_a_sheet_adds_two_units(by_command: Read, by_admin: Read, content: str | bytes) -> None:
    assert both(by_command, by_admin, content).changed == {"SKU-1": 12}


def test_the_delimiter_is_the_one_by_which_the_columns_are_found(by_command: Read) -> None:
    options = ("--ignore-other-columns", "--reason=delivery")

    assert by_command(case("07a-semicolon-commas-in-header.csv"), *options).changed == {
        "SKU-1": 13,
        "SKU-2": 24,
    }
    assert by_command(case("07b-tab-commas-in-header.tsv"), *options).changed["SKU-1"] == 15


@pytest.mark.parametrize(
    ("content", "levels"),
    [
        (case("17a-stray-quote.tsv"), {"SKU-1": 4, "SKU-2": 6, "SKU-3": 8}),
        (case("17b-two-stray-quotes.tsv"), {"SKU-1": 4, "SKU-2": 6, "SKU-3": 8}),
        (b'sku\titem\tquantity\nSKU-1\t"5" pot"\t4\n', {"SKU-1": 4}),
    ],
)
def test_a_quotation_mark_joins_no_lines_of_a_tab_file(
    by_command: Read, content: bytes, levels: dict[str, int]
) -> None:
    ended = by_command(content, "--ignore-other-columns", "--reason=stocktake")

    assert ended.changed == levels


@pytest.mark.parametrize(
    "content",
    [
        'sku,item,quantity\nSKU-1,"5 inch pot,4\nSKU-2,8 inch",6\nSKU-3,Soap,8\n',
        'sku;item;quantity\nSKU-1;"5 inch pot;4\nSKU-3;Soap;8\nSKU-2;8 inch";6\n',
        'item,quantity,sku\n"5 inch pot,4,SKU-1\n8 inch",6,SKU-2\n',
        'sku,quantity,item\nSKU-1,4,"5 inch pot\nSKU-2,6,8 inch"\n',
        'sku,quantity,item,x,y\nSKU-1,4,"5 inch pot\nSKU-2,6,8 inch"\n',
        'sku,quantity,item\nSKU-1,4,"5 inch pot\nfoo_bar,6,8 inch"\n',
        'sku\titem\tquantity\nSKU-1\t"5 inch\tpot"\t4\t\n',
        'item;sku;"shelf;quantity\nBag";SKU-1;A1;4\nCup;SKU-2;A2;6\n',
        'sku;quantity;"item;shelf\nSKU-1;4";;\nSKU-2;6;Cup;A2\n',
        '"sku";"quantity";"item""\n""SKU-1";"4";"Bag"\n"SKU-2";"6";"Cup"\n',
    ],
)
def test_a_record_that_may_have_swallowed_a_row_is_refused(by_command: Read, content: str) -> None:
    ended = by_command(content, "--ignore-other-columns", "--reason=stocktake")

    assert ended.changed == {}
    assert "ine 2 " in ended.said or "ine 2," in ended.said
    assert "uotation mark" in ended.said


@pytest.mark.parametrize(
    "content",
    [
        "shelf,quantity,sku,item\nA1,100,SKU-1,Bag\nB,2,123,SKU-2,\n",
        "shelf,quantity,sku,item\nB,2,123,SKU-2,\nA1,100,SKU-1,Bag\n",
    ],
)
def test_a_row_that_an_unquoted_separator_shifts_is_refused(by_command: Read, content: str) -> None:
    ended = by_command(content, "--ignore-other-columns", "--reason=stocktake")

    assert ended.changed == {}
    assert "The row has more cells than the header, unlike other rows." in ended.said


def test_every_row_may_end_with_a_separator(by_command: Read, by_admin: Read) -> None:
    ended = both(by_command, by_admin, "sku,add\nSKU-1,2,\nSKU-2,3,\n")

    assert ended.changed == {"SKU-1": 12, "SKU-2": 23}


def test_a_header_of_many_lines_is_read(by_command: Read) -> None:
    content = 'sku,"On hand\n(new)",item\nSKU-1,4,Bag\n'
    options = ("--amount-column=On hand (new)", "--operation=adjust", "--ignore-other-columns")

    assert by_command(content, *options, "--reason=stocktake").changed == {"SKU-1": 4}


def test_a_description_of_many_lines_is_read(by_command: Read) -> None:
    content = (
        "Handle,Body (HTML),Vendor,SKU,Qty,Image\n"
        'bag,"<p>Soft, warm. And blue, as told.</p>\n<ul><li>30 °C. No more.</li>\n</ul>",Acme,'
        "SKU-1,4,https://cdn.example.com/1.jpg\n"
        "cup,Plain,Acme,SKU-2,6,\n"
    )
    ended = by_command(
        content,
        *("--sku-column=SKU", "--amount-column=Qty", "--operation=adjust"),
        *("--ignore-other-columns", "--reason=opening"),
    )

    assert ended.changed == {"SKU-1": 4, "SKU-2": 6}


def test_a_name_has_no_line_break(by_command: Read, by_admin: Read) -> None:
    content = 'sku,name\nNEW-1,"5 inch\npot"\n'

    for ended in (
        by_command(content, command="import_products"),
        by_admin(content, kind="products"),
    ):
        assert ended.changed == {}
        assert r"A name has no line break: '5 inch\npot'." in ended.said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            case("27-one-column-resaved.csv"),
            "header, but the whole line is one cell: 'sku,name,descr",
        ),
        ("sku add\nSKU-1 2\n", "It has one column only."),
        ("sku,add\nSKU-1,2\n\x1aSKU-2,3\n", "Line 3 has the character Ctrl-Z (0x1A)"),
        ("<table><tr><td>sku</td></tr></table>", "The file is a web page or XML"),
        ("\ufeff\n<!DOCTYPE html>", "The file is a web page or XML"),
        (
            "sep=;\nsku,add\nSKU-1,2\n",
            "Line 2 was read as the header, but the whole line is one cell",
        ),
        ("x,y\n1,2\n", "Line 1 was read as the header."),
        (
            "Stock count\n\nsku,add\nSKU-1,2\n",
            "Line 3 names the columns: set the header line to 3.",
        ),
    ],
)
def test_an_unreadable_sheet_says_why(
    by_command: Read, by_admin: Read, content: str | bytes, said: str
) -> None:
    ended = by_command(content)

    assert ended.changed == {}
    assert said in ended.said
    assert said in by_admin(content).said


# ---------------------------------------------------------------------------------------- headers


def test_titles_above_the_header_can_be_skipped(by_command: Read, by_admin: Read) -> None:
    titled = "Stock count;Main store\n\nsku,add\nSKU-1,2\n"

    assert by_command(titled, "--header-line=3").changed == {"SKU-1": 12}
    assert by_admin(titled, header_line=3).changed == {"SKU-1": 14}
    assert by_admin(case("15b-merged-title.xlsx"), header_line=2).changed == {"SKU-1": 9}
    assert "set the header line to 2" in by_admin(case("15b-merged-title.xlsx")).said


def test_a_shop_sheet_with_a_title_and_a_nameless_column(by_command: Read) -> None:
    options = (
        *("--sku-column=part number", "--amount-column=QTY AVAIL", "--operation=adjust"),
        *("--reason=stocktake", "--ignore-other-columns"),
    )
    content = case("15-title-and-blank-column.csv")

    assert "Line 2 names the columns" in by_command(content, *options).said
    refused = by_command(content, *options, "--header-line=2")
    assert refused.changed == {}
    assert "'1,348.00' may be a number with thousands" in refused.said
    mended = by_command(content.replace(b'"1,348.00"', b"1348.00"), *options, "--header-line=2")
    assert mended.changed == {"SKU-1": 1348, "SKU-2": 12}


def test_rejects_below_titles_keep_their_header(by_command: Read, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"

    by_command(
        "Count\nsku;add\nSKU-1;2\nNONE;1\n",
        *("--header-line=2", "--keep-going", "--reference=r", f"--rejects={rejects}"),
    )

    assert rejects.read_text().splitlines()[0].startswith("sku,add,refused_line")
    assert rejects.read_text().splitlines()[1].startswith("NONE,1,4,product_not_found")


def test_a_column_without_a_name_is_another_column(by_command: Read, by_admin: Read) -> None:
    content = case("11-pandas-index.csv")

    assert by_command(content, "--ignore-other-columns").changed == {"SKU-1": 12, "SKU-2": 23}
    assert "A column without a name has a value." in by_admin(content).said
    cut = by_command("sku,add,\nSKU-1,1,000\n", "--ignore-other-columns")
    assert "'1' and '000'" in cut.said


def test_a_shop_sheet_in_russian(by_command: Read) -> None:
    ended = by_command(
        case("61-woo-russian.csv"),
        *("--sku-column=Артикул", "--amount-column=запасы", "--operation=adjust"),
        *("--reason=stocktake", "--ignore-other-columns"),
    )

    assert ended.changed == {"SKU-1": 9, "SKU-2": 4}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Expected quantity", "expected_quantity"),
        ("expected-quantity", "expected_quantity"),
        ("expected_quanity", "expected_quantity"),
        ("Referance", "reference"),
        ("qauntity", "quantity"),
        ("quantity *", "quantity"),
    ],
)
def test_a_near_miss_of_a_name_is_never_another_column(
    by_command: Read, name: str, ours: str
) -> None:
    ended = by_command(f"sku,add,{name}\nSKU-1,2,\n", "--ignore-other-columns")

    assert ended.changed == {}
    assert f"The name '{name}' is almost '{ours}'." in ended.said


def test_another_column_may_have_a_name_of_its_own(by_command: Read) -> None:
    header = "sku,add,Season,Quality,ID,Additional,price,Preference"

    ended = by_command(f"{header}\nSKU-1,2,a,b,c,d,e,f\n", "--ignore-other-columns")

    assert ended.changed == {"SKU-1": 12}


def test_an_option_may_name_one_of_two_columns_that_differ_by_case(by_command: Read) -> None:
    content = "sku,SKU,add\nx,SKU-1,2\n"

    assert "Repeated column: 'sku'" in by_command(content, "--ignore-other-columns").said
    ended = by_command(content, "--sku-column=SKU", "--ignore-other-columns")
    assert ended.changed == {"SKU-1": 12}


# ------------------------------------------------------------------------------------------ cells


def test_a_row_in_one_cell_is_called_that(by_command: Read, by_admin: Read) -> None:
    content = 'sku,reason,add\n"SKU-1,""Bag, blue"",3"\nSKU-2,Cup,4\n'

    ended = both(by_command, by_admin, content)

    assert ended.changed == {}
    assert ended.said.count("The whole row is in one cell.") == 2


def test_outer_blanks_of_a_sku_are_dropped(by_command: Read, by_admin: Read) -> None:
    ended = both(by_command, by_admin, case("10-spaces-in-sku.csv"))

    assert ended.changed == {"SKU-1": 13, "SKU-2": 23, "SKU-3": 34}


@pytest.mark.parametrize("name", ["12a-formula-text.csv", "12b-apostrophe-digits.csv"])
def test_marks_of_a_text_are_not_a_part_of_a_sku(
    by_command: Read, by_admin: Read, name: str
) -> None:
    assert both(by_command, by_admin, case(name)).changed == {"00123": 9}


@pytest.mark.parametrize(
    ("sku", "cell"),
    [
        ("SKU\u00a01", r"'SKU\xa01'"),
        ("S\u200bKU", r"'S\u200bKU'"),
        ("sku-1", "'sku-1'"),
        ("1.00E+05", "'1.00E+05'. A spreadsheet has shortened a long number"),
        ("#REF!", "'#REF!'"),
        ("NULL", "'NULL'"),
        ("=A1", "'=A1'"),
    ],
)
def test_a_refused_sku_is_shown_in_escaped_form(
    by_command: Read, by_admin: Read, sku: str, cell: str
) -> None:
    ended = both(by_command, by_admin, f"sku,add\n{sku},2\n")

    assert ended.changed == {}
    assert ended.said.count(cell) == 2


def test_a_missing_sku_of_blanks_is_called_so(by_command: Read, by_admin: Read) -> None:
    ended = both(by_command, by_admin, "sku,add\n \u200b,2\n")

    assert ended.said.count("The SKU is missing.") == 2


def test_error_values_are_no_names(by_command: Read, by_admin: Read) -> None:
    content = case("19-error-texts.csv")

    for ended in (
        by_command(content, command="import_products"),
        by_admin(content, kind="products"),
    ):
        assert ended.changed == {}
        for text in ("#N/A", "#REF!", "NULL", "nan"):
            assert f"The cell has '{text}' instead of a value." in ended.said


@pytest.mark.parametrize(
    "text", ["#VALUE!", "#DIV/0!", "#NAME?", "#NV", "#BEZUG!", "Err:502", "##"]
)
def test_an_error_value_is_no_reason(by_command: Read, by_admin: Read, text: str) -> None:
    ended = both(by_command, by_admin, f"sku,add,reason\nSKU-1,2,{text}\n")

    assert ended.changed == {}


@pytest.mark.parametrize("text", ["#1 of 2", "null and void", "Nan", "N/A", "#sale!", "'quoted'"])
def test_an_ordinary_text_is_no_error_value(by_command: Read, by_admin: Read, text: str) -> None:
    assert both(by_command, by_admin, f"sku,add,reason\nSKU-1,2,{text}\n").changed == {"SKU-1": 12}


def test_every_fault_of_a_row_is_reported_at_once(by_command: Read, by_admin: Read) -> None:
    content = "sku,quantity,reason,expected_quantity\nsku 1,-2,#N/A,x\nSKU-1,-2,,-1\n"

    ended = by_command(content)

    first, second = ended.said.splitlines()[:2]
    for fault in (
        "sku: A SKU has",
        "quantity: ",
        "reason: The cell has '#N/A'",
        "expected_quantity",
    ):
        assert fault in first
    for fault in ("quantity: ", "reason: This text may not be blank", "expected_quantity: "):
        assert fault in second
    assert len(by_admin(content).said.splitlines()) == 6


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("9", 9),
        ("9.00", 9),
        ("9.0", 9),
        ("4.00000", 4),
        ('"9,00"', 9),
        ("1348.000", 1348),
        ('="9"', 9),
        ("'9", 9),
    ],
)
def test_zeros_behind_the_point_are_no_fraction(
    by_command: Read, by_admin: Read, cell: str, number: int
) -> None:
    ended = both(by_command, by_admin, f"sku,add\nSKU-1,{cell}\n")

    assert ended.changed == {"SKU-1": 10 + number}


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('"1,348"', "'1,348' may be a number with thousands"),
        ("1.348", "'1.348' may be a number with thousands"),
        ("1.000", "'1.000' may be a number with thousands"),
        ('"1,348.00"', "'1,348.00' may be a number with thousands"),
        ('"1.348,00"', "'1.348,00' may be a number with thousands"),
        ("1 348", "'1 348' may be a number with thousands"),
        ("1\u00a0348", r"'1\xa0348' may be a number with thousands"),
        ("6.30", "'6.30' has a fraction. Units are whole numbers."),
        ('"6,5"', "'6,5' has a fraction. Units are whole numbers."),
        ("5\u00a0", r"'5\xa0' is not a whole number."),
        ("1e3", "'1e3' is not a whole number."),
    ],
)
def test_a_number_that_may_mean_another_is_refused(
    by_command: Read, by_admin: Read, cell: str, said: str
) -> None:
    ended = both(by_command, by_admin, f"sku,add\nSKU-1,{cell}\n")

    assert ended.changed == {}
    assert ended.said.count(said) == 2


def test_zeros_behind_the_point_in_a_shop_sheet(by_command: Read) -> None:
    ended = by_command(
        case("54-lightspeed-products.csv"),
        *("--amount-column=inventory_Basement", "--operation=adjust", "--reason=opening"),
        "--ignore-other-columns",
    )

    assert ended.changed == {"SKU-1": 4}


# ------------------------------------------------------------------------------------------- XLSX


@pytest.mark.parametrize(
    ("number", "number_format", "said"),
    [
        (123, "00000", "The cell holds the number 123 and shows it in the format '00000'."),
        (123, '"00"0', "The cell holds the number 123"),
        (123, "#,##0", "The cell holds the number 123"),
        (123, "0.00E+00", "The cell holds the number 123"),
        (9876543210987600, "General", "The cell holds the number 9876543210987600."),
        (9876543210987600, "0", "must be a text"),
        (1e20, "0", "must be a text"),
    ],
)
@pytest.mark.parametrize("kind", ["adjustments", "products"])
def test_a_number_whose_cell_shows_other_digits_is_no_sku(
    by_admin: Read, kind: str, number: int, number_format: str, said: str
) -> None:
    ProductFactory.create(sku="9876543210987600", quantity=1)
    before = changed()
    column = {"adjustments": "add", "products": "name"}[kind]
    workbook, sheet = sheet_of(["sku", column], [number, 5])
    sheet["A2"].number_format = number_format

    ended = by_admin(saved(workbook), kind=kind)

    assert ended.changed == before
    assert said in ended.said


@pytest.mark.parametrize("number_format", ["General", "0", "@"])
def test_a_number_that_shows_its_digits_is_a_sku(by_admin: Read, number_format: str) -> None:
    workbook, sheet = sheet_of(["sku", "add"], [123, 1348])
    sheet["A2"].number_format = number_format
    sheet["B2"].number_format = "#,##0.00"

    assert by_admin(saved(workbook)).changed == {"123": 2248}


def test_every_fault_of_a_product_is_reported_at_once(by_command: Read) -> None:
    ended = by_command("sku,name,quantity\nnew 1,#N/A,x\n", command="import_products")

    assert ended.said.startswith("2\t\tinvalid\tsku: A SKU has")
    assert " name: The cell has '#N/A'" in ended.said
    assert " quantity: 'x' is not a whole number." in ended.said


def test_the_shop_sheets_with_numbers_for_skus(by_admin: Read) -> None:
    for name, kind in (
        ("04a-long-digits-count.xlsx", "adjustments"),
        ("04b-long-digits-products.xlsx", "products"),
        ("05-zero-padded-format.xlsx", "adjustments"),
    ):
        ended = by_admin(case(name), kind=kind)
        assert ended.changed == {}
        assert "must be a text" in ended.said


def test_the_only_visible_sheet_is_read_and_named(by_admin: Read) -> None:
    ended = by_admin(case("06a-hidden-first-sheet.xlsx"))

    assert ended == ({"SKU-1": 9}, "Sheet: 'November'.")


def test_several_visible_sheets_are_refused_with_their_names(by_admin: Read) -> None:
    ended = by_admin(case("06b-instructions-first.xlsx"))

    assert ended.changed == {}
    assert "2 visible sheets with cells: 'Read me' and 'Count'." in ended.said


@pytest.mark.parametrize("name", ["Count", " count"])
def test_a_sheet_can_be_chosen(by_admin: Read, name: str) -> None:
    ended = by_admin(case("06b-instructions-first.xlsx"), sheet=name)

    assert ended == ({"SKU-1": 9}, "Sheet: 'Count'.")


@pytest.mark.parametrize("name", ["October", "Nothing"])
def test_a_hidden_or_missing_sheet_cannot_be_chosen(by_admin: Read, name: str) -> None:
    ended = by_admin(case("06a-hidden-first-sheet.xlsx"), sheet=name)

    assert ended.changed == {}
    assert f"No visible sheet is called '{name}'." in ended.said
    assert "The visible sheets are 'November'." in ended.said


def test_hidden_columns_are_told(by_admin: Read) -> None:
    workbook, sheet = sheet_of(["Item", "sku", "add"], ["Cup", "SKU-1", 2])
    for letter in "AC":
        sheet.column_dimensions[letter].hidden = True

    ended = by_admin(saved(workbook), ignore_other_columns="on")

    assert ended.changed == {"SKU-1": 12}
    assert "Hidden columns A and C: read like the others." in ended.said


def test_an_empty_or_very_hidden_sheet_is_not_in_the_way(by_admin: Read) -> None:
    workbook, _ = sheet_of(["sku", "add"], ["SKU-1", 2])
    workbook.create_sheet("Empty", 0)
    workbook.create_sheet("Blank", 0)["C3"] = " "
    lists = workbook.create_sheet("Lists", 0)
    lists["A1"] = "SKU-2"
    lists.sheet_state = "veryHidden"

    assert by_admin(saved(workbook)).changed == {"SKU-1": 12}


def test_a_book_without_a_visible_cell_names_its_sheets(by_admin: Read) -> None:
    workbook, sheet = sheet_of(["sku", "add"], ["SKU-1", 2])
    sheet.sheet_state = "hidden"
    for title in ("One", "Two"):
        workbook.create_sheet(title)

    ended = by_admin(saved(workbook))

    assert ended.changed == {}
    assert "No visible sheet has cells. The sheets are 'Sheet', 'One' and 'Two'." in ended.said


def test_hidden_and_filtered_rows_are_left_out_and_told(by_admin: Read) -> None:
    workbook, sheet = sheet_of(
        ["internal", "title"], ["sku", "add"], ["SKU-1", 2], ["SKU-2", 3], [], ["SKU-3", 4]
    )
    sheet.auto_filter.ref = "A2:B6"
    for row in (1, 4, 5):
        sheet.row_dimensions[row].hidden = True

    ended = by_admin(saved(workbook))

    assert ended.changed == {"SKU-1": 12, "SKU-3": 34}
    assert "2 hidden or filtered rows left out: 1, 4." in ended.said


def test_a_refused_sheet_is_named(by_admin: Read) -> None:
    workbook, sheet = sheet_of(["Item", "add"], ["SKU-1", 2])
    sheet.title = "October"
    sheet.row_dimensions[2].hidden = True

    said = by_admin(saved(workbook)).said

    assert "Missing column: 'sku'." in said
    assert "Line 1 was read as the header." in said
    assert "Sheet: 'October'." in said


def test_a_total_below_the_rows_is_refused(by_admin: Read) -> None:
    ended = by_admin(case("06d-totals-row.xlsx"))

    assert ended.changed == {}
    assert "The SKU is missing." in ended.said


def test_numbers_that_are_texts(by_admin: Read) -> None:
    ended = by_admin(case("16-text-numbers.xlsx"))

    assert ended.changed == {}
    assert "' 4' is not a whole number." in ended.said
    workbook, _ = sheet_of(["sku", "add"], ["SKU-1", "12"], ["SKU-2", "9.00"])
    assert by_admin(saved(workbook)).changed == {"SKU-1": 22, "SKU-2": 29}


# -------------------------------------------------------------------------------- random sheets

TEXTS = [
    *("", "Bag", "blue, large", "a; b", '5" pot', '8 inch"', '"Best" cup', "x,1,2", "10%", "=A1"),
    *("O'Neill", "two\nlines", "<p>Soft.</p>\n<p>Wash, at 30</p>", "\u00a0", "Grün"),
]
MARKS = ("", "", " ", "\u00a0", "\u200b")
NAMES = {
    "sku": ("sku", "SKU", " Sku", "sku\u00a0"),
    "quantity": ("quantity", "Quantity", "QUANTITY "),
}


class Meant(NamedTuple):
    """A random sheet: its rows, and the levels that its author meant."""

    rows: list[list[str]]
    levels: dict[str, int]
    header_line: int


def random_sheet(chance: random.Random, *, texts: list[str]) -> Meant:
    others = chance.sample(["item", "shelf", "vendor", "price"], chance.randint(0, 3))
    columns = chance.sample(["sku", "quantity", *others], len(others) + 2)
    counted = chance.sample(list(LEVELS), chance.randint(1, len(LEVELS)))
    levels = {sku: chance.randrange(2_000) for sku in counted}
    titles = [["Stock count"], []][: chance.choice([0, 0, 1, 2])]
    rows = [*titles, [chance.choice(NAMES.get(column, [column])) for column in columns]]
    for sku in LEVELS:
        cells = {column: chance.choice(texts) for column in others}
        cells["sku"] = chance.choice(MARKS) + sku + chance.choice(MARKS)
        cells["quantity"] = ""
        if sku in levels:
            cells["quantity"] = f"{levels[sku]}{chance.choice(['', '', '.0', '.00'])}"
        rows.append([cells[column] for column in columns])
        rows.extend([[""] * len(columns)] * chance.choice([0, 0, 0, 1]))
    return Meant(rows, levels, len(titles) + 1)


def written(chance: random.Random, meant: Meant, delimiter: str) -> bytes:
    """Write a sheet as CSV."""
    file = StringIO(newline="")
    quoting: Any = chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    ending = chance.choice(["\n", "\r\n"])
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerows(meant.rows)
    return file.getvalue().encode(chance.choice(["utf-8", "utf-8-sig", "utf-16"]))


@pytest.mark.slow
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("seed", range(15))
def test_a_random_sheet_sets_the_levels_that_its_author_meant(
    by_command: Read, by_admin: Read, delimiter: str, seed: int
) -> None:
    chance = random.Random(f"{seed}{delimiter}")
    texts = [text for text in TEXTS if delimiter != "\t" or "\n" not in text]
    meant = random_sheet(chance, texts=texts)
    expected = {sku: level for sku, level in meant.levels.items() if LEVELS[sku] != level}
    content = written(chance, meant, delimiter)

    ended = by_command(
        content,
        *("--ignore-other-columns", "--reason=count", f"--header-line={meant.header_line}"),
    )

    assert ended.changed == expected, ended.said
    tally = re.search(r"passed over: without an amount +([0-9]+)", ended.said)
    assert (int(tally[1]) if tally else 0) == len(LEVELS) - len(meant.levels)
    for sku in ended.changed:
        stock.adjust(sku=sku, quantity=LEVELS[sku], reason="once more", by=ACTOR)
    workbook, _ = sheet_of(*meant.rows)
    for file in (content, saved(workbook)):
        options = {"header_line": meant.header_line, "ignore_other_columns": "on"}
        assert by_admin(file, **options).changed == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_stray_quotation_mark_gives_no_product_the_level_of_another(delimiter: str) -> None:
    columns = Columns(known=ADJUSTMENT_COLUMNS, required=["sku"], allow_others=True)
    texts = [text for text in TEXTS if delimiter != "\t" or "\n" not in text]
    refused = 0
    for seed in range(400):
        chance = random.Random(f"{seed}{delimiter}")
        meant = random_sheet(chance, texts=texts)
        text = written(chance, meant._replace(rows=meant.rows[meant.header_line - 1 :]), delimiter)
        damaged = with_stray_marks(
            chance, text.decode("utf-16" if text[0] == 0xFF else "utf-8-sig")
        )
        read: dict[str, int] = {}
        passed_over = 0
        try:
            for row in rows_of(csv_lines(BytesIO(damaged.encode()), columns), columns):
                line = adjustment_line(row, columns, reason="count")
                assert not line.problems or line.change is None
                if line.problems:
                    raise UnreadableFile
                passed_over += bool(line.passed_over)
                if isinstance(line.change, stock.Adjust):
                    read[line.sku] = line.change.quantity
        except UnreadableFile:
            refused += 1
        else:
            assert read.items() <= meant.levels.items(), damaged
            assert len(read) + passed_over >= len(meant.levels), damaged
    assert 100 < refused < 400


def with_stray_marks(chance: random.Random, text: str) -> str:
    """Return a text of CSV with one or two quotation marks at the edges of cells."""
    for _ in range(chance.randint(1, 2)):
        edges = [match.start() for match in re.finditer(r"(?<![^,;\t\n])|(?=[,;\t\r\n])", text)]
        at = chance.choice(edges)
        text = f'{text[:at]}"{text[at:]}'
    return text
