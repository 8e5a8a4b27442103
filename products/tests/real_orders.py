"""The real orders of the demo data, for tests."""

from collections import Counter

from products import demo, stock
from products.tests.factories import ACTOR


def create_products_for_all_orders() -> Counter[str]:
    """Create a product for each SKU with exactly the units that all orders need.

    Returns the units by SKU.
    """
    units: Counter[str] = Counter()
    names: dict[str, str] = {}
    for lines in demo.read_orders().values():
        for line in lines:
            units[line.sku] += line.amount
            names[line.sku] = line.name
    products = [
        stock.NewProduct(sku=sku, name=names[sku], quantity=quantity)
        for sku, quantity in units.items()
    ]
    stock.save_products(products, by=ACTOR)
    return units
