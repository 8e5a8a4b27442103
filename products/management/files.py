"""Files of lines to carry out, and of those that were refused."""

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
from products.files.csv import csv_lines
from products.files.formats import write_csv
from products.files.rows import UnreadableFile, unescape_formula
from products.management.base import ExitCode

REFUSED_COLUMNS = ("refused_line", "refused_code", "refused_because")
"""What a file of refused lines has besides its own; not read when it is fed back."""

_BLOCK = 1024 * 1024


@contextmanager
def reading(path: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for `-`, so that it can be read twice.

    Raises `CommandError`, also for what is found wrong with the file later on.
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
        raise CommandError("Standard input is closed.", returncode=ExitCode.BAD_INPUT)
    try:
        return sys.stdin.buffer if path == "-" else open(path, "rb")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.", returncode=ExitCode.BAD_INPUT) from error


def fingerprint(file: BinaryIO, *options: object) -> str:
    """Return a hash of all of a file and of the options that give it its meaning."""
    digest = hashlib.sha256(repr(options).encode())
    while content := file.read(_BLOCK):
        digest.update(content)
    file.seek(0)
    return digest.hexdigest()


def write_refused(file: TextIOBase, source: BinaryIO, refusals: Iterable[Refusal]) -> None:
    """Write the refused lines of a CSV file, each with the reason.

    They can be fed back once the reason is gone: each cell means what it means in the source.
    """
    source.seek(0)
    lines = ((line, cells) for line, cells in csv_lines(source) if any(cells))
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
    """Return the row of a refused line, which is one of the next lines."""
    found = next(cells for line, cells in lines if line == refusal.line)
    # The writer escapes them.
    cells = [unescape_formula(cell) for cell in found]
    return [
        *(cells[index] if index < len(cells) else "" for index in kept),
        refusal.line,
        refusal.code,
        refusal.detail,
        # Cells without a name, such as the end of 1,000: fed back, still refused.
        *cells[len(header) :],
    ]
