"""The back office: stock is looked at here, and changed through `products.stock` alone."""

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest
from django_guid import get_guid
from rest_framework_api_key.models import APIKey as LibraryApiKey

from products import stock
from products.models import ApiKey, Product, Reservation, ReservationLine, StockEvent

admin.site.site_header = admin.site.site_title = "Inventory"
# The library's own key model, which this service does not use.
admin.site.unregister(LibraryApiKey)


def actor_of(request: HttpRequest) -> stock.Actor:
    """Return the person who is logged in, as the ledger names them."""
    return stock.Actor(request.user.get_username(), StockEvent.Source.ADMIN, get_guid() or "")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows to look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products: what describes them can be edited, their stock cannot."""

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Product, form: ModelForm, change: bool) -> None:
        """Pass on what was edited. Saving `obj` would write back the stock that the form read."""
        edited = {field: form.cleaned_data[field] for field in form.changed_data}
        stock.edit(sku=obj.sku, **edited, by=actor_of(request))


class ReservationLineInline(admin.TabularInline):
    model = ReservationLine
    fields = readonly_fields = ("product", "amount", "fulfilled", "released", "expired", "open")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = ("id", "reference", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("reference",)
    ordering = ("-id",)
    inlines = (ReservationLineInline,)


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


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    """Keys, to be revoked or given an expiry; `manage.py create_api_key` makes them."""

    list_display = ("name", "role", "prefix", "created", "expiry_date", "revoked")
    list_filter = ("role", "revoked")
    search_fields = ("name", "prefix")
    fields = list_display
    readonly_fields = ("name", "role", "prefix", "created")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
