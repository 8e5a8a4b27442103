"""Imports of products by command and in the back office: new, changed and refused rows."""

import html
import re
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from openpyxl import Workbook

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CASES = Path(__file__).parent / "cases"
MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")


class Outcome(NamedTuple):
    """What a file did or, in a dry run and a preview, would do."""

    is_accepted: bool
    text: str
    """The output of the command, or the text of the page."""
    tally: dict[str, int]


Import = Callable[..., Outcome]
"""Imports a file of products: its content, the options, and whether it is only a dry run."""


@pytest.fixture
def fixture() -> None:
    """Load the products that the case files name."""
    call_command("import_products", str(CASES / "00-fixture.csv"), stdout=StringIO())


@pytest.fixture(params=["command", "admin"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Import:
    """Return a function that imports a file of products by the command, or in the back office."""

    browser = browser_of("Ada", *MANAGER)

    def command(content: str | bytes, *, dry_run: bool = False, **options: Any) -> Outcome:
        path = tmp_path / "products.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        output = StringIO()
        arguments = {name: value for name, value in options.items() if value}
        is_accepted = True
        try:
            call_command("import_products", str(path), dry_run=dry_run, stdout=output, **arguments)
        except SystemExit:
            is_accepted = False
        except CommandError as error:
            return Outcome(False, str(error), {})
        text = output.getvalue()
        tally = re.findall(r"^  (\S.*?)  +([0-9,]+)$", text, re.MULTILINE)
        return Outcome(is_accepted, text, {name: int(count) for name, count in tally})

    def admin(content: str | bytes, *, dry_run: bool = False, **options: Any) -> Outcome:
        data = content if isinstance(content, bytes) else content.encode()
        url = reverse("admin:products_product_import", args=["products"])
        page: Any = browser.post(url, {"file": SimpleUploadedFile("rows", data), **options})
        text = " ".join(re.sub(r"<[^>]*>", "", page.content.decode()).split())
        if "rows" not in page.context:
            return Outcome(False, text, {})
        text += " ".join(
            problem.detail for row in page.context["rows"] for problem in row.line.problems
        )
        tally = dict(page.context["tally"])
        assert all(f"{name.capitalize()}: {count}" in text for name, count in tally.items())
        pending = page.context["pending"]
        if pending and not dry_run:
            name = "admin:products_product_import_confirm"
            response = browser.post(reverse(name, args=["products", pending.pk]), follow=True)
            assert "Imported" in response.content.decode()
        return Outcome(not page.context["wrong"], text, tally)

    return {"command": command, "admin": admin}[request.param]


def create_archived(sku: str) -> None:
    ProductFactory.create(sku=sku)
    stock.edit(sku=sku, archived=True, by=ACTOR)


def case(name: str) -> bytes:
    return (CASES / name).read_bytes()


def xlsx(*rows: list[Any]) -> bytes:
    workbook, file = Workbook(), BytesIO()
    for row in rows:
        workbook.worksheets[0].append(row)
    workbook.save(file)
    return file.getvalue()


# ------------------------------------------------------------------------------- new and existing


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_import_tells_how_many_products_are_new_changed_and_unchanged(
    load: Import, dry_run: bool
) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    ProductFactory.create(sku="POT", name="Pot", minimum_stock_level=3)
    before = stored()

    outcome = load(
        "sku,name,minimum_stock_level\nCUP,Mug,\nPOT,Pot,3\nJUG,Jug,\nPAN,Pan,9\n", dry_run=dry_run
    )

    assert outcome.is_accepted
    assert outcome.tally == {"new": 2, "changed": 1, "unchanged": 1}
    assert (stored() == before) == dry_run


@pytest.mark.usefixtures("fixture")
def test_a_slip_in_a_sku_is_counted_as_new(load: Import) -> None:
    outcome = load(case("21-update-only.csv"), dry_run=True)

    assert outcome.tally == {"new": 1, "changed": 1, "unchanged": 0}


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.usefixtures("fixture")
def test_a_new_sku_is_refused_if_only_existing_products_are_to_be_edited(
    load: Import, dry_run: bool
) -> None:
    before = stored()

    outcome = load(case("21-update-only.csv"), existing_only=True, dry_run=dry_run)

    assert not outcome.is_accepted
    assert "Product SKU-22 does not exist." in outcome.text
    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 0}
    assert stored() == before


def test_existing_products_are_edited_if_only_they_are_to_be_edited(load: Import) -> None:
    ProductFactory.create(sku="CUP")

    outcome = load("sku,name\nCUP,Mug\n", existing_only=True)

    assert outcome.is_accepted
    assert Product.objects.get().name == "Mug"


# ----------------------------------------------------------------------------------- stock levels


@pytest.mark.usefixtures("fixture")
def test_an_edited_list_can_be_imported_although_stock_has_changed(load: Import) -> None:
    stock.remove(sku="SKU-2", amount=1, by=ACTOR)
    before = stored()

    refused = load(case("22-edited-list.csv"))
    assert not refused.is_accepted
    assert stored() == before

    outcome = load(case("22-edited-list.csv"), ignore_quantity=True)

    assert outcome.is_accepted
    assert outcome.tally == {"new": 0, "changed": 3, "unchanged": 0}
    levels = Product.objects.filter(sku__startswith="SKU-").order_by("sku")
    assert list(levels.values_list("quantity", "minimum_stock_level")) == [
        (10, 3),
        (19, 6),
        (30, 45),
    ]


@pytest.mark.parametrize("cell", ["7", "x", "-1", "1.5"])
def test_an_ignored_quantity_is_not_read(load: Import, cell: str) -> None:
    outcome = load(f"sku,name,quantity\nCUP,Cup,{cell}\n", ignore_quantity=True)

    assert outcome.is_accepted
    assert Product.objects.get().quantity == 0


# --------------------------------------------------------------------------------------- archived


@pytest.mark.usefixtures("fixture")
def test_a_file_restores_an_archived_product(load: Import) -> None:
    stock.edit(sku="TEE-RED-S", archived=True, by=ACTOR)

    outcome = load(case("23-unarchive.csv"))

    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 0, "restored": 1}
    tee = Product.objects.get(sku="TEE-RED-S")
    assert (tee.name, tee.archived, tee.quantity) == ("Tee red S (2027)", False, 5)
    assert tee.events.get(version=tee.version).type == "ProductRestored"


@pytest.mark.parametrize("text", ["true", "TRUE", "True"])
def test_a_file_archives_a_product(load: Import, text: str) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    outcome = load(f"sku,archived\nCUP,{text}\n")

    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 0, "archived": 1}
    assert Product.objects.filter(archived=True, quantity=5).exists()


@pytest.mark.parametrize("archived", ["", ",true"])
def test_an_edit_of_an_archived_product_is_told(load: Import, archived: str) -> None:
    create_archived("CUP")

    outcome = load(f"sku,name{archived and ',archived'}\nCUP,Mug{archived}\n")

    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 0, "changed, still archived": 1}
    assert Product.objects.filter(archived=True, name="Mug").exists()


def test_an_empty_or_equal_cell_archives_nothing(load: Import) -> None:
    create_archived("CUP")
    ProductFactory.create(sku="POT")
    create_archived("JUG")

    outcome = load("sku,archived\nCUP,\nPOT,false\nJUG,TRUE\n")

    assert outcome.tally == {"new": 0, "changed": 0, "unchanged": 3}
    assert not StockEvent.objects.filter(type="ProductRestored").exists()
    assert StockEvent.objects.filter(type="ProductArchived").count() == 2


@pytest.mark.parametrize("cell", ["yes", "1", "0", "wahr", "archived"])
@pytest.mark.parametrize("sku", ["CUP", "NEW"])
def test_only_true_and_false_are_read_as_archived(load: Import, sku: str, cell: str) -> None:
    ProductFactory.create(sku="CUP")
    before = stored()

    outcome = load(f"sku,name,archived\n{sku},Cup,{cell}\n")

    assert not outcome.is_accepted
    assert f"'{cell}' is neither true nor false." in outcome.text
    assert stored() == before


def test_a_new_product_can_be_archived(load: Import) -> None:
    outcome = load("sku,name,quantity,archived\nCUP,Cup,4,true\nPOT,Pot,2,false\n")

    assert outcome.tally == {"new": 2, "changed": 0, "unchanged": 0, "archived": 1}
    cup = Product.objects.get(sku="CUP")
    assert (cup.archived, cup.quantity, cup.version) == (True, 4, 2)
    assert list(cup.events.order_by("version").values_list("type", flat=True)) == [
        "ProductCreated",
        "ProductArchived",
    ]
    assert not Product.objects.get(sku="POT").archived


@pytest.mark.parametrize("load", ["admin"], indirect=True)
@pytest.mark.parametrize("cell", [False, "false", "FALSE"])
def test_a_true_or_false_cell_of_xlsx_is_read_as_archived(load: Import, cell: Any) -> None:
    create_archived("CUP")

    outcome = load(xlsx(["sku", "archived"], ["CUP", cell]))

    assert outcome.tally["restored"] == 1
    assert not Product.objects.get().archived


# ----------------------------------------------------------------------------------- similar SKUs


SIMILAR = [
    ("00123", "123", "leading zeros distinguish"),
    ("123", "00123", "leading zeros distinguish"),
    ("0-BLUE", "00-BLUE", "leading zeros distinguish"),
    ("1E5", "100000", "an exponent distinguishes"),
    ("100000", "1E5", "an exponent distinguishes"),
    ("100000", "1E05", "an exponent distinguishes"),
    ("100000", "0010E4", "an exponent distinguishes"),
    ("01E5", "100E3", "an exponent distinguishes"),
    ("1E-7", "1E-07", "an exponent distinguishes"),
    ("12E0", "12", "an exponent distinguishes"),
]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("new", "existing", "difference"), SIMILAR)
def test_a_new_sku_that_is_similar_to_an_existing_one_is_refused(
    load: Import, new: str, existing: str, difference: str, dry_run: bool
) -> None:
    ProductFactory.create(sku=existing)
    before = stored()

    outcome = load(f"sku,name\n{new},Cup\nOTHER,Pot\n", dry_run=dry_run)

    assert not outcome.is_accepted
    assert f"{new} is new. Only {difference} it from {existing}, which exists." in outcome.text
    assert outcome.tally["new"] == 1
    assert stored() == before

    allowed = load(f"sku,name\n{new},Cup\nOTHER,Pot\n", allow_similar=True)

    assert allowed.is_accepted
    assert Product.objects.filter(sku=new).exists()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("first", "second", "_"), SIMILAR)
def test_a_file_with_both_of_two_similar_skus_has_lost_no_zeros(
    load: Import,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    second: str,
    _: str,
    dry_run: bool,
) -> None:
    monkeypatch.setattr("products.files.bulk.WHOLE_BATCH", 2)
    rows = "".join(f"1{number},Cup\n" for number in range(1000, 1009))
    content = f"sku,name\n{first},Cup\n{rows}{second},Cup\n"

    outcome = load(content, dry_run=dry_run)

    assert outcome.is_accepted
    assert outcome.tally["new"] == 11
    assert Product.objects.count() == (0 if dry_run else 11)


@pytest.mark.parametrize(
    ("new", "existing"),
    [
        ("123", "1230"),
        ("0E5", "E5"),
        ("1E5", "1E6"),
        ("BLUE-01", "BLUE-1"),
        ("A0", "A"),
        ("1E1", "1"),
    ],
)
def test_other_skus_are_not_similar(load: Import, new: str, existing: str) -> None:
    ProductFactory.create(sku=existing)

    assert load(f"sku,name\n{new},Cup\n").tally["new"] == 1


def test_existing_products_with_similar_skus_can_be_edited(load: Import) -> None:
    ProductFactory.create(sku="00123", name="Gasket")
    ProductFactory.create(sku="123", name="Bolt")

    outcome = load("sku,name\n00123,Gasket small\n123,Hex bolt\n")

    assert outcome.tally["changed"] == 2


@pytest.mark.usefixtures("fixture")
@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("03a-excel-resaved.csv", "100000 is new. Only an exponent distinguishes it from 1E5,"),
        ("03c-quantity-emptied-as-told.csv", "123 would get the name of 00123."),
    ],
)
def test_a_list_that_a_spreadsheet_has_changed_is_refused(
    load: Import, name: str, text: str, dry_run: bool
) -> None:
    before = stored()

    outcome = load(case(name), dry_run=dry_run)

    assert not outcome.is_accepted
    assert text in outcome.text
    assert stored() == before


def test_similar_skus_are_looked_up_by_an_index() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # In a small table, reading all rows or another index costs as little.
            for way in ("seqscan", "indexonlyscan"):
                cursor.execute(f"SET LOCAL enable_{way} = off")

    plan = Product.objects.written_as(["123", "1E5"]).values_list("sku").explain()

    assert "product_similar_sku" in plan


# ------------------------------------------------------------------------- columns of other systems


SHOPIFY = {
    "sku_column": "Variant SKU",
    "name_column": "Title",
    "description_column": "Body (HTML)",
    "quantity_column": "Variant Inventory Qty",
    "ignore_other_columns": True,
}


@pytest.mark.usefixtures("fixture")
def test_columns_of_another_system_can_be_named(load: Import) -> None:
    stock.adjust(sku="TEE-RED-S", quantity=4, reason="count", by=ACTOR)
    stock.adjust(sku="TEE-RED-M", quantity=6, reason="count", by=ACTOR)

    outcome = load(case("52-shopify-products.csv"), **SHOPIFY)

    assert outcome.is_accepted
    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 1}
    assert "without a SKU" in outcome.text
    tee = Product.objects.get(sku="TEE-RED-S")
    assert (tee.name, tee.quantity) == ("Tee red", 4)
    assert tee.description == "<p>Soft tee.</p>\n<p>Wash at 30 °C</p>"
    assert not Product.objects.filter(quantity=100).exists()


def test_products_are_created_from_the_columns_of_another_system(load: Import) -> None:
    content = (
        "Code;Item;On hand;Reorder at;name;quantity;minimum_stock_level;Price\n"
        "CUP;Cup;4;2;no;9;9;1,50\n"
        ";Picture;;;;;;\n"
        "POT;Pot;;;;;;\n"
    )
    options = {
        "sku_column": "code",
        "name_column": "Item",
        "quantity_column": "On hand",
        "minimum_stock_level_column": "Reorder at",
        "ignore_other_columns": True,
    }

    outcome = load(content, **options)

    assert outcome.tally == {"new": 2, "changed": 0, "unchanged": 0}
    fields = ("sku", "name", "quantity", "minimum_stock_level")
    assert list(Product.objects.order_by("sku").values_list(*fields)) == [
        ("CUP", "Cup", 4, 2),
        ("POT", "Pot", 0, 0),
    ]
    again = load(content, **options, existing_only=True)
    assert again.tally == {"new": 0, "changed": 0, "unchanged": 2}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sku_column": "Code"}, "Missing column: 'Code'"),
        ({}, "Unknown column: 'price'"),
        ({"name_column": "price", "description_column": "PRICE"}, "name the same column"),
        ({"quantity_column": "price", "ignore_quantity": True}, "Leave"),
    ],
)
def test_wrong_names_of_columns_are_refused(
    load: Import, options: dict[str, Any], complaint: str
) -> None:
    outcome = load("sku,name,price\nCUP,Cup,3\n", **options)

    assert not outcome.is_accepted
    assert complaint in html.unescape(outcome.text)
    assert not Product.objects.exists()


def test_a_row_without_a_sku_is_refused_in_our_own_layout(load: Import) -> None:
    outcome = load("sku,name\nCUP,Cup\n,Pot\n")

    assert not outcome.is_accepted
    assert "The SKU is missing." in outcome.text


@pytest.mark.parametrize("sku", [" CUP", "CUP ", "\u00a0CUP", '"=""CUP"""', "'CUP"])
def test_a_sku_is_found_whatever_is_around_it(load: Import, sku: str) -> None:
    ProductFactory.create(sku="CUP")

    outcome = load(f"sku,name\n{sku},Mug\n", existing_only=True)

    assert outcome.tally == {"new": 0, "changed": 1, "unchanged": 0}
    assert Product.objects.get().name == "Mug"


def test_a_sku_is_on_one_line_only_whatever_is_around_it(load: Import) -> None:
    outcome = load("sku,name\nCUP,Mug\nPOT,Pot\n CUP,Cup\n")

    assert not outcome.is_accepted
    assert "CUP is already on line 2." in outcome.text
