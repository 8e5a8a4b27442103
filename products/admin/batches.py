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
from products.admin.dialogs import NoteField, ReasonField, WholeNumberField, joined
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
        return f"Set the minimum of {_products(len(edits))} to {minimum:,}."


class CountsForm(BatchForm):
    """A count for each product, with the level that the page showed when it was opened."""

    title = "Count stock"
    submit = "Save counts"

    reason = ReasonField("adjust")
    note = NoteField()

    def __init__(self, products: list[Product], *args: Any) -> None:
        super().__init__(products, *args)
        for product in products:
            self.fields[f"seen-{product.pk}"] = WholeNumberField(
                min_value=0, initial=product.quantity, widget=forms.HiddenInput
            )
            self.fields[f"count-{product.pk}"] = WholeNumberField(
                min_value=0, required=False, label=product.sku
            )

    def rows(self) -> list[tuple[Product, forms.BoundField, forms.BoundField]]:
        """Return each product with its fields, for the template."""
        return [
            (product, self[f"count-{product.pk}"], self[f"seen-{product.pk}"])
            for product in self.products
        ]

    def counted(self) -> list[Product]:
        """Return the products for which a count was entered."""
        return [
            product
            for product in self.products
            if self.cleaned_data[f"count-{product.pk}"] is not None
        ]

    def clean(self) -> dict[str, Any] | None:
        if not self.errors and not self.counted():
            raise forms.ValidationError("Enter a count for at least one product.")
        return self.cleaned_data

    def apply(self, by: stock.Actor) -> str:
        reason = joined(self.cleaned_data["reason"], self.cleaned_data["note"])
        counts = [
            stock.Adjust(
                sku=product.sku,
                quantity=self.cleaned_data[f"count-{product.pk}"],
                expected_quantity=self.cleaned_data[f"seen-{product.pk}"],
                reason=reason,
            )
            for product in self.counted()
        ]
        stock.apply(counts, by=by)
        return f"Counted {_products(len(counts))}."

    def refuse(self, error: stock.StockError) -> None:
        counted = self.counted()
        self.data = self.data.copy()
        for index, refused in error.lines:
            product = counted[index]
            self.add_error(f"count-{product.pk}", refused.detail)
            if isinstance(refused, stock.QuantityChanged):
                # The form now shows the new level, so sending it again confirms the count.
                product.refresh_from_db()
                self.data[f"seen-{product.pk}"] = str(product.quantity)
        if not error.lines:
            super().refuse(error)
        self.add_error(None, "Nothing was saved. Correct the counts and save again.")


def _products(number: int) -> str:
    return f"{number:,} product{pluralize(number)}"


class BatchActions(InventoryAdmin):
    """Bulk actions of the product list."""

    actions = ("set_minimum", "enter_counts")

    @admin.action(description=MinimumForm.title, permissions=["change"])
    def set_minimum(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        return self._run(request, queryset, MinimumForm)

    @admin.action(description=CountsForm.title, permissions=["adjust"])
    def enter_counts(
        self, request: HttpRequest, queryset: QuerySet[Product]
    ) -> HttpResponse | None:
        return self._run(request, queryset, CountsForm)

    def _run(
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
