"""Empty the test database after a transactional test.

Django's flush truncates every table and makes permissions, groups and triggers anew. This one
deletes the rows that there are, and keeps what `migrate` made unless a test has changed it.
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


def made_by_migrate() -> list[list[tuple[Any, ...]]]:
    """Return the names of all content types, permissions and groups with their permissions."""
    types = ContentType.objects.values_list("app_label", "model")
    permissions = Permission.objects.values_list("content_type__model", "codename", "name")
    groups = Group.objects.values_list("name", "permissions__codename")
    return [sorted(rows, key=str) for rows in (types, permissions, groups)]


def flush(case: TransactionTestCase, made_at_first: list[list[tuple[Any, ...]]]) -> None:
    """Delete all rows except those made by `migrate`, which Django makes anew if they changed."""
    if made_by_migrate() == made_at_first:
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
        # PostgreSQL makes no trigger on a table with foreign keys that are still to be checked.
        connection.check_constraints()
        triggers.install(connection)


def _tables_with_rows() -> list[str]:
    kept = {model._meta.db_table for model in _FILLED_BY_MIGRATE}
    tables = set(connection.introspection.django_table_names(include_views=False)) - kept
    found = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in sorted(tables))
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(found))
        return [name for (name,) in cursor.fetchall()]
