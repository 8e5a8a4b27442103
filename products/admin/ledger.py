"""The ledger, to be read."""

from django.contrib import admin

from products.admin.base import ReadOnlyAdmin
from products.models import StockEvent


@admin.register(StockEvent)
class StockEventAdmin(ReadOnlyAdmin):
    list_display = (
        "occurred_at",
        "sku",
        "version",
        "type",
        "quantity_change",
        "reserved_change",
        "quantity",
        "reserved_quantity",
        "reason",
        "reference",
        "actor",
        "source",
    )
    list_filter = ("type", "source")
    search_fields = ("sku", "reference", "request_id")
    ordering = ("-id",)
