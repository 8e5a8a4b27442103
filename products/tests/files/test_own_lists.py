"""The lists that the service exports can be imported again without being cut by hand."""

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

MANAGER = (
    *("view_product", "add_product", "change_product", "operate_stock", "adjust_stock"),
    "view_stockevent",
)


@pytest.fixture(autouse=True)
def _shop() -> None:
    """Fill a shop with every kind of product."""
    ProductFactory.create(sku="CUP", name="=Cup", quantity=10, minimum_stock_level=12)
    ProductFactory.create(sku="POT", name="Pot", description="two\nlines", quantity=5)
    ProductFactory.create(sku="00123", name="Gasket", quantity=7, minimum_stock_level=9)
    ProductFactory.create(sku="OLD", name="Old", quantity=3)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)


@pytest.fixture
def browser() -> Client:
    return browser_of("Ada", *MANAGER)


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the CSV of an exporting command to a file."""

    def run(command: str, *arguments: str) -> Path:
        path, output = tmp_path / "list.csv", StringIO()
        call_command(command, *arguments, stdout=output)
        path.write_text(output.getvalue(), encoding="utf-8", newline="")
        return path

    return run


Export = Callable[..., Path]

LISTS = [("export_products",), ("low_stock", "--format", "csv")]


def run(command: str, path: Path, *options: str) -> str:
    """Run a command that applies a file, and return its output. The file must be accepted."""
    output = StringIO()
    try:
        call_command(command, str(path), *options, stdout=output)
    except SystemExit:
        pytest.fail(output.getvalue())
    return output.getvalue()


def edit(path: Path, column: str, **values: str) -> Path:
    """Write values into a column of a list, by SKU."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, column: values.get(row["sku"], row[column])} for row in rows)
    return path


def apply(browser: Client, kind: str, content: bytes, **fields: str) -> None:
    """Import a file in the back office. It must be accepted."""
    url = reverse("admin:products_product_import", args=[kind])
    page: Any = browser.post(url, {"file": SimpleUploadedFile("list", content), **fields})
    assert "rows" in page.context, page.context["form"].errors
    assert not page.context["wrong"], [row.line.problems for row in page.context["rows"]]
    if page.context["pending"]:
        name = "admin:products_product_import_confirm"
        browser.post(reverse(name, args=[kind, page.context["pending"].pk]))


def exported(browser: Client, file_format: str) -> bytes:
    """Return the export of the list of products in the back office."""
    response: Any = browser.get(
        reverse("admin:products_product_export"), {"format": file_format, "archived": "all"}
    )
    return bytes(response.getvalue())


def levels() -> dict[str, int]:
    return dict(Product.objects.values_list("sku", "quantity"))


@pytest.mark.parametrize("command", LISTS)
def test_a_list_that_is_imported_unchanged_changes_nothing(
    export: Export, browser: Client, command: tuple[str, ...]
) -> None:
    path = export(*command)
    before = stored()

    assert "can be applied" not in run("import_products", path)
    apply(browser, "products", path.read_bytes())

    assert stored() == before


@pytest.mark.parametrize("command", LISTS)
def test_the_minimums_of_a_list_can_be_edited(
    export: Export, browser: Client, command: tuple[str, ...]
) -> None:
    path = edit(export(*command), "minimum_stock_level", CUP="20")
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    run("import_products", path, "--ignore-quantity", "--existing-only")
    assert Product.objects.get(sku="CUP").minimum_stock_level == 20

    edit(path, "minimum_stock_level", CUP="21")
    apply(browser, "products", path.read_bytes(), ignore_quantity="on")
    assert Product.objects.get(sku="CUP").minimum_stock_level == 21


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_a_count_sheet(export: Export, browser: Client, command: tuple[str, ...]) -> None:
    path = edit(export(*command), "quantity", **{"CUP": "9", "00123": "", "POT": "", "OLD": ""})

    run("bulk_adjust", path, "--reason", "stocktake")
    assert levels() == {"CUP": 9, "POT": 5, "00123": 7, "OLD": 3}

    edit(path, "quantity", CUP="8")
    apply(browser, "adjustments", path.read_bytes(), reason="stocktake")
    assert levels() == {"CUP": 8, "POT": 5, "00123": 7, "OLD": 3}
    assert StockEvent.objects.filter(type="InventoryAdjusted").count() == 2


def test_the_missing_units_can_be_added(export: Export) -> None:
    path = export("low_stock", "--format", "csv")

    run("bulk_adjust", path, "--amount-column", "missing", "--operation", "add")

    assert levels() == {"CUP": 16, "POT": 5, "00123": 9, "OLD": 3}


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_a_list_of_the_back_office_can_be_imported(browser: Client, file_format: str) -> None:
    content = exported(browser, file_format)
    before = stored()

    apply(browser, "products", content)
    assert stored() == before

    apply(browser, "adjustments", content, reason="stocktake")
    counted = StockEvent.objects.filter(type="InventoryAdjusted")
    assert set(counted.values_list("quantity_change", flat=True)) == {0}


def test_a_list_creates_the_same_products_in_another_shop(export: Export) -> None:
    columns = ("sku", "name", "description", "quantity", "minimum_stock_level", "archived")
    products = list(Product.objects.order_by("sku").values_list(*columns))
    path = export("export_products")
    text = path.read_text(encoding="utf-8")
    for sku in levels():
        text = text.replace(f"\n{sku},", f"\n9-{sku},")
    path.write_text(text, encoding="utf-8")

    run("import_products", path)

    created = Product.objects.filter(sku__startswith="9-").order_by("sku").values_list(*columns)
    assert [(f"9-{sku}", *values) for sku, *values in products] == list(created)


def test_the_changes_of_an_export_of_events_can_be_applied_again(export: Export) -> None:
    stock.add(sku="POT", amount=6, reason="delivery", reference="po-7", by=ACTOR)
    stock.adjust(sku="00123", quantity=4, reason="stocktake", by=ACTOR)
    first = StockEvent.objects.filter(type="InventoryAdded").get()
    path = export("export_events")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row for row in rows if row[0] == "id" or int(row[0]) >= first.pk)

    run("bulk_adjust", path, "--amount-column", "quantity_change", "--operation", "change")

    assert levels() == {"CUP": 10, "POT": 17, "00123": 1, "OLD": 3}
    last = StockEvent.objects.filter(sku="POT").latest("pk")
    assert (last.quantity_change, last.reason, last.reference) == (6, "delivery", "po-7")


def test_the_back_office_applies_the_changes_of_its_export_of_events_again(
    browser: Client,
) -> None:
    stock.add(sku="POT", amount=6, reason="delivery", reference="po-7", by=ACTOR)
    url = reverse("admin:products_stockevent_export")
    added: Any = browser.get(url, {"format": "csv", "type__exact": "InventoryAdded"})

    apply(
        browser,
        "adjustments",
        added.getvalue(),
        amount_column="quantity_change",
        operation="change",
    )

    assert levels() == {"CUP": 10, "POT": 17, "00123": 7, "OLD": 3}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--reason", "stocktake"),
        ("--amount-column", "quantity", "--operation", "adjust", "--reason", "stocktake"),
    ],
)
def test_the_levels_in_an_export_of_events_are_not_taken_for_counts(
    export: Export, browser: Client, options: tuple[str, ...]
) -> None:
    path = export("export_events")
    before = stored()

    with pytest.raises(CommandError, match="Unknown columns: 'id'"):
        run("bulk_adjust", path, *options)
    url = reverse("admin:products_product_import", args=["adjustments"])
    page: Any = browser.post(
        url, {"file": SimpleUploadedFile("list", path.read_bytes()), "reason": "stocktake"}
    )
    assert "Unknown columns" in page.context["form"].errors["file"][0]

    assert stored() == before


def test_refused_lines_can_be_imported_in_the_back_office(
    export: Export, browser: Client, tmp_path: Path
) -> None:
    lines, rejects = tmp_path / "lines.csv", tmp_path / "rejects.csv"
    lines.write_text("sku,remove\nPOT,9\n")
    with pytest.raises(SystemExit):
        call_command(
            "bulk_adjust",
            str(lines),
            *("--keep-going", "--reference", "r-1", "--rejects", str(rejects)),
            stdout=StringIO(),
        )
    stock.add(sku="POT", amount=10, by=ACTOR)

    apply(browser, "adjustments", rejects.read_bytes())

    assert levels()["POT"] == 6
