"""The base of the commands that apply a file."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, ClassVar, NamedTuple
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser
from django.utils.text import get_text_list
from tqdm import tqdm

from products import stock
from products.files import bulk, operations
from products.files.cells import Row
from products.files.columns import Columns, folded
from products.files.csv import csv_lines
from products.files.layouts import select
from products.files.profiles import PROFILES, Wanted
from products.files.rows import NO_ROWS, rows_of
from products.files.selection import Choice, Selection
from products.files.staging import NewLine, Staging
from products.management.base import (
    ExitCode,
    StockCommand,
    discard_output,
    output_failed,
    whole_number,
)


class Labels(NamedTuple):
    """The words of a summary."""

    lines: str = "lines"
    done: str = "applied"
    possible: str = "can be applied"
    done_before: str = "This file was already applied at {}. This run changed nothing."


def with_run_id(by: stock.Actor) -> stock.Actor:
    """Return the actor with a new request id, which all events of this run share."""
    return replace(by, request_id=uuid4().hex)


def names_in_file(options: Mapping[str, Any]) -> dict[str, str]:
    """Map our names of columns to their names in the file, from options such as `sku_column`.

    Raises `CommandError` if two options name the same column.
    """
    names = {
        option.removesuffix("_column"): name
        for option, name in options.items()
        if option.endswith("_column") and name
    }
    if len(set(map(folded, names.values()))) < len(names):
        raise CommandError(
            "Two options name the same column. Name a different one in each.",
            returncode=ExitCode.BAD_INPUT,
        )
    return names


def choice_of(options: Mapping[str, Any]) -> Choice:
    """Return how the columns of the file are found, and which of its rows are read."""
    return Choice(
        profile=options["profile"] or "",
        location=options["location"] or "",
        where=options["where"] or (),
        adds_up=options.get("sum_repeated", False),
    )


class BulkCommand(StockCommand):
    """A command that applies the lines of a file."""

    needs_file: ClassVar[bool] = True
    """Whether argparse refuses a command line without FILE."""
    passed_over: Counter[str]
    """The number of rows that request nothing, by reason."""
    labels = Labels()

    notes: Sequence[str] = ()
    """How the file was read."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs=None if self.needs_file else "?",
            help="a CSV file in UTF-8, or - for standard input",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="report what would happen, and change nothing"
        )
        parser.add_argument(
            "--header-line",
            type=whole_number,
            default=0,
            metavar="N",
            help="the line of the file that names the columns; the lines above it are skipped "
            "(default: the first line that is not empty)",
        )
        parser.add_argument(
            "--profile",
            choices=PROFILES,
            help="the system that exported the file: its columns are found by their names there, "
            "and other columns are ignored",
        )
        parser.add_argument(
            "--location",
            metavar="NAME",
            help="with --profile: read the stock of this location only",
        )
        parser.add_argument(
            "--where",
            action="append",
            metavar="COLUMN=VALUE",
            help="pass over the lines that have another value in this column; repeat it for more "
            "columns, or to allow more values",
        )
        parser.add_argument(
            "--upper-case",
            action="store_true",
            help="write the SKUs of the file in capitals: tee-1 is read as TEE-1",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.passed_over = Counter()
        # Lines leave no reference cycles, so garbage collection would only cost time.
        gc.disable()
        try:
            return super().execute(*args, **options)
        except bulk.ReferenceUsed as error:
            raise CommandError(
                f"Reference {error} was used for another file or with other options. Choose "
                "another reference.",
                returncode=ExitCode.BAD_INPUT,
            ) from error
        except bulk.RunInProgress as error:
            raise CommandError(
                f"Another process is applying the file with reference {error}. Wait until it "
                "ends, then run the command again.",
                returncode=ExitCode.BAD_INPUT,
            ) from error
        except bulk.RunUndone as error:
            raise CommandError(
                f"The run with reference {error} was undone at {_seconds(error.undone_at)}. To "
                "apply the file again, choose another reference.",
                returncode=ExitCode.BAD_INPUT,
            ) from error
        finally:
            gc.enable()

    def select(
        self, source: BinaryIO, columns: Columns, choice: Choice, wanted: Wanted
    ) -> Selection:
        """Return the columns of a file and the rows that are read. Keep the notes to print."""
        selection = select(partial(csv_lines, source), columns, choice, wanted)
        self.notes = selection.notes
        return selection

    def stage(
        self,
        table: Staging,
        source: BinaryIO,
        selection: Selection,
        staged: Callable[[Row], NewLine | str],
    ) -> None:
        """Stage all lines of a file. Raises `CommandError` if it has none.

        `staged` returns why a row is passed over, if it is. Such rows are counted in `passed_over`.
        """
        columns = selection.columns
        rows = rows_of(csv_lines(source, columns), columns)
        picked = map(selection.pick, tqdm(rows, "read", unit=" lines", disable=None, leave=False))
        read = (pick if isinstance(pick, str) else staged(pick) for pick in picked)
        table.fill(self._without_passed_over(read))
        if not table.lines and self.passed_over:
            reasons = get_text_list(
                [f"{count:,} {reason}" for reason, count in self.passed_over.items()], "and"
            )
            notes = " ".join(["Check the names of the columns.", *self.notes])
            raise CommandError(
                f"No line requests a change: {reasons}. {notes}", returncode=ExitCode.BAD_INPUT
            )
        if not table.lines:
            raise CommandError(NO_ROWS, returncode=ExitCode.BAD_INPUT)

    def _without_passed_over(self, read: Iterable[NewLine | str]) -> Iterator[NewLine]:
        for line in read:
            if isinstance(line, str):
                self.passed_over[line] += 1
            else:
                yield line

    @contextmanager
    def progress(self, table: Staging) -> Iterator[bulk.Progress]:
        """Show a progress bar on a terminal."""
        unit = f" {self.labels.lines}"
        with tqdm(
            desc=self.labels.done, total=table.lines, unit=unit, disable=None, leave=False
        ) as bar:
            yield bar.update

    def apply_or_preview(
        self,
        table: Staging,
        operation: operations.BulkOperation,
        *,
        dry_run: bool,
        claim: bulk.Claim | None = None,
    ) -> bulk.Report:
        """Apply all lines or none, or preview them. Print the refused lines."""
        with self.progress(table) as progress:
            if dry_run:
                report = bulk.preview(table, operation, progress=progress)
            else:
                report = bulk.apply_whole(table, operation, claim=claim, progress=progress)
        self.print_refused(sorted(report.refusals))
        return report

    def print_refused(self, refusals: Iterable[bulk.Refusal]) -> None:
        """Print a row for each refused line: line number, SKU, code and detail."""
        try:
            for refusal in refusals:
                self.stdout.write("\t".join(map(str, refusal)))
            self.stdout.flush()
        except OSError as error:
            # Other lines may be applied, so the summary must still be printed.
            discard_output()
            self.stdout = self.stderr
            self.stderr.write(output_failed(error))

    def print_summary(
        self, table: Staging, report: bulk.Report, tally: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Print how many lines were applied and refused. Exit with 1 if any was refused.

        `tally` holds further figures about the applied lines.
        """
        labels = self.labels
        figures = [
            (labels.lines, table.lines + self.passed_over.total()),
            (labels.done if report.is_applied else labels.possible, report.applied),
            *((f"  {name}", count) for name, count in tally),
            *((f"passed over: {reason}", count) for reason, count in self.passed_over.items()),
            *([("repeated counts", table.repeated)] if table.adds_up else []),
            *((f"refused: {code}", count) for code, count in sorted(report.refused.items())),
        ]
        if left := table.lines - report.applied - report.refused.total():
            figures.append(("not checked", left))
        text = [*self.notes, *(f"{name:<40}{count:>13,}" for name, count in figures)]
        if not report.is_applied:
            text.append("Nothing was changed.")
        if report.already_done_at:
            text.append(labels.done_before.format(_seconds(report.already_done_at)))
        self.report("\n".join(text))
        if report.refused:
            sys.exit(ExitCode.REFUSED)


def _seconds(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
