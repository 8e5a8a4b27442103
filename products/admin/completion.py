"""Suggest products while a SKU is typed."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path

from products.admin.base import InventoryAdmin
from products.models import Product
from products.validators import MAX_NAME_LENGTH

MAX_SUGGESTED = 15


class SearchForm(forms.Form):
    """The text to search for. Refuses texts that the database could not store."""

    q = forms.CharField(max_length=MAX_NAME_LENGTH)


class CompletionAdmin(InventoryAdmin):
    """The requests of `entry_completion.js`, for users who may view products."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.complete_view)
        return [path("complete/", view, name="products_product_complete"), *super().get_urls()]

    def complete_view(self, request: HttpRequest) -> JsonResponse:
        """Return the products that match `q`. Archived products are not suggested."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = SearchForm(request.GET)
        found = suggested(form.cleaned_data["q"]) if form.is_valid() else []
        return JsonResponse({"results": [described(product) for product in found]})


def suggested(text: str) -> list[Product]:
    """Return the products that match a text. The one whose SKU is the text comes first."""
    active = Product.objects.active()
    exact = list(active.with_skus([text]))
    found = active.search(text).order_by("sku")[:MAX_SUGGESTED]
    others = [product for product in found if product not in exact]
    return [*exact, *others][:MAX_SUGGESTED]


def described(product: Product) -> dict[str, Any]:
    """Return a product as `entry_completion.js` reads it."""
    return {
        "sku": product.sku,
        "name": product.name,
        "available": product.available_quantity,
    }
