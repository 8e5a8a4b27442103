from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.management.base import ExitCode, StockCommand, timestamp, whole_number


class Command(StockCommand):
    help = "Change the stock on hand of one product, and print its new stock levels."
    examples = (
        "adjust_stock MUG-BLUE --add 40 --reason delivery --reference po-7",
        "adjust_stock MUG-BLUE --remove 3 --reason breakage",
        "adjust_stock MUG-BLUE --set 60 --reason stocktake --expected-quantity 66",
        "adjust_stock MUG-BLUE --set 60 --reason stocktake --counted-at 2026-11-20T18:00:00Z",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("sku", metavar="SKU", help="the SKU of the product")
        change = parser.add_mutually_exclusive_group(required=True)
        change.add_argument("--add", type=whole_number, metavar="N", help="add N units")
        change.add_argument("--remove", type=whole_number, metavar="N", help="remove N units")
        change.add_argument(
            "--set",
            dest="quantity",
            type=whole_number,
            metavar="N",
            help="set the stock on hand to N units, the result of a count; requires --reason",
        )
        parser.add_argument(
            "--reason", default="", metavar="TEXT", help="the reason, for the ledger"
        )
        parser.add_argument(
            "--reference",
            default="",
            metavar="TEXT",
            help="your own id for the change, such as a delivery number",
        )
        parser.add_argument(
            "--expected-quantity",
            type=whole_number,
            metavar="N",
            help="with --set: refuse the change unless N units are on hand now",
        )
        parser.add_argument(
            "--counted-at",
            type=timestamp,
            metavar="TIME",
            help="with --set: the time of a late count, such as 2026-11-20T18:00:00Z; later sales "
            "and deliveries are kept",
        )

    def handle(
        self,
        *args: Any,
        sku: str,
        add: int | None,
        remove: int | None,
        quantity: int | None,
        expected_quantity: int | None,
        counted_at: datetime | None,
        reason: str,
        reference: str,
        by: stock.Actor,
        **options: Any,
    ) -> None:
        if expected_quantity is not None and quantity is None:
            raise CommandError("--expected-quantity requires --set.", returncode=ExitCode.BAD_INPUT)
        if counted_at is not None and quantity is None:
            raise CommandError("--counted-at requires --set.", returncode=ExitCode.BAD_INPUT)
        change: dict[str, Any] = {"sku": sku, "reason": reason, "reference": reference, "by": by}
        if add is not None:
            product = stock.add(amount=add, **change)
        elif remove is not None:
            product = stock.remove(amount=remove, **change)
        elif quantity is not None:
            product = stock.adjust(
                quantity=quantity,
                expected_quantity=expected_quantity,
                counted_at=counted_at,
                **change,
            )
        self.report(
            f"{product.sku}: {product.quantity} on hand, {product.reserved_quantity} reserved, "
            f"{product.available_quantity} available, version {product.version}"
        )
