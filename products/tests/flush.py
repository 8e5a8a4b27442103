"""Empty the test database after a transactional test.

Django's flush truncates every table and then recreates permissions, groups and triggers. This one
only deletes existing rows. It keeps the rows that `migrate` has created, unless a test changed
them.
"""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.test import TransactionTestCase

from products import triggers

_FILLED_BY_MIGRATE: list[type[Model]] = [
    MigrationRecorder.Migration,
    ContentType,
    Permission,
    Group,
    Group.permissions.through,
]

# A hook of Django's that its stubs leave out.
_flush_of_django = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]


def rows_of_migrate() -> list[list[tuple[Any, ...]]]:
    """Return all content types, permissions and groups, by their names."""
    types = ContentType.objects.values_list("app_label", "model")
    permissions = Permission.objects.values_list("content_type__model", "codename", "name")
    groups = Group.objects.values_list("name", "permissions__codename")
    return [sorted(rows, key=str) for rows in (types, permissions, groups)]


def flush(case: TransactionTestCase, initial_rows: list[list[tuple[Any, ...]]]) -> None:
    """Delete all rows except those of `migrate`.

    If these differ from `initial_rows`, let Django recreate them.
    """
    if rows_of_migrate() == initial_rows:
        _delete_rows()
    else:
        triggers.remove(connection)
        _flush_of_django(case)


def _delete_rows() -> None:
    with transaction.atomic():
        triggers.remove(connection)
        with connection.cursor() as cursor:
            for table in _tables_with_rows():
                cursor.execute(f"DELETE FROM {table}")
        # PostgreSQL creates no trigger on a table with pending checks of foreign keys.
        connection.check_constraints()
        triggers.install(connection)


def _tables_with_rows() -> list[str]:
    kept = {model._meta.db_table for model in _FILLED_BY_MIGRATE}
    tables = set(connection.introspection.django_table_names(include_views=False)) - kept
    found = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in sorted(tables))
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(found))
        return [name for (name,) in cursor.fetchall()]


def truncate() -> None:
    """Truncate the tables of stock on PostgreSQL, which forgets their statistics.

    If autovacuum has counted tables that earlier tests emptied, PostgreSQL plans for empty tables.
    Loading thousands of rows in one transaction then takes ten times as long.
    """
    if connection.vendor == "postgresql":
        triggers.remove(connection)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE products_product, products_reservation CASCADE")
        triggers.install(connection)
