"""Bulk actions on selected products. Each is a form and one call of `products.stock`."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse

from products import stock
from products.admin.base import InventoryAdmin, actor_of
from products.admin.dialogs import WholeNumberField
from products.models import Product

MAX_SELECTED = 1_000


class BatchForm(forms.Form):
    """Form of a bulk action on the selected products."""

    title: ClassVar[str]
    submit: ClassVar[str]
    data: Any

    def __init__(self, products: list[Product], *args: Any) -> None:
        self.products = products
        super().__init__(*args)

    def holding(self) -> list[Product]:
        """Return the products to warn about, because they have units on hand."""
        return []

    def apply(self, by: stock.Actor) -> str:
        """Apply the change and return a success message. Raises `StockError`."""
        raise NotImplementedError

    def refuse(self, error: stock.StockError) -> None:
        """Show the error in the form."""
        self.add_error(None, error.detail)


class MinimumForm(BatchForm):
    title = "Set minimum"
    submit = "Set minimum"

    minimum_stock_level = WholeNumberField(min_value=0, label="Minimum")

    def apply(self, by: stock.Actor) -> str:
        minimum = self.cleaned_data["minimum_stock_level"]
        edits = [
            stock.Edit(sku=product.sku, minimum_stock_level=minimum) for product in self.products
        ]
        stock.save_products(edits, by=by)
        return f"Set the minimum of {count_products(len(edits))} to {minimum:,}."


def count_products(number: int) -> str:
    """Return a number of products in words."""
    return f"{number:,} product{pluralize(number)}"


class BatchActions(InventoryAdmin):
    """Bulk actions of the product list."""

    actions: ClassVar[tuple[str, ...]] = ("set_minimum",)

    @admin.action(description=MinimumForm.title, permissions=["change"])
    def set_minimum(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        return self.run_batch(request, queryset, MinimumForm)

    def run_batch(
        self,
        request: HttpRequest,
        queryset: QuerySet[Product],
        form_class: type[BatchForm],
    ) -> HttpResponse | None:
        """Show the form or apply it. Return None to show the list again."""
        products = list(queryset.order_by("sku")[: MAX_SELECTED + 1])
        if len(products) > MAX_SELECTED:
            self.message_user(
                request, f"Select at most {MAX_SELECTED:,} products.", level=messages.ERROR
            )
            return None
        sent = "apply" in request.POST
        form = form_class(products, *([request.POST] if sent else []))
        if sent and form.is_valid():
            try:
                self.message_user(request, form.apply(actor_of(request)))
            except stock.StockError as error:
                form.refuse(error)
            else:
                return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": form_class.title,
            "form": form,
            "action": request.POST["action"],
            "selected": [product.pk for product in products],
        }
        return TemplateResponse(request, "admin/products/batch.html", context)
