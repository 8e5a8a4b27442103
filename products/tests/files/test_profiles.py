"""Exports of other systems, read with profiles by command and in the back office."""

import csv
import re
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from openpyxl import Workbook

from products.files.profiles import PROFILES
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db

FOLDER = Path(__file__).parent / "profiles"
CASES = Path(__file__).parent / "cases"
MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")
COMMANDS = {"products": "import_products", "adjustments": "bulk_adjust"}

SKUS = ["MUG-BLUE", "TEE-RED-S", "TEE-RED-M", "TEE-BLUE-S"]


class Outcome(NamedTuple):
    """Whether the file was applied, and the messages."""

    is_applied: bool
    said: str


Run = Callable[..., Outcome]
"""Imports a file: the kind of import, the file or its content, and options such as `profile`."""


@pytest.fixture
def shop() -> None:
    """Create the products of the files."""
    for sku in SKUS:
        ProductFactory.create(sku=sku, quantity=1)


@pytest.fixture
def cases_shop() -> None:
    """Load the products of the cases."""
    call_command("import_products", str(CASES / "00-fixture.csv"), stdout=StringIO())


def run_command(path: Path, kind: str, file: Path | bytes, options: dict[str, Any]) -> Outcome:
    if isinstance(file, bytes):
        path.write_bytes(file)
        file = path
    arguments = []
    for name, value in options.items():
        option = f"--{'minimum' if name == 'minimum_stock_level' else name}".replace("_", "-")
        for each in value if isinstance(value, list) else [value]:
            arguments.append(option if each is True else f"{option}={each}")
    output, errors = StringIO(), StringIO()
    try:
        call_command(COMMANDS[kind], str(file), *arguments, stdout=output, stderr=errors)
    except CommandError as error:
        return Outcome(False, f"{output.getvalue()}{errors.getvalue()}{error}")
    except SystemExit:
        return Outcome(False, output.getvalue() + errors.getvalue())
    return Outcome(True, output.getvalue())


def run_admin(client: Client, kind: str, file: Path | bytes, options: dict[str, Any]) -> Outcome:
    content = file.read_bytes() if isinstance(file, Path) else file
    fields = {
        name: "\n".join(value) if isinstance(value, list) else value
        for name, value in options.items()
    }
    url = reverse("admin:products_product_import", args=[kind])
    page = client.post(url, {"file": SimpleUploadedFile("export", content), **fields})
    if form := page.context.get("form"):
        return Outcome(False, " ".join(str(each) for each in form.errors.values()))
    said = [*page.context["notes"]]
    said += [f"passed over: {reason} {count}" for reason, count in page.context["passed_over"]]
    said += [problem.detail for row in page.context["rows"] for problem in row.line.problems]
    pending = page.context["pending"]
    if pending:
        confirm = reverse("admin:products_product_import_confirm", args=[kind, pending.pk])
        assert client.post(confirm).status_code == 302
    return Outcome(pending is not None, "\n".join(said))


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *MANAGER)


@pytest.fixture(params=["command", "admin"])
def run(request: pytest.FixtureRequest, manager: Client, tmp_path: Path) -> Run:
    def imported(kind: str, file: Path | bytes, **options: Any) -> Outcome:
        if request.param == "admin":
            return run_admin(manager, kind, file, options)
        return run_command(tmp_path / "export", kind, file, options)

    return imported


def levels() -> dict[str, int]:
    return dict(Product.objects.filter(sku__in=SKUS).values_list("sku", "quantity"))


def plain(text: str) -> str:
    """Return messages without the markup of the page and the padding of figures."""
    return " ".join(text.replace("&#x27;", "'").split())


# ------------------------------------------------------------------------------------------ stock

ALL_THREE = {"MUG-BLUE": 12, "TEE-RED-S": 4, "TEE-RED-M": 6}

STOCK: list[tuple[str, str, str, dict[str, int], list[str]]] = [
    ("shopify", "shopify-products.csv", "", {**ALL_THREE, "TEE-BLUE-S": 0}, ["without a SKU 2"]),
    ("shopify", "shopify-products-new.csv", "", ALL_THREE, []),
    (
        "shopify",
        "shopify-inventory.csv",
        "warehouse",
        {"MUG-BLUE": 0, "TEE-RED-S": 20},
        ["quantity = 'On hand (current)'", "other locations 4", "not stocked 1"],
    ),
    (
        "shopify",
        "shopify-inventory.csv",
        " Main  Store ",
        {"MUG-BLUE": 12, "TEE-RED-S": 5, "TEE-RED-M": 6},
        ["Location: 'Main Store'", "other locations 3", "without a SKU 1"],
    ),
    (
        "shopify",
        "shopify-inventory-old.csv",
        "Warehouse",
        {"MUG-BLUE": 0, "TEE-RED-S": 20},
        ["quantity = 'Warehouse'", "not stocked 1"],
    ),
    (
        "woocommerce",
        "woocommerce.csv",
        "",
        ALL_THREE,
        ["variable product 1", "without a SKU 1", "stock kept by the parent product 1"],
    ),
    (
        "woocommerce",
        "woocommerce-de.csv",
        "",
        {"MUG-BLUE": 12, "TEE-RED-S": 4},
        ["quantity = 'Lager'", "variable product 1"],
    ),
    ("square", "square.csv", "Main Street", ALL_THREE, ["without a SKU 1"]),
    (
        "square",
        "square.csv",
        "market hall",
        {"MUG-BLUE": 2, "TEE-RED-S": 7},
        ["quantity = 'Current Quantity Market Hall'", "without an amount 1"],
    ),
    ("lightspeed", "lightspeed.csv", "Basement", ALL_THREE, []),
    (
        "lightspeed",
        "lightspeed.csv",
        "mt auburn",
        {"MUG-BLUE": 2, "TEE-RED-S": 7},
        ["Location: 'Mt_Auburn'", "without an amount 1"],
    ),
    (
        "zoho",
        "zoho.csv",
        "",
        {"MUG-BLUE": 12, "TEE-RED-S": 4},
        ["quantity = 'Stock On Hand'", "without a SKU 1"],
    ),
    ("odoo", "odoo-products.csv", "", ALL_THREE, ["without a SKU 1"]),
    ("odoo", "odoo-technical.csv", "", {"MUG-BLUE": 12, "TEE-RED-S": 4}, []),
    (
        "odoo",
        "odoo-locations.csv",
        "WH/Stock",
        {"MUG-BLUE": 12, "TEE-RED-S": 4},
        ["other locations 2"],
    ),
    (
        "amazon",
        "amazon-listings.txt",
        "",
        {"MUG-BLUE": 12, "TEE-RED-S": 4},
        ["without an amount 1"],
    ),
    ("amazon", "amazon-fba.txt", "", {"MUG-BLUE": 12, "TEE-RED-S": 4}, ["unsellable 1"]),
    ("amazon", "amazon-fba-manage.txt", "", {"MUG-BLUE": 12, "TEE-RED-S": 4}, []),
    ("ebay", "ebay-listings.csv", "", ALL_THREE, ["listing with variations 1"]),
    ("ebay", "ebay-revise.csv", "", {"MUG-BLUE": 12}, ["ended 1"]),
]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("profile", "file", "location", "expected", "said"), STOCK)
def test_stock_is_set_by_an_export(
    run: Run, profile: str, file: str, location: str, expected: dict[str, int], said: list[str]
) -> None:
    options = {"location": location} if location else {}

    outcome = run("adjustments", FOLDER / file, profile=profile, **options)

    assert outcome.is_applied, outcome.said
    assert levels() == {**dict.fromkeys(SKUS, 1), **expected}
    for text in said:
        assert text in plain(outcome.said)


def test_each_profile_has_a_file() -> None:
    assert {profile for profile, *_ in STOCK} == set(PROFILES)
    assert {file for _, file, *_ in STOCK} == {
        path.name for path in FOLDER.iterdir() if path.suffix != ".md"
    }


@pytest.mark.usefixtures("shop")
def test_an_imported_level_names_the_system_as_its_reason(run: Run) -> None:
    run("adjustments", FOLDER / "zoho.csv", profile="zoho")
    run("adjustments", FOLDER / "ebay-revise.csv", profile="ebay", reason="Monday")

    events = StockEvent.objects.filter(type=StockEvent.Type.ADJUSTED).order_by("id")
    assert {event.reason for event in events} <= {"zoho import", "Monday"}
    assert events[0].reason == "zoho import"


def test_a_newly_counted_level_is_read_before_the_current_one(run: Run) -> None:
    ProductFactory.create(sku="TEE-RED-S", quantity=5)
    ProductFactory.create(sku="TEE-RED-M", quantity=9)
    content = (FOLDER / "shopify-inventory.csv").read_text("utf-8")
    counted = content.replace("Main Store,,0,0,1,4,5,\n", "Main Store,,0,0,1,4,5,7\n")

    outcome = run("adjustments", counted.encode(), profile="shopify", location="Main Store")

    assert outcome.is_applied
    assert levels() == {"TEE-RED-S": 7, "TEE-RED-M": 9}
    assert "quantity = 'On hand (new)', expected_quantity = 'On hand (current)'" in plain(
        outcome.said
    )
    assert "without an amount 2" in plain(outcome.said)


def test_a_count_is_refused_if_the_level_differs_from_the_exported_one(run: Run) -> None:
    ProductFactory.create(sku="MUG-BLUE", quantity=11)
    content = (FOLDER / "square.csv").read_text("utf-8").replace("12,,Y,3,", "12,14,Y,3,")

    outcome = run("adjustments", content.encode(), profile="square", location="Main Street")

    assert not outcome.is_applied
    assert "MUG-BLUE has 11 on hand, not 12." in outcome.said
    assert levels() == {"MUG-BLUE": 11}


def test_a_late_count_expects_no_level(run: Run) -> None:
    ProductFactory.create(sku="MUG-BLUE", quantity=11)
    content = (FOLDER / "square.csv").read_text("utf-8").replace("12,,Y,3,", "12,14,Y,3,")
    moment = timezone.now().isoformat()

    outcome = run(
        "adjustments",
        content.encode(),
        profile="square",
        location="Main Street",
        counted_at=moment,
    )

    assert outcome.is_applied, outcome.said
    assert levels() == {"MUG-BLUE": 14}
    assert "expected_quantity" not in outcome.said


# --------------------------------------------------------------------------------------- products

TEES = {"TEE-RED-S": "T-Shirt / Red / S", "TEE-RED-M": "T-Shirt / Red / M"}

NAMES: list[tuple[str, str, str, dict[str, str]]] = [
    (
        "shopify",
        "shopify-products.csv",
        "",
        {**TEES, "TEE-BLUE-S": "T-Shirt / Blue / S", "MUG-BLUE": "Blue mug"},
    ),
    ("shopify", "shopify-products-new.csv", "", {**TEES, "MUG-BLUE": "Blue mug"}),
    ("shopify", "shopify-inventory.csv", "Main Store", {**TEES, "MUG-BLUE": "Blue mug"}),
    (
        "shopify",
        "shopify-inventory-old.csv",
        "Main Store",
        {
            "TEE-RED-S": 'Tee, "red", 2,5 cm logo / S',
            "TEE-RED-M": 'Tee, "red", 2,5 cm logo / M',
            "MUG-BLUE": "Blue mug",
        },
    ),
    (
        "woocommerce",
        "woocommerce.csv",
        "",
        {
            "MUG-BLUE": "Blue mug",
            "TEE-RED-S": "T-Shirt - S",
            "TEE-RED-M": "T-Shirt - M",
            "TEE-RED-L": "T-Shirt - L",
        },
    ),
    (
        "square",
        "square.csv",
        "Main Street",
        {"MUG-BLUE": "Blue mug", "TEE-RED-S": "T-Shirt / Small", "TEE-RED-M": "T-Shirt / Medium"},
    ),
    ("lightspeed", "lightspeed.csv", "Basement", {**TEES, "MUG-BLUE": "Blue mug"}),
    ("zoho", "zoho.csv", "", {"MUG-BLUE": "Blue mug", "TEE-RED-S": "T-Shirt red S"}),
    (
        "odoo",
        "odoo-products.csv",
        "",
        {
            "MUG-BLUE": "Blue mug",
            "TEE-RED-S": "T-Shirt / Size: S",
            "TEE-RED-M": "T-Shirt / Size: M",
        },
    ),
    (
        "amazon",
        "amazon-listings.txt",
        "",
        {
            "MUG-BLUE": 'Blue mug, 300 ml 3" high',
            "TEE-RED-S": "T-Shirt red S",
            "TEE-RED-M": "T-Shirt red M",
        },
    ),
    (
        "ebay",
        "ebay-listings.csv",
        "",
        {
            "MUG-BLUE": "Blue mug",
            "TEE-RED-S": "T-Shirt, red / Size=S",
            "TEE-RED-M": "T-Shirt, red / Size=M",
        },
    ),
]


@pytest.mark.parametrize(("profile", "file", "location", "names"), NAMES)
def test_products_are_created_from_an_export(
    run: Run, profile: str, file: str, location: str, names: dict[str, str]
) -> None:
    options = {"location": location} if location else {}

    outcome = run("products", FOLDER / file, profile=profile, **options)

    assert outcome.is_applied, outcome.said
    assert dict(Product.objects.values_list("sku", "name")) == names
    assert set(Product.objects.values_list("description", flat=True)) == {""}
    assert levels()["MUG-BLUE"] == 12


@pytest.mark.parametrize(
    ("profile", "file", "location", "minimum"),
    [
        ("woocommerce", "woocommerce.csv", "", 3),
        ("woocommerce", "woocommerce-de.csv", "", 3),
        ("square", "square.csv", "Main Street", 3),
        ("lightspeed", "lightspeed.csv", "Mt Auburn", 1),
        ("zoho", "zoho.csv", "", 3),
        ("odoo", "odoo-technical.csv", "", 3),
    ],
)
def test_the_minimum_of_an_export_is_imported(
    run: Run, profile: str, file: str, location: str, minimum: int
) -> None:
    options = {"location": location} if location else {}

    run("products", FOLDER / file, profile=profile, **options)

    assert Product.objects.get(sku="MUG-BLUE").minimum_stock_level == minimum


def test_options_replace_the_columns_of_a_profile(run: Run) -> None:
    outcome = run(
        "products",
        FOLDER / "shopify-products.csv",
        profile="shopify",
        sku_column="Variant Barcode",
        name_column="Handle",
        description_column="Body (HTML)",
        quantity_column="Variant Grams",
        where=["Handle=mug", "Handle=TEE"],
    )

    assert outcome.is_applied, outcome.said
    created = Product.objects.order_by("sku").values_list("sku", "name", "quantity")
    assert list(created) == [("4006381333931", "tee", 120), ("4006381333948", "tee", 120)]
    description = Product.objects.get(sku="4006381333931").description
    assert description.startswith('<p>Soft, "organic" cotton.</p>')


def test_an_option_that_names_no_column_is_refused(run: Run) -> None:
    outcome = run("products", FOLDER / "zoho.csv", profile="zoho", description_column="Text")

    assert not outcome.is_applied
    assert "The file has no column 'Text'. The header has 'Item ID', 'Item Name'" in plain(
        outcome.said
    )


def test_quantities_of_an_export_can_be_ignored(run: Run) -> None:
    run("products", FOLDER / "zoho.csv", profile="zoho", ignore_quantity=True)

    assert levels() == {"MUG-BLUE": 0, "TEE-RED-S": 0}


# -------------------------------------------------------------------------------------- locations


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("profile", "file", "names"),
    [
        ("shopify", "shopify-inventory.csv", "'Main Store' and 'Warehouse'"),
        ("shopify", "shopify-inventory-old.csv", "'Main Store' and 'Warehouse'"),
        ("square", "square.csv", "'Main Street' and 'Market Hall'"),
        ("lightspeed", "lightspeed.csv", "'Basement' and 'Mt_Auburn'"),
        ("odoo", "odoo-locations.csv", "'WH/Stock', 'WH/Stock/Shelf 1' and 'Virtual"),
    ],
)
@pytest.mark.parametrize("kind", ["products", "adjustments"])
def test_one_of_several_locations_must_be_chosen(
    run: Run, kind: str, profile: str, file: str, names: str
) -> None:
    without = run(kind, FOLDER / file, profile=profile)
    unknown = run(kind, FOLDER / file, profile=profile, location="Paris")

    assert not without.is_applied
    assert f"locations: {names}" in plain(without.said)
    assert not unknown.is_applied
    assert "The file has no location 'Paris'. Choose one of" in plain(unknown.said)
    assert levels() == dict.fromkeys(SKUS, 1)


@pytest.mark.usefixtures("shop")
def test_the_counts_of_all_locations_are_added_up_on_request(run: Run) -> None:
    outcome = run(
        "adjustments", FOLDER / "shopify-inventory.csv", profile="shopify", sum_repeated=True
    )

    assert outcome.is_applied
    assert levels() == {"MUG-BLUE": 12, "TEE-RED-S": 25, "TEE-RED-M": 6, "TEE-BLUE-S": 1}
    assert "Location: all, added up." in outcome.said


@pytest.mark.usefixtures("shop")
def test_some_locations_can_be_added_up(run: Run) -> None:
    outcome = run(
        "adjustments",
        FOLDER / "odoo-locations.csv",
        profile="odoo",
        where=["Location=WH/Stock", "Location=WH/Stock/Shelf 1"],
        sum_repeated=True,
    )

    assert outcome.is_applied, outcome.said
    assert (levels()["MUG-BLUE"], levels()["TEE-RED-S"]) == (15, 4)
    assert "other rows 1" in plain(outcome.said)


@pytest.mark.usefixtures("shop")
def test_columns_of_several_locations_are_not_added_up(run: Run) -> None:
    outcome = run("adjustments", FOLDER / "square.csv", profile="square", sum_repeated=True)

    assert not outcome.is_applied
    assert "Choose one (--location)." in outcome.said


@pytest.mark.usefixtures("shop")
def test_the_only_location_is_read(run: Run) -> None:
    rows = (FOLDER / "shopify-inventory.csv").read_text("utf-8").splitlines(keepends=True)
    content = "".join(row for row in rows if "Warehouse" not in row)

    outcome = run("adjustments", content.encode(), profile="shopify")

    assert outcome.is_applied
    assert levels()["TEE-RED-S"] == 5
    assert "Location: 'Main Store'." in plain(outcome.said)


@pytest.mark.usefixtures("shop")
def test_locations_that_stock_nothing_leave_no_choice(run: Run) -> None:
    content = (
        "SKU,Title,Location,On hand (current),On hand (new)\n"
        "MUG-BLUE,Mug,Shop,12,\nMUG-BLUE,Mug,Courier app,not stocked,\n"
        "TEE-RED-S,Tee,Shop,4,\nTEE-RED-S,Tee,Courier app,not stocked,\n"
    )

    outcome = run("adjustments", content.encode(), profile="shopify")
    app = run("adjustments", content.encode(), profile="shopify", location="Courier app")

    assert outcome.is_applied, outcome.said
    assert (levels()["MUG-BLUE"], levels()["TEE-RED-S"]) == (12, 4)
    assert "other locations 2" in plain(outcome.said)
    assert not app.is_applied
    assert "2 not stocked" in plain(app.said) or "not stocked 2" in plain(app.said)


@pytest.mark.usefixtures("shop")
def test_the_warehouse_of_an_opening_stock_is_no_location(run: Run) -> None:
    content = (
        "Item Name,SKU,Warehouse Name,Opening Stock,Stock On Hand\n"
        "Mug,MUG-BLUE,North,1.00,12.00\nTee,TEE-RED-S,,,4.00\nTee,TEE-RED-M,South,2.00,6.00\n"
    )

    outcome = run("adjustments", content.encode(), profile="zoho")

    assert outcome.is_applied, outcome.said
    assert levels() == {**ALL_THREE, "TEE-BLUE-S": 1}


@pytest.mark.usefixtures("shop")
def test_a_location_does_not_fit_every_file(run: Run) -> None:
    no_locations = run("adjustments", FOLDER / "zoho.csv", profile="zoho", location="Paris")
    no_profile = run("adjustments", b"sku,add\nMUG-BLUE,1\n", location="Paris")

    assert "The file has no locations." in no_locations.said
    assert "A location requires a profile." in no_profile.said
    assert levels() == dict.fromkeys(SKUS, 1)


# ------------------------------------------------------------------------------------------- rows


@pytest.mark.usefixtures("shop")
def test_conditions_choose_the_rows_of_any_file(run: Run) -> None:
    content = (
        b"sku,add,Shelf,Note\nMUG-BLUE,1,A,x\nMUG-BLUE,2,B,\nTEE-RED-S,3, a ,x\nTEE-RED-M,9,C,x\n"
    )

    outcome = run(
        "adjustments", content, ignore_other_columns=True, where=["shelf=A", "Shelf=c", "Note=x"]
    )

    assert outcome.is_applied
    assert levels() == {"MUG-BLUE": 2, "TEE-RED-S": 4, "TEE-RED-M": 10, "TEE-BLUE-S": 1}
    assert "passed over: other rows 1" in plain(outcome.said)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("profile", ["", "shopify"])
@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("Shelf=A", "'Shelf'"),
        ("Location", "'Location' is not a condition. Write COLUMN=VALUE"),
        ("=x", "'=x' is not a condition."),
    ],
)
def test_a_condition_must_name_a_column(run: Run, profile: str, condition: str, said: str) -> None:
    options = {"profile": profile} if profile else {"ignore_other_columns": True}
    content = b"Handle,SKU,Location,On hand (current)\nmug,MUG-BLUE,Here,5\n"

    outcome = run("adjustments", content, where=condition, **options)

    assert not outcome.is_applied
    assert said in plain(outcome.said)


@pytest.mark.usefixtures("shop")
def test_a_condition_chooses_the_location_too(run: Run) -> None:
    outcome = run(
        "adjustments",
        FOLDER / "shopify-inventory.csv",
        profile="shopify",
        where="Location=Warehouse",
    )

    assert outcome.is_applied
    assert levels()["TEE-RED-S"] == 20


@pytest.mark.usefixtures("shop")
def test_a_broken_row_is_refused_even_if_it_may_be_of_another_location(run: Run) -> None:
    content = (
        b"SKU,Title,Location,On hand (current)\n"
        b"MUG-BLUE,Mug,Here,3\n"
        b"TEE-RED-S,Tee,red,Here,4\n"
        b"TEE-RED-M,Tee,There,5\n"
    )

    outcome = run("adjustments", content, profile="shopify", location="Here")

    assert not outcome.is_applied
    assert levels() == dict.fromkeys(SKUS, 1)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("amount", ["-7", "'-7"])
def test_a_negative_level_is_refused(run: Run, amount: str) -> None:
    content = f"ID,Type,SKU,Name,Stock\n1,simple,MUG-BLUE,Mug,{amount}\n"

    outcome = run("adjustments", content.encode(), profile="woocommerce")

    assert not outcome.is_applied
    assert "-7 is a negative level." in outcome.said


# ------------------------------------------------------------------------------------------ files


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("kind", ["products", "adjustments"])
def test_a_file_of_another_system_is_refused(run: Run, kind: str) -> None:
    outcome = run(kind, FOLDER / "lightspeed.csv", profile="ebay")

    assert not outcome.is_applied
    assert "The profile ebay does not know this layout." in outcome.said
    assert "It looks for sku in 'Custom label (SKU)', 'CustomLabel'" in plain(outcome.said)
    assert "The header has 'id', 'handle', 'sku'" in plain(outcome.said)
    assert levels() == dict.fromkeys(SKUS, 1)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"SKU\nMUG-BLUE\n"])
def test_a_file_without_the_columns_is_refused(run: Run, content: bytes) -> None:
    outcome = run("adjustments", content, profile="square")

    assert not outcome.is_applied


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("change", [
    lambda text: text.replace(",", ";").encode("utf-8-sig"),
    lambda text: text.replace(",", "\t").encode("utf-16"),
    lambda text: f"sep=,\r\n{text}".encode(),
    lambda text: f"Stock report,,,\n\n{text}".encode(),
])  # fmt: skip
def test_an_export_that_was_saved_again_is_read(run: Run, change: Callable[[str], bytes]) -> None:
    content = "Item ID,Item Name,SKU,Stock On Hand\n1,Mug,MUG-BLUE,12\n2,Tee,TEE-RED-S,4\n"

    outcome = run("adjustments", change(content), profile="zoho")

    assert outcome.is_applied, outcome.said
    assert (levels()["MUG-BLUE"], levels()["TEE-RED-S"]) == (12, 4)


def as_number(cell: str) -> str | float | None:
    """Return a number with decimals as one, and an empty cell as None."""
    return float(cell) if re.fullmatch(r"-?\d+\.\d+", cell) else cell or None


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("profile", "name", "columns"), [
    ("odoo", "odoo-products.csv", 0), ("zoho", "zoho.csv", 0), ("zoho", "zoho.csv", 60),
])  # fmt: skip
def test_an_export_in_xlsx_is_read(manager: Client, profile: str, name: str, columns: int) -> None:
    workbook = Workbook()
    sheet = workbook.worksheets[0]
    rows = list(csv.reader(StringIO((FOLDER / name).read_text("utf-8"))))
    for row in rows:
        more = [f"More {number}" if row is rows[0] else "" for number in range(columns)]
        sheet.append([as_number(cell) for cell in more + row])
    for cells in sheet.iter_rows():
        for cell in cells:
            if isinstance(cell.value, float):
                cell.number_format = "#,##0.00"
    file = BytesIO()
    workbook.save(file)

    outcome = run_admin(manager, "adjustments", file.getvalue(), {"profile": profile})

    assert outcome.is_applied, outcome.said
    assert (levels()["MUG-BLUE"], levels()["TEE-RED-S"]) == (12, 4)
    assert "Sheet: 'Sheet'." in outcome.said


# ----------------------------------------------------------------------------------------- cases


@pytest.mark.usefixtures("cases_shop")
@pytest.mark.parametrize(
    ("profile", "case", "options", "expected"),
    [
        ("shopify", "50-shopify-inventory.csv", {"location": "Main store"}, {"TEE-RED-S": 7}),
        ("shopify", "50-shopify-inventory.csv", {"location": "Warehouse"}, {"TEE-RED-M": 5}),
        ("shopify", "51-shopify-inventory-old.csv", {}, {"TEE-RED-S": 5}),
        ("shopify", "52-shopify-products.csv", {}, {"TEE-RED-S": 4, "TEE-RED-M": 6}),
        ("lightspeed", "54-lightspeed-products.csv", {"location": "Basement"}, {"SKU-1": 4}),
        ("amazon", "57-amazon-inventory-loader.txt", {}, {"SKU-1": 9}),
        ("ebay", "58-ebay-revise.csv", {}, {"00123": 5, "SKU-1": 9}),
        ("woocommerce", "61-woo-russian.csv", {}, {"SKU-1": 9, "SKU-2": 4}),
    ],
)
def test_the_cases_are_read_by_their_profile(
    run: Run, profile: str, case: str, options: dict[str, str], expected: dict[str, int]
) -> None:
    before = dict(Product.objects.values_list("sku", "quantity"))

    outcome = run("adjustments", CASES / case, profile=profile, **options)

    assert outcome.is_applied, outcome.said
    assert dict(Product.objects.values_list("sku", "quantity")) == {**before, **expected}


# -------------------------------------------------------------------------------------- commands


@pytest.mark.usefixtures("shop")
def test_refused_rows_are_imported_again_with_the_same_options(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    content = (FOLDER / "shopify-inventory-old.csv").read_text("utf-8").replace(",5,20", ",5,-2")
    options = {"profile": "shopify", "location": "Warehouse", "keep_going": True}

    first = run_command(
        tmp_path / "export.csv",
        "adjustments",
        content.encode(),
        {**options, "reference": "one", "rejects": rejects},
    )
    corrected = rejects.read_text("utf-8").replace("'-2", "2").replace("-2", "2")
    second = run_command(
        tmp_path / "corrected.csv",
        "adjustments",
        corrected.encode(),
        {**options, "reference": "two"},
    )

    assert "refused: invalid 1" in plain(first.said)
    assert second.is_applied, second.said
    assert levels()["TEE-RED-S"] == 2


@pytest.mark.usefixtures("shop")
def test_the_choices_of_a_file_are_part_of_its_reference(tmp_path: Path) -> None:
    def run_with(**options: Any) -> Outcome:
        file = FOLDER / "shopify-inventory.csv"
        named = {"profile": "shopify", "reference": "once", **options}
        return run_command(tmp_path / "unused", "adjustments", file, named)

    assert run_with(location="Warehouse").is_applied
    assert "This run changed nothing." in run_with(location="Warehouse").said
    for other in ({"location": "Main Store"}, {"location": "Warehouse", "where": "Handle=tee"}):
        assert "was used for another file or with other options" in run_with(**other).said
    assert levels()["TEE-RED-S"] == 20


def test_a_file_without_a_change_says_how_it_was_read(tmp_path: Path) -> None:
    content = b"SKU,Location,On hand (current)\nMUG,Here,not stocked\n"

    outcome = run_command(tmp_path / "e.csv", "adjustments", content, {"profile": "shopify"})

    assert "No line requests a change: 1 not stocked." in outcome.said
    assert "quantity = 'On hand (current)'" in outcome.said
