import sys
from argparse import ArgumentParser
from typing import Any

from django.template.defaultfilters import pluralize

from products import stock
from products.management.base import InventoryCommand
from products.models import Product, StockEvent


class Command(InventoryCommand):
    help = (
        "Replay the ledger and compare it with stock levels, versions and open\n"
        "reservations. Print each difference. It is safe while the service runs.\n\n"
        "Exit status: 0 if there is no difference, 1 if there is any, even a repaired one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="record an InventoryAdjusted event for each product with a difference. Its units "
            "on hand stay the same; its reserved units become those of its open reservations",
        )

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        count = 0
        wrong: dict[str, None] = {}  # An ordered set.
        for difference in stock.differences():
            count += 1
            self.stdout.write(f"{difference.sku or '-'}\t{difference.code}\t{difference.detail}")
            if difference.sku:
                wrong[difference.sku] = None
        if repair:
            self._repair(wrong)
        self._report_skus()
        if count:
            self.stdout.write(f"{count} difference{pluralize(count)}.")
            sys.exit(1)
        self.stdout.write("No differences found. The ledger matches all stock levels.")

    def _report_skus(self) -> None:
        """Report products that were created when `SKU_CHARACTERS` allowed more characters."""
        products = Product.objects.with_disallowed_skus()
        if first := products.order_by("sku").first():
            count = products.count()
            self.stderr.write(
                f"SKU_CHARACTERS does not allow the SKU of {count} product{pluralize(count)}, such "
                f"as {first.sku}. Lines of requests and of files cannot name it. Allow its "
                "characters again."
            )

    def _repair(self, skus: dict[str, None]) -> None:
        by = stock.Actor(stock.REPAIR_ACTOR, StockEvent.Source.COMMAND)
        for sku in skus:
            try:
                if stock.reconcile(sku=sku, by=by):
                    self.stdout.write(f"{sku}\trepaired")
            except stock.CannotReconcile as error:
                self.stdout.write(f"{sku}\tnot repaired\t{error.detail}")
