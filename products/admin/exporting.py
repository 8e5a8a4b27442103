"""CSV and XLSX exports of lists, with the filters and the search of the list."""

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from itertools import islice
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.views import ChangeList

from products.admin.base import BoundedChangeList, InventoryAdmin
from products.files.exports import (
    RESERVATION_LINE_EXPORT,
    ROWS_AT_ONCE,
    ExportColumns,
    Row,
    read_rows,
)
from products.files.formats import CONTENT_TYPES, to_csv, write_xlsx
from products.models import Reservation, ReservationLine

CSV, XLSX = "csv", "xlsx"

FORMAT_PARAMETER = "format"

MAX_XLSX_ROWS = 50_000
"""A longer XLSX file would block a worker for too long. CSV is streamed and has no limit."""

# Tells Excel that the file is UTF-8.
_BYTE_ORDER_MARK = "\ufeff"

_exporting = threading.Lock()


class CannotExport(Exception):
    """The export is refused. The message is for the user."""


class OnlyExport:
    """The parts of an export. Until it is closed, its process starts no other export.

    An export holds a database connection until its download ends, and other requests need the
    remaining ones. Raises `CannotExport` if another export is running.
    """

    _is_ours = False

    def __init__(self, parts: Iterable[Any]) -> None:
        if not _exporting.acquire(blocking=False):
            raise CannotExport("Another export is running. Try again when it has finished.")
        self._is_ours = True
        self._parts = parts

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def close(self) -> None:
        """Allow the next export. The response calls this when it is closed."""
        if not self._is_ours:
            return
        self._is_ours = False
        try:
            # Close the database cursor before the connection returns to the pool.
            if isinstance(self._parts, Generator):
                self._parts.close()
        finally:
            _exporting.release()

    __del__ = close


class ExportableList(BoundedChangeList):
    """List with export links."""

    def export_links(self) -> list[tuple[str, str]]:
        """Return the title and the URL of each export of the filtered list."""
        admin: ExportAdmin = self.model_admin
        url = reverse(f"admin:{admin.export_url_name}")
        default, *others = admin.export_formats
        queries = [(default, self.get_query_string())]
        queries += [(name, self.get_query_string({FORMAT_PARAMETER: name})) for name in others]
        return [(f"Export as {name.upper()}", url + query) for name, query in queries]


class ExportedList(BoundedChangeList):
    """All rows of a filtered list, without pages and without counting them."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(FORMAT_PARAMETER, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        """Read nothing. The export reads the rows."""


class ExportAdmin(InventoryAdmin):
    """Exports the filtered list for anyone who may view it."""

    change_list_template = "products/admin/change_list.html"

    exported_columns: ClassVar[ExportColumns]
    export_name: ClassVar[str]
    """Start of the file name."""
    export_formats: ClassVar[tuple[str, ...]] = (CSV, XLSX)
    """The supported formats. The first one is the default."""
    whole_list_names: ClassVar[tuple[str, ...]] = ("export",)
    """The URLs, without the name of the model, that read all rows of the filtered list."""

    @property
    def export_url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_export"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name=self.export_url_name), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        match = request.resolver_match
        model = f"{self.opts.app_label}_{self.opts.model_name}"
        whole_lists = [f"{model}_{name}" for name in self.whole_list_names]
        is_whole = match is not None and match.url_name in whole_lists
        return ExportedList if is_whole else ExportableList

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send the list in the requested format, or return to the list with an error message."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.send_list(request, self.exported_columns, self.export_name)

    def send_list(
        self, request: HttpRequest, columns: ExportColumns, name: str
    ) -> HttpResponseBase:
        """Send these columns of the list, or return to the list with an error message."""
        try:
            return self._export(request, columns, name)
        except IncorrectLookupParameters:
            problem = "A filter is not valid. Reset the filters and try again."
        except CannotExport as error:
            problem = str(error)
        messages.error(request, problem)
        query = request.GET.copy()
        query.pop(FORMAT_PARAMETER, None)
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return redirect(f"{url}?{query.urlencode()}")

    def exported(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the objects to export, one row each."""
        return queryset

    def check_length(self, queryset: QuerySet[Any], export_format: str) -> None:
        """Raise `CannotExport` if there are too many rows for the format."""
        if export_format == XLSX and is_longer(queryset, MAX_XLSX_ROWS):
            raise CannotExport(
                f"An XLSX export has at most {MAX_XLSX_ROWS:,} rows. Export as CSV, or filter the "
                "list first."
            )

    def whole_list(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all rows of the filtered list. Raises `CannotExport` if a filter is not valid."""
        changelist = self.get_changelist_instance(request)
        if errors := changelist.filter_errors():
            raise CannotExport(errors[0])
        queryset: QuerySet[Any] = changelist.queryset
        return queryset

    def _export(self, request: HttpRequest, columns: ExportColumns, name: str) -> HttpResponseBase:
        export_format = request.GET.get(FORMAT_PARAMETER, self.export_formats[0])
        if export_format not in self.export_formats:
            names = " or ".join(name.upper() for name in self.export_formats)
            raise CannotExport(f"Unknown format. Choose {names}.")
        queryset = self.exported(self.whole_list(request))
        self.check_length(queryset, export_format)
        rows = read_rows(queryset, columns)
        respond = _xlsx_response if export_format == XLSX else _csv_response
        response = respond(list(columns), rows)
        file_name = f"{name}-{timezone.now():%F}.{export_format}"
        response["Content-Disposition"] = f'attachment; filename="{file_name}"'
        return response


def is_longer(queryset: QuerySet[Any], length: int) -> bool:
    """Return whether the queryset has more than `length` rows."""
    return queryset.order_by()[length : length + 1].exists()


def _csv_response(names: list[str], rows: Iterable[Row]) -> HttpResponseBase:
    return StreamingHttpResponse(
        OnlyExport(_csv_parts(names, rows)), content_type=CONTENT_TYPES[CSV]
    )


def _csv_parts(names: list[str], rows: Iterable[Row]) -> Iterator[bytes]:
    yield _BYTE_ORDER_MARK.encode()
    lines = to_csv(names, rows)
    while some := list(islice(lines, ROWS_AT_ONCE)):
        yield "".join(some).encode()


def _xlsx_response(names: list[str], rows: Iterable[Row]) -> HttpResponseBase:
    file = BytesIO()
    with closing(OnlyExport(rows)) as only:
        write_xlsx(file, names, only)
    return HttpResponse(
        file.getvalue(),
        content_type=CONTENT_TYPES[XLSX],
    )


class ReservationExportAdmin(ExportAdmin):
    """Exports one row for each line of a reservation."""

    exported_columns = RESERVATION_LINE_EXPORT
    export_name = "Reservation"

    def exported(self, queryset: QuerySet[Reservation]) -> QuerySet[ReservationLine]:
        lines = ReservationLine.objects.filter(reservation__in=queryset.order_by().values("pk"))
        return lines.order_by("-reservation_id", "pk")
