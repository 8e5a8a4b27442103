"""The reservation pages. Dialogs fulfill, release or extend a reservation."""

import re
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.forms import PaginationInlineFormSet

from products.admin.base import ReadOnlyAdmin, format_time, in_time_zone, product_link
from products.admin.dialogs import dialog_action
from products.admin.ending_dialogs import (
    MAX_LINES_IN_DIALOG,
    FulfillDialog,
    FulfillLines,
    ReleaseDialog,
    ReleaseLines,
    lines_page,
)
from products.admin.exporting import ReservationExportAdmin
from products.admin.filters import ChoicesFilter, SelectFilter
from products.admin.new_reservation import NewReservationAdmin
from products.admin.reservation_dialogs import (
    ExtendDialog,
    GiveBackDialog,
    ReserveAgainDialog,
    SetEndDialog,
)
from products.admin.returns import ReturnForm, has_fulfilled
from products.models import Product, Reservation, ReservationLine

SOON_SECONDS = 60 * 60

STATUS_COLOURS = {"Open": "info", "Overdue": "danger", "Fulfilled": "success", "Expired": "warning"}


def status_of(reservation: Reservation) -> str:
    """Return the status of a reservation from `with_overdue`, or "Overdue"."""
    return "Overdue" if reservation.is_overdue else reservation.get_status_display()


def dialogs_for(reservation: Reservation) -> tuple[str, ...]:
    """Return the names of the dialogs that are possible for a reservation."""
    match status_of(reservation):
        case "Overdue":
            return ("give_back", "reserve_again")
        case "Open":
            return ("fulfill", "release", "extend" if reservation.expires_at else "set_end")
    return ()


def actions_for(reservation: Reservation) -> tuple[str, ...]:
    """Return the names of the dialogs and the pages that are possible for a reservation."""
    dialogs = dialogs_for(reservation)
    if "fulfill" not in dialogs:
        return dialogs
    open_lines = reservation.lines.filter(open__gt=0)
    is_long = open_lines[: MAX_LINES_IN_DIALOG + 1].count() > MAX_LINES_IN_DIALOG
    return (*dialogs, "fulfill_lines", "release_lines") if is_long else dialogs


def units_in_words(reservation: Reservation) -> str:
    """Return what became of the units, such as `2 of 5 open, 3 fulfilled`."""
    parts = ("open", "fulfilled", "released", "expired")
    sums = reservation.lines.aggregate(*(Sum(part) for part in ("amount", *parts)))
    units = {part: int(sums[f"{part}__sum"] or 0) for part in ("amount", *parts)}
    first, *others = [f"{units[part]:,} {part}" for part in parts if units[part]] or ["0 open"]
    if not others:
        return f"All {units['amount']:,} {first.split()[1]}"
    number, part = first.split()
    return ", ".join([f"{number} of {units['amount']:,} {part}", *others])


class ExpiryFilter(SelectFilter):
    """Open reservations by their expiry, on the database's clock."""

    title = "expiry"
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("overdue", "Overdue"), ("soon", "Within an hour")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "overdue":
                return queryset.overdue()
            case "soon":
                return queryset.expiring_within(SOON_SECONDS)
        return queryset


class LineFormSet(PaginationInlineFormSet):
    def get_page_num(self) -> int:
        """Return the page that the address names, or 1. Unfold would fail with some digits."""
        page = self.request.GET.get(self.get_pagination_key(), "")
        return int(page) if re.fullmatch("[1-9][0-9]{0,5}", page) else 1


class ReservationLineInline(TabularInline):
    """The lines, in pages. A reservation may have 1,000."""

    model = ReservationLine
    formset = LineFormSet
    per_page = 100
    ordering = ("pk",)
    hide_title = True
    fields = readonly_fields = (
        "product_and_name",
        "amount",
        "fulfilled",
        "released",
        "expired",
        "open",
    )
    can_delete = False
    extra = 0

    @display(description="Product")
    def product_and_name(self, line: ReservationLine) -> str:
        return product_link(line.product)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReservationLine]:
        return super().get_queryset(request).with_sku()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Reservation)
class ReservationAdmin(NewReservationAdmin, ReservationExportAdmin, ReadOnlyAdmin):
    list_display = ("id", "reference", "shown_status", "expires", "created")
    fields = ("reference", "shown_status", "units", "expires", "created")
    list_filter = (("status", ChoicesFilter), ExpiryFilter)
    filter_parameters = ("status__exact", "expiry")
    search_fields = ("reference",)  # Shows the search field. See `get_search_results`.
    search_help_text = "Exact reference, SKU or reservation ID"
    ordering = ("-id",)
    sortable_by = ("id",)
    list_per_page = 50
    inlines = (ReservationLineInline,)

    actions_row = ("fulfill", "release", "extend", "set_end", "give_back", "reserve_again")
    actions_detail = (*actions_row, "fulfill_lines", "release_lines", "return_units")
    fulfill = dialog_action("fulfill", FulfillDialog, permission="operate", icon="local_shipping")
    release = dialog_action("release", ReleaseDialog, permission="operate", icon="undo")
    extend = dialog_action("extend", ExtendDialog, permission="operate", icon="more_time")
    set_end = dialog_action("set_end", SetEndDialog, permission="operate", icon="more_time")
    fulfill_lines = lines_page(FulfillLines, icon="local_shipping")
    release_lines = lines_page(ReleaseLines, icon="undo")
    return_units = lines_page(ReturnForm, icon="assignment_return")
    give_back = dialog_action("give_back", GiveBackDialog, permission="operate", icon="undo")
    reserve_again = dialog_action(
        "reserve_again", ReserveAgainDialog, permission="operate", icon="replay"
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reservation]:
        return super().get_queryset(request).with_overdue()

    @display(description="Units")
    def units(self, reservation: Reservation) -> str:
        return units_in_words(reservation)

    @display(description="Status", label=STATUS_COLOURS)
    def shown_status(self, reservation: Reservation) -> str:
        return status_of(reservation)

    @display(description=in_time_zone("Expires"))
    def expires(self, reservation: Reservation) -> str:
        return format_time(reservation.expires_at) if reservation.expires_at else "Never"

    @display(description="Created")
    def created(self, reservation: Reservation) -> str:
        return format_time(reservation.created_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reservation], search_term: str
    ) -> tuple[QuerySet[Reservation], bool]:
        if not search_term:
            return queryset, False
        matches = Q(reference=search_term)
        if re.fullmatch("[0-9]{1,18}", search_term):
            matches |= Q(pk=int(search_term))
        if product := Product.objects.with_skus([search_term]).first():
            matches |= Q(pk__in=product.reservation_lines.values("reservation_id"))
        return queryset.filter(matches), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer in each row what can be done with its reservation."""
        response = super().changelist_view(request, extra_context)
        shown: Any = getattr(response, "context_data", None) or {}
        for reservation in shown["cl"].result_list if "cl" in shown else ():
            names = dialogs_for(reservation)
            reservation.offered = [f"admin:products_reservation_{name}" for name in names]
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Offer what can be done with the reservation in its state."""
        reservation = self.get_object(request, object_id)
        offered = actions_for(reservation) if reservation else ()
        if reservation and has_fulfilled(reservation):
            offered = (*offered, "return_units")
        names = {f"products_reservation_{name}" for name in offered}
        actions = super().get_actions_detail(request, object_id)
        return [action for action in actions if action.action_name in names]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        reservation = self.get_object(request, object_id) if object_id else None
        if reservation is not None:
            self._explain(request, reservation)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _explain(self, request: HttpRequest, reservation: Reservation) -> None:
        """Tell the user how an overdue reservation ends, or how to copy an expired one."""
        status = status_of(reservation)
        if status == "Overdue":
            messages.warning(
                request,
                "This reservation is overdue and can no longer be fulfilled. Give its units back, "
                "or reserve them again. Until then, another order that needs them gets them.",
            )
        elif status == "Expired" and self.has_order_permission(request):
            url = reverse("admin:products_reservation_new_reservation")
            link = format_html('<a class="underline" href="{}?like={}">', url, reservation.pk)
            messages.info(
                request,
                format_html(
                    "This reservation has expired, and its units are available again. "
                    "{}Make a new reservation</a> with the same lines.",
                    link,
                ),
            )
