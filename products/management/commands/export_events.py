from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.files.exports import EVENT_EXPORT
from products.management.base import ExitCode, moment, sku
from products.management.output import ExportCommand
from products.models import Product, StockEvent


class Command(ExportCommand):
    help = "Write stock events, oldest first, in the form of the API."

    columns = EVENT_EXPORT

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--sku", type=sku, metavar="SKU", help="those of one product")
        parser.add_argument(
            "--type",
            dest="event_type",
            choices=StockEvent.Type.values,
            help="those of one type",
        )
        parser.add_argument(
            "--since",
            type=moment,
            metavar="MOMENT",
            help="those at this moment or later, such as 2026-11-20T09:30:00Z",
        )
        parser.add_argument(
            "--until", type=moment, metavar="MOMENT", help="those before this moment"
        )

    def handle(
        self,
        *args: Any,
        file: str,
        form: str,
        sku: str | None,
        event_type: str | None,
        since: datetime | None,
        until: datetime | None,
        **options: Any,
    ) -> None:
        if since and until and since >= until:
            raise CommandError("--since must be before --until.", returncode=ExitCode.BAD_INPUT)
        wanted = {
            "product": sku and _product(sku),
            "type": event_type,
            "occurred_at__gte": since,
            "occurred_at__lt": until,
        }
        events = StockEvent.objects.filter(
            **{field: value for field, value in wanted.items() if value is not None}
        )
        self.export(events.order_by("pk"), file=file, form=form)


def _product(sku: str) -> Product:
    product = Product.objects.filter(sku=sku).first()
    if product is None:
        raise stock.ProductNotFound(sku)
    return product
