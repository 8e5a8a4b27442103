from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.files.exports import EVENT_EXPORT
from products.management.base import ExitCode, note, sku, timestamp
from products.management.output import ExportCommand
from products.models import Product, StockEvent


class Command(ExportCommand):
    help = "Export the stock events of the ledger, oldest first, with the fields of the API."
    examples = (
        "export_events events.csv --sku MUG-BLUE",
        "export_events - --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z",
        "export_events removed.jsonl --type InventoryRemoved --format jsonl",
        "export_events run.csv --reference count-1",
    )
    columns = EVENT_EXPORT

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--sku", type=sku, metavar="SKU", help="only events of this product")
        parser.add_argument(
            "--type",
            dest="event_type",
            choices=StockEvent.Type.values,
            metavar="TYPE",
            help=f"only events of this type: {', '.join(StockEvent.Type.values)}",
        )
        parser.add_argument(
            "--reference", type=note, metavar="TEXT", help="only events with this reference"
        )
        parser.add_argument(
            "--request-id",
            type=note,
            metavar="TEXT",
            help="only events of this request, or of this run of a command",
        )
        parser.add_argument(
            "--since",
            type=timestamp,
            metavar="TIME",
            help="only events at or after this time, such as 2026-11-20T09:30:00Z",
        )
        parser.add_argument(
            "--until", type=timestamp, metavar="TIME", help="only events before this time"
        )

    def handle(
        self,
        *args: Any,
        file: str,
        output_format: str,
        sku: str | None,
        event_type: str | None,
        reference: str | None,
        request_id: str | None,
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
        if reference is not None:
            events = events.of_reference(reference)
        if request_id is not None:
            events = events.of_request(request_id)
        self.export(events.order_by("pk"), file=file, output_format=output_format)


def _product(sku: str) -> Product:
    product = Product.objects.filter(sku=sku).first()
    if product is None:
        raise stock.ProductNotFound(sku)
    return product
