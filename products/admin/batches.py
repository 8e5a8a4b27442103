"""Actions on many selected products: a page with a form, one call of `products.stock`."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from products import stock
from products.admin.base import InventoryAdmin, actor_of
from products.admin.dialogs import NoteField, ReasonField, WholeNumberField, joined
from products.models import Product

MAX_SELECTED = 1_000


class BatchForm(forms.Form):
    """What is asked for the selected products."""

    data: Any

    def __init__(self, products: list[Product], *args: Any) -> None:
        self.products = products
        super().__init__(*args)

    def carry_out(self, by: stock.Actor) -> str:
        """Make the call and return what the person is told. Raises `StockError`."""
        raise NotImplementedError

    def refuse(self, error: stock.StockError) -> None:
        """Say why it was refused."""
        self.add_error(None, error.detail)


class MinimumForm(BatchForm):
    minimum_stock_level = WholeNumberField(min_value=0, label="Minimum")

    def carry_out(self, by: stock.Actor) -> str:
        minimum = self.cleaned_data["minimum_stock_level"]
        edits = [
            stock.Edit(sku=product.sku, minimum_stock_level=minimum) for product in self.products
        ]
        stock.save_products(edits, by=by)
        return f"The minimum of {len(edits)} products is {minimum} now."


class CountsForm(BatchForm):
    """A count for each product, and the level that the person saw when the page was opened."""

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
            raise forms.ValidationError("Enter a count for one product at least.")
        return self.cleaned_data

    def carry_out(self, by: stock.Actor) -> str:
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
        return f"{len(counts)} products adjusted."

    def refuse(self, error: stock.StockError) -> None:
        counted = self.counted()
        self.data = self.data.copy()
        for index, refused in error.lines:
            product = counted[index]
            self.add_error(f"count-{product.pk}", refused.detail)
            if isinstance(refused, stock.QuantityChanged):
                # Whoever sends it once more has seen the new level.
                product.refresh_from_db()
                self.data[f"seen-{product.pk}"] = str(product.quantity)
        if not error.lines:
            super().refuse(error)
        self.add_error(None, "Nothing was adjusted.")


class BatchActions(InventoryAdmin):
    """Adds the actions to the list of products."""

    actions = ("set_minimum", "enter_counts")

    @admin.action(description="Set the minimum", permissions=["change"])
    def set_minimum(self, request: HttpRequest, queryset: QuerySet[Product]) -> HttpResponse | None:
        return self._ask(request, queryset, MinimumForm, "Set the minimum")

    @admin.action(description="Enter counts", permissions=["adjust"])
    def enter_counts(
        self, request: HttpRequest, queryset: QuerySet[Product]
    ) -> HttpResponse | None:
        return self._ask(request, queryset, CountsForm, "Enter counts")

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[Product],
        form_class: type[BatchForm],
        title: str,
    ) -> HttpResponse | None:
        """Show the form, or carry it out: then the list is shown again."""
        products = list(queryset.order_by("sku")[: MAX_SELECTED + 1])
        if len(products) > MAX_SELECTED:
            self.message_user(
                request, f"Select {MAX_SELECTED} products at most.", level=messages.ERROR
            )
            return None
        sent = "carry_out" in request.POST
        form = form_class(products, *([request.POST] if sent else []))
        if sent and form.is_valid():
            try:
                self.message_user(request, form.carry_out(actor_of(request)))
            except stock.StockError as error:
                form.refuse(error)
            else:
                return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "action": request.POST["action"],
            "selected": [product.pk for product in products],
        }
        return TemplateResponse(request, "admin/products/batch.html", context)
