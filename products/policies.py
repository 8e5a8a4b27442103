"""What a change of levels gives rise to. Pure: levels in, event types out."""

from products.models import Levels, StockEvent


class StockLevelMonitor:
    """Notices when a product becomes low on stock, and when it no longer is."""

    def events_for(self, before: Levels | None, after: Levels) -> list[StockEvent.Type]:
        """Return what the step from `before` (none: a new product) to `after` gives rise to."""
        was_low = before is not None and before.is_low
        if after.is_low and not was_low:
            return [StockEvent.Type.LOW_STOCK_DETECTED]
        if was_low and not after.is_low:
            return [StockEvent.Type.LOW_STOCK_RESOLVED]
        return []
