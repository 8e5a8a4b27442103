from typing import Any

from django.utils import timezone

from products.demo import history
from products.management.base import InventoryCommand
from products.models import Product


class Command(InventoryCommand):
    help = (
        "Load demo data: 1,455 products with the deliveries, orders, counts and reservations of "
        "the last 30 days. Loads nothing if the database has products."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if Product.objects.exists():
            self.report("The database has products. Demo data needs an empty database.")
            return
        loaded = history.load(now=timezone.now())
        self.report(
            f"Loaded {loaded.products:,} products, {loaded.reservations:,} reservations and "
            f"{loaded.events:,} stock events of the last {history.DAYS} days."
        )
