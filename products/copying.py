"""Copy all rows to an empty PostgreSQL database, with their ids and sequences (ADR 25).

The copy is one state of the source: until it ends, other connections can read the source, but not
change it. It is one transaction of the target, which stays empty unless all rows have arrived.
"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import blake2b
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import AutoField, Model

from products.db.errors import is_unavailable
from products.models import IdempotencyKey, PendingImport

SOURCE = DEFAULT_DB_ALIAS
TARGET = "target"

_ROWS = 1_000
_LARGE_ROWS = 20
"""Rows in a batch. A row of these tables may have megabytes."""
_LARGE: frozenset[type[Model]] = frozenset({IdempotencyKey, PendingImport})

_FILLED_BY_MIGRATE: list[type[Model]] = [
    Group.permissions.through,
    Permission,
    Group,
    ContentType,
]
"""In an order in which the rows can be deleted."""


class CannotCopy(Exception):
    """The databases do not fit, or a row does not fit into the target. One sentence or two."""


class TargetUnavailable(Exception):
    """The target is busy, away or read-only."""


@dataclass
class Table:
    """The number of rows of a table, and the checksum by which two tables are compared."""

    rows: int = 0
    checksum: int = 0
    """The sum of the hashes of all rows, so that their order does not matter."""

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows += len(rows)
        self.checksum = (self.checksum + sum(map(_hash, rows))) % 2**64


def _hash(row: tuple[Any, ...]) -> int:
    text = json.dumps(row, default=_text, sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def connect(database: dict[str, Any]) -> None:
    """Open a connection to the target with Django's settings of a database.

    Raises `CannotCopy` unless it is an empty PostgreSQL database, and `TargetUnavailable`.
    """
    if database["ENGINE"] != "django.db.backends.postgresql":
        raise CannotCopy("The target must be a PostgreSQL database.")
    completed = connections.configure_settings({DEFAULT_DB_ALIAS: database})
    connections.settings[TARGET] = completed[DEFAULT_DB_ALIAS]
    with _target_errors("a check"):
        connections[TARGET].ensure_connection()
        _check_target()


def _check_target() -> None:
    target = connections[TARGET]
    if _is_source(target):
        raise CannotCopy("The target is the database of the service itself.")
    with target.cursor() as cursor:
        [encoding] = cursor.execute("SHOW server_encoding").fetchone()
        found = set(target.introspection.table_names(cursor))
        cursor.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        [may_create] = cursor.fetchone()
    if encoding != "UTF8":
        raise CannotCopy(f"The target has the encoding {encoding}. Create it with ENCODING 'UTF8'.")
    if not may_create:
        raise CannotCopy(
            "The user of the target may not create tables. Let this user own the database."
        )
    known = {model._meta.db_table for model in models()} | {
        MigrationRecorder.Migration._meta.db_table
    }
    if foreign := sorted(found - known):
        raise CannotCopy(f"The target has tables of another program, such as {foreign[0]}.")
    _refuse_later_migrations(target, "target")
    _refuse_rows([model for model in models() if model._meta.db_table in found])


def _is_source(target: BaseDatabaseWrapper) -> bool:
    """Return whether both connections lead to one database: they then have the same locks."""
    source = connections[SOURCE]
    if source.vendor != "postgresql":
        return False
    key = [secrets.randbits(62)]
    with transaction.atomic(), source.cursor() as cursor, target.cursor() as other:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", key)
        [is_free] = other.execute("SELECT pg_try_advisory_xact_lock(%s)", key).fetchone()
    return not is_free


def check_source() -> None:
    """Raise `CannotCopy` unless the source has exactly the migrations of this release."""
    source = connections[SOURCE]
    executor = MigrationExecutor(source)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotCopy("The database lacks migrations. Run python manage.py migrate.")
    _refuse_later_migrations(source, "database")


def _refuse_later_migrations(connection: BaseDatabaseWrapper, title: str) -> None:
    loader = MigrationExecutor(connection).loader
    unknown = sorted(set(loader.applied_migrations) - set(loader.disk_migrations))
    if unknown:
        name = ".".join(unknown[0])
        raise CannotCopy(f"The {title} has the migration {name}, which this release does not know.")


def _refuse_rows(found: list[type[Model]]) -> None:
    for model in found:
        is_expected = model in _FILLED_BY_MIGRATE
        if not is_expected and model._default_manager.using(TARGET).exists():
            raise CannotCopy(
                f"The target has data: {model._meta.db_table} is not empty. Use a new database."
            )


@contextmanager
def unchanging_source() -> Iterator[None]:
    """Let this thread see one state of the source, which others can read but not change.

    Their changes wait, and then fail as if the database were busy.
    """
    source = connections[SOURCE]
    with transaction.atomic():  # On SQLite, BEGIN IMMEDIATE.
        if source.vendor == "postgresql":
            with source.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                # The check of the target may take long, while this connection is idle.
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute(f"LOCK TABLE {_tables(source)} IN SHARE MODE")
        yield


def count_rows() -> int:
    """Return the number of rows to copy."""
    return sum(model._default_manager.count() for model in models())


def copy(progress: Callable[[int], object]) -> dict[str, int]:
    """Copy all rows to the migrated target, and return the number of rows of each table.

    `progress` is called with numbers of rows, first for those copied and then for those checked.
    Must be called in `unchanging_source`. Raises `CannotCopy` and `TargetUnavailable`.
    """
    copied: dict[type[Model], Table] = {}
    with _target_errors("commit"), transaction.atomic(using=TARGET):
        _prepare_target()
        for model in models():
            copied[model] = _copy_table(model, progress)
        _set_sequences()
        for model, expected in copied.items():
            if _read_back(model, progress) != expected:
                raise CannotCopy(f"The copy of {model._meta.db_table} differs. Nothing was kept.")
    _analyze_target()
    return {model._meta.db_table: table.rows for model, table in copied.items()}


def _prepare_target() -> None:
    """Lock the target against other writers, and delete the rows of `migrate`."""
    target = connections[TARGET]
    with target.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {_tables(target)} IN EXCLUSIVE MODE")
        # Otherwise the server would remember each row until the commit.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    _refuse_rows(models())
    for model in _FILLED_BY_MIGRATE:
        model._default_manager.using(TARGET).all().delete()


def _copy_table(model: type[Model], progress: Callable[[int], object]) -> Table:
    table = Table()
    for rows in _batches(model, SOURCE):
        with _target_errors(f"{model._meta.db_table}, {rows[0][0]} to {rows[-1][0]}"):
            _write(model, rows)
        table.add(rows)
        progress(len(rows))
    return table


def _read_back(model: type[Model], progress: Callable[[int], object]) -> Table:
    table = Table()
    for rows in _batches(model, TARGET):
        table.add(rows)
        progress(len(rows))
    return table


def _batches(model: type[Model], alias: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table in batches, in the order of the primary key, which comes first."""
    names = [field.attname for field in _fields(model)]
    query = model._default_manager.using(alias).order_by("pk").values_list("pk", *names)
    size = _LARGE_ROWS if model in _LARGE else _ROWS
    rows = list(query[:size])
    while rows:
        yield rows
        rows = list(query.filter(pk__gt=rows[-1][0])[:size])


def _write(model: type[Model], rows: list[tuple[Any, ...]]) -> None:
    target = connections[TARGET]
    fields = _fields(model)
    quote = target.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    sql = f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN"
    with target.cursor() as cursor, target.wrap_database_errors, cursor.copy(sql) as stream:
        for _, *values in rows:
            stream.write_row(
                [
                    field.get_db_prep_save(value, target)
                    for field, value in zip(fields, values, strict=True)
                ]
            )


def _set_sequences() -> None:
    """Let each sequence of the target go on where that of the source is.

    It may be behind the highest id. An id whose row was deleted is never used again.
    """
    with connections[TARGET].cursor() as cursor:
        for model in models():
            for field in _fields(model):
                if isinstance(field, AutoField) and (last := _last_drawn(model, field.column)):
                    cursor.execute(
                        "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                        [model._meta.db_table, field.column, last],
                    )


def _last_drawn(model: type[Model], column: str | None) -> int | None:
    source, table = connections[SOURCE], model._meta.db_table
    with source.cursor() as cursor:
        if source.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        else:
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, column])
            [sequence] = cursor.fetchone()
            cursor.execute(f"SELECT last_value FROM {sequence} WHERE is_called")
        row = cursor.fetchone()
    return row and row[0]


def _analyze_target() -> None:
    """Let PostgreSQL count the rows, so that it plans for them at once."""
    target = connections[TARGET]
    with _target_errors("statistics"), target.cursor() as cursor:
        cursor.execute(f"ANALYZE {_tables(target)}")


def models() -> list[type[Model]]:
    """Return the models of all tables, each after those to which it refers."""
    found = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]
    order = TopologicalSorter({model: _referred_to(model) for model in found})
    return list(order.static_order())


def _referred_to(model: type[Model]) -> set[Any]:
    return {field.related_model for field in _fields(model) if field.related_model} - {model}


def _fields(model: type[Model]) -> list[Any]:
    """Return the fields that are written: the database computes generated columns."""
    return [field for field in model._meta.local_concrete_fields if not field.generated]


def _tables(connection: BaseDatabaseWrapper) -> str:
    return ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models())


@contextmanager
def _target_errors(place: str) -> Iterator[None]:
    """Raise errors of the target as `CannotCopy` or `TargetUnavailable`."""
    try:
        yield
    except Error as error:
        if isinstance(error.__cause__, sqlite3.Error):
            raise  # The source.
        reason = " ".join(str(error).split())
        if is_unavailable(error):
            raise TargetUnavailable(reason) from error
        raise CannotCopy(f"The target refuses the rows of {place}: {reason}") from error
