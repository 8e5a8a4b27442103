"""What the commands that carry out a file have in common."""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from products import stock
from products.files import bulk, operations
from products.files.csv import csv_lines
from products.files.rows import Columns, Row, rows_of
from products.files.staging import NewLine, Staging
from products.management.base import ExitCode, StockCommand, discard_unwritten
from products.models import BulkRun


def of_one_run(by: stock.Actor) -> stock.Actor:
    """Return the actor with an id, by which the events of this run are found in the ledger."""
    return replace(by, request_id=uuid4().hex)


class BulkCommand(StockCommand):
    """A command that carries out the lines of a file."""

    interrupted = (
        "Interrupted. A file is applied whole or not at all, or with --keep-going batch by batch: "
        "with --reference, give the same command again to have the rest of it done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", help="a CSV file in UTF-8, or - for standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would happen, and change nothing"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        # A line leaves no cycle behind, so looking for some only takes time.
        gc.disable()
        try:
            return super().execute(*args, **options)
        except bulk.ReferenceUsed as error:
            raise CommandError(
                f"The reference {error} was used for another file, or with other options.",
                returncode=ExitCode.BAD_INPUT,
            ) from error
        except bulk.CarriedOnElsewhere as error:
            raise CommandError(
                f"Another process is applying the file of reference {error}.",
                returncode=ExitCode.BAD_INPUT,
            ) from error
        finally:
            gc.enable()

    def stage(
        self,
        table: Staging,
        source: BinaryIO,
        columns: Columns,
        staged: Callable[[Row], NewLine],
    ) -> None:
        """Take in all lines of a file. Raises `CommandError` for a file without any."""
        rows = rows_of(csv_lines(source), columns)
        table.fill(map(staged, tqdm(rows, "read", unit=" lines", disable=None, leave=False)))
        if not table.lines:
            raise CommandError(
                "The file has no row below its header.", returncode=ExitCode.BAD_INPUT
            )

    @contextmanager
    def progress(self, table: Staging) -> Iterator[bulk.Progress]:
        """Show, on a terminal, how many of the lines are done."""
        with tqdm(
            desc="applied", total=table.lines, unit=" lines", disable=None, leave=False
        ) as bar:
            yield bar.update

    def carry_out(
        self,
        table: Staging,
        operation: operations.BulkOperation,
        *,
        dry_run: bool,
        run: BulkRun | None = None,
    ) -> bulk.Report:
        """Apply all lines or none, or only look; print the refused ones."""
        with self.progress(table) as progress:
            if dry_run:
                report = bulk.preview(table, operation, progress=progress)
            else:
                report = bulk.apply_whole(table, operation, run=run, progress=progress)
        self.tell_refused(sorted(report.refusals))
        return report

    def tell_refused(self, refusals: Iterable[bulk.Refusal]) -> None:
        """Print a line for each refused one: its number, SKU, code and what is wrong."""
        try:
            for refusal in refusals:
                self.stdout.write("\t".join(map(str, refusal)))
            self.stdout.flush()
        except OSError as error:
            # The other lines may be applied, and the summary says so.
            discard_unwritten()
            self.stdout = self.stderr
            self.stderr.write(f"Standard output: {error.strerror}.")

    def tell(self, table: Staging, report: bulk.Report) -> None:
        """Print how many lines had which fate, and end with 1 if any was refused."""
        figures = [
            ("lines", table.lines),
            ("applied" if report.is_applied else "can be applied", report.applied),
            *((f"refused: {code}", count) for code, count in sorted(report.refused.items())),
        ]
        if left := table.lines - report.applied - report.refused.total():
            figures.append(("not looked at", left))
        told = [f"{name:<40}{count:>13,}" for name, count in figures]
        if not report.is_applied:
            told.append("Nothing was changed.")
        if report.done_before:
            told.append(f"This was done before, at {report.done_before:%Y-%m-%d %H:%M:%S}Z.")
        self.report("\n".join(told))
        if report.refused:
            sys.exit(ExitCode.REFUSED)
