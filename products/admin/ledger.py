"""The ledger, to be read, searched and taken along as CSV."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateFilter, TextFilter
from unfold.decorators import display
from unfold.utils import parse_date_str

from products.admin import base
from products.admin.base import BoundedPaginator, ReadOnlyAdmin
from products.admin.exporting import AnotherExport, OnlyExport
from products.files.rows import escape_formula
from products.models import Product, StockEvent

# About as many rows as a spreadsheet can open. Programs follow the change feed.
MAX_EXPORTED = 1_000_000
EXPORT_CHUNK = 2_000

DAY_PARAMETERS = {"occurred_at_from", "occurred_at_to"}
FILTERS = {"type__exact", "source__exact", "actor", *DAY_PARAMETERS}

EXPORTED = (
    "id",
    "occurred_at",
    "sku",
    "version",
    "type",
    "quantity_change",
    "quantity",
    "reserved_change",
    "reserved_quantity",
    "reservation_id",
    "reason",
    "reference",
    "actor",
    "source",
    "request_id",
)


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
class StockEventAdmin(ReadOnlyAdmin):
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

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/", export, name="products_stockevent_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the events that the page's filters and search choose, as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            events = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return self._back_to_list(request, "The filters cannot be understood.")
        if events.order_by()[: MAX_EXPORTED + 1].count() > MAX_EXPORTED:
            return self._back_to_list(
                request,
                f"These are more than {MAX_EXPORTED:,} events, too many for a spreadsheet. "
                "Choose fewer days.",
            )
        rows = events.values_list(*EXPORTED).iterator(chunk_size=EXPORT_CHUNK)
        try:
            export = OnlyExport(csv_lines(EXPORTED, rows))
        except AnotherExport as error:
            return self._back_to_list(request, str(error))
        return StreamingHttpResponse(
            export,
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="ledger-{timezone.now():%F}.csv"'
            },
        )

    def _back_to_list(self, request: HttpRequest, problem: str) -> HttpResponse:
        messages.error(request, problem)
        url = reverse("admin:products_stockevent_changelist")
        return HttpResponseRedirect(f"{url}?{request.GET.urlencode()}")


def matching(events: QuerySet, text: str) -> QuerySet:
    """Return the events whose SKU, reference or request id is `text`."""
    # SQLite uses the partial indexes only where it is told what they leave out.
    matches = Q(reference=text) & ~Q(reference="") | Q(request_id=text) & ~Q(request_id="")
    product = Product.objects.filter(sku=text.upper()).values_list("pk", flat=True).first()
    return events.filter(matches if product is None else matches | Q(product=product))


class _Echo:
    """A file for `csv.writer` whose `write` hands the line on."""

    def write(self, line: str) -> str:
        return line


def csv_lines(header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Yield a CSV file line by line, of which a spreadsheet carries nothing out as a formula."""
    writer = csv.writer(_Echo())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([as_cell(value) for value in row])


def as_cell(value: Any) -> Any:
    """Return `value` as it is written to a CSV file: an apostrophe before text like a formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    return escape_formula(value) if isinstance(value, str) else value
