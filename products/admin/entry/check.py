"""What a page shows about lines while they are entered."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, JsonResponse
from django.urls import reverse

from products import stock
from products.admin.base import actor_of
from products.admin.entry.kinds import UNSHARED, Entry
from products.admin.imports.kinds import PreviewRow
from products.files.cells import Row, text_of
from products.files.columns import Columns
from products.files.lines import sku_of
from products.files.products import products_of
from products.models import Product

MIN_DIGITS_OF_A_SCAN = 4


def checked_response(request: HttpRequest, kind: Entry) -> JsonResponse:
    """Return the products and the problems of lines while they are entered, as JSON."""
    form = kind.entry_form(request.POST)
    if problems := form.errors.get("lines"):
        return JsonResponse({"error": " ".join(map(str, problems)), "lines": []})
    lines = check_lines(kind, *form.cleaned_data["lines"], by=actor_of(request))
    if request.user.has_perm("products.add_product"):
        page = reverse("admin:products_product_add")
        for line in lines:
            if line["is_unknown"]:
                line["create"] = f"{page}?{urlencode({'sku': line['sku']})}"
    return JsonResponse({"error": "", "lines": lines})


def check_lines(
    kind: Entry, rows: Sequence[Row], columns: Columns, *, by: stock.Actor
) -> list[dict[str, Any]]:
    """Return each line with its product and its problems, for the page."""
    amounts = [text_of(row.cells.get(kind.column)).strip() for row in rows]
    # A line without an amount is checked with one, to find errors of its SKU.
    filled = [
        row if amount else row._replace(cells={**row.cells, kind.column: "1"})
        for row, amount in zip(rows, amounts, strict=True)
    ]
    lines = kind.preview(kind.lines(filled, columns, UNSHARED), by=by)
    products = products_of([*map(sku_of, rows), *filter(_may_be_scan, amounts)])
    return [
        _checked(row, line, amount, products)
        for row, line, amount in zip(rows, lines, amounts, strict=True)
    ]


def _may_be_scan(amount: str) -> bool:
    return len(amount) >= MIN_DIGITS_OF_A_SCAN


def _is_about_sku(problem: stock.StockError) -> bool:
    if isinstance(problem, stock.Invalid):
        return problem.field == "sku"
    return isinstance(problem, stock.ProductNotFound | stock.ProductArchived)


def _checked(
    row: Row, previewed: PreviewRow, amount: str, products: Mapping[str, Product]
) -> dict[str, Any]:
    sku, line = sku_of(row), previewed.line
    product = products.get(sku.upper())
    problems = [each.detail for each in line.problems if amount or _is_about_sku(each)]
    warning = previewed.warning if amount else ""
    if _may_be_scan(amount) and amount.upper() in products and not problems:
        warning = f"{amount} is also a SKU. Check the number of units."
    is_sku_wrong = any(map(_is_about_sku, line.problems))
    return {
        "sku": product.sku if product else sku,
        "amount": amount,
        "expected": text_of(row.cells.get("expected_quantity")),
        "problems": problems,
        "wrong": problems and ("sku" if is_sku_wrong else "amount"),
        "is_unknown": any(isinstance(each, stock.ProductNotFound) for each in line.problems),
        "warning": warning,
        "moved": line.moved if amount else "",
        "product": product and _described(product),
    }


def _described(product: Product) -> dict[str, Any]:
    return {
        "name": product.name,
        "url": reverse("admin:products_product_change", args=[product.pk]),
        "quantity": product.quantity,
        "reserved": product.reserved_quantity,
        "archived": product.archived,
    }
