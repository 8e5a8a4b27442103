from collections.abc import Iterable, Sequence
from io import TextIOBase
from typing import Any

from django.core.management.base import CommandParser

from products.files.exports import LOW_STOCK_EXPORT, Row
from products.files.formats import Writer
from products.management.base import InventoryCommand
from products.management.output import FORMATS, in_utf8, write
from products.models import Product

# The name comes last: in a terminal a letter may be wider than another.
LINE = "{:<20} {:>9} {:>9} {:>9} {:>9} {:>9}  {}\n"
HEADINGS = ("SKU", "On hand", "Reserved", "Available", "Minimum", "Missing", "Name")
LONGEST_NAME = 40


def write_table(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write lines for people, and how many products they are."""
    file.write(LINE.format(*HEADINGS))
    count = 0
    for sku, name, *levels in rows:
        file.write(LINE.format(sku, *levels, _shown(name)))
        count += 1
    file.write(f"{count} low on stock.\n")
    return count


def _shown(name: str) -> str:
    """Return a name as a terminal can show it: short, and without what would control it."""
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)


WRITERS: dict[str, Writer] = {"table": write_table, **FORMATS}


class Command(InventoryCommand):
    help = "List the active products of which less is available than their minimum, by SKU."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format", dest="form", choices=WRITERS, default="table", help="table by default"
        )

    def handle(self, *args: Any, form: str, **options: Any) -> None:
        products = Product.objects.active().low_stock().order_by("sku")
        write(in_utf8(self.stdout), WRITERS[form], products, LOW_STOCK_EXPORT)
