"""Write exports of any length row by row to a file or a pipe."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import TextIOBase
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from products.files.exports import ExportColumns, read_rows
from products.files.formats import Writer, write_csv, write_json_lines
from products.management.base import ExitCode, InventoryCommand

STANDARD_OUTPUT = "-"

FORMATS: dict[str, Writer] = {"csv": write_csv, "jsonl": write_json_lines}


def write(file: TextIOBase, writer: Writer, queryset: QuerySet[Any], columns: ExportColumns) -> int:
    """Write a row for each object and return the number of rows."""
    # Closes the cursor before the connection, even after a broken pipe.
    with closing(read_rows(queryset, columns)) as rows:
        return writer(file, list(columns), rows)


class ExportCommand(InventoryCommand):
    """A command that writes a consistent snapshot of a table to a file or to standard output."""

    columns: ClassVar[ExportColumns]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=STANDARD_OUTPUT,
            help="the file to write, replaced only after a complete export "
            "(default: -, standard output)",
        )
        parser.add_argument(
            "--format",
            dest="output_format",
            choices=FORMATS,
            default="csv",
            help="csv, or jsonl: one JSON object per line (default: csv)",
        )

    def export(self, queryset: QuerySet[Any], *, file: str, output_format: str) -> None:
        """Write a row for each object, and report the number of rows of a file."""
        with opened(file, self.stdout) as destination:
            count = write(destination, FORMATS[output_format], queryset, self.columns)
        if file != STANDARD_OUTPUT:
            self.report(f"{count} rows written.")


@contextmanager
def opened(name: str, stdout: TextIOBase) -> Iterator[TextIOBase]:
    """Open a file or standard output for writing in UTF-8, independent of the locale.

    A file is replaced only after everything is written. Raises `CommandError` if it cannot be
    written.
    """
    if name == STANDARD_OUTPUT:
        yield in_utf8(stdout)
        return
    try:
        # A pipe or a device must not be replaced by a file.
        is_special = os.path.exists(name) and not os.path.isfile(name)
        with _overwriting(name) if is_special else _replacing(name) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{name} cannot be written: {error.strerror}."
        raise CommandError(message, returncode=ExitCode.BAD_INPUT) from error


def in_utf8(stdout: TextIOBase) -> TextIOBase:
    """Return standard output, set to UTF-8 unless a test replaces it."""
    if reconfigure := getattr(stdout, "reconfigure", None):
        reconfigure(encoding="utf-8")
    return stdout


def _overwriting(name: str) -> TextIOBase:
    return open(name, "w", encoding="utf-8", newline="")


@contextmanager
def _replacing(name: str) -> Iterator[TextIOBase]:
    path = Path(os.path.realpath(name))
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("x", encoding="utf-8", newline="") as file:
            with suppress(FileNotFoundError):
                shutil.copymode(path, unfinished)
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
