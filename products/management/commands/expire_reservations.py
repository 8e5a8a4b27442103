from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.template.defaultfilters import pluralize

from products import stock
from products.management.base import InventoryCommand, whole_number
from products.management.repeating import repeat
from products.models import Reservation, StockEvent

BATCH = 1_000


class Command(InventoryCommand):
    help = (
        "Expire overdue reservations, so that their units become available again.\n\n"
        "Run it every minute, or once with --every 60. Several runs at the same time are safe."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--batch",
            type=whole_number,
            default=BATCH,
            metavar="N",
            help=f"reservation lines to expire in one transaction (default: {BATCH})",
        )
        parser.add_argument(
            "--every",
            type=whole_number,
            metavar="SECONDS",
            help="repeat after this many seconds, until Ctrl-C or SIGTERM (default: run once)",
        )

    def handle(self, *args: Any, batch: int, every: int | None, **options: Any) -> None:
        if every is None:
            self._expire(batch)
        else:
            repeat(partial(self._expire_overdue, batch), every=every, stderr=self.stderr)

    def _expire_overdue(self, batch: int) -> None:
        """Expire, and report only if there was work."""
        if Reservation.objects.overdue().exists():
            self._expire(batch)

    def _expire(self, batch: int) -> None:
        by = stock.Actor("expire_reservations", StockEvent.Source.COMMAND)
        total = 0
        skipped: set[int] = set()
        try:
            while True:
                result = stock.expire_overdue(limit=max(batch, 1), excluding=skipped, by=by)
                if not result.found:
                    break
                total += result.expired
                skipped |= result.skipped
        finally:
            said = f"{total} reservation{pluralize(total)} expired."
            if skipped:
                said += (
                    f" Skipped {len(skipped)} in use by other requests. The next run retries them."
                )
            self.report(said)
