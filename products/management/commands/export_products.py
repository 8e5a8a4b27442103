from typing import Any

from products.files.exports import PRODUCT_EXPORT
from products.management.output import ExportCommand
from products.models import Product


class Command(ExportCommand):
    help = (
        "Export all products, including archived ones, ordered by SKU.\n\n"
        "The CSV can be edited and imported again with import_products. Add --ignore-quantity\n"
        "if the stock may have changed since."
    )
    examples = (
        "export_products products.csv",
        "export_products --format jsonl | gzip > products.jsonl.gz",
    )
    columns = PRODUCT_EXPORT

    def handle(self, *args: Any, file: str, output_format: str, **options: Any) -> None:
        products = Product.objects.order_by("sku")
        self.export(products, file=file, output_format=output_format)
