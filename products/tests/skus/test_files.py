"""Files, exports and the back office, with all characters of SKUs."""

import csv
import re
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from rest_framework.test import APIClient

from products import stock
from products.files import bulk
from products.models import Product
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory
from products.validators import SKU_PATTERN, is_sku

pytestmark = pytest.mark.django_db

MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")
SKUS = ["tee", "Tee 1.5_x", "A  B", "v1..", "a_", "00.10", "Low-Stock", "x" * 50]

Rows = list[list[Any]]


def as_csv(rows: Rows) -> bytes:
    file = StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def as_xlsx(rows: Rows) -> bytes:
    workbook, file = Workbook(), BytesIO()
    for row in rows:
        workbook.worksheets[0].append(row)
    workbook.save(file)
    return file.getvalue()


@pytest.fixture
def browser() -> Client:
    return browser_of("Ada", *MANAGER)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command on a CSV file, and returns its output."""

    def run(name: str, rows: Rows, *options: str) -> str:
        path, output = tmp_path / "rows.csv", StringIO()
        path.write_bytes(as_csv(rows))
        with suppress(SystemExit):
            call_command(name, str(path), *options, stdout=output)
        return output.getvalue()

    return run


Command = Callable[..., str]


def preview(browser: Client, kind: str, content: bytes, **fields: str) -> Any:
    url = reverse("admin:products_product_import", args=[kind])
    page: Any = browser.post(url, {"file": SimpleUploadedFile("rows", content), **fields})
    assert "rows" in page.context, page.context["form"].errors
    return page


def confirm(browser: Client, page: Any) -> None:
    pending = page.context["pending"]
    assert pending, problems_of(page)
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    assert "Imported" in browser.post(url, follow=True).content.decode()


def problems_of(page: Any) -> list[tuple[int, str, str]]:
    return [
        (row.line.number, problem.code, problem.detail)
        for row in page.context["rows"]
        for problem in row.line.problems
    ]


PRODUCTS: Rows = [["sku", "name", "quantity"], *([sku, "Name", 5] for sku in SKUS)]
COUNTS: Rows = [["sku", "quantity", "reason"], *([sku, 7, "count"] for sku in SKUS)]


def test_commands_read_products_and_counts(command: Command) -> None:
    command("import_products", PRODUCTS)
    command("bulk_adjust", COUNTS)

    assert dict(Product.objects.values_list("sku", "quantity")) == dict.fromkeys(SKUS, 7)


@pytest.mark.parametrize("written", [as_csv, as_xlsx])
def test_the_back_office_reads_products_and_counts(
    browser: Client, written: Callable[[Rows], bytes]
) -> None:
    confirm(browser, preview(browser, "products", written(PRODUCTS)))
    confirm(browser, preview(browser, "adjustments", written(COUNTS)))

    assert dict(Product.objects.values_list("sku", "quantity")) == dict.fromkeys(SKUS, 7)


def test_a_run_that_was_interrupted_goes_on_behind_its_last_sku(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are staged without regard to case."""
    monkeypatch.setattr(bulk, "SHORT_BATCH", 1)
    skus = ["b", "C", "a", "B-1"]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=0)
    rows: Rows = [["sku", "add"], *([sku, 1] for sku in skus)]
    options = ("--keep-going", "--reference", "delivery-1")
    apply_batch, left = bulk._apply_batch, [0, 1]

    def fail_later(batch: Any) -> Any:
        left.pop()
        return apply_batch(batch)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_apply_batch", fail_later)
        with pytest.raises(IndexError):
            command("bulk_adjust", rows, *options)
    assert sum(Product.objects.values_list("quantity", flat=True)) == 2

    command("bulk_adjust", rows, *options)

    assert dict(Product.objects.values_list("sku", "quantity")) == dict.fromkeys(skus, 1)


# -------------------------------------------------------------------------------------------- case


@pytest.mark.parametrize("size", [1, 2, 5_000])
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--allow-similar"]])
def test_a_file_cannot_have_two_new_skus_that_differ_by_case_alone(
    command: Command, size: int, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "WHOLE_BATCH", size)
    rows: Rows = [["sku", "name"], ["tee", "x"], ["U", "x"], ["mug", "x"], ["TEE", "x"]]

    output = command("import_products", rows, *option)

    assert output.startswith(
        "2\ttee\tduplicate_sku\tTEE is on line 5. Only case distinguishes tee from TEE.\n"
    )
    assert not Product.objects.exists()


@pytest.mark.parametrize("size", [1, 5_000])
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--allow-similar"]])
def test_a_file_cannot_create_a_product_in_another_case(
    command: Command, size: int, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "WHOLE_BATCH", size)
    ProductFactory.create(sku="Tee")
    stock.edit(sku="Tee", archived=True, by=ACTOR)

    output = command("import_products", [["sku", "name"], ["a", "x"], ["tEE", "x"]], *option)

    assert output.startswith(
        "3\ttEE\tduplicate_sku\tProduct Tee already exists and is archived. Restore it instead. "
        "Only case distinguishes tEE from Tee.\n"
    )
    assert Product.objects.count() == 1


@pytest.mark.parametrize("fields", [{}, {"allow_similar": "on"}])
def test_the_back_office_refuses_both(browser: Client, fields: dict[str, str]) -> None:
    ProductFactory.create(sku="Tee")
    rows: Rows = [["sku", "name"], ["mug", "x"], ["tee", "x"], ["MUG", "x"], ["mug", "x"]]

    page = preview(browser, "products", as_csv(rows), **fields)

    assert problems_of(page) == [
        (3, "duplicate_sku", "Product Tee already exists. Only case distinguishes tee from Tee."),
        (4, "duplicate_sku", "mug is on line 2. Only case distinguishes MUG from mug."),
        (5, "invalid", "mug is already on line 2. Delete one of the two."),
    ]


def test_a_product_created_after_the_preview_is_a_duplicate_in_any_case(browser: Client) -> None:
    page = preview(browser, "products", as_csv([["sku", "name"], ["tee", "x"]]))
    ProductFactory.create(sku="TEE")
    url = reverse(
        "admin:products_product_import_confirm", args=["products", page.context["pending"].pk]
    )

    again = browser.post(url)

    assert problems_of(again) == [
        (2, "duplicate_sku", "Product TEE already exists. Only case distinguishes tee from TEE.")
    ]


def test_leading_zeros_are_compared_without_case(command: Command) -> None:
    ProductFactory.create(sku="00tee")

    output = command("import_products", [["sku", "name"], ["TEE", "x"]])

    assert "Only leading zeros distinguish it from 00tee" in output


def test_capitals_bring_a_file_to_one_spelling(command: Command) -> None:
    ProductFactory.create(sku="TEE M", quantity=1)

    command("bulk_adjust", [["sku", "add"], ["tee m", 1], ["Tee M", 1]], "--upper-case")

    assert Product.objects.get().quantity == 3


# --------------------------------------------------------------------------------------- round trip

# Files have these in place of a value.
NO_VALUES = {"NULL", "null", "nan", "NaN"}
some_skus = st.from_regex(SKU_PATTERN, fullmatch=True).filter(
    lambda sku: is_sku(sku) and sku not in NO_VALUES
)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(skus=st.lists(some_skus, min_size=1, max_size=5, unique_by=str.upper))
@hypothesis.example(skus=["1.50", "0", "true", "v1..", "A  B", "1E5", "00-1", "x" * 50])
def test_every_sku_goes_through_a_route_a_file_an_export_and_back(
    api: APIClient, tmp_path: Path, skus: list[str]
) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes(as_csv([["sku", "name", "quantity"], *([sku, "Name", 5] for sku in skus)]))
    said = StringIO()
    with transaction.atomic():
        call_command("import_products", str(path), "--allow-similar", stdout=StringIO())
        for sku in skus:
            assert api.get(f"/v1/products/{quote(sku)}").json()["sku"] == sku
            assert found(api, sku=sku) == [sku]
            assert sku in found(api, search=sku)
        call_command("export_products", str(path), stdout=StringIO())
        call_command("import_products", str(path), stdout=said)
        transaction.set_rollback(True)

    with path.open(encoding="utf-8", newline="") as file:
        assert [row["sku"] for row in csv.DictReader(file)] == sorted(skus)
    assert re.search(rf"  unchanged +{len(skus)}\n", said.getvalue())


def found(api: APIClient, **query: str) -> list[str]:
    return [row["sku"] for row in api.get("/v1/products", query).json()["results"]]


def test_an_exported_workbook_can_be_imported(browser: Client) -> None:
    confirm(browser, preview(browser, "products", as_xlsx(PRODUCTS)))
    url = reverse("admin:products_product_export")

    response: Any = browser.get(url, {"format": "xlsx"})

    content = b"".join(response.streaming_content) if response.streaming else response.content
    sheet = load_workbook(BytesIO(content)).worksheets[0]
    assert sorted(str(row[0]) for row in sheet.iter_rows(min_row=2, values_only=True)) == sorted(
        SKUS
    )
    page = preview(browser, "products", content)
    assert not page.context["wrong"], problems_of(page)
    assert dict(page.context["tally"])["unchanged"] == len(SKUS)
