from typing import Any

from products import stock
from products.files import operations
from products.files.changes import DERIVED_COLUMNS, PRODUCT_COLUMNS
from products.files.rows import Columns
from products.files.staging import staging
from products.management.bulk import BulkCommand, of_one_run
from products.management.files import reading

COLUMNS = Columns(known=PRODUCT_COLUMNS, required=("sku",), ignored=DERIVED_COLUMNS)


class Command(BulkCommand):
    help = (
        "Create products from a CSV file, with their opening stock, and edit those that exist: "
        "their name, description and minimum, never their stock; an empty cell leaves what is. Its "
        "header names the columns sku, name, description, quantity and minimum_stock_level. All "
        "lines are applied, or none. Ends with 0 if all are, with 1 if lines were refused, with 2 "
        "if the file is wrong, with 3 if the database fails."
    )

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        with reading(options["file"]) as source, staging(operations.ProductLines.form) as table:
            self.stage(table, source, COLUMNS, operations.ProductLines.staged)
            operation = operations.ProductLines(by=of_one_run(by))
            report = self.carry_out(table, operation, dry_run=options["dry_run"])
        self.tell(table, report)
