"""Exports of a list by its links."""

from io import BytesIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from openpyxl import load_workbook
from playwright.sync_api import Page, expect

from products import stock
from products.tests.browser.steps import log_in, open_menu, search_products
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


def download(page: Page, title: str) -> Path:
    """Click a link and return the path of the downloaded file."""
    with page.expect_download() as started:
        page.get_by_role("link", name=title).click()
    return Path(started.value.path())


def test_an_export_contains_the_searched_products(page: Page, ada: User) -> None:
    for sku in ("CUP-1", "CUP-2", "JUG"):
        ProductFactory.create(sku=sku)
    log_in(page, ada)
    search_products(page, "cup")

    open_menu(page, "Export")
    as_csv = download(page, "Export as CSV")
    as_xlsx = download(page, "Export as XLSX")

    lines = as_csv.read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == ["sku", "CUP-1", "CUP-2"]
    sheet = load_workbook(BytesIO(as_xlsx.read_bytes())).worksheets[0]
    assert [row[0].value for row in sheet.rows] == ["sku", "CUP-1", "CUP-2"]


def test_the_ledger_and_the_reservations_can_be_exported(page: Page, ada: User) -> None:
    ProductFactory.create(sku="CUP")
    stock.reserve(sku="CUP", amount=3, reference="order-1", by=ACTOR)
    log_in(page, ada)

    page.goto("/admin/products/stockevent/?type__exact=InventoryReserved")
    open_menu(page, "Export")
    events = download(page, "Export as CSV").read_text(encoding="utf-8-sig")
    page.goto("/admin/products/reservation/")
    open_menu(page, "Export")
    lines = download(page, "Export as CSV").read_text(encoding="utf-8-sig")

    assert "InventoryReserved" in events
    assert "ProductCreated" not in events
    assert "order-1" in lines


def test_a_refused_export_shows_the_reason_above_the_list(
    page: Page, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("products.admin.exporting.MAX_XLSX_ROWS", 1)
    for sku in ("CUP-1", "CUP-2"):
        ProductFactory.create(sku=sku)
    log_in(page, ada)
    search_products(page, "cup")

    open_menu(page, "Export")
    page.get_by_role("link", name="Export as XLSX").click()

    expect(page.get_by_text("Export as CSV, or filter the list first")).to_be_visible()
    expect(page.get_by_role("link", name="CUP-1", exact=True)).to_be_visible()
