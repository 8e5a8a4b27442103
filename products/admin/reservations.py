"""Reservations, with their lines."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import TabularInline

from products.admin.base import ReadOnlyAdmin
from products.models import Reservation, ReservationLine


class ReservationLineInline(TabularInline):
    model = ReservationLine
    fields = readonly_fields = ("product", "amount", "fulfilled", "released", "expired", "open")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = ("id", "reference", "status", "expires_at", "created_at")
    list_filter = ("status",)
    search_fields = ("reference",)
    ordering = ("-id",)
    inlines = (ReservationLineInline,)
