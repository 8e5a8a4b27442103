"""The ledger, to be read, searched and exported as CSV."""

from datetime import UTC, date, datetime, time
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateFilter, TextFilter
from unfold.decorators import display
from unfold.utils import parse_date_str

from products.admin import base
from products.admin.base import BoundedPaginator, ReadOnlyAdmin
from products.admin.exporting import CSV, CannotExport, ExportAdmin, is_longer
from products.files.exports import EVENT_EXPORT
from products.models import Product, StockEvent

# About as many rows as a spreadsheet can open. Programs follow the change feed.
MAX_EXPORTED = 1_000_000

DAY_PARAMETERS = {"occurred_at_from", "occurred_at_to"}
FILTERS = {"type__exact", "source__exact", "actor", *DAY_PARAMETERS}


class LedgerPaginator(BoundedPaginator):
    """Counts along the index of the filter.

    Left to choose, the database may look for the events of a type from the start of the ledger,
    where perhaps all are of another one.
    """

    def countable_rows(self) -> QuerySet:
        return cast(QuerySet, self.object_list)


class ActorFilter(TextFilter):
    """The whole name. A list of all actors to choose from would have to read the whole ledger."""

    title = "actor (the whole name)"
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        actor = (self.value() or "").strip()
        if "\0" in actor:
            return queryset.none()
        return queryset.filter(actor=actor) if actor else queryset


def day_of(text: Any) -> date | None:
    """Return the day that a filter's field names, if any. Raises `IncorrectLookupParameters`."""
    if not text:
        return None
    day = parse_date_str(text)
    if day is None:
        raise IncorrectLookupParameters(f"{text!r} is not a day such as 2026-11-29.")
    return day


class DayFilter(RangeDateFilter):
    """From the start of one day to the end of another, in UTC; either may be left open."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if first := self._day("from"):
            start = datetime.combine(first, time.min, UTC)
            queryset = queryset.filter(**{f"{self.field_path}__gte": start})
        if last := self._day("to"):
            end = datetime.combine(last, time.max, UTC)
            queryset = queryset.filter(**{f"{self.field_path}__lte": end})
        return queryset

    def _day(self, end: str) -> date | None:
        return day_of(self.used_parameters.get(f"{self.parameter_name}_{end}"))


def change_and_level(change: int, level: int) -> str:
    """Return how many units came or went, if any, and how many there were after it."""
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


@display(description="When (UTC)")
def when(event: StockEvent) -> str:
    moment = f"{event.occurred_at:%Y-%m-%d %H:%M:%S}"
    return format_html('<span class="whitespace-nowrap">{}</span>', moment)


@display(description="Product")
def product_link(event: StockEvent) -> str:
    url = reverse("admin:products_product_change", args=[event.product_id])
    return format_html('<a class="text-link" href="{}">{}</a>', url, event.sku)


@display(description="On hand")
def on_hand(event: StockEvent) -> str:
    return change_and_level(event.quantity_change, event.quantity)


@display(description="Reserved")
def reserved(event: StockEvent) -> str:
    return change_and_level(event.reserved_change, event.reserved_quantity)


@display(description="Why")
def why(event: StockEvent) -> str:
    return base.why(event)


@display(description="Edited", empty_value="-")
def edited(event: StockEvent) -> str:
    return base.edited(event)


@display(description="Who")
def who(event: StockEvent) -> str:
    return f"{event.actor} ({event.get_source_display()})"


@display(description="Reservation")
def reservation_link(event: StockEvent) -> str:
    if event.reservation_id is None:
        return ""
    url = reverse("admin:products_reservation_change", args=[event.reservation_id])
    return format_html('<a class="text-link" href="{}">{}</a>', url, event.reservation_id)


@admin.register(StockEvent)
class StockEventAdmin(ExportAdmin, ReadOnlyAdmin):
    exported_columns = EVENT_EXPORT
    export_name = "ledger"
    export_formats = (CSV,)

    list_display = (
        when,
        product_link,
        "type",
        on_hand,
        reserved,
        why,
        who,
        reservation_link,
    )
    list_fullwidth = True
    paginator = LedgerPaginator
    # Any other order would sort the whole ledger.
    sortable_by = ()
    ordering = ("-occurred_at", "-id")
    list_filter = (
        ("type", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ActorFilter,
        ("occurred_at", DayFilter),
    )
    list_filter_submit = True
    search_fields = ("sku", "reference", "request_id")
    search_help_text = "A whole SKU, reference or request id"
    fields = (
        "product",
        "version",
        "type",
        "occurred_at",
        "quantity_change",
        "quantity",
        "reserved_change",
        "reserved_quantity",
        "available_quantity",
        edited,
        "undoes",
        "reservation",
        "reason",
        "reference",
        "actor",
        "source",
        "request_id",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Find whole values alone: these have an index on every database."""
        return (matching(queryset, text) if (text := search_term.strip()) else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say so if the days cannot be read, and leave the other filters as they are."""
        try:
            for end in DAY_PARAMETERS & request.GET.keys():
                day_of(request.GET[end])
        except IncorrectLookupParameters as error:
            messages.error(request, str(error))
            kept = request.GET.copy()
            for end in DAY_PARAMETERS:
                kept.pop(end, None)
            return HttpResponseRedirect(f"{request.path}?{kept.urlencode()}")
        return super().changelist_view(request, extra_context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse what is not one of the filters: it has no index."""
        return lookup in FILTERS

    def check_length(self, queryset: QuerySet, export_format: str) -> None:
        if is_longer(queryset, MAX_EXPORTED):
            raise CannotExport(
                f"These are more than {MAX_EXPORTED:,} events, too many for a spreadsheet. "
                "Choose fewer days."
            )


def matching(events: QuerySet, text: str) -> QuerySet:
    """Return the events whose SKU, reference or request id is `text`."""
    # SQLite uses the partial indexes only where it is told what they leave out.
    matches = Q(reference=text) & ~Q(reference="") | Q(request_id=text) & ~Q(request_id="")
    product = Product.objects.filter(sku=text.upper()).values_list("pk", flat=True).first()
    return events.filter(matches if product is None else matches | Q(product=product))
