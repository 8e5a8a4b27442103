"""API keys: revoked or given an expiry here; `manage.py create_api_key` makes them."""

from django.contrib import admin
from rest_framework_api_key.models import APIKey as LibraryApiKey

from products.admin.base import InventoryAdmin
from products.models import ApiKey

# The library's own key model, which this service does not use.
admin.site.unregister(LibraryApiKey)


@admin.register(ApiKey)
class ApiKeyAdmin(InventoryAdmin):
    list_display = ("name", "role", "prefix", "created", "expiry_date", "revoked")
    list_filter = ("role", "revoked")
    search_fields = ("name", "prefix")
    fields = list_display
    readonly_fields = ("name", "role", "prefix", "created")
