"""Read what the ledger says about products. To decide by it, lock the products first."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from products.db.prepared import execute_prepared
from products.db.sqlite import is_sqlite
from products.ledger import sqlite, statements
from products.models import PastLevel, Product, StockEvent


def read_past_levels(products: Mapping[str, Product], moments: Mapping[str, datetime]) -> None:
    """Set `past_level` of the products with a late count. `moments` holds its moment by SKU.

    One statement reads all of them.
    """
    counted = {products[sku].pk: products[sku] for sku in moments if sku in products}
    if not counted:
        return
    times: list[Any] = [moments[product.sku].astimezone(UTC) for product in counted.values()]
    if is_sqlite():
        times = list(map(sqlite.as_text, times))
    rows = statements.rows_of(StockEvent, ("product_id", "occurred_at"), [list(counted), times])
    for pk, is_future, quantity, counted_again_at in execute_prepared(
        statements.past_levels(rows.sql), rows.parameters
    ):
        if is_sqlite():
            counted_again_at = sqlite.from_text(counted_again_at)
        counted[pk].past_level = PastLevel(bool(is_future), quantity, counted_again_at)


def read_undone(products: Mapping[str, Product], events: Collection[int]) -> None:
    """Set `undone` of the products: the ids of those of the events that are undone already."""
    found = StockEvent.objects.filter(undoes__in=events).values_list("undoes_id", flat=True)
    undone = frozenset(filter(None, found))
    for product in products.values():
        product.undone = undone
