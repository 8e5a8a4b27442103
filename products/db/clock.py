"""The database's clock, in queries: no server's own clock decides what has expired.

SQLite stores moments as text and compares them as text. Both functions write six digits after the
second there, as `products.models.MomentField` does.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func, Value
from django.db.models.sql.compiler import SQLCompiler

_POSTGRESQL_NOW = "STATEMENT_TIMESTAMP()"
# SQLite's clock has milliseconds. Each % is escaped for the template and for the cursor.
_SQLITE_FORMAT = "'%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000'"


class Now(Func):
    """The moment at which the statement started."""

    output_field = DateTimeField()
    template = _POSTGRESQL_NOW

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        template = f"STRFTIME({_SQLITE_FORMAT}, 'NOW')"
        return self.as_sql(compiler, connection, template=template, **context)


class SecondsFromNow(Func):
    """The moment that many seconds after `Now`, or before it if `seconds` is negative."""

    output_field = DateTimeField()
    template = f"({_POSTGRESQL_NOW} + make_interval(secs => %(expressions)s))"

    def __init__(self, seconds: int) -> None:
        super().__init__(Value(seconds))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        template = f"STRFTIME({_SQLITE_FORMAT}, 'NOW', %(expressions)s || ' seconds')"
        return self.as_sql(compiler, connection, template=template, **context)
