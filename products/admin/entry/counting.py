"""Begin a count of products: those ticked in the list, or those of a filtered list."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from products.admin.entry.forms import CountForm
from products.admin.entry.kinds import COUNT
from products.admin.entry.pages import EntryAdmin, entry_of
from products.admin.exporting import CannotExport
from products.admin.printing import ProductExportAdmin
from products.files.entered import MAX_LINES
from products.files.exports import COUNT_SHEET
from products.files.lines import sku_of
from products.files.products import products_of
from products.models import Product


class CountAdmin(EntryAdmin, ProductExportAdmin):
    """Counts of several products, on the page Count or on paper."""

    whole_list_names = (*ProductExportAdmin.whole_list_names, "count_list", "count_sheet")

    def get_urls(self) -> list[URLPattern]:
        pages = [
            ("list/", self.count_list_view, "list"),
            ("sheet/", self.count_sheet_view, "sheet"),
            ("print/", require_POST(self.count_print_view), "print"),
        ]
        return [
            *(
                path(
                    f"count/{route}",
                    self.admin_site.admin_view(view),
                    name=f"products_product_count_{name}",
                )
                for route, view, name in pages
            ),
            *super().get_urls(),
        ]

    @admin.action(description="Count stock", permissions=["adjust"])
    def enter_counts(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse:
        """Show the page Count with the selected products."""
        return self._begin(request, queryset)

    def count_list_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the page Count with the products of a filtered list."""
        entry_of(request, COUNT.name)
        try:
            return self._begin(request, self.whole_list(request))
        except (IncorrectLookupParameters, CannotExport):
            # The list shows the error of its filter.
            return redirect(f"{_products()}?{request.GET.urlencode()}")

    def count_sheet_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send a file of the filtered list with an empty column for the counts."""
        entry_of(request, COUNT.name)
        return self.send_list(request, COUNT_SHEET, "Count")

    def count_print_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the products of the lines with an empty box each, to print."""
        entry_of(request, COUNT.name)
        form = CountForm(request.POST)
        problems: Sequence[Any] = form.errors.get("lines", [])
        skus = [] if problems else [sku_of(row) for row in form.cleaned_data["lines"].rows]
        found = products_of(skus)
        products = [product for sku in skus if (product := found.get(sku.upper()))]
        context = {
            "products": products,
            "problem": " ".join(map(str, problems)),
            "missing": len(skus) - len(products),
            "now": timezone.now(),
            "user": request.user,
        }
        return TemplateResponse(request, "products/admin/count_sheet.html", context)

    def _begin(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse:
        products = list(queryset.order_by("sku")[: MAX_LINES + 1])
        if len(products) > MAX_LINES:
            messages.warning(
                request,
                f"These are the first {MAX_LINES:,} products. Filter the list to count others, or "
                "download a count sheet of all of them above the list.",
            )
        products = products[:MAX_LINES]
        form = COUNT.entry_form(initial=_initial(products))
        return self.entry_page(request, COUNT, form)


def _initial(products: Sequence[Product]) -> dict[str, Any]:
    """Return the values of a form with these products and their levels, still without counts."""
    columns = ("sku", COUNT.column, "expected_quantity")
    rows = [columns, *((product.sku, "", product.quantity) for product in products)]
    skus = "\t".join(product.sku for product in products)
    return {
        "lines": "\n".join("\t".join(map(str, row)) for row in rows) if products else "",
        # The draft of a count is found again when the same products are counted.
        "start": sha256(skus.encode()).hexdigest()[:16] if products else "",
    }


def _products() -> str:
    return reverse("admin:products_product_changelist")
