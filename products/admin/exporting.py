"""Exports to CSV and XLSX: what a list shows, with its filters, in a form that can come back."""

import csv
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from io import BytesIO, StringIO
from itertools import islice
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from import_export.admin import ExportMixin
from import_export.fields import Field
from import_export.formats import base_formats
from import_export.resources import Resource
from import_export.widgets import Widget
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from unfold.contrib.import_export.forms import ExportForm

from products.admin.base import InventoryAdmin
from products.files.rows import escape_formula
from products.models import Reservation, ReservationLine

MAX_XLSX_ROWS = 50_000
"""So many take some 10 seconds to write. CSV, sent while it is read, has no limit."""

_ROWS_AT_ONCE = 2_000


class Cell(Widget):
    """A value as it is written: numbers as numbers, times as in the API, text made harmless."""

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str | int:
        match value:
            case None:
                return ""
            case bool():
                return str(value).lower()
            case int():
                return value
            case datetime():
                return value.isoformat().replace("+00:00", "Z")
        return escape_formula(str(value))


def _column(attribute: str, name: str | None = None) -> Field:
    return Field(attribute, column_name=name or attribute, widget=Cell())


class Columns(Resource):
    """What is exported, a column each."""

    @classmethod
    def get_display_name(cls) -> str:
        """Return a name for the form, which expects one though there is no choice."""
        return cls.__name__


class ProductColumns(Columns):
    sku = _column("sku")
    name = _column("name")
    description = _column("description")
    quantity = _column("quantity")
    reserved_quantity = _column("reserved_quantity")
    available_quantity = _column("available_quantity")
    minimum_stock_level = _column("minimum_stock_level")
    low_stock = _column("is_low_stock", "low_stock")
    archived = _column("archived")
    updated_at = _column("updated_at")


class ReservationLineColumns(Columns):
    reservation = _column("reservation_id", "reservation")
    reference = _column("reservation__reference", "reference")
    status = _column("reservation__status", "status")
    expires_at = _column("reservation__expires_at", "expires_at")
    created_at = _column("reservation__created_at", "created_at")
    sku = _column("product__sku", "sku")
    amount = _column("amount")
    fulfilled = _column("fulfilled")
    released = _column("released")
    expired = _column("expired")
    open = _column("open")


Rows = Iterator[list[str | int]]

_exporting = threading.Lock()


class AnotherExport(ValueError):
    """An export is running in this process already."""

    def __init__(self) -> None:
        super().__init__("Another export is being sent. Try again when it has ended.")


class OnlyExport:
    """What is sent of an export, from when it is made until it is closed the only one.

    An export holds one of a few connections of its process for as long as somebody takes to
    download it. Orders need the others. Raises `AnotherExport`.
    """

    _is_ours = False

    def __init__(self, parts: Iterable[Any]) -> None:
        if not _exporting.acquire(blocking=False):
            raise AnotherExport
        self._is_ours = True
        self._parts = parts

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def close(self) -> None:
        """Let others export. Called by the response, when it is closed."""
        if self._is_ours:
            self._is_ours = False
            _exporting.release()

    __del__ = close


def rows_of(resource: Resource, queryset: QuerySet[Any]) -> Rows:
    """Yield the header, and a row for each object, reading some at a time."""
    yield resource.get_export_headers()
    fields = resource.get_export_fields()
    for row in queryset.iterator(chunk_size=_ROWS_AT_ONCE):
        yield [field.export(row) for field in fields]


class Csv(base_formats.CSV):
    """Sent while it is read, so that its length does not matter.

    The byte order mark tells Excel that it is UTF-8.
    """

    def response(self, rows: Rows) -> HttpResponseBase:
        return StreamingHttpResponse(OnlyExport(self._parts(rows)))

    def _parts(self, rows: Rows) -> Iterator[bytes]:
        yield "\ufeff".encode()
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            part = StringIO()
            csv.writer(part).writerows(some)
            yield part.getvalue().encode()


class Xlsx(base_formats.XLSX):
    """Written row by row, which takes far less memory than a workbook that can be edited."""

    def response(self, rows: Rows) -> HttpResponseBase:
        workbook = Workbook(write_only=True)
        sheet = workbook.create_sheet()
        sheet.freeze_panes = "A2"
        with closing(OnlyExport(rows)) as only:
            for row in only:
                sheet.append([_writable(value) for value in row])
        file = BytesIO()
        workbook.save(file)
        return HttpResponse(file.getvalue())


def _writable(value: str | int) -> str | int:
    """Replace control characters, which XLSX cannot hold."""
    if isinstance(value, int):
        return value
    return ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)


class ExportAdmin(ExportMixin, InventoryAdmin):
    """Lets whoever may see a list take it away, as it is filtered and searched."""

    import_export_change_list_template = "products/admin/change_list.html"
    export_form_class = ExportForm
    export_formats = (Csv, Xlsx)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def export_action(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().export_action(request)
        except IncorrectLookupParameters:
            # As Django's own list answers a filter that there is not.
            return redirect(f"{request.path}?e=1")

    def get_valid_export_item_pks(self, request: HttpRequest) -> list[int]:
        """Offer no export of single rows; the library would read the ids of all to check those."""
        return []

    def exported(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what a row each is written for, of the objects in the list."""
        return queryset

    def _do_file_export(
        self, file_format: Csv | Xlsx, request: HttpRequest, queryset: QuerySet[Any], **_: Any
    ) -> HttpResponseBase:
        """Replace the library's own, which holds the whole file in memory."""
        [resource_class] = self.get_export_resource_classes(request)
        queryset = self.exported(queryset)
        if file_format.is_binary() and queryset[MAX_XLSX_ROWS : MAX_XLSX_ROWS + 1].exists():
            raise ValueError(
                f"An XLSX file of more than {MAX_XLSX_ROWS:,} rows is not made: choose CSV, or "
                "narrow the list by a filter first."
            )
        response = file_format.response(rows_of(resource_class(), queryset))
        name = self.get_export_filename(request, queryset, file_format)
        response["Content-Type"] = file_format.get_content_type()
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


class ProductExportAdmin(ExportAdmin):
    resource_classes = [ProductColumns]


class ReservationExportAdmin(ExportAdmin):
    """A row is a line of a reservation."""

    resource_classes = [ReservationLineColumns]

    def exported(self, queryset: QuerySet[Reservation]) -> QuerySet[ReservationLine]:
        lines = ReservationLine.objects.filter(reservation__in=queryset.order_by().values("pk"))
        return lines.select_related("reservation", "product").order_by("-reservation_id", "pk")
