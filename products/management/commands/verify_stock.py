import sys
from argparse import ArgumentParser
from typing import Any

from django.template.defaultfilters import pluralize

from products import stock
from products.management.base import InventoryCommand
from products.models import StockEvent


class Command(InventoryCommand):
    help = (
        "Replay the ledger and compare it with levels, versions and open reservations. Prints each "
        "difference; ends with 1 if there is any. Requests go on meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="record an InventoryAdjusted for each product whose ledger does not explain its "
            "levels: what is on hand stays, what is reserved becomes what reservations hold",
        )

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        count = 0
        wrong: dict[str, None] = {}  # In the order of finding, each once.
        for difference in stock.differences():
            count += 1
            self.stdout.write(f"{difference.sku or '-'}\t{difference.code}\t{difference.detail}")
            if difference.sku:
                wrong[difference.sku] = None
        if repair:
            self._repair(wrong)
        if count:
            self.stdout.write(f"{count} difference{pluralize(count)}.")
            sys.exit(1)
        self.stdout.write("The ledger explains every level.")

    def _repair(self, skus: dict[str, None]) -> None:
        by = stock.Actor(stock.REPAIR_ACTOR, StockEvent.Source.COMMAND)
        for sku in skus:
            try:
                if stock.reconcile(sku=sku, by=by):
                    self.stdout.write(f"{sku}\trepaired")
            except stock.CannotReconcile as error:
                self.stdout.write(f"{sku}\tnot repaired\t{error.detail}")
