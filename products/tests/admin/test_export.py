"""Exports of the back office: filters, formats, formulas, permissions and re-import."""

import csv
import html
import io
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from openpyxl import load_workbook

from products import stock
from products.admin import exporting
from products.files import exports
from products.files.cells import escape_formula
from products.models import Product
from products.tests.admin.browsers import browser_of
from products.tests.admin.test_import import changes_of, confirm_url, upload
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CSV, XLSX = "csv", "xlsx"
HEADER = [
    "sku",
    "name",
    "description",
    "quantity",
    "reserved_quantity",
    "available_quantity",
    "minimum_stock_level",
    "low_stock",
    "archived",
    "updated_at",
    "to_order",
]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x"]


@pytest.fixture
def viewer() -> Client:
    return browser_of("Vera", "view_product", "view_reservation")


def export(client: Client, model: str = "product", form: str = CSV, **query: str) -> Any:
    return client.get(reverse(f"admin:products_{model}_export", query={**query, "format": form}))


def csv_of(response: Any) -> list[list[str]]:
    assert response["Content-Type"] == "text/csv"
    text = response.getvalue().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def xlsx_of(response: Any) -> list[list[Any]]:
    workbook = load_workbook(io.BytesIO(response.getvalue()))
    return [[cell.value for cell in row] for row in workbook.worksheets[0].rows]


def test_an_export_uses_the_filters_and_the_search_of_the_list(viewer: Client) -> None:
    cup = ProductFactory.create(sku="CUP", name="Blue cup", quantity=10, minimum_stock_level=8)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    ProductFactory.create(sku="MUG", name="Blue mug", quantity=10)
    ProductFactory.create(sku="JUG", name="Red jug", quantity=0, minimum_stock_level=1)
    cup.refresh_from_db()

    response = export(viewer, q="blue", stock="low")

    time = cup.updated_at.isoformat().replace("+00:00", "Z")
    values = ["CUP", "Blue cup", "", "10", "4", "6", "8", "true", "false", time, "10"]
    assert csv_of(response) == [HEADER, values]
    assert 'filename="Product-' in response["Content-Disposition"]


def test_xlsx_cells_hold_numbers_as_numbers(viewer: Client) -> None:
    ProductFactory.create(sku="22196", name="Cup\x07", quantity=10)

    header, row = xlsx_of(export(viewer, form=XLSX))

    assert header == HEADER
    # XLSX cannot hold control characters.
    assert row[:4] == ["22196", "Cup\N{REPLACEMENT CHARACTER}", None, 10]


@pytest.mark.parametrize("form", [CSV, XLSX])
@pytest.mark.parametrize("text", FORMULAS)
def test_an_export_escapes_formulas(viewer: Client, form: str, text: str) -> None:
    ProductFactory.create(sku="CUP", name=text, description=text)

    response = export(viewer, form=form)

    _, row = csv_of(response) if form == CSV else xlsx_of(response)
    assert row[1].startswith("'")
    assert row[2].startswith("'")


def in_one_line(text: str) -> str:
    """Return a text that an import accepts as a name."""
    return text.replace("\r", " ").replace("\n", " ")


def test_importing_an_unchanged_export_changes_nothing() -> None:
    manager = browser_of("Ada", "view_product", "add_product", "change_product")
    for text in [*FORMULAS, 'a, "b";\nc', " spaced ", "é→😀", "'quoted'"]:
        ProductFactory.create(name=in_one_line(text), description=text, minimum_stock_level=3)
    stock.reserve(sku=Product.objects.all()[0].sku, amount=4, by=ACTOR)
    exported = export(manager).getvalue()

    unchanged = upload(manager, "products", exported)

    assert {label for _, label in changes_of(unchanged)} == {"Unchanged"}

    before = stored()["Product"]
    edited = exported.replace(b"a, ", b"A, ")
    manager.post(confirm_url(upload(manager, "products", edited)))

    changed = Product.objects.get(name='A, "b"; c', description='A, "b";\nc')
    assert [row for row in stored()["Product"] if row not in before] == [
        Product.objects.values_list().get(pk=changed.pk)
    ]


def test_an_export_can_be_imported_into_an_empty_service() -> None:
    texts = [*FORMULAS, 'a, "b";\nc']
    exported = [HEADER]
    for number, text in enumerate(texts):
        name, description = escape_formula(in_one_line(text)), escape_formula(text)
        levels = ["7", "2", "5", "6", "true", "false"]
        exported.append([f"SKU-{number}", name, description, *levels, ""])
    file = io.StringIO()
    csv.writer(file).writerows(exported)
    manager = browser_of("Ada", "view_product", "add_product", "change_product")

    manager.post(confirm_url(upload(manager, "products", file.getvalue())))

    made = Product.objects.order_by("pk")
    assert [each.name for each in made] == [in_one_line(text) for text in texts]
    assert [each.description for each in made] == texts
    assert {each.levels for each in made} == {(7, 0, 6)}


def test_a_reservation_export_has_a_row_for_each_line(viewer: Client) -> None:
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, quantity=10)
    lines = [stock.Line("CUP", 3), stock.Line("MUG", 2)]
    reservation = stock.reserve_lines(lines=lines, reference="=order", by=ACTOR)
    stock.fulfill(reservation_id=reservation.pk, lines=[stock.Line("CUP", 1)], by=ACTOR)
    stock.reserve(sku="CUP", amount=1, reference="another", by=ACTOR)

    header, *rows = csv_of(export(viewer, "reservation", q="=order"))

    start = [str(reservation.pk), "'=order", "open", ""]
    assert header[:5] == ["reservation", "reference", "status", "expires_at", "created_at"]
    assert header[5:] == ["sku", "name", "amount", "fulfilled", "released", "expired", "open"]
    assert [row[:4] + row[5:] for row in rows] == [
        [*start, "CUP", "Product CUP", "3", "1", "0", "0", "2"],
        [*start, "MUG", "Product MUG", "2", "0", "0", "0", "2"],
    ]


@pytest.mark.parametrize("model", ["product", "reservation"])
def test_an_export_makes_the_same_queries_for_any_number_of_rows(
    viewer: Client, model: str, django_assert_num_queries: Any
) -> None:
    for _ in range(20):
        stock.reserve(sku=ProductFactory.create().sku, amount=1, by=ACTOR)

    # Session, user, two for permissions, and the rows.
    with django_assert_num_queries(5):
        rows = csv_of(export(viewer, model))

    assert len(rows) == 21


def test_an_xlsx_export_refuses_too_many_rows(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_XLSX_ROWS", 2)
    ProductFactory.create_batch(3)

    refused = export(viewer, form=XLSX, q="product")

    assert refused.url == f"{reverse('admin:products_product_changelist')}?q=product"
    assert "Export as CSV, or filter the list first" in viewer.get(refused.url).content.decode()
    assert len(csv_of(export(viewer))) == 4


def ledger_export(client: Client) -> Any:
    return client.get(reverse("admin:products_stockevent_export"))


@pytest.mark.parametrize(
    "again", [export, partial(export, form=XLSX), ledger_export], ids=["csv", "xlsx", "ledger"]
)
@pytest.mark.parametrize("first", [export, ledger_export], ids=["csv", "ledger"])
def test_a_second_export_is_refused_while_one_is_running(
    first: Callable[[Client], Any], again: Callable[[Client], Any]
) -> None:
    ProductFactory.create()
    client = browser_of("Vera", "view_product", "view_stockevent")
    sending = first(client)

    refused = again(client)
    shown = refused.content if refused.status_code == 200 else client.get(refused.url).content
    sending.getvalue()
    done = again(client)

    assert "Another export is running" in shown.decode()
    assert done.getvalue()


def test_an_interrupted_export_allows_the_next_one(viewer: Client) -> None:
    exporting.OnlyExport([]).close()
    exporting.OnlyExport([])  # Garbage-collected without being closed.

    assert csv_of(export(viewer)) == [HEADER]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")
def test_an_interrupted_export_closes_its_cursor() -> None:
    ProductFactory.create()
    rows = exports.read_rows(Product.objects.all(), exports.PRODUCT_EXPORT)
    export = exporting.OnlyExport(rows)

    def cursors() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%'")
            return int(cursor.fetchone()[0])

    next(iter(export))
    assert cursors() == 1

    export.close()

    assert cursors() == 0


def test_the_export_links_of_a_list_keep_its_search(viewer: Client) -> None:
    ProductFactory.create(sku="CUP")

    listed = viewer.get(reverse("admin:products_product_changelist"), {"q": "cup", "p": "1"})

    links = re.findall(r'href="([^"]*/export/[^"]*)"', listed.content.decode())
    url = reverse("admin:products_product_export")
    assert links == [f"{url}?q=cup", f"{url}?format=xlsx&amp;q=cup"]
    as_csv, as_xlsx = map(html.unescape, links)
    assert csv_of(viewer.get(as_csv))[1][0] == "CUP"
    assert xlsx_of(viewer.get(as_xlsx))[1][0] == "CUP"


@pytest.mark.parametrize("form", ["", "0", "CSV", "json"])
def test_an_unknown_format_is_refused(viewer: Client, form: str) -> None:
    response = export(viewer, form=form)

    assert response.status_code == 302
    assert "Choose CSV or XLSX." in viewer.get(response.url).content.decode()


def test_an_unknown_filter_is_refused_as_in_the_list(viewer: Client) -> None:
    page = reverse("admin:products_product_changelist")
    for query in ({"low_stock__exact": "1"}, {"name__regex": "x"}, {"nothing": "1"}):
        assert export(viewer, **query).status_code == viewer.get(page, query).status_code == 400


@pytest.mark.parametrize("model", ["product", "reservation"])
def test_an_export_needs_the_permission_to_view_its_list(model: str) -> None:
    ProductFactory.create(sku="CUP")
    other = {"product": "view_reservation", "reservation": "view_product"}[model]

    responses = [
        export(browser_of("Vera", f"view_{model}"), model).status_code,
        export(browser_of("Olga", other), model).status_code,
        export(Client(), model).status_code,
    ]

    assert responses == [200, 403, 302]
    assert get_user_model().objects.count() == 2
