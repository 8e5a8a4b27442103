from typing import Any

from django.core.management.base import CommandParser

from products import stock
from products.files import operations
from products.files.changes import product_columns
from products.files.staging import staging
from products.management.bulk import BulkCommand, with_run_id
from products.management.files import reading


class Command(BulkCommand):
    help = (
        "Create and edit products from a CSV file. All lines are applied or none.\n\n"
        "The header names the columns: sku, and any of name, description, quantity,\n"
        "minimum_stock_level and archived (true or false). A new SKU becomes a product\n"
        "with quantity as its opening stock. For an existing product the other columns\n"
        "are updated; an empty cell changes nothing. Its stock is never changed: use\n"
        "bulk_adjust.\n\n"
        "Exit status: 0 if all lines were applied, 1 if lines were refused, 2 if the\n"
        "file is invalid, 3 if the database failed."
    )
    examples = (
        "import_products products.csv --dry-run",
        "import_products products.csv",
        "import_products edited.csv --existing-only --ignore-quantity",
    )
    interrupted = "Interrupted. Run the same command again: an import can safely be repeated."
    retry = "Run the same command again: an import can safely be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--existing-only",
            action="store_true",
            help="edit existing products only: refuse a SKU that does not exist",
        )
        parser.add_argument(
            "--ignore-quantity",
            action="store_true",
            help="ignore the column quantity; a new product starts with 0 units",
        )

        parser.add_argument(
            "--allow-similar",
            action="store_true",
            help="create a product although only leading zeros, an exponent or case distinguish "
            "its SKU from another, such as 00123 and 123, or 1E5 and 100000",
        )

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        columns = product_columns(ignore_quantity=options["ignore_quantity"])
        columns = columns._replace(header_line=options["header_line"])
        with reading(options["file"]) as source, staging(operations.ProductLines.codec) as table:
            operation = operations.ProductLines(
                by=with_run_id(by),
                table=table,
                existing_only=options["existing_only"],
                allow_similar=options["allow_similar"],
            )
            self.stage(table, source, columns, operation.staged)
            report = self.apply_or_preview(table, operation, dry_run=options["dry_run"])
        self.print_summary(table, report, operation.tally())
