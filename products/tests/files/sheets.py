"""Sheets of a shop and their outcome. The fixtures in `conftest.py` import them."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

from openpyxl import Workbook

from products import stock
from products.models import Product
from products.tests.factories import ACTOR

LEVELS = {"SKU-1": 10, "SKU-2": 20, "SKU-3": 30, "00123": 7, "123": 900}
"""The levels before a sheet is imported, by SKU."""


class Outcome(NamedTuple):
    """The levels that a file changed, and the messages."""

    changed: dict[str, int]
    said: str


Read = Callable[..., Outcome]


def changed() -> dict[str, int]:
    now = dict(Product.objects.values_list("sku", "quantity"))
    return {sku: quantity for sku, quantity in now.items() if LEVELS.get(sku) != quantity}


def both(by_command: Read, by_admin: Read, content: str | bytes) -> Outcome:
    """Read a sheet in both ways. Neither may change a level that the other does not."""
    first = by_command(content, "--reason=sheet")
    for sku in first.changed:
        stock.adjust(sku=sku, quantity=LEVELS[sku], reason="once more", by=ACTOR)
    second = by_admin(content)
    assert first.changed == second.changed
    return Outcome(first.changed, f"{first.said}\n{second.said}")


def saved(workbook: Workbook) -> bytes:
    file = BytesIO()
    workbook.save(file)
    return file.getvalue()


def sheet_of(*rows: list[Any]) -> tuple[Workbook, Any]:
    workbook = Workbook()
    sheet = workbook.worksheets[0]
    for row in rows:
        sheet.append(row)
    return workbook, sheet
