from argparse import ArgumentParser
from typing import Any

from django.template.defaultfilters import pluralize

from products import stock
from products.management.base import InventoryCommand, whole_number
from products.models import StockEvent

BATCH = 1_000


class Command(InventoryCommand):
    help = (
        "Release the units of overdue reservations, in short transactions.\n\n"
        "Run it every minute. Several runs at the same time are safe."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--batch",
            type=whole_number,
            default=BATCH,
            metavar="N",
            help=f"reservation lines to release in one transaction (default: {BATCH})",
        )

    def handle(self, *args: Any, batch: int, **options: Any) -> None:
        by = stock.Actor("expire_reservations", StockEvent.Source.COMMAND)
        total = 0
        skipped: set[int] = set()
        try:
            while True:
                swept = stock.expire_overdue(limit=max(batch, 1), excluding=skipped, by=by)
                if not swept.found:
                    break
                total += swept.expired
                skipped |= swept.skipped
        finally:
            said = f"{total} reservation{pluralize(total)} expired."
            if skipped:
                said += (
                    f" Skipped {len(skipped)} in use by other requests. The next run retries them."
                )
            self.report(said)
