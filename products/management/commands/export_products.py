from typing import Any

from products.management.output import AVAILABLE, ExportCommand
from products.models import Product


class Command(ExportCommand):
    help = (
        "Write all products, also the archived ones, ordered by SKU. The columns are those of the "
        "back office: CSV can be edited and imported."
    )

    columns = {
        "sku": "sku",
        "name": "name",
        "description": "description",
        "quantity": "quantity",
        "reserved_quantity": "reserved_quantity",
        "available_quantity": AVAILABLE,
        "minimum_stock_level": "minimum_stock_level",
        "low_stock": "low_stock",
        "archived": "archived",
        "updated_at": "updated_at",
    }

    def handle(self, *args: Any, file: str, form: str, **options: Any) -> None:
        self.export(Product.objects.order_by("sku"), file=file, form=form)
