"""Each file in `cases`, as its shop would import it: by command, and in the back office.

A case names its file and the options, and says which levels or names the file changes, or the text
by which it is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from products.models import Product
from products.tests.admin.browsers import browser_of

pytestmark = pytest.mark.django_db

CASES = Path(__file__).parent / "cases"
ADJUST, PRODUCTS = "bulk_adjust", "import_products"
IMPORTS = {ADJUST: "adjustments", PRODUCTS: "products"}


@dataclass
class Case:
    """A file with the options under which it is imported, and the right result."""

    file: str
    command: str = ADJUST
    options: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the admin's form. The command has an option of the same name for each."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    """The changed products by SKU: the new level, or the new name of a product file."""
    says: str = ""
    """A part of the output, or of the page."""
    minimums: Mapping[str, int] = field(default_factory=dict)


def mapped(sku: str, amount: str, operation: str = "adjust", **more: Any) -> dict[str, Any]:
    """Return the options for a file whose columns have other names."""
    return {
        "sku_column": sku,
        "amount_column": amount,
        "operation": operation,
        "ignore_other_columns": True,
        "reason": "stocktake",
        **more,
    }


SHELVES = {"ignore_other_columns": True, "reason": "stocktake"}
SHOPIFY = mapped("SKU", "On hand (new)", expected_quantity_column="On hand (current)")
SHOPIFY_PRODUCTS = {
    "sku_column": "Variant SKU",
    "name_column": "Title",
    "quantity_column": "Variant Inventory Qty",
    "ignore_other_columns": True,
}
OTHERS = "ignore_other_columns"

CSV = [
    Case("01-count-two-shelves.csv", says="SKU-1 is already counted on line 2."),
    Case(
        "01-count-two-shelves.csv",
        options={"sum_repeated": True},
        changed={"SKU-1": 11, "SKU-2": 15},
    ),
    Case("01-stock_sources.csv", options=SHELVES, says="SKU-1 is already counted on line 2."),
    Case(
        "01-stock_sources.csv",
        options={**SHELVES, "sum_repeated": True},
        changed={"SKU-1": 11, "SKU-2": 48},
    ),
    Case("03a-excel-resaved.csv", PRODUCTS, says="Only an exponent distinguishes it from 1E5"),
    Case("03b-excel-resaved-sci.csv", PRODUCTS, says="The cell has '1.00E+05'."),
    Case("03b-excel-resaved-sci.csv", PRODUCTS, says="A spreadsheet has shortened a long number"),
    Case("03c-quantity-emptied-as-told.csv", PRODUCTS, says="123 would get the name of 00123."),
    Case(
        "07a-semicolon-commas-in-header.csv",
        options={OTHERS: True, "reason": "delivery"},
        changed={"SKU-1": 13, "SKU-2": 24},
    ),
    Case(
        "07b-tab-commas-in-header.tsv",
        options={OTHERS: True, "reason": "delivery"},
        changed={"SKU-1": 12},
    ),
    Case("08-sep-line.csv", changed={"SKU-1": 12}),
    Case("09a-space-after-comma.csv", changed={"SKU-1": 12}),
    Case("09b-capitals.csv", changed={"SKU-1": 12}),
    Case("09c-nbsp-in-header.csv", changed={"SKU-1": 12}),
    Case("10-spaces-in-sku.csv", changed={"SKU-1": 13, "SKU-2": 23, "SKU-3": 34}),
    Case("11-pandas-index.csv", says="A column without a name has a value."),
    Case("11-pandas-index.csv", options={OTHERS: True}, changed={"SKU-1": 12, "SKU-2": 23}),
    Case("12a-formula-text.csv", changed={"00123": 9}),
    Case("12b-apostrophe-digits.csv", changed={"00123": 9}),
    Case("12c-apostrophe-number.csv", changed={"SKU-1": 12}),
    Case(
        "13-reconciliation-template.csv",
        options=mapped("items.item_code", "items.qty"),
        changed={"SKU-1": 9, "SKU-3": 31},
    ),
    Case(
        "14a-signed-ledger.tsv",
        options=mapped("sku", "quantity", "change"),
        changed={"SKU-1": 8, "SKU-2": 23},
    ),
    Case(
        "14a-signed-ledger.tsv", options=mapped("sku", "quantity", "add"), says="-2 is a negative"
    ),
    Case("14b-woo-negative.csv", options=mapped("SKU", "Stock"), says="-7 is a negative level."),
    Case(
        "15-title-and-blank-column.csv",
        options=mapped("Part Number", "Qty Avail"),
        says="Line 2 names the columns: set the header line to 2.",
    ),
    Case(
        "15-title-and-blank-column.csv",
        options=mapped("Part Number", "Qty Avail", header_line=2),
        says="'1,348.00' may be a number with thousands",
    ),
    Case(
        "17a-stray-quote.tsv",
        options=SHELVES,
        changed={"SKU-1": 4, "SKU-2": 6, "SKU-3": 8},
    ),
    Case(
        "17b-two-stray-quotes.tsv",
        options=SHELVES,
        changed={"SKU-1": 4, "SKU-2": 6, "SKU-3": 8},
    ),
    Case("18-ctrl-z.csv", changed={"SKU-1": 12}),
    *(
        Case("19-error-texts.csv", PRODUCTS, says=f"The cell has '{text}' instead of a value.")
        for text in ("#N/A", "#REF!", "NULL", "nan")
    ),
    Case(
        "21-update-only.csv",
        PRODUCTS,
        changed={"SKU-22": "Enamel cup"},
        minimums={"SKU-1": 6, "SKU-22": 9},
    ),
    Case("21-update-only.csv", PRODUCTS, {"existing_only": True}, says="SKU-22"),
    Case("22-edited-list.csv", PRODUCTS, minimums={"SKU-1": 3, "SKU-2": 6, "SKU-3": 45}),
    Case("23-unarchive.csv", PRODUCTS, changed={"TEE-RED-S": "Tee red S (2027)"}),
    Case("27-one-column-resaved.csv", PRODUCTS, says="the whole line is one cell"),
    Case("50-shopify-inventory.csv", options=SHOPIFY, changed={"TEE-RED-S": 7}),
    Case(
        "50-shopify-inventory.csv",
        options=mapped("SKU", "On hand (current)"),
        says="'not stocked' is not a whole number.",
    ),
    Case("51-shopify-inventory-old.csv", options=mapped("SKU", "Main store"), says="'TEE/RED M'"),
    Case(
        "52-shopify-products.csv",
        options=mapped("Variant SKU", "Variant Inventory Qty"),
        changed={"TEE-RED-S": 4, "TEE-RED-M": 6},
    ),
    Case(
        "54-lightspeed-products.csv",
        options=mapped("sku", "inventory_Basement"),
        changed={"SKU-1": 4},
    ),
    Case("57-amazon-inventory-loader.txt", options=mapped("sku", "quantity"), says="'TEE_RED_S'"),
    Case(
        "58-ebay-revise.csv",
        options=mapped("CustomLabel", "*Quantity"),
        changed={"00123": 5, "SKU-1": 9},
    ),
    Case(
        "59-snipe-consumables.csv",
        PRODUCTS,
        {
            "sku_column": "Item Number",
            "name_column": "Name",
            "quantity_column": "QTY",
            "minimum_stock_level_column": "Min Amount",
            "ignore_other_columns": True,
        },
        changed={"4000000000000012": "Paper A4", "CF-258": "Toner"},
        minimums={"4000000000000012": 10, "CF-258": 2},
    ),
    Case(
        "61-woo-russian.csv",
        options=mapped("Артикул", "Запасы"),
        changed={"SKU-1": 9, "SKU-2": 4},
    ),
]

XLSX = [
    Case("04a-long-digits-count.xlsx", says="must be a text"),
    Case("04b-long-digits-products.xlsx", PRODUCTS, says="must be a text"),
    Case("05-zero-padded-format.xlsx", says="must be a text"),
    Case("06a-hidden-first-sheet.xlsx", changed={"SKU-1": 9}, says="Sheet: 'November'."),
    Case("06b-instructions-first.xlsx", says="'Read me' and 'Count'"),
    Case("06b-instructions-first.xlsx", options={"sheet": "Count"}, changed={"SKU-1": 9}),
    Case("06d-totals-row.xlsx", says="The SKU is missing."),
    Case("15b-merged-title.xlsx", says="Line 2 names the columns: set the header line to 2."),
    Case("15b-merged-title.xlsx", options={"header_line": 2}, changed={"SKU-1": 9}),
    Case("16-text-numbers.xlsx", says="' 4' is not a whole number."),
]


class Outcome(NamedTuple):
    """The changes of a file, and the messages."""

    changed: dict[str, Any]
    minimums: dict[str, int]
    said: str


State = dict[str, tuple[int, str, int]]


def state() -> State:
    rows = Product.objects.values_list("sku", "quantity", "name", "minimum_stock_level")
    return {sku: (quantity, name, minimum) for sku, quantity, name, minimum in rows}


def outcome(case: Case, before: State, said: str) -> Outcome:
    """Return what the file changed, compared with the state before."""
    at = 0 if case.command == ADJUST else 1
    now, nothing = state(), (None, None, None)
    return Outcome(
        {sku: row[at] for sku, row in now.items() if before.get(sku, nothing)[at] != row[at]},
        {sku: row[2] for sku, row in now.items() if before.get(sku, nothing)[2] != row[2]},
        said,
    )


def by_command(case: Case) -> Outcome:
    before, output = state(), StringIO()
    names = {"minimum_stock_level_column": "minimum-column"}
    options = [
        f"--{names.get(name, name.replace('_', '-'))}" + ("" if value is True else f"={value}")
        for name, value in case.options.items()
    ]
    try:
        call_command(case.command, str(CASES / case.file), *options, stdout=output)
    except CommandError as error:
        output.write(str(error))
    except SystemExit:
        pass
    return outcome(case, before, output.getvalue())


def by_admin(case: Case) -> Outcome:
    before, browser = state(), manager()
    kind = IMPORTS[case.command]
    file = SimpleUploadedFile(case.file, (CASES / case.file).read_bytes())
    url = reverse("admin:products_product_import", args=[kind])
    page: Any = browser.post(url, {"file": file, **case.options})
    said = page.content.decode()
    if "form" not in page.context:
        problems = [problem for row in page.context["rows"] for problem in row.line.problems]
        said = "\n".join([*(each.detail for each in problems), *page.context["notes"]])
        if pending := page.context["pending"]:
            confirm = reverse("admin:products_product_import_confirm", args=[kind, pending.pk])
            assert browser.post(confirm).status_code == 302
    else:
        said = "\n".join(page.context["form"].errors.get("file", [said]))
    return outcome(case, before, said)


def manager() -> Client:
    return browser_of("Ada", *("view_product", "add_product", "change_product"),
                      *("operate_stock", "adjust_stock"))  # fmt: skip


def name_of(case: Case) -> str:
    return f"{case.file}-{'-'.join(case.options)}"


@pytest.fixture(autouse=True)
def _shop() -> None:
    """Load the products of the cases."""
    call_command(PRODUCTS, str(CASES / "00-fixture.csv"), stdout=StringIO())


@pytest.mark.parametrize("case", CSV, ids=name_of)
@pytest.mark.parametrize("run", [by_command, by_admin])
def test_a_csv_file_of_a_shop(run: Callable[[Case], Outcome], case: Case) -> None:
    ended = run(case)

    assert ended.changed == case.changed
    assert ended.minimums == case.minimums
    assert case.says in ended.said


@pytest.mark.parametrize("case", XLSX, ids=name_of)
def test_an_xlsx_file_of_a_shop(case: Case) -> None:
    ended = by_admin(case)

    assert ended.changed == case.changed
    assert case.says in ended.said
