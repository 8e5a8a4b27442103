from argparse import ArgumentParser
from typing import Any

from products import stock
from products.management.base import InventoryCommand, whole_number
from products.models import StockEvent

BATCH = 1_000


class Command(InventoryCommand):
    help = (
        "Give back what overdue reservations hold, in short transactions. Run it every minute or "
        "so; several at once do no harm."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--batch", type=whole_number, default=BATCH, help="lines in one transaction"
        )

    def handle(self, *args: Any, batch: int, **options: Any) -> None:
        by = stock.Actor("expire_reservations", StockEvent.Source.COMMAND)
        total = 0
        left: set[int] = set()
        try:
            while True:
                swept = stock.expire_overdue(limit=max(batch, 1), passing_over=left, by=by)
                if not swept.found:
                    break
                total += swept.expired
                left |= swept.left
        finally:
            later = f" {len(left)} are left for the next run: in use by others." if left else ""
            self.report(f"{total} reservations expired.{later}")
