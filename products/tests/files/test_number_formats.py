"""Number formats of XLSX cells that show another number than the cell holds."""

import pytest

from products.files.number_formats import shows_number
from products.tests.files.sheets import Read, saved, sheet_of

ACCOUNTING = '_-* #,##0.00_-;-* #,##0.00_-;_-* "-"??_-;_-@_-'
US_ACCOUNTING = '_(* #,##0_);_(* \\(#,##0\\);_(* "-"_);_(@_)'


@pytest.mark.parametrize(
    ("value", "number_format"),
    [
        *((12, text) for text in ("General", "0", "00000", "#,##0", "# ##0", "#'##0", "0.00", "@")),
        *((12, text) for text in ("$#,##0", "[$€-407] #,##0", '0" pcs"', "[Red]0", "# ?/?")),
        *((12, text) for text in ("0.00E+00", "+0;-0;0", "0;-0;;@", "General;@", "0_)", "0.00;;")),
        *((value, ACCOUNTING) for value in (12, 0, -12)),
        *((value, US_ACCOUNTING) for value in (12, 0, -12)),
        *((0, text) for text in ("0", "General", "0;-0", '0;-0;"none"', "@")),
        *((-12, text) for text in ("0", "0;-0", "0;(0)", "0;[Red]0", '0;"\N{MINUS SIGN}"0')),
    ],
)
def test_a_format_that_shows_the_number(value: int, number_format: str) -> None:
    assert shows_number(value, number_format)


@pytest.mark.parametrize(
    ("value", "number_format"),
    [
        *((12_000, text) for text in ("0,", "#,##0,", "0.0,", '0,"K"', "0,,", '[>999]0,"K";0')),
        *((12, text) for text in ("0%", "0.00%", '0"0"', '"1"0', "0\\.000", "0-0", "(0)", "-0")),
        *((12, text) for text in (";;;", ";;", '"sold"', "", "000-0000")),
        *((0, text) for text in ("0;-0;", "0;-0;;@", "#", "#,###", ";;;")),
        *((-12, text) for text in ("0;0", "0;", "0;;", "0;0%", "-0")),
    ],
)
def test_a_format_that_shows_something_else(value: int, number_format: str) -> None:
    assert not shows_number(value, number_format)


@pytest.mark.django_db
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("kind", ["adjustments", "products"])
def test_a_number_that_its_cell_does_not_show_is_refused(by_admin: Read, kind: str) -> None:
    column = {"adjustments": "quantity", "products": "minimum_stock_level"}[kind]
    workbook, sheet = sheet_of(["sku", column], ["SKU-1", 12_000], ["SKU-2", 4])
    sheet["B2"].number_format = '#,##0,"K"'

    ended = by_admin(saved(workbook), kind=kind)

    assert ended.changed == {}
    assert "2: The cell holds the number 12000, but shows something else" in ended.said
    assert "'#,##0,\"K\"'" in ended.said
