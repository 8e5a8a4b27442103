from typing import Any

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.files import operations
from products.files.lines import WITHOUT_SKU, lacks_sku
from products.files.products import MAPPED_COLUMNS, product_columns, wanted_in_products
from products.files.staging import staging
from products.management.base import ExitCode
from products.management.bulk import BulkCommand, choice_of, names_in_file, with_run_id
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
        "import_products shop.csv --sku-column Code --name-column Title --ignore-other-columns",
        "import_products products_export_1.csv --profile shopify",
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
            help="create a product although only leading zeros or an exponent distinguish "
            "its SKU from another, such as 00123 and 123, or 1E5 and 100000",
        )

        for column in MAPPED_COLUMNS:
            option = f"--{'minimum' if column == 'minimum_stock_level' else column}-column"
            parser.add_argument(
                option,
                dest=f"{column}_column",
                metavar="NAME",
                help=f"the column that holds {column} in this file"
                + ("; a line without a SKU is then passed over" if column == "sku" else ""),
            )
        parser.add_argument(
            "--ignore-other-columns",
            action="store_true",
            help="ignore columns of the file that are not named here, instead of refusing the file",
        )

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        if options["ignore_quantity"] and options["quantity_column"]:
            raise CommandError(
                "--ignore-quantity and --quantity-column cannot be combined. Leave one out.",
                returncode=ExitCode.BAD_INPUT,
            )
        columns = product_columns(
            ignore_quantity=options["ignore_quantity"],
            renamed=names_in_file(options),
            allow_others=options["ignore_other_columns"],
        )._replace(header_line=options["header_line"], upper_case=options["upper_case"])
        wanted = wanted_in_products(ignore_quantity=options["ignore_quantity"])
        with reading(options["file"]) as source, staging(operations.ProductLines.codec) as table:
            operation = operations.ProductLines(
                by=with_run_id(by),
                table=table,
                existing_only=options["existing_only"],
                allow_similar=options["allow_similar"],
            )
            selection = self.select(source, columns, choice_of(options), wanted)
            self.stage(
                table,
                source,
                selection,
                lambda row: WITHOUT_SKU if lacks_sku(row, columns) else operation.staged(row),
            )
            report = self.apply_or_preview(table, operation, dry_run=options["dry_run"])
        self.print_summary(table, report, operation.tally())
