"""What a change of levels gives rise to. Pure: levels in, event types out."""

from products.models import Levels, StockEvent


def low_stock_event(before: Levels | None, after: Levels) -> StockEvent.Type | None:
    """Return the event of a product that became low on stock, or no longer is, if any.

    `before` is None for a new product.
    """
    was_low = before is not None and before.is_low
    if after.is_low == was_low:
        return None
    return StockEvent.Type.LOW_STOCK_RESOLVED if was_low else StockEvent.Type.LOW_STOCK_DETECTED
