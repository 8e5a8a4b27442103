import os
import sqlite3
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, connection

from products.db.sqlite import is_sqlite
from products.management.base import ExitCode, InventoryCommand
from products.models import Product

_SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
_MIGRATIONS = "SELECT id, app, name FROM django_migrations ORDER BY id"


class Command(InventoryCommand):
    help = (
        "Write a backup of an SQLite database to a new file, and check it. The service can keep\n"
        "running. The file contains the secrets of webhooks, so only its owner may read it.\n\n"
        "For PostgreSQL, use pg_dump."
    )
    examples = ("backup /var/backups/inventory-2026-12-01.sqlite3",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="the file, which must not exist"
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        if not is_sqlite():
            raise CommandError(
                "backup is for SQLite. Use pg_dump -Fc to back up PostgreSQL.",
                returncode=ExitCode.BAD_INPUT,
            )
        _refuse_existing(file)
        Product.objects.exists()  # Fails if the database lacks tables.
        with _unfinished(file) as copy:
            _vacuum_into(copy, file)
            _check(copy)
            _write_to_disk(copy)
            _refuse_existing(file)
            copy.rename(file)
        _write_to_disk(file.parent)
        self.report(f"{file} written and checked: {file.stat().st_size:,} bytes.")


def _refuse_existing(file: Path) -> None:
    if os.path.lexists(file):
        raise CommandError(
            f"{file} exists. Choose a new name, or delete the file.", returncode=ExitCode.BAD_INPUT
        )


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """Yield an empty file in a new folder next to `file`. Delete both unless the file was moved.

    Only its owner may read it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=".backup-", dir=file.parent)
    except OSError as error:
        raise _cannot_be_written(file, error.strerror) from error
    with folder as name:
        copy = Path(name, file.name)
        copy.touch(mode=0o600)
        yield copy


def _vacuum_into(copy: Path, file: Path) -> None:
    """Copy one state of the database in one statement. Writers go on."""
    try:
        connection.cursor().execute("VACUUM INTO %s", [str(copy)])
    except OperationalError as error:
        if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise _cannot_be_written(file, "No space left on device") from error
        raise


def _cannot_be_written(file: Path, reason: str | None) -> CommandError:
    return CommandError(f"{file} cannot be written: {reason}.", returncode=ExitCode.BAD_INPUT)


def _check(copy: Path) -> None:
    """Raise `CommandError` unless the copy is sound, and has all tables and migrations."""
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        faults = [text for (text,) in opened.execute("PRAGMA integrity_check") if text != "ok"]
        faults += [
            f"wrong reference in {row[0]}" for row in opened.execute("PRAGMA foreign_key_check")
        ]
        found = [opened.execute(sql).fetchall() for sql in (_SCHEMA, _MIGRATIONS)]
    with connection.cursor() as cursor:
        expected = [cursor.execute(sql).fetchall() for sql in (_SCHEMA, _MIGRATIONS)]
    if not faults and found != expected:
        faults = ["its tables differ from those of the database. A migration may be running."]
    if faults:
        raise CommandError(
            f"The backup is unusable and was deleted: {faults[0]}", returncode=ExitCode.REFUSED
        )


def _write_to_disk(path: Path) -> None:
    """Wait until a file or the names of a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
