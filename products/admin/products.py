"""Products: what describes them can be edited, their stock cannot."""

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from products import stock
from products.admin.base import InventoryAdmin, actor_of
from products.models import Product


@admin.register(Product)
class ProductAdmin(InventoryAdmin):
    list_display = (
        "sku",
        "name",
        "quantity",
        "reserved_quantity",
        "available_quantity",
        "minimum_stock_level",
    )
    list_filter = ("low_stock", "archived")
    search_fields = ("sku", "name")
    ordering = ("sku",)
    fields = (
        "sku",
        "name",
        "description",
        "minimum_stock_level",
        "archived",
        "quantity",
        "reserved_quantity",
        "available_quantity",
        "version",
        "updated_at",
    )
    readonly_fields = (
        "sku",
        "quantity",
        "reserved_quantity",
        "available_quantity",
        "version",
        "updated_at",
    )

    def save_model(self, request: HttpRequest, obj: Product, form: ModelForm, change: bool) -> None:
        """Pass on what was edited. Saving `obj` would write back the stock that the form read."""
        edited = {field: form.cleaned_data[field] for field in form.changed_data}
        stock.edit(sku=obj.sku, **edited, by=actor_of(request))
