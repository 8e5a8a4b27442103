from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any, BinaryIO, NoReturn
from uuid import uuid4

from django.core.management.base import CommandError

from products import bulk, stock
from products.imports import ADJUSTMENT_COLUMNS, adjustment_line
from products.management.bulk import BulkCommand
from products.management.files import (
    BAD_INPUT,
    REFUSED_COLUMNS,
    fingerprint,
    reading,
    replacing,
    write_refused,
)
from products.models import StockEvent
from products.staging import Staging, staging
from products.tables import Columns

COLUMN_OF = {"add": "add", "remove": "remove", "adjust": "quantity"}


class Command(BulkCommand):
    help = (
        "Add, remove and set stock from a CSV file: its header names the columns sku and add, "
        "remove or quantity (what was counted), and maybe reason, reference and expected_quantity. "
        "All lines are applied, or none. Ends with 0 if all are, with 1 if lines were refused, "
        "with 2 if the file or an option is wrong, with 3 if the database fails."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
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
            default="",
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
        parser.add_argument("--operation", choices=COLUMN_OF)
        for column in ("reason", "reference", "expected_quantity"):
            option = f"--{column.replace('_', '-')}-column"
            parser.add_argument(option, metavar="NAME", help=f"the header's name for {column}")
        parser.add_argument(
            "--ignore-other-columns",
            action="store_true",
            help="take a file with columns that are none of these",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        columns = _columns(options)
        notes = {"reason": options["reason"], "reference": options["reference"]}
        with reading(options["file"]) as source, staging() as table:
            mark = fingerprint(source, columns, notes, options["keep_going"])
            self.stage(
                table,
                source,
                columns,
                lambda row: bulk.Adjustments.staged(adjustment_line(row, **notes)),
            )
            work = bulk.Adjustments(
                by=stock.Actor("bulk_adjust", StockEvent.Source.COMMAND, uuid4().hex)
            )
            try:
                if options["dry_run"]:
                    self._preview(table, work)
                elif options["keep_going"]:
                    self._apply_possible(table, work, source, mark, options)
                else:
                    self._apply_whole(table, work, mark, options)
            except bulk.ReferenceUsed as error:
                raise CommandError(
                    f"The reference {error} was used for another file, or with other options.",
                    returncode=BAD_INPUT,
                ) from error
            except bulk.CarriedOnElsewhere as error:
                raise CommandError(
                    f"Another process is applying the file of reference {error}.",
                    returncode=BAD_INPUT,
                ) from error

    def _preview(self, table: Staging, work: bulk.Adjustments) -> None:
        with self.progress(table) as progress:
            report = bulk.preview(table, work, progress=progress)
        self.tell(table, report, counted="can be applied", end="Nothing was changed.")

    def _apply_whole(
        self, table: Staging, work: bulk.Adjustments, mark: str, options: dict[str, Any]
    ) -> None:
        with self.progress(table) as progress:
            report = bulk.apply_whole(
                table,
                work,
                reference=options["reference"],
                fingerprint=mark,
                progress=progress,
            )
        if report.refused:
            self.tell(table, report, counted="can be applied", end="Nothing was changed.")
        self.tell(table, report, counted="applied", end=_before(report))

    def _apply_possible(
        self,
        table: Staging,
        work: bulk.Adjustments,
        source: BinaryIO,
        mark: str,
        options: dict[str, Any],
    ) -> None:
        reference = options["reference"]
        rejects = replacing(options["rejects"]) if options["rejects"] else nullcontext()
        with rejects as file:
            with self.progress(table) as progress:
                report = bulk.apply_possible(
                    table, work, reference=reference, fingerprint=mark, progress=progress
                )
            if file:
                write_refused(file, source, bulk.refusals_of(reference))
            else:
                self.tell_refused(bulk.refusals_of(reference))
        self.tell(table, report, counted="applied", end=_before(report))


def _check(options: dict[str, Any]) -> None:
    def refuse(detail: str) -> NoReturn:
        raise CommandError(detail, returncode=BAD_INPUT)

    if options["keep_going"] and not options["reference"] and not options["dry_run"]:
        refuse("--keep-going needs a --reference, under which a run that broke off is carried on.")
    if options["rejects"] and (options["dry_run"] or not options["keep_going"]):
        refuse(
            "--rejects needs --keep-going, and no --dry-run: a file of lines that were not applied."
        )
    if bool(options["amount_column"]) != bool(options["operation"]):
        refuse("--amount-column and --operation need each other.")
    for name in ("reason", "reference"):
        try:
            stock.Add(sku="CUP", amount=1, **{name: options[name]})
        except stock.Invalid as error:
            refuse(f"--{name}: {error.detail}")


def _columns(options: dict[str, Any]) -> Columns:
    named = {
        "sku": options["sku_column"],
        "reason": options["reason_column"],
        "reference": options["reference_column"],
        "expected_quantity": options["expected_quantity_column"],
    }
    if options["operation"]:
        named[COLUMN_OF[options["operation"]]] = options["amount_column"]
    return Columns(
        known=ADJUSTMENT_COLUMNS,
        required=("sku",),
        ignored=REFUSED_COLUMNS,
        named={name: theirs for name, theirs in named.items() if theirs},
        others=options["ignore_other_columns"],
    )


def _before(report: bulk.Report) -> str:
    if report.done_before is None:
        return ""
    return f"This was done before, at {report.done_before:%Y-%m-%d %H:%M:%SZ}: nothing was changed."
