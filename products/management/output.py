"""Tables of any length, written row by row to a file or a pipe while they are read."""

import csv
import json
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from io import TextIOBase
from pathlib import Path
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable

from products.files.rows import escape_formula
from products.management.base import ExitCode, InventoryCommand

STANDARD_OUTPUT = "-"
ROWS_AT_ONCE = 2_000

Columns = Mapping[str, str | Combinable]
"""What is written, and what it is in the database."""

Row = Sequence[Any]
Writer = Callable[[TextIOBase, Sequence[str], Iterable[Row]], int]
"""Writes the rows under the names of their columns, and returns how many there were."""

AVAILABLE = F("quantity") - F("reserved_quantity")


def write_csv(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write CSV of which a spreadsheet carries nothing out as a formula."""
    writer = csv.writer(file)
    writer.writerow(names)
    count = 0
    for row in rows:
        writer.writerow(map(_cell, row))
        count += 1
    return count


def _cell(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return escape_formula(value)
        case datetime():
            return _moment(value)
    return value


def write_json_lines(file: TextIOBase, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write a JSON object a line, its values as in the API, in ASCII.

    So no reader takes one of Unicode's other line ends in a text for the end of the object.
    """
    encode = json.JSONEncoder(default=_moment).encode
    count = 0
    for row in rows:
        file.write(encode(dict(zip(names, row, strict=True))) + "\n")
        count += 1
    return count


def _moment(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


FORMATS: dict[str, Writer] = {"csv": write_csv, "jsonl": write_json_lines}


def write(file: TextIOBase, writer: Writer, queryset: QuerySet[Any], columns: Columns) -> int:
    """Write a row for each object, all as they are when the first is read; return how many.

    Not to be called in a transaction, so that nobody is held up however slowly the rows are taken:
    PostgreSQL then keeps them in a cursor that outlives its transaction, and on SQLite a
    transaction would be the only one that may write.
    """
    rows = queryset.values_list(*columns.values()).iterator(chunk_size=ROWS_AT_ONCE)
    # Closed before the connection is, also when nobody wants the rest.
    with closing(cast("Generator[Row, None, None]", rows)):
        return writer(file, list(columns), rows)


class ExportCommand(InventoryCommand):
    """A command that writes a table, as it is at one moment, to a file or to standard output."""

    columns: Columns

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=STANDARD_OUTPUT,
            help="replaced only when all is written; standard output by default, or as -",
        )
        parser.add_argument(
            "--format", dest="form", choices=FORMATS, default="csv", help="csv by default"
        )

    def export(self, queryset: QuerySet[Any], *, file: str, form: str) -> None:
        """Write a row for each object."""
        with opened(file, self.stdout) as destination:
            count = write(destination, FORMATS[form], queryset, self.columns)
        if file != STANDARD_OUTPUT:
            self.report(f"{count} rows written.")


@contextmanager
def opened(name: str, stdout: TextIOBase) -> Iterator[TextIOBase]:
    """Open what is written to, in UTF-8 whatever the locale.

    A file gets its new content whole or, if anything goes wrong, keeps the old one. Raises
    `CommandError` where it cannot be written.
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
    """Return standard output, set to UTF-8 where it is a real one."""
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
