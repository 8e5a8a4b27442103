"""The ledger page: filters, search and CSV export."""

from collections.abc import Iterable
from typing import Any, cast

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from products.admin.base import (
    BoundedPaginator,
    ReadOnlyAdmin,
    WithoutTransaction,
    format_time,
    in_time_zone,
    link_to,
    product_link,
)
from products.admin.days import DayFilter
from products.admin.exporting import CSV, CannotExport, ExportAdmin, is_longer
from products.admin.filters import ChoicesFilter, ExactTextFilter
from products.admin.undoing import UndoAdmin, undo_cell
from products.admin.wording import (
    edits_in_words,
    explanation,
    in_words,
    late_count,
    linked_words,
    undone_in_words,
)
from products.files.exports import EVENT_EXPORT
from products.models import Product, StockEvent

# About the number of rows that a spreadsheet can open. Programs read the change feed.
MAX_EXPORTED = 1_000_000


class LedgerPaginator(BoundedPaginator):
    """Count in the order of the list, so that the database uses the index of the filter.

    Without an order, PostgreSQL may scan the ledger from its start for a rare type of event.
    """

    def countable_rows(self) -> QuerySet:
        return cast(QuerySet, self.object_list)


class ActorFilter(ExactTextFilter):
    """Exact name of an actor. Listing all actors would have to read the whole ledger."""

    title = "user or client (exact name)"
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        actor = self.text()
        if "\0" in actor:
            return queryset.none()
        return queryset.filter(actor=actor) if actor else queryset


def change_and_level(change: int, level: int) -> str:
    """Return the change, unless it is 0, and the level after it."""
    if not change:
        return format_html('<span class="text-subtle">{}</span>', f"{level:,}")
    colour = (
        "text-green-700 dark:text-green-400" if change > 0 else "text-red-700 dark:text-red-400"
    )
    return format_html(
        '<span class="{} font-semibold">{}</span> <span class="text-subtle">→</span> {}',
        colour,
        f"{change:+,}".replace("-", "\N{MINUS SIGN}"),
        f"{level:,}",
    )


@display(description=in_time_zone("Date"))
def date_and_time(event: StockEvent) -> str:
    return format_time(event.occurred_at)


@display(description="Product")
def product(event: StockEvent) -> str:
    return product_link(event.product)


@display(description="On hand")
def on_hand(event: StockEvent) -> str:
    return change_and_level(event.quantity_change, event.quantity)


@display(description="Reserved")
def reserved(event: StockEvent) -> str:
    return change_and_level(event.reserved_change, event.reserved_quantity)


@display(description="Available")
def available(event: StockEvent) -> str:
    return f"{event.available_quantity:,}"


@display(description="Event")
def event_words(event: StockEvent) -> str:
    return linked_words(event)


@display(description="Reason")
def details(event: StockEvent) -> str:
    return explanation(event)


@display(description="Edited fields", empty_value="-")
def edited(event: StockEvent) -> str:
    return edits_in_words(event)


@display(description="Counted at", empty_value="-")
def counted_at(event: StockEvent) -> str:
    return late_count(event)


@display(description="User or client")
def actor(event: StockEvent) -> str:
    return f"{event.actor} ({event.get_source_display()})"


@display(description="Undone by", empty_value="-")
def undone_by(event: StockEvent) -> str:
    undo = event.undone_by.first()
    return link_to(undo, undone_in_words(undo)) if undo else ""


@display(description="Undo of", empty_value="-")
def undo_of(event: StockEvent) -> str:
    undone = event.undoes
    return link_to(undone, in_words(undone)) if undone else ""


def table_of(events: Iterable[StockEvent]) -> dict[str, Any]:
    """Return events for Unfold's table."""
    return {
        "headers": [
            *(in_time_zone("Date"), "Product", "Event", "On hand", "Reserved", "Reason"),
            "User or client",
        ],
        "rows": [
            [
                date_and_time(event),
                product(event),
                event_words(event),
                on_hand(event),
                reserved(event),
                details(event),
                actor(event),
            ]
            for event in events
        ],
    }


@admin.register(StockEvent)
class StockEventAdmin(UndoAdmin, ExportAdmin, ReadOnlyAdmin, WithoutTransaction):
    exported_columns = EVENT_EXPORT
    export_name = "ledger"
    export_formats = (CSV,)

    list_display = (
        date_and_time,
        product,
        event_words,
        on_hand,
        reserved,
        details,
        actor,
        undo_cell,
    )
    list_fullwidth = True
    paginator = LedgerPaginator
    # Any other order would sort the whole ledger.
    sortable_by = ()
    ordering = ("-occurred_at", "-id")
    list_filter = (
        ("type", ChoicesFilter),
        ("source", ChoicesFilter),
        ActorFilter,
        ("occurred_at", DayFilter),
    )
    filter_parameters = (
        *("type__exact", "source__exact", "actor"),
        *("occurred_at_from", "occurred_at_to"),
    )
    search_fields = ("sku", "reference", "request_id")
    search_help_text = "Exact SKU, reference or request ID"
    fields = (
        product,
        "version",
        "type",
        date_and_time,
        on_hand,
        reserved,
        available,
        edited,
        counted_at,
        undo_of,
        undone_by,
        "reservation",
        "reason",
        "reference",
        actor,
        "request_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockEvent]:
        return super().get_queryset(request).with_name()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Find exact values only. They have an index on every database."""
        return (matching(queryset, text) if (text := search_term.strip()) else queryset), False

    def check_length(self, queryset: QuerySet, export_format: str) -> None:
        if is_longer(queryset, MAX_EXPORTED):
            raise CannotExport(
                f"An export has at most {MAX_EXPORTED:,} events. Filter the ledger by a shorter "
                "range of dates."
            )


def matching(events: QuerySet, text: str) -> QuerySet:
    """Return the events whose SKU, reference or request ID is `text`."""
    # SQLite uses a partial index only if the query repeats the condition of the index.
    matches = Q(reference=text) & ~Q(reference="") | Q(request_id=text) & ~Q(request_id="")
    found = Product.objects.with_skus([text]).values_list("pk", flat=True).first()
    return events.filter(matches if found is None else matches | Q(product=found))
