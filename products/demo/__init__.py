"""Real orders as demo data. `README.md` names their source."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ORDERS_FILE = Path(__file__).with_name("orders.csv")


class OrderLine(NamedTuple):
    """One row of the file."""

    order: str
    sku: str
    name: str
    amount: int


def read_orders() -> dict[str, list[OrderLine]]:
    """Return the lines of each order by its number, in the order of the file."""
    orders: dict[str, list[OrderLine]] = defaultdict(list)
    with ORDERS_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            line = OrderLine(row["order"], row["sku"], row["name"], int(row["amount"]))
            orders[line.order].append(line)
    return dict(orders)
