"""Search in the list of products."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.html import format_html

from products.admin.base import BoundedPaginator, InventoryAdmin
from products.models import Product

MAX_FOUND = 1_000
"""Products of a search that can be paged through."""

LIST_VAR = "list"
"""The parameter that asks for the list of a search, although its text is a SKU."""


class FoundPaginator(BoundedPaginator):
    """Count the products of a search up to `MAX_FOUND`. Counting more would take too long."""

    def __init__(self, object_list: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(object_list, *args, **kwargs)
        self.found = getattr(object_list, "countable", None)
        if self.found is not None:
            self.max_listed = MAX_FOUND

    def countable_rows(self) -> QuerySet:
        return super().countable_rows() if self.found is None else self.found.order_by()


class ProductSearchAdmin(InventoryAdmin):
    """A list of products with a search. An exact SKU opens its product."""

    paginator = FoundPaginator
    search_fields = ("sku",)  # Shows the search field. See `get_search_results`.
    search_help_text = "Part of a SKU, or start of words of the name"  # Placeholder of the field.

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        if not search_term.strip():
            return queryset, False
        products: Any = queryset
        [order, *_] = products.query.order_by
        is_by_sku = order in ("sku", "-sku")
        return products.search(search_term, order=order if is_by_sku else None), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Open the product if the text of the search is its SKU."""
        wants_list = self._forget_list_parameter(request)
        if request.method == "GET" and not wants_list:
            product = _exact(request.GET)
            if product is not None and self.has_view_permission(request, product):
                return self._open(request, product)
        return super().changelist_view(request, extra_context)

    def _forget_list_parameter(self, request: HttpRequest) -> bool:
        query = request.GET.copy()
        is_given = query.pop(LIST_VAR, None) is not None
        request.GET = query  # type: ignore[assignment]
        return is_given

    def _open(self, request: HttpRequest, product: Product) -> HttpResponse:
        others = Product.objects.active().search(product.sku).exclude(pk=product.pk)
        if others.exists():
            query = QueryDict(mutable=True)
            query.update({SEARCH_VAR: request.GET[SEARCH_VAR], LIST_VAR: "1"})
            text = 'Opened the product with this SKU. <a class="underline" href="{}">{}</a>'
            listed = f"{request.path}?{query.urlencode()}"
            link = format_html(text, listed, f"Show all products found by {product.sku}")
            messages.info(request, link)
        return HttpResponseRedirect(reverse("admin:products_product_change", args=[product.pk]))


def _exact(query: QueryDict) -> Product | None:
    """Return the product whose SKU is the text of a new search."""
    text = query.get(SEARCH_VAR, "").strip()
    # A link to another page or order of the list is no new search.
    if not text or "\0" in text or query.keys() & {"p", "o", "e"}:
        return None
    return Product.objects.with_skus([text]).first()
