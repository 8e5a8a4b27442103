"""Input files, and the files of refused lines."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOBase
from typing import BinaryIO

from django.core.management.base import CommandError

from products.files.bulk import Refusal
from products.files.cells import UnreadableFile, is_filled, meaning_of
from products.files.columns import Columns
from products.files.csv import csv_lines
from products.files.exports import REFUSED_COLUMNS
from products.files.formats import write_csv
from products.management.base import ExitCode

_BLOCK = 1024 * 1024


@contextmanager
def reading(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for `-`, in a form that can be read twice.

    Raises `CommandError` if the file cannot be opened, and for an `UnreadableFile` in the context.
    """
    try:
        with _opened(path) as file:
            if file.seekable():
                yield file
                return
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(file, copy)
                copy.seek(0)
                yield copy
    except UnreadableFile as error:
        raise CommandError(f"{path}: {error}", returncode=ExitCode.BAD_INPUT) from error


def _opened(path: str) -> BinaryIO:
    if path == "-" and sys.stdin is None:
        raise CommandError("Standard input is closed. Name a file.", returncode=ExitCode.BAD_INPUT)
    try:
        return sys.stdin.buffer if path == "-" else open(path, "rb")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise CommandError(message, returncode=ExitCode.BAD_INPUT) from error


def fingerprint(file: BinaryIO, *options: object) -> str:
    """Return a hash of a file and of the options that affect its meaning."""
    digest = hashlib.sha256(repr(options).encode())
    file.seek(0)
    while content := file.read(_BLOCK):
        digest.update(content)
    file.seek(0)
    return digest.hexdigest()


def write_refused(
    file: TextIOBase, source: BinaryIO, columns: Columns, refusals: Iterable[Refusal]
) -> None:
    """Write the refused lines of a CSV file, each with its line number, code and detail.

    The file can be imported again: each cell has the same meaning as in the source.
    """
    lines = (
        (line, cells)
        for line, cells in csv_lines(source, columns)
        if any(map(is_filled, cells)) and line >= columns.header_line
    )
    _, header = next(lines)
    kept = [index for index, name in enumerate(header) if name not in REFUSED_COLUMNS]
    names = [*(header[index] for index in kept), *REFUSED_COLUMNS]
    write_csv(file, names, (_refused_row(lines, refusal, header, kept) for refusal in refusals))


def _refused_row(
    lines: Iterator[tuple[int, list[str]]],
    refusal: Refusal,
    header: Sequence[str],
    kept: Sequence[int],
) -> list[str | int]:
    """Read `lines` up to a refused line and return its row."""
    found = next(cells for line, cells in lines if line == refusal.line)
    # The writer escapes them again.
    cells = [meaning_of(cell) for cell in found]
    return [
        *(cells[index] if index < len(cells) else "" for index in kept),
        refusal.line,
        refusal.code,
        refusal.detail,
        # Cells beyond the header, such as the end of an unquoted 1,000, stay refused.
        *cells[len(header) :],
    ]
