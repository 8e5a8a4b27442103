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
        total, found = 0, 1
        try:
            while found:
                found, expired = stock.expire_overdue(limit=max(batch, 1), by=by)
                total += expired
        finally:
            self.report(f"{total} reservations expired.")
