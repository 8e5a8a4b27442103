"""The columns of each export, and its rows."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from django.db.models import F, QuerySet, Value
from django.db.models.expressions import Combinable

from products.db.pooler import one_server_connection
from products.models import AVAILABLE, TO_ORDER

ExportColumns = Mapping[str, str | Combinable]
"""Maps each column of an export to a field or an expression."""

PRODUCT_EXPORT: ExportColumns = {
    "sku": "sku",
    "name": "name",
    "description": "description",
    "quantity": "quantity",
    "reserved_quantity": "reserved_quantity",
    "available_quantity": AVAILABLE,
    "minimum_stock_level": "minimum_stock_level",
    "low_stock": "low_stock",
    "archived": "archived",
    "updated_at": "updated_at",
    "to_order": TO_ORDER,
}

LOW_STOCK_EXPORT: ExportColumns = {
    "sku": "sku",
    "name": "name",
    "quantity": "quantity",
    "reserved_quantity": "reserved_quantity",
    "available_quantity": AVAILABLE,
    "minimum_stock_level": "minimum_stock_level",
    "missing": F("minimum_stock_level") - AVAILABLE,
    "to_order": TO_ORDER,
}

PRINTED_PRODUCTS: ExportColumns = {
    "SKU": "sku",
    "Name": "name",
    "On hand": "quantity",
    "Reserved": "reserved_quantity",
    "Available": AVAILABLE,
    "Minimum": "minimum_stock_level",
    "To order": TO_ORDER,
}
"""The columns of a list on paper, by their headings."""

COUNT_SHEET: ExportColumns = {
    "sku": "sku",
    "name": "name",
    "quantity": Value(""),
    "expected_quantity": "quantity",
}
"""A sheet to fill in. The import of stock changes reads it."""

RESERVATION_LINE_EXPORT: ExportColumns = {
    "reservation": "reservation_id",
    "reference": "reservation__reference",
    "status": "reservation__status",
    "expires_at": "reservation__expires_at",
    "created_at": "reservation__created_at",
    "sku": "product__sku",
    "name": "product__name",
    "amount": "amount",
    "fulfilled": "fulfilled",
    "released": "released",
    "expired": "expired",
    "open": "open",
}

# The fields of a stock event in the API, in the same order.
EVENT_EXPORT: ExportColumns = {
    "id": "id",
    "sku": "sku",
    "version": "version",
    "type": "type",
    "quantity_change": "quantity_change",
    "reserved_change": "reserved_change",
    "quantity": "quantity",
    "reserved_quantity": "reserved_quantity",
    "available_quantity": AVAILABLE,
    "reservation": "reservation_id",
    "reason": "reason",
    "reference": "reference",
    "actor": "actor",
    "source": "source",
    "request_id": "request_id",
    "occurred_at": "occurred_at",
    "details": "details",
    "undoes": "undoes_id",
}

REFUSED_COLUMNS = ("refused_line", "refused_code", "refused_because")
"""The columns that a file of refused lines adds."""

OMITTED_WHERE_NULL = frozenset({"undoes"})
"""Members that JSON omits if they are null, as the API does."""

ROWS_AT_ONCE = 500

Row = Sequence[Any]
"""The values of a row, in the order of the columns."""


def read_rows(queryset: QuerySet[Any], columns: ExportColumns) -> Generator[Row, None, None]:
    """Yield a row for each object, as of the time when the first row is read.

    Do not call it in a transaction. On PostgreSQL the rows come from a cursor that outlives its
    transaction, so a slow reader blocks no writer. Through a pooler, it needs its transaction. On
    SQLite, a transaction would block all writers.
    """
    with one_server_connection():
        yield from queryset.values_list(*columns.values()).iterator(chunk_size=ROWS_AT_ONCE)
