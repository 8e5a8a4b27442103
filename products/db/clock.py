"""The database's clock in queries, which decides whether a reservation has expired.

SQLite stores and compares times as text. On SQLite, both functions therefore write six digits after
the second, like `products.models.MomentField` (ADR 4).
"""

from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func, Value
from django.db.models.sql.compiler import SQLCompiler

from products.db.sqlite import is_sqlite

_POSTGRESQL_NOW = "STATEMENT_TIMESTAMP()"
# SQLite's clock has milliseconds. Each % is escaped twice, for the template and for the cursor.
_SQLITE_FORMAT = "'%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000'"


def now_sql() -> str:
    """Return the SQL of `Now`, for a statement that is written by hand."""
    # Without a template, one escape is enough.
    return f"STRFTIME({_SQLITE_FORMAT}, 'NOW')" % () if is_sqlite() else _POSTGRESQL_NOW


def read_clock() -> datetime:
    """Return the time of the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {now_sql()}", [])
        [now] = cursor.fetchone()
    return datetime.fromisoformat(now).replace(tzinfo=UTC) if is_sqlite() else now


class Now(Func):
    """The time at which the statement started."""

    output_field = DateTimeField()
    template = _POSTGRESQL_NOW

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        template = f"STRFTIME({_SQLITE_FORMAT}, 'NOW')"
        return self.as_sql(compiler, connection, template=template, **context)


class SecondsFromNow(Func):
    """The time `seconds` after `Now`, or before it if negative."""

    output_field = DateTimeField()
    template = f"({_POSTGRESQL_NOW} + make_interval(secs => %(expressions)s))"

    def __init__(self, seconds: int) -> None:
        super().__init__(Value(seconds))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        template = f"STRFTIME({_SQLITE_FORMAT}, 'NOW', %(expressions)s || ' seconds')"
        return self.as_sql(compiler, connection, template=template, **context)
