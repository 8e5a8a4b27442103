"""What the pages of the back office share."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django_guid import get_guid
from unfold.admin import ModelAdmin

from products import stock
from products.models import StockEvent


def actor_of(request: HttpRequest) -> stock.Actor:
    """Return the person who is logged in, as the ledger names them."""
    return stock.Actor(request.user.get_username(), StockEvent.Source.ADMIN, get_guid() or "")


class InventoryAdmin(ModelAdmin):
    """Rows that are made and ended elsewhere. Whoever may see one may not yet change it."""

    # Counting all rows would take as long as reading them.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(InventoryAdmin):
    """Rows to look at."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
