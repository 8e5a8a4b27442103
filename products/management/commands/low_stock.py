from collections.abc import Iterable, Sequence
from io import TextIOBase
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import pluralize

from products.files.exports import LOW_STOCK_EXPORT, Row
from products.files.formats import Writer
from products.management.base import InventoryCommand
from products.management.output import FORMATS, in_utf8, write
from products.models import Product

# The name comes last, because wide characters would shift the columns after it.
LINE = "{:<20} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n"
HEADINGS = ("SKU", "On hand", "Reserved", "Available", "Minimum", "Missing", "To order", "Name")
LONGEST_NAME = 40


def write_table(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write a table for a terminal, and the number of products. Return that number."""
    file.write(LINE.format(*HEADINGS))
    count = 0
    for sku, name, *levels in rows:
        file.write(LINE.format(sku, *levels, _shown(name)))
        count += 1
    file.write(f"{count} product{pluralize(count)} low on stock.\n")
    return count


def _shown(name: str) -> str:
    """Shorten a name, and replace control characters, which could affect the terminal."""
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)


WRITERS: dict[str, Writer] = {"table": write_table, **FORMATS}


class Command(InventoryCommand):
    help = (
        "List the active products whose available units are below their minimum, by SKU.\n"
        "Missing is the number of units needed to reach the minimum. To order is the number\n"
        "needed to reach REORDER_FACTOR times the minimum."
    )
    examples = ("low_stock", "low_stock --format csv > low-stock.csv")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format",
            dest="output_format",
            choices=WRITERS,
            default="table",
            help="table, csv, or jsonl: one JSON object per line (default: table)",
        )

    def handle(self, *args: Any, output_format: str, **options: Any) -> None:
        products = Product.objects.active().low_stock().order_by("sku")
        write(in_utf8(self.stdout), WRITERS[output_format], products, LOW_STOCK_EXPORT)
