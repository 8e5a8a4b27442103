import os
from contextlib import nullcontext
from typing import Any, NoReturn

from django.core.management.base import CommandError, CommandParser

from products import stock
from products.files import bulk, operations, undo
from products.files.adjustments import (
    COLUMN_OF,
    adjustment_columns,
    adjustment_line,
    wanted_in_adjustments,
)
from products.files.columns import Columns
from products.files.lines import FileLine
from products.files.staging import NewLine, staging
from products.management.base import ExitCode, note, timestamp
from products.management.bulk import BulkCommand, Labels, choice_of, names_in_file, with_run_id
from products.management.files import (
    fingerprint,
    reading,
    write_refused,
)
from products.management.output import STANDARD_OUTPUT, opened
from products.models import BulkRun
from products.validators import format_time

UNDO_OPTIONS = {"undo", "dry_run", "by", "reason"}
UNDO_LABELS = Labels(
    lines="events",
    done="undone",
    possible="can be undone",
    done_before="This run was already undone at {}. This command changed nothing.",
)


class Command(BulkCommand):
    help = (
        "Add, remove and set stock from a CSV file.\n\n"
        "The header names the columns: sku, and at least one of add, remove, quantity\n"
        "(units counted) and change (+3 adds, -3 removes). Optional: reason, reference,\n"
        "expected_quantity, counted_at (the time of a late count).\n"
        "Each line fills in one of add, remove, quantity and change.\n"
        "A line without an amount is passed over. A file counts each SKU once.\n\n"
        "All lines are applied or none. With --keep-going, every valid line is applied.\n\n"
        "With --undo, take back a run instead: write the opposite of each of its changes.\n\n"
        "Exit status: 0 if all lines were applied, 1 if lines were refused, 2 if the\n"
        "file or an option is invalid, 3 if the database failed."
    )
    examples = (
        "bulk_adjust delivery.csv --dry-run",
        "bulk_adjust delivery.csv --reason delivery --reference po-7",
        "bulk_adjust count.csv --keep-going --reference count-1 --rejects refused.csv",
        "bulk_adjust count.csv --reason stocktake --counted-at 2026-11-20T18:00:00Z",
        "bulk_adjust orders.csv --sku-column Item --amount-column Units --operation remove",
        "bulk_adjust inventory_export_1.csv --profile shopify --location Warehouse",
        "bulk_adjust --undo count-1 --dry-run",
    )
    needs_file = False
    retry = (
        "With --reference, run the same command again to finish the file. Without it, all lines "
        "were applied or none: check the ledger first."
    )
    interrupted = f"Interrupted. {retry}"

    def add_arguments(self, parser: CommandParser) -> None:
        options_of_django = vars(parser.parse_args([]))
        super().add_arguments(parser)
        parser.add_argument(
            "--undo",
            type=note,
            metavar="REFERENCE",
            help="take back the run with this reference, all or nothing, instead of applying FILE",
        )
        parser.add_argument(
            "--keep-going",
            action="store_true",
            help="apply every valid line, in short transactions, instead of all lines or none; "
            "requires --reference",
        )
        parser.add_argument(
            "--rejects",
            metavar="FILE",
            help="with --keep-going: write the refused lines to FILE, each with its error; correct "
            "FILE and apply it",
        )
        parser.add_argument(
            "--reference",
            metavar="TEXT",
            help="a name for this file, such as a delivery number. With it, the file is applied "
            "only once, and an interrupted run can be resumed. Also the reference of lines "
            "without one",
        )
        parser.add_argument(
            "--reason",
            default="",
            metavar="TEXT",
            help="the reason of lines without one, or of an undo (default of an undo: undo of "
            "REFERENCE; with --profile: such as shopify import)",
        )
        parser.add_argument(
            "--sku-column",
            metavar="NAME",
            help="the column that holds sku in this file; a line without a SKU is then passed over",
        )
        parser.add_argument(
            "--amount-column",
            metavar="NAME",
            help="the column that holds the number of units; requires --operation or --profile",
        )
        parser.add_argument(
            "--operation",
            choices=COLUMN_OF,
            help="whether --amount-column holds units to add, units to remove, a count, or "
            "changes with a sign (3 or +3 adds, -3 removes); with --profile the default is a count",
        )
        parser.add_argument(
            "--sum-repeated",
            action="store_true",
            help="add up the counts of a SKU that is counted on several lines, such as one for "
            "each shelf, instead of refusing the later ones",
        )
        parser.add_argument(
            "--counted-at",
            type=timestamp,
            metavar="TIME",
            help="the time of counts without one, such as 2026-11-20T18:00:00Z; later sales and "
            "deliveries are kept",
        )
        for column in ("reason", "reference", "expected_quantity", "counted_at"):
            option = f"--{column.replace('_', '-')}-column"
            parser.add_argument(option, metavar="NAME", help=f"the column that holds {column}")
        parser.add_argument(
            "--ignore-other-columns",
            action="store_true",
            help="ignore columns of the file that are not named here, instead of refusing the file",
        )

        # An undo refuses all options for files, also those that are added later.
        self._defaults = {
            name: default
            for name, default in vars(parser.parse_args([])).items()
            if name not in options_of_django
        }

    def handle(self, *args: Any, by: stock.Actor, **options: Any) -> None:
        if options["undo"] is not None:
            self._check_undo(options)
            self._undo(options["undo"], options["reason"], by=by, dry_run=options["dry_run"])
        elif options["file"] is None:
            _refuse("Name a file, or the run to undo (--undo REFERENCE).")
        else:
            _check(options)
            self._apply(options, by=by)

    def _check_undo(self, options: dict[str, Any]) -> None:
        if options["file"] is not None:
            _refuse("FILE and --undo cannot be combined. Leave one out.")
        given = [
            f"--{name.replace('_', '-')}"
            for name, default in self._defaults.items()
            if name not in UNDO_OPTIONS and options[name] != default
        ]
        if given:
            _refuse(f"--undo cannot be combined with {given[0]}, which is for files. Leave it out.")
        _check_notes(reason=options["reason"])

    def _undo(self, reference: str, reason: str, *, by: stock.Actor, dry_run: bool) -> None:
        self.labels = UNDO_LABELS
        self.retry = "Run the same command again: a run is undone only once."
        self.interrupted = f"Interrupted. {self.retry}"
        try:
            run = undo.run_of(reference)
        except undo.UnknownRun:
            _refuse(
                f"No file was applied under reference {reference}. Give the --reference of the "
                "command that applied it."
            )
        except undo.RunWithoutRequestId:
            _refuse(
                f"The run with reference {reference} was applied by an earlier version, which did "
                "not keep the id of its events. Correct the stock with a new file."
            )
        with staging(undo.codec(reason.strip() or undo.default_reason(run))) as table:
            undo.stage(table, run)
            if run.undone_at:
                report = undo.already_undone(run, events=table.lines)
            else:
                report = self.apply_or_preview(
                    table,
                    operations.AdjustmentLines(by=with_run_id(by)),
                    dry_run=dry_run,
                    claim=undo.UndoClaim(run, events=table.lines),
                )
        self.print_summary(table, report)

    def _apply(self, options: dict[str, Any], *, by: stock.Actor) -> None:
        columns, choice = _columns(options), choice_of(options)
        is_late = bool(options["counted_at"] or options["counted_at_column"])
        wanted = wanted_in_adjustments(options["operation"] or "adjust", is_late=is_late)
        reference = options["reference"] or ""
        notes = {"reason": options["reason"] or choice.reason, "reference": reference}
        counted_at = options["counted_at"]
        rejects = opened(options["rejects"], self.stdout) if options["rejects"] else nullcontext()
        report: bulk.Report | None = None
        try:
            with (
                reading(options["file"]) as source,
                staging(operations.AdjustmentLines.codec, adds_up=options["sum_repeated"]) as table,
                rejects as refused_lines,
            ):
                # Without a new option, the fingerprint is that of earlier versions.
                meaning: list[object] = ["sum_repeated"] if options["sum_repeated"] else []
                meaning += [columns.header_line] if columns.header_line else []
                meaning += [format_time(counted_at)] if counted_at else []
                meaning += ["upper_case"] if columns.upper_case else []
                if choice.profile or choice.where:
                    meaning.append([choice.profile, choice.location, *choice.where])
                selection = self.select(source, columns, choice, wanted)
                names = selection.columns.renamed
                mark = fingerprint(source, names, notes, options["keep_going"], *meaning)
                by = with_run_id(by)
                run = BulkRun(reference=reference, fingerprint=mark, request_id=by.request_id)
                self.stage(
                    table,
                    source,
                    selection,
                    lambda row: _staged(
                        adjustment_line(row, columns, **notes, counted_at=counted_at)
                    ),
                )
                operation = operations.AdjustmentLines(by=by)
                if options["keep_going"] and not options["dry_run"]:
                    with self.progress(table) as progress:
                        report = bulk.apply_possible(table, operation, run=run, progress=progress)
                    if refused_lines:
                        write_refused(
                            refused_lines, source, selection.columns, bulk.refusals_of(run)
                        )
                    else:
                        self.print_refused(bulk.refusals_of(run))
                else:
                    report = self.apply_or_preview(
                        table,
                        operation,
                        dry_run=options["dry_run"],
                        claim=bulk.FileClaim(run) if reference else None,
                    )
        except CommandError as error:
            if report is None:
                raise
            # The lines are applied, so report them although the refused lines were not written.
            self.stderr.write(f"{error} Run the same command again to write the refused lines.")
        self.print_summary(table, report)


def _staged(line: FileLine) -> NewLine | str:
    return line.passed_over or operations.AdjustmentLines.staged(line)


def _refuse(detail: str) -> NoReturn:
    raise CommandError(detail, returncode=ExitCode.BAD_INPUT)


def _check(options: dict[str, Any]) -> None:
    if options["keep_going"] and not options["reference"] and not options["dry_run"]:
        _refuse("--keep-going requires --reference, so that an interrupted run can be resumed.")
    if options["rejects"] and (options["dry_run"] or not options["keep_going"]):
        _refuse("--rejects requires --keep-going, and cannot be combined with --dry-run.")
    if options["rejects"] == STANDARD_OUTPUT:
        _refuse("--rejects requires a file name. Standard output is for the summary.")
    if not options["profile"] and bool(options["amount_column"]) != bool(options["operation"]):
        _refuse("--amount-column and --operation must be used together.")
    if options["rejects"] and _is_same_file(options["rejects"], options["file"]):
        _refuse("--rejects would overwrite the input file. Choose another file.")
    for name in ("reason", "reference"):
        try:
            stock.Add(sku="CUP", amount=1, **{name: options[name] or ""})
        except stock.Invalid as error:
            _refuse(f"--{name}: {error.detail}")
    if options["reference"] is not None and not options["reference"].strip():
        # Such as an unset shell variable. The file would be applied each time.
        _refuse("--reference cannot be blank. Give a name, or leave the option out.")


def _check_notes(**notes: str) -> None:
    for option, text in notes.items():
        try:
            stock.Add(sku="CUP", amount=1, reason=text)
        except stock.Invalid as error:
            _refuse(f"--{option}: {error.detail}")


def _is_same_file(one: str, other: str) -> bool:
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def _columns(options: dict[str, Any]) -> Columns:
    columns = adjustment_columns(
        renamed=names_in_file(options),
        operation=(options["operation"] or "adjust") if options["amount_column"] else "",
        allow_others=options["ignore_other_columns"],
    )
    return columns._replace(header_line=options["header_line"], upper_case=options["upper_case"])
