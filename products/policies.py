"""Rules that derive further events from a change of levels. Pure functions."""

from products.models import Levels, StockEvent


def low_stock_event(before: Levels | None, after: Levels) -> StockEvent.Type | None:
    """Return the event for a product that became low on stock or recovered, or None.

    `before` is None for a new product.
    """
    was_low = before is not None and before.is_low
    if after.is_low == was_low:
        return None
    return StockEvent.Type.LOW_STOCK_RESOLVED if was_low else StockEvent.Type.LOW_STOCK_DETECTED
