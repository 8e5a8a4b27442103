from collections import Counter
from typing import Any

from products import demo, stock
from products.management.base import InventoryCommand
from products.models import Product, StockEvent

MINIMUM_STOCK_LEVEL = 12


class Command(InventoryCommand):
    help = (
        "Create the products of the demo orders that do not exist yet, each with the units that "
        "all of the orders together ask for. What exists is left as it is."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        lines = [line for order in demo.read_orders().values() for line in order]
        names = {line.sku: line.name for line in lines}
        amounts: Counter[str] = Counter()
        for line in lines:
            amounts[line.sku] += line.amount
        existing = set(Product.objects.values_list("sku", flat=True))
        created = stock.save_products(
            [
                stock.NewProduct(
                    sku=sku,
                    name=names[sku],
                    quantity=amount,
                    minimum_stock_level=MINIMUM_STOCK_LEVEL,
                    reason="demo data",
                )
                for sku, amount in amounts.items()
                if sku not in existing
            ],
            by=stock.Actor("load_demo_data", StockEvent.Source.COMMAND),
        )
        self.report(f"{len(created)} demo products created, {len(existing)} were there.")
