"""Cursor pages."""

import re
from typing import Any

from django.db.models import Count, QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor
from rest_framework.request import Request

from products.api.drf import CursorPagination
from products.api.problems import invalid_field
from products.models import Reservation, ReservationLine, ReservationLineQuerySet
from products.validators import is_possible_sku

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MAX_LINES_ON_PAGE = 5_000

_OTHER_ORDER = "This cursor belongs to a list in another order. Start again without it."


def _is_id(text: str) -> bool:
    # 18 digits always fit the database's integers.
    return re.fullmatch("[0-9]{1,18}", text) is not None


def read_page_size(request: Request) -> int:
    """Return the page size that the query asks for."""
    text = request.query_params.get("page_size")
    if text is None:
        return PAGE_SIZE
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_PAGE_SIZE:
        raise invalid_field("page_size", f"Send a whole number from 1 to {MAX_PAGE_SIZE}.")
    return int(text)


class StrictCursorPagination(CursorPagination):
    """Pages sorted by one unique column, the view's `page_order`: a SKU or a number.

    An invalid `page_size` or `cursor` is refused, not replaced by a default.
    """

    page_size = PAGE_SIZE
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"
    page_size_query_description = "The number of rows on a page."
    cursor_query_description = (
        "Where the page starts. Take it from `next` or `previous`, which contain it."
    )

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return (view.page_order,)

    def get_page_size(self, request: Request) -> int:
        return read_page_size(request)

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except (NotFound, ValueError) as error:
            raise invalid_field(
                "cursor", "This is not a cursor of this list. Take it from `next` or `previous`."
            ) from error
        if cursor is None:
            return None
        order, _, position = str(cursor.position).partition(" ")
        is_end = cursor.reverse and not position
        is_place = is_end or (_is_id, is_possible_sku)[order.endswith("sku")](position)
        if cursor.offset or order != self.ordering[0] or not is_place:
            raise invalid_field("cursor", _OTHER_ORDER)
        place: Any = position or None  # The stubs wrongly expect a number.
        return Cursor(0, cursor.reverse, place)

    def encode_cursor(self, cursor: Cursor) -> str:
        """Add the order to the cursor, because a position means another row in another order."""
        position: Any = f"{self.ordering[0]} {cursor.position or ''}"
        return super().encode_cursor(Cursor(0, cursor.reverse, position))

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["schema"] |= {
            "minimum": 1,
            "maximum": self.max_page_size,
            "default": self.page_size,
        }
        return [cursor, page_size]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        # drf-spectacular also calls this with a placeholder that it looks for in the result.
        described = {"description": "The rows of this page."}
        results = {**schema, **described} if isinstance(schema, dict) else schema
        link = {"type": ["string", "null"], "format": "uri", "example": None}
        return {
            "type": "object",
            "description": "A page of a list.",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "The URL of the next page. Null on the last page."},
                "previous": {
                    **link,
                    "description": "The URL of the previous page. Null on the first page.",
                },
                "results": results,
            },
        }


class ReservationPagination(StrictCursorPagination):
    """Pages of reservations with their `loaded_lines`.

    A page ends before `page_size` if its reservations have more than `MAX_LINES_ON_PAGE` lines. It
    has at least one reservation.
    """

    page_size_query_description = (
        "The number of rows on a page. A page has fewer rows if its reservations have more than "
        f"{MAX_LINES_ON_PAGE:,} lines."
    )

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        page: list[Reservation] = super().paginate_queryset(queryset, request, view) or []
        # Counted up to the limit only, because a page may have a million lines.
        if _lines_of(page)[: MAX_LINES_ON_PAGE + 1].count() > MAX_LINES_ON_PAGE:
            page = self.page = self._shorten(page)
        by_id: dict[int, Reservation] = {}
        for reservation in page:
            reservation.loaded_lines = []
            by_id[reservation.pk] = reservation
        for line in _lines_of(page).order_by("pk").read_with_sku():
            by_id[line.reservation_id].loaded_lines.append(line)
        return page

    def _shorten(self, page: list[Reservation]) -> list[Reservation]:
        """Drop the reservations whose lines are too many, at the end that is read last."""
        counted = _lines_of(page).values_list("reservation").annotate(Count("pk"))
        lines_of = dict(counted)
        is_reverse = self.cursor is not None and self.cursor.reverse
        kept: list[Reservation] = []
        lines = 0
        for reservation in reversed(page) if is_reverse else page:
            lines += lines_of[reservation.pk]
            if kept and lines > MAX_LINES_ON_PAGE:
                following = str(getattr(reservation, self.ordering[0].lstrip("-")))
                if is_reverse:
                    self.has_previous, self.previous_position = True, following
                else:
                    self.has_next, self.next_position = True, following
                break
            kept.append(reservation)
        return kept[::-1] if is_reverse else kept


def _lines_of(page: list[Reservation]) -> ReservationLineQuerySet:
    database = page[0]._state.db if page else None
    return ReservationLine.objects.using(database).filter(reservation__in=page)
