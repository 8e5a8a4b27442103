"""What the commands that carry out a file have in common."""

import gc
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from django.core.management.base import CommandError
from tqdm import tqdm

from products import bulk
from products.management.base import HousekeepingCommand
from products.management.files import BAD_INPUT
from products.staging import NewLine, Staging
from products.tables import Columns, Row, csv_lines, rows_of

REFUSED, INTERRUPTED = 1, 130


class BulkCommand(HousekeepingCommand):
    """A command that carries out the lines of a file."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="a CSV file in UTF-8, or - for standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would happen, and change nothing"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        # A line leaves no cycle behind; looking for some would take a quarter of the time.
        gc.disable()
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. A file is applied whole or not at all, with --keep-going a batch is: "
                "the same command can be given again, safely so with --reference.",
                returncode=INTERRUPTED,
            ) from None
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
            raise CommandError("The file has no row below its header.", returncode=BAD_INPUT)

    @contextmanager
    def progress(self, table: Staging) -> Iterator[bulk.Progress]:
        """Show, on a terminal, how many of the lines are done."""
        with tqdm(
            desc="applied", total=table.lines, unit=" lines", disable=None, leave=False
        ) as bar:
            yield bar.update

    def tell_refused(self, refusals: Iterable[bulk.Refusal]) -> None:
        for refusal in refusals:
            self.stdout.write("\t".join(["line", *map(str, refusal)]))

    def tell(self, table: Staging, report: bulk.Report, *, counted: str, end: str = "") -> None:
        """Print what became of the lines, and end with 1 if any was refused."""
        self.tell_refused(sorted(report.refusals))
        figures = [("lines", table.lines), (counted, report.applied)]
        figures += [(f"refused: {code}", count) for code, count in sorted(report.refused.items())]
        for name, count in figures:
            self.stdout.write(f"{name:<40}{count:>13,}")
        if end:
            self.stdout.write(end)
        if report.refused:
            sys.exit(REFUSED)
