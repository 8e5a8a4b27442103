"""The product pages. The form edits descriptive fields, and dialogs change stock."""

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display

from products import stock
from products.admin import ledger
from products.admin.archiving import ArchiveAdmin
from products.admin.base import (
    LINE_CHART_OPTIONS,
    WithoutTransaction,
    actor_of,
    format_time,
    link_to,
)
from products.admin.completion import CompletionAdmin
from products.admin.creating import CreateAdmin
from products.admin.dialogs import (
    AddDialog,
    AdjustDialog,
    RemoveDialog,
    dialog_action,
    number,
)
from products.admin.editing import ProductForm
from products.admin.entry.counting import CountAdmin
from products.admin.filters import SelectFilter
from products.admin.finding import ProductSearchAdmin
from products.admin.reservation_dialogs import ReserveDialog
from products.admin.undoing import offer_undo, undo_cell
from products.db.clock import SecondsFromNow
from products.models import AVAILABLE, NAME_ORDER, SURPLUS, Product, Reservation, StockEvent

EVENTS_IN_CHART = 200
EVENTS_SHOWN = 20
RESERVATIONS_SHOWN = 20

STATUS_COLOURS = {"Out of stock": "danger", "Low stock": "warning", "In stock": "success"}


def status_of(product: Product) -> str:
    """Return the status of a product: Archived, Out of stock, Low stock or In stock."""
    if product.archived:
        return "Archived"
    if product.available_quantity == 0:
        return "Out of stock"
    return "Low stock" if product.is_low_stock else "In stock"


class StockFilter(SelectFilter):
    title = "stock"
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("low", "Low stock"), ("out", "Out of stock"), ("reserved", "Reserved")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "low":
                return queryset.low_stock()
            case "out":
                return queryset.out_of_stock()
            case "reserved":
                return queryset.filter(reserved_quantity__gt=0)
        return queryset


class UpdatedFilter(SelectFilter):
    title = "last update"
    parameter_name = "updated"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "In the last hour"), ("24", "In the last day"), ("168", "In the last week")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        hours = self.value()
        if hours is None:
            return queryset
        return queryset.filter(updated_at__gte=SecondsFromNow(-3600 * int(hours)))


class ArchivedFilter(SelectFilter):
    """Hide archived products by default."""

    title = "archive status"
    parameter_name = "archived"
    all_option = ("", "Not archived")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("only", "Archived only"), ("all", "Archived or not")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "only":
                return queryset.filter(archived=True)
            case "all":
                return queryset
        return queryset.active()


@admin.register(Product)
class ProductAdmin(
    ProductSearchAdmin,
    ArchiveAdmin,
    CreateAdmin,
    CompletionAdmin,
    CountAdmin,
    WithoutTransaction,
):
    list_display = (
        "sku",
        "sorted_name",
        "quantity",
        "reserved_quantity",
        "available",
        "minimum_stock_level",
        "to_order",
        "status",
    )
    list_before_template = "products/admin/product_list_links.html"
    actions = (*ArchiveAdmin.actions, "enter_counts")
    list_filter = (StockFilter, UpdatedFilter, ArchivedFilter)
    filter_parameters = ("stock", "updated", "archived")
    ordering = ("sku",)
    # An index on a level would slow down every change of stock. Sorting by a level or by the
    # shortage therefore reads all levels. No other column is worth it.
    sortable_by = ("sku", "sorted_name", "quantity", "available", "status")
    list_per_page = 50
    list_disable_select_all = True  # Actions take at most `MAX_SELECTED` products.
    form = ProductForm
    fields = ("sku", "name", "description", "minimum_stock_level")
    readonly_fields = ("sku",)
    # Above the form, since most users come to see the stock.
    change_form_outer_before_template = "admin/products/product_stock.html"

    actions_row = ("adjust_stock", "add_stock", "remove_stock", "reserve_stock")
    actions_detail = (*actions_row, "archive", "restore")
    add_stock = dialog_action("add_stock", AddDialog, permission="operate", icon="add")
    remove_stock = dialog_action("remove_stock", RemoveDialog, permission="operate", icon="remove")
    reserve_stock = dialog_action(
        "reserve_stock", ReserveDialog, permission="operate", icon="shopping_cart"
    )
    adjust_stock = dialog_action("adjust_stock", AdjustDialog, permission="adjust", icon="rule")

    @display(description="Name", ordering=NAME_ORDER)
    def sorted_name(self, product: Product) -> str:
        return product.name

    @display(description="Available", ordering=AVAILABLE)
    def available(self, product: Product) -> int:
        return product.available_quantity

    @display(description="To order")
    def to_order(self, product: Product) -> int | str:
        return product.levels.to_order or ""

    @display(description="Status", label=STATUS_COLOURS, ordering=SURPLUS)
    def status(self, product: Product) -> str:
        return status_of(product)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        product = self.get_object(request, object_id) if object_id else None
        # After an error, the form must be at the top of the page. The history would push it down.
        history = _history(product, request) if product and request.method == "GET" else {}
        context = {"show_save_and_add_another": False, **(extra_context or {}), **history}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except stock.ProductChanged as error:
            # Another user saved between the check of the form and the lock.
            messages.error(request, f"Nothing was saved. {error.detail}")
            return redirect(request.path)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the ledger. It has every change of a product, also those of other entrances."""
        product = get_object_or_404(Product, pk=number(object_id))
        return redirect(_list("stockevent", q=product.sku))

    def save_model(
        self, request: HttpRequest, obj: Product, form: ProductForm, change: bool
    ) -> None:
        """Save the edited fields only. Saving `obj` would overwrite stock with old levels."""
        stock.edit(sku=obj.sku, **form.edited(), expected=form.expected, by=actor_of(request))


def _history(product: Product, request: HttpRequest) -> dict[str, Any]:
    """Return the levels, the ledger and the open reservations of a product."""
    latest = product.events.select_related("reservation").order_by("-version")
    events = list(latest[:EVENTS_IN_CHART])
    return {
        "product": product,
        "status": status_of(product),
        "status_colour": STATUS_COLOURS.get(status_of(product), ""),
        "level_chart": _chart(events[::-1]),
        "chart_options": LINE_CHART_OPTIONS,
        "ledger": _ledger_table(product, request, events),
        "reservations": _reservation_table(product),
        "overdue_units": product.reservation_lines.overdue().aggregate(units=Sum("open"))["units"],
    }


def _reservation_table(product: Product) -> dict[str, Any]:
    lines = product.reservation_lines.filter(open__gt=0).with_overdue()
    rows = [
        [
            link_to(line.reservation, line.reservation_id),
            line.reservation.reference,
            intcomma(line.open),
            format_time(line.reservation.expires_at) if line.reservation.expires_at else "Never",
            "Overdue" if line.is_overdue else "Open",
        ]
        for line in lines.select_related("reservation").order_by("reservation_id")[
            : RESERVATIONS_SHOWN + 1
        ]
    ]
    return {
        "headers": ["Reservation", "Reference", "Open", "Expires", "Status"],
        "rows": rows[:RESERVATIONS_SHOWN],
        "empty": "No open reservations",
        "all": len(rows) > RESERVATIONS_SHOWN
        and _list("reservation", q=product.sku, status__exact=Reservation.Status.OPEN),
    }


def _list(model: str, **query: str) -> str:
    """Return the URL of a list."""
    return f"{reverse(f'admin:products_{model}_changelist')}?{urlencode(query)}"


def _ledger_table(product: Product, request: HttpRequest, events: list[StockEvent]) -> Any:
    cells = (
        ledger.date_and_time,
        ledger.event_words,
        ledger.on_hand,
        ledger.reserved,
        ledger.available,
        ledger.details,
        ledger.actor,
        undo_cell,
    )
    shown = events[:EVENTS_SHOWN]
    offer_undo(request, shown)
    return {
        "headers": [cell.short_description for cell in cells],
        "rows": [[cell(event) for cell in cells] for event in shown],
        "all": len(events) > EVENTS_SHOWN and _list("stockevent", q=product.sku),
    }


def _chart(events: list[StockEvent]) -> str:
    """Return the levels after each event, oldest first, and the current level, for the chart."""
    labels = [f"{timezone.localtime(event.occurred_at):%Y-%m-%d %H:%M}" for event in events]

    def line(name: str, colour: str, levels: list[int]) -> dict[str, Any]:
        return {
            "label": name,
            "data": [*levels, *levels[-1:]],
            "borderColor": f"var(--color-{colour})",
            "stepped": True,
        }

    lines = [
        line("On hand", "primary-600", [event.quantity for event in events]),
        line("Available", "base-400", [event.available_quantity for event in events]),
    ]
    return json.dumps({"labels": [*labels, "now"], "datasets": lines})
