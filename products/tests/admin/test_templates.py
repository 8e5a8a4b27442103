"""Empty files to fill in and import."""

import csv
import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from openpyxl import load_workbook

from products.models import Product
from products.tests.admin.browsers import browser_of
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db

MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")
ROWS = {
    "products": ["00123", "Pen", "", "5", "2", ""],
    "deliveries": ["CUP", "5", "delivery", "po-7"],
    "counts": ["CUP", "5", "stocktake", ""],
}


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *MANAGER)


def template_of(client: Client, name: str, file_format: str) -> Any:
    return client.get(f"/admin/products/product/template/{name}.{file_format}")


def filled_in(content: bytes, file_format: str, row: list[str]) -> bytes:
    """Return the file with a row, as a spreadsheet program would save it."""
    if file_format == "csv":
        text = io.StringIO()
        csv.writer(text).writerow(row)
        return content + text.getvalue().encode()
    workbook = load_workbook(io.BytesIO(content))
    workbook.worksheets[0].append(row)
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [("products", "products"), ("adjustments", "deliveries"), ("adjustments", "counts")],
)
def test_a_template_is_filled_in_and_imported(
    manager: Client, kind: str, name: str, file_format: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    url = reverse("admin:products_product_import", args=[kind])
    template = template_of(manager, name, file_format)
    assert f'href="{template.request["PATH_INFO"]}"' in manager.get(url).content.decode()
    file = filled_in(template.content, file_format, ROWS[name])

    preview = manager.post(url, {"file": SimpleUploadedFile(f"x.{file_format}", file)})
    done = manager.post(preview.context["confirm_url"], follow=True)

    assert "Imported 1 row." in done.content.decode()
    expected = {"products": 10, "deliveries": 15, "counts": 5}[name]
    assert Product.objects.get(sku="CUP").quantity == expected


@pytest.mark.parametrize("kind", ["receive", "count"])
def test_the_pages_to_enter_lines_offer_their_template(manager: Client, kind: str) -> None:
    page = manager.get(f"/admin/products/product/{kind}/").content.decode()

    name = {"receive": "deliveries", "count": "counts"}[kind]
    assert f'href="/admin/products/product/template/{name}.xlsx"' in page


@pytest.mark.parametrize(
    ("name", "file_format"), [("nothing", "csv"), ("counts", "pdf"), ("count-s", "csv")]
)
def test_other_templates_do_not_exist(manager: Client, name: str, file_format: str) -> None:
    assert template_of(manager, name, file_format).status_code == 404


def test_a_template_needs_the_right_to_view_products() -> None:
    assert template_of(browser_of("Eve"), "counts", "csv").status_code == 403
