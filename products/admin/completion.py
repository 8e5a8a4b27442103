"""Complete SKUs while they are typed, and look up the products of typed SKUs."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path

from products.admin.base import InventoryAdmin
from products.models import Product
from products.validators import MAX_NAME_LENGTH, MAX_SKU_LENGTH

MAX_SUGGESTED = 15
MAX_LOOKED_UP = 100
"""SKUs in one request. `lines.js` sends several requests for more."""


class SearchForm(forms.Form):
    """The text to search for. Refuses texts that the database could not store."""

    q = forms.CharField(max_length=MAX_NAME_LENGTH)


class CompletionAdmin(InventoryAdmin):
    """The requests of `lines.js`, for users who may view products."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.complete_view)
        return [path("complete/", view, name="products_product_complete"), *super().get_urls()]

    def complete_view(self, request: HttpRequest) -> JsonResponse:
        """Return the products that match `q`, or those with the SKUs in `sku`.

        Archived products are not suggested, but they can be looked up.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        if skus := request.GET.getlist("sku"):
            found: Iterable[Product] = with_skus(skus[:MAX_LOOKED_UP])
        else:
            form = SearchForm(request.GET)
            found = suggested(form.cleaned_data["q"]) if form.is_valid() else []
        return JsonResponse({"results": [described(product) for product in found]})


def with_skus(skus: Iterable[str]) -> Iterable[Product]:
    """Return the products with these SKUs, without regard to case and to blanks around them."""
    cleaned = {sku.strip() for sku in skus}
    known = [sku for sku in cleaned if sku and len(sku) <= MAX_SKU_LENGTH and "\0" not in sku]
    return Product.objects.with_skus(known) if known else []


def suggested(text: str) -> list[Product]:
    """Return the products that match a text. The one whose SKU is the text comes first."""
    exact = [product for product in with_skus([text]) if not product.archived]
    found = Product.objects.active().search(text).order_by("sku")[:MAX_SUGGESTED]
    others = [product for product in found if product not in exact]
    return [*exact, *others][:MAX_SUGGESTED]


def described(product: Product) -> dict[str, Any]:
    """Return a product as `lines.js` reads it."""
    return {
        "sku": product.sku,
        "name": product.name,
        "available": product.available_quantity,
        "quantity": product.quantity,
        "archived": product.archived,
    }
