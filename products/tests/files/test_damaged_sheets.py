"""Sheets that a program or a person has damaged: joined, shifted, cut or in another format."""

import gzip

import pytest

from products.tests.files.sheets import Read, both

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shop")]

OTHERS = "--ignore-other-columns"
COUNT = "--reason=count"


# -------------------------------------------------------------------------------- joined files


@pytest.mark.parametrize(
    "content",
    [
        "sku,quantity\nSKU-1,5\nsku,quantity\nSKU-2,6\n",
        "\ufeffsku;quantity\nSKU-1;5\n\ufeffSKU;Quantity;\nSKU-2;6\n",
        '\ufeff"sku","quantity"\n"SKU-1","5"\n\ufeff"sku","quantity"\n\ufeff"SKU-2","6"\n',
        ("\ufeffsku\tquantity\r\nSKU-1\t5\r\n" + "\ufeffsku\tquantity\r\nSKU-2\t6\r\n").encode(
            "utf-16"
        ),
    ],
)
def test_a_repeated_header_is_skipped(
    by_command: Read, by_admin: Read, content: str | bytes
) -> None:
    assert both(by_command, by_admin, content).changed == {"SKU-1": 5, "SKU-2": 6}


@pytest.mark.parametrize(
    "content",
    [
        "sku,quantity,expected_quantity\nSKU-1,5,\nsku,expected_quantity,quantity\nSKU-2,,6\n",
        "sku,reason,quantity\nSKU-1,x,5\nsku,quantity\nSKU-2,6\n",
        "sku,quantity,reason\nSKU-1,5,x\nquantity,sku,reason\n6,SKU-2,y\n",
    ],
)
def test_another_header_below_the_rows_is_refused(
    by_command: Read, by_admin: Read, content: str
) -> None:
    ended = both(by_command, by_admin, content)

    assert ended.changed == {}
    assert ended.said.count("Line 3 names the columns again, but not as the header does.") == 2


def test_a_repeated_header_is_no_product(by_command: Read, by_admin: Read) -> None:
    content = "SKU,NAME\nNEW-1,Bag\nSKU,NAME\nNEW-2,Cup\n"

    assert by_command(content, command="import_products").changed == {"NEW-1": 0, "NEW-2": 0}
    swapped = "SKU,NAME,DESCRIPTION\nNEW-3,Bag,\nSKU,DESCRIPTION,NAME\nNEW-4,tiny,Cup\n"
    ended = by_admin(swapped, kind="products")
    assert ended.changed == {"NEW-1": 0, "NEW-2": 0}
    assert "Line 3 names the columns again" in ended.said


def test_a_product_may_be_called_like_a_column(by_command: Read) -> None:
    ended = by_command("SKU,NAME\nSKU,Stand\nNAME,Plate\n", command="import_products")

    assert ended.changed == {"SKU": 0, "NAME": 0}


# -------------------------------------------------------------------------------- shifted cells


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # A price of 9,99 moves the count to the column without a name.
        (
            "sku,price,quantity,\nSKU-1,9,99,5\nSKU-2,4,6,\n",
            "A column without a name has a value.",
        ),
        ("sku,price,quantity,\nSKU-1,9,99,5\n", "A column without a name has a value."),
        ("sku,price,quantity,note\nSKU-1,9,99,5,\n", "'9' and '99' may be one number"),
        ("sku,quantity,reason\nSKU-1,1,348,\nSKU-2,2,500,\n", "'1' and '348' may be one number"),
        (
            "sku,quantity,expected_quantity\nSKU-1,5,\nSKU-2,20\nSKU-3,6,\n",
            "Line 3: The row has fewer cells than the header, unlike the rows around it.",
        ),
        ("sku,quantity,expected_quantity\nSKU-1,5\nSKU-2,20,\n", "Line 2: The row has fewer"),
        ("sku,shelf,quantity,note\nSKU-1,A,5,\nSKU-2,B,16,y\nSKU-3,C", "Line 4: The row has fewer"),
    ],
)
def test_a_row_that_a_separator_may_have_shifted_is_refused(
    by_command: Read, by_admin: Read, content: str, said: str
) -> None:
    ended = by_command(content, OTHERS, COUNT)

    assert ended.changed == {}
    assert said in ended.said
    assert said in by_admin(content, ignore_other_columns="on").said


@pytest.mark.parametrize(
    "content",
    [
        "sku,quantity,reason\nSKU-1,5\n",
        "sku,quantity,reason\nSKU-1,5,x\nSKU-2,20\nSKU-3,30,x\n",
        # Excel leaves out the last separators of 16 rows at once.
        "sku,quantity,reason\nSKU-1,5,\nSKU-2,20\nSKU-3,30\n",
        "sku,quantity,reason\nSKU-1,5,\n(1000 rows)\nSKU-2,20,\n-- end --\n",
        "sku,quantity,reason\nSKU-1,5,x,\nSKU-2,20,x,\n",
    ],
)
def test_a_row_may_be_short_or_end_with_a_separator(
    by_command: Read, by_admin: Read, content: str
) -> None:
    assert both(by_command, by_admin, content).changed == {"SKU-1": 5}


def test_a_cell_of_several_lines_is_not_lost_in_a_tab_file(by_command: Read) -> None:
    content = 'sku\titem\tquantity\nSKU-1\t"two\nlines"\t5\nSKU-2\tBag\t6\n'

    ended = by_command(content, OTHERS, COUNT)

    assert ended.changed == {}
    assert "Line 2 ends within quotation marks, and has fewer cells than the header." in ended.said


# -------------------------------------------------------------------------------- columns


@pytest.mark.parametrize("name", ["quantity.1", "quantity2", "Quantity_3", "quantity (2)"])
def test_a_second_column_of_a_name_is_never_another_column(by_command: Read, name: str) -> None:
    content = f"sku,quantity,{name}\nSKU-1,5,7\n"

    ended = by_command(content, OTHERS, COUNT)

    assert ended.changed == {}
    assert f"The column '{name}' may be a second 'quantity'." in ended.said
    mapped = by_command(content, OTHERS, COUNT, "--amount-column=quantity", "--operation=adjust")
    assert mapped.changed == {"SKU-1": 5}


@pytest.mark.parametrize("name", ["Expected quantity (pcs)", "expected_quantity [old]"])
def test_a_unit_behind_a_name_makes_no_other_column(by_command: Read, name: str) -> None:
    ended = by_command(f"sku,quantity,{name}\nSKU-1,5,7\n", OTHERS, COUNT)

    assert ended.changed == {}
    assert f"The name '{name}' is almost 'expected_quantity'." in ended.said


# -------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_utf_16_needs_no_mark(by_command: Read, by_admin: Read, encoding: str, ending: str) -> None:
    content = ending.join(["sku\tadd\treason", "SKU-1\t2\tGrün", ""]).encode(encoding)

    assert both(by_command, by_admin, content).changed == {"SKU-1": 12}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"sku,add\nSKU-1,2\n", mtime=0), "The file is compressed (gzip)."),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "The file is a PDF document."),
        (b"{\\rtf1\\ansi sku,add\\par SKU-1,2}", "The file is an RTF document."),
    ],
)
def test_another_format_is_named(
    by_command: Read, by_admin: Read, content: bytes, said: str
) -> None:
    assert both(by_command, by_admin, content).said.count(said) == 2


@pytest.mark.parametrize(
    "content",
    [
        " sku   | quantity | reason \n-------+----------+--------\n SKU-1 |        5 |\n(1 row)\n",
        " quantity |  sku  \n----------+-------\n        5 | SKU-1 \n",
        "| sku   | quantity |\n|-------|---------:|\n| SKU-1 | 5        |\n",
        "sku   ,quantity\n------,--------\nSKU-1 ,5\n\n(1 rows affected)\n",
        "sku\tquantity\n---\t--------\nSKU-1\t5\n",
    ],
    ids=["psql", "psql, sku last", "markdown", "sqlcmd", "sqlcmd, tabs"],
)
def test_a_printed_table_is_read(by_command: Read, by_admin: Read, content: str) -> None:
    assert both(by_command, by_admin, content).changed == {"SKU-1": 5}


@pytest.mark.parametrize("content", ['[{"sku": "SKU-1", "add": 2}]', '{"sku":"SKU-1","add":2}\n'])
def test_json_is_named(by_command: Read, by_admin: Read, content: str) -> None:
    assert both(by_command, by_admin, content).said.count("The file is JSON.") == 2


@pytest.mark.parametrize(
    "text",
    [
        *(
            "\\N",
            "<NA>",
            "NaT",
            "(null)",
            "[NULL]",
            "<null>",
            "Loading...",
            "#I/T",
            "#N/B",
            "#N/D!",
        ),
        *("#YOK", "#SPILL!", "#D\u011aLEN\u00cd_NULOU!"),
    ],
)
def test_a_missing_value_is_no_name(by_command: Read, text: str) -> None:
    ended = by_command(f"sku;name\nNEW-1;{text}\n", command="import_products")

    assert ended.changed == {}
    assert f"The cell has {text!r} instead of a value." in ended.said


@pytest.mark.parametrize("text", ["(new)", "[Box]", "<b>", "Lamp", "Loading dock", "#1", "\\"])
def test_a_text_that_begins_like_a_missing_value_is_read(by_command: Read, text: str) -> None:
    assert by_command(f"sku;add;reason\nSKU-1;2;{text}\n").changed == {"SKU-1": 12}


# -------------------------------------------------------------------------------- SKUs


@pytest.mark.parametrize(
    ("sku", "said"),
    [
        ("SKU\u20131", "It contains EN DASH (U+2013)."),
        ("SKU\u20111", "It contains NON-BREAKING HYPHEN (U+2011)."),
        ("S\u041aU-1", "It contains CYRILLIC CAPITAL LETTER KA (U+041A)."),
        ("1e+05", "A spreadsheet has shortened a long number"),
        ("5-Mar", "A spreadsheet may have turned the SKU into a date"),
        ("Mar 05", "A spreadsheet may have turned the SKU into a date"),
        ("05.03.2026", "A spreadsheet may have turned the SKU into a date"),
        ("3/5/26", "A spreadsheet may have turned the SKU into a date"),
    ],
)
def test_a_refused_sku_tells_what_may_have_changed_it(
    by_command: Read, by_admin: Read, sku: str, said: str
) -> None:
    assert both(by_command, by_admin, f"sku,add\n{sku},2\n").said.count(said) == 2
