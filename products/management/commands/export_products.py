from typing import Any

from products.files.exports import PRODUCT_EXPORT
from products.management.output import ExportCommand
from products.models import Product


class Command(ExportCommand):
    help = (
        "Write all products, also the archived ones, ordered by SKU. The columns are those of the "
        "back office: CSV can be edited and imported."
    )

    columns = PRODUCT_EXPORT

    def handle(self, *args: Any, file: str, form: str, **options: Any) -> None:
        self.export(Product.objects.order_by("sku"), file=file, form=form)
