"""Reservations, with their lines; dialogs end or extend them."""

import re
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import TabularInline
from unfold.decorators import display

from products.admin.base import ReadOnlyAdmin, moment
from products.admin.dialogs import ExtendDialog, FulfillDialog, ReleaseDialog, dialog_action
from products.admin.exporting import ReservationExportAdmin
from products.models import Product, Reservation, ReservationLine

SOON_SECONDS = 60 * 60

STATE_COLOURS = {"Open": "info", "Overdue": "danger", "Fulfilled": "success", "Expired": "warning"}


def state_of(reservation: Reservation) -> str:
    """Return the status of a reservation from `with_overdue`, or "Overdue"."""
    return "Overdue" if reservation.is_overdue else reservation.get_status_display()


class ExpiryFilter(admin.SimpleListFilter):
    """Open reservations by their expiry, on the database's clock."""

    title = "expiry"
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("overdue", "Overdue"), ("soon", "Within the hour")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "overdue":
                return queryset.overdue()
            case "soon":
                return queryset.expiring_within(SOON_SECONDS)
        return queryset


class ReservationLineInline(TabularInline):
    model = ReservationLine
    hide_title = True
    fields = readonly_fields = ("product", "amount", "fulfilled", "released", "expired", "open")
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Reservation)
class ReservationAdmin(ReservationExportAdmin, ReadOnlyAdmin):
    list_display = ("id", "reference", "state", "expires", "created")
    fields = ("reference", "state", "expires", "created")
    list_filter = ("status", ExpiryFilter)
    search_fields = ("reference",)  # Shows the field; `get_search_results` does the search.
    search_help_text = "A whole reference or SKU, or a reservation's number"
    ordering = ("-id",)
    sortable_by = ("id",)
    list_per_page = 50
    inlines = (ReservationLineInline,)

    actions_detail = actions_row = ("fulfill", "release", "extend")
    fulfill = dialog_action("fulfill", FulfillDialog, permission="operate", icon="local_shipping")
    release = dialog_action("release", ReleaseDialog, permission="operate", icon="undo")
    extend = dialog_action("extend", ExtendDialog, permission="operate", icon="more_time")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reservation]:
        return super().get_queryset(request).with_overdue()

    @display(description="State", label=STATE_COLOURS)
    def state(self, reservation: Reservation) -> str:
        return state_of(reservation)

    @display(description="Expires (UTC)")
    def expires(self, reservation: Reservation) -> str:
        return moment(reservation.expires_at) if reservation.expires_at else ""

    @display(description="Created (UTC)")
    def created(self, reservation: Reservation) -> str:
        return moment(reservation.created_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reservation], search_term: str
    ) -> tuple[QuerySet[Reservation], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(reference=search_term)
        if re.fullmatch("[0-9]{1,18}", search_term):
            wanted |= Q(pk=int(search_term))
        if product := Product.objects.filter(sku=search_term.upper()).first():
            wanted |= Q(pk__in=product.reservation_lines.values("reservation_id"))
        return queryset.filter(wanted), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Offer the dialogs that the reservation's state allows: all, or none."""
        reservation = self.get_object(request, object_id)
        is_open = reservation is not None and state_of(reservation) == "Open"
        return super().get_actions_detail(request, object_id) if is_open else []

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        reservation = self.get_object(request, object_id) if object_id else None
        if reservation is not None and state_of(reservation) == "Overdue":
            messages.warning(
                request,
                "The time of this reservation is over: it can no longer be fulfilled. What it "
                "holds is given back by the next run of expire_reservations, or sooner by "
                "whatever is short of it.",
            )
        return super().changeform_view(request, object_id, form_url, extra_context)
