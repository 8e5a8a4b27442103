from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.template.defaultfilters import pluralize

from products import alerts, low_stock_digest
from products.management.base import ExitCode, InventoryCommand, whole_number
from products.management.repeating import repeat


class Command(InventoryCommand):
    help = (
        "Send an e-mail to ALERT_EMAILS that lists the products that became low on stock since\n"
        "the last one, and still are. The first e-mail lists all products that are low now.\n"
        "No e-mail is sent if there is nothing to list.\n\n"
        "Run it every morning, every hour, or once with --every 3600. Several runs at the same\n"
        "time are safe."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--every",
            type=whole_number,
            metavar="SECONDS",
            help="repeat after this many seconds, until Ctrl-C or SIGTERM (default: run once)",
        )

    def handle(self, *args: Any, every: int | None, **options: Any) -> None:
        try:
            if every is None:
                self._send_once()
            else:
                alerts.require_configuration()
                repeat(self._send_or_say_why, every=every, stderr=self.stderr)
        except alerts.NotConfigured as error:
            raise CommandError(str(error), returncode=ExitCode.BAD_INPUT) from error

    def _send_once(self) -> None:
        try:
            if not self._send():
                self.report("No product has become low on stock since the last e-mail.")
        except low_stock_digest.Busy:
            self.report("Another run is sending the e-mail.")
        except alerts.NotConfigured:
            raise
        except alerts.NotSent as error:
            message = f"{error} The next run sends it again."
            raise CommandError(message, returncode=ExitCode.MAIL) from error

    def _send_or_say_why(self) -> None:
        """Send, and report only if there was an e-mail."""
        try:
            self._send()
        except low_stock_digest.Busy:
            pass
        except alerts.NotSent as error:
            self.stderr.write(f"{error} Trying again.")

    def _send(self) -> int:
        """Send the e-mails, report them, and return how many products they list."""
        total = 0
        for digest in low_stock_digest.send():
            total += digest.low
            if digest.lost_cursor:
                self.stderr.write(
                    "The ledger lacks the event that the last e-mail ended with, as after a "
                    "restore. Starting again with all products that are low now."
                )
            if digest.low:
                products = f"{digest.low:,} product{pluralize(digest.low)}"
                self.report(f"E-mail sent: {products} low on stock.")
        return total
