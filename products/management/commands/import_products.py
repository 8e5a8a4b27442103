from typing import Any

from products import stock
from products.files import operations
from products.files.changes import DERIVED_COLUMNS, PRODUCT_COLUMNS
from products.files.rows import Columns
from products.files.staging import staging
from products.management.bulk import BulkCommand, with_run_id
from products.management.files import reading

COLUMNS = Columns(known=PRODUCT_COLUMNS, required=("sku",), ignored=DERIVED_COLUMNS)


class Command(BulkCommand):
    help = (
        "Create and edit products from a CSV file. All lines are applied or none.\n\n"
        "The header names the columns: sku, and any of name, description, quantity and\n"
        "minimum_stock_level. A new SKU becomes a product with quantity as its opening\n"
        "stock. For an existing product the other columns are updated; an empty cell\n"
        "changes nothing. Its stock is never changed: use bulk_adjust.\n\n"
        "Exit status: 0 if all lines were applied, 1 if lines were refused, 2 if the\n"
        "file is invalid, 3 if the database failed."
    )
    examples = ("import_products products.csv --dry-run", "import_products products.csv")
    interrupted = "Interrupted. Run the same command again: an import can safely be repeated."
    retry = "Run the same command again: an import can safely be repeated."

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        with reading(options["file"]) as source, staging(operations.ProductLines.codec) as table:
            self.stage(table, source, COLUMNS, operations.ProductLines.staged)
            operation = operations.ProductLines(by=with_run_id(by))
            report = self.apply_or_preview(table, operation, dry_run=options["dry_run"])
        self.print_summary(table, report)
