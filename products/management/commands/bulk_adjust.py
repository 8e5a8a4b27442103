import os
from contextlib import nullcontext
from typing import Any, NoReturn

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.files import bulk, operations
from products.files.changes import ADJUSTMENT_COLUMNS, adjustment_line
from products.files.rows import Columns
from products.files.staging import staging
from products.management.base import ExitCode
from products.management.bulk import BulkCommand, of_one_run
from products.management.files import (
    REFUSED_COLUMNS,
    fingerprint,
    reading,
    write_refused,
)
from products.management.output import STANDARD_OUTPUT, opened
from products.models import BulkRun

COLUMN_OF = {"add": "add", "remove": "remove", "adjust": "quantity"}


class Command(BulkCommand):
    help = (
        "Add, remove and set stock from a CSV file: its header names the columns sku and add, "
        "remove or quantity (what was counted), and maybe reason, reference and expected_quantity. "
        "All lines are applied, or none, or with --keep-going as many as can be. Ends with 0 if "
        "all are, with 1 if lines were refused, with 2 if the file or an option is wrong, with 3 "
        "if the database fails."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--keep-going",
            action="store_true",
            help="apply the lines that can be, in short transactions; needs --reference",
        )
        parser.add_argument(
            "--rejects",
            metavar="FILE",
            help="with --keep-going: where to write the refused lines, each with its reason, in a "
            "form that can be fed back",
        )
        parser.add_argument(
            "--reference",
            help="a name for this file, such as the number of a delivery: under one reference a "
            "file is applied once, however often the command is given, and a run that broke off "
            "is carried on. Also the reference of lines that have none",
        )
        parser.add_argument("--reason", default="", help="the reason of lines that have none")
        parser.add_argument("--sku-column", metavar="NAME", help="the header's name for sku")
        parser.add_argument(
            "--amount-column",
            metavar="NAME",
            help="the header's name for the column of numbers; --operation says what they are",
        )
        parser.add_argument(
            "--operation", choices=COLUMN_OF, help="what the numbers of --amount-column are"
        )
        for column in ("reason", "reference", "expected_quantity"):
            option = f"--{column.replace('_', '-')}-column"
            parser.add_argument(option, metavar="NAME", help=f"the header's name for {column}")
        parser.add_argument(
            "--ignore-other-columns",
            action="store_true",
            help="take a file with columns that are none of these",
        )

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        _check(options)
        columns = _columns(options)
        reference = options["reference"] or ""
        notes = {"reason": options["reason"], "reference": reference}
        rejects = opened(options["rejects"], self.stdout) if options["rejects"] else nullcontext()
        report: bulk.Report | None = None
        try:
            with (
                reading(options["file"]) as source,
                staging(operations.AdjustmentLines.form) as table,
                rejects as refused_lines,
            ):
                mark = fingerprint(source, columns.named, notes, options["keep_going"])
                run = BulkRun(reference=reference, fingerprint=mark)
                self.stage(
                    table,
                    source,
                    columns,
                    lambda row: operations.AdjustmentLines.staged(adjustment_line(row, **notes)),
                )
                operation = operations.AdjustmentLines(by=of_one_run(by))
                if options["keep_going"] and not options["dry_run"]:
                    with self.progress(table) as progress:
                        report = bulk.apply_possible(table, operation, run=run, progress=progress)
                    if refused_lines:
                        write_refused(refused_lines, source, bulk.refusals_of(run))
                    else:
                        self.tell_refused(bulk.refusals_of(run))
                else:
                    report = self.carry_out(
                        table,
                        operation,
                        dry_run=options["dry_run"],
                        run=run if reference else None,
                    )
        except CommandError as error:
            if report is None:
                raise
            # What is done is done, and told.
            self.stderr.write(f"{error} Give the same command again to have it written.")
        self.tell(table, report)


def _check(options: dict[str, Any]) -> None:
    def refuse(detail: str) -> NoReturn:
        raise CommandError(detail, returncode=ExitCode.BAD_INPUT)

    if options["keep_going"] and not options["reference"] and not options["dry_run"]:
        refuse("--keep-going needs a --reference, under which a run that broke off is carried on.")
    if options["rejects"] and (options["dry_run"] or not options["keep_going"]):
        refuse(
            "--rejects needs --keep-going, and no --dry-run: a file of lines that were not applied."
        )
    if options["rejects"] == STANDARD_OUTPUT:
        refuse("--rejects needs a file: standard output tells what became of all lines.")
    if bool(options["amount_column"]) != bool(options["operation"]):
        refuse("--amount-column and --operation need each other.")
    if options["rejects"] and _is_same_file(options["rejects"], options["file"]):
        refuse("--rejects would replace the file that is read.")
    for name in ("reason", "reference"):
        try:
            stock.Add(sku="CUP", amount=1, **{name: options[name] or ""})
        except stock.Invalid as error:
            refuse(f"--{name}: {error.detail}")
    if options["reference"] is not None and not options["reference"].strip():
        # As of a variable without a value: the file would be applied each time.
        refuse("--reference may not be blank.")


def _is_same_file(one: str, other: str) -> bool:
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def _columns(options: dict[str, Any]) -> Columns:
    named = {
        "sku": options["sku_column"],
        "reason": options["reason_column"],
        "reference": options["reference_column"],
        "expected_quantity": options["expected_quantity_column"],
    }
    if options["operation"]:
        named[COLUMN_OF[options["operation"]]] = options["amount_column"]
    named = {name: theirs for name, theirs in named.items() if theirs}
    if len(set(named.values())) < len(named):
        raise CommandError("One column cannot have two meanings.", returncode=ExitCode.BAD_INPUT)
    return Columns(
        known=ADJUSTMENT_COLUMNS,
        required=("sku",),
        ignored=REFUSED_COLUMNS,
        named=named,
        others=options["ignore_other_columns"],
    )
