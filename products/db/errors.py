"""What a database error means. Every SQLSTATE that the service knows is named here."""

import sqlite3

import psycopg
from django.db import InterfaceError, OperationalError

FORGOTTEN_STATEMENT = frozenset({"0A000", "26000"})
"""feature_not_supported (a table has changed) and invalid_sql_statement_name (a pooler has lent
another connection): the server cannot run a prepared statement any more."""

LOCK_NOT_AVAILABLE = "55P03"

RETRYABLE = frozenset({"40001", "40P01"}) | FORGOTTEN_STATEMENT
"""serialization_failure, deadlock_detected, or a forgotten statement: the transaction left nothing
behind and can be run again."""

# Nothing has changed, and soon there may be room. PostgreSQL: lock_not_available, query_canceled,
# serialization_failure, deadlock_detected, and a transaction that was idle or open for too long.
_BUSY: frozenset[str | int] = frozenset(
    {LOCK_NOT_AVAILABLE, "57014", "40001", "40P01", "25P03", "25P04"}
    | {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
)

_READ_ONLY = "25006"
_UNIQUE_VIOLATION = "23505"
_UNDEFINED = frozenset({"42P01", "42703"})  # A table, a column.
_DISCONNECTED = ("08", "57P")  # Classes: connection exceptions, and the server's shutdown.


def sqlstate_of(error: BaseException) -> str | None:
    """Return PostgreSQL's SQLSTATE of an error as Django raises it."""
    return getattr(error.__cause__, "sqlstate", None)


def busy(detail: str) -> OperationalError:
    """Return the error of a lock that was not available in time, as PostgreSQL raises it."""
    error = OperationalError(detail)
    error.__cause__ = psycopg.errors.LockNotAvailable(detail)
    return error


def is_unique_violation(error: Exception) -> bool:
    """Return whether a row would have repeated a unique value."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return sqlstate_of(error) == _UNIQUE_VIOLATION


def is_busy(error: Exception) -> bool:
    """Return whether the database could not do the work in time, and has changed nothing."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # The library's own mistakes have no code; the higher bytes tell sorts of one error.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BUSY
    return sqlstate_of(error) in _BUSY


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is busy, away or broken, and the statement not wrong."""
    return (
        isinstance(error, OperationalError | InterfaceError)
        or sqlstate_of(error) == _READ_ONLY
        # SQLite's file is corrupt, or is not a database.
        or type(error.__cause__) is sqlite3.DatabaseError
    )


def lacks_migrations(error: Exception) -> bool:
    """Return whether a table or a column is missing in the database."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return str(cause).startswith(("no such table", "no such column"))
    return sqlstate_of(error) in _UNDEFINED


def is_disconnect(error: BaseException | None) -> bool:
    """Return whether the connection to the server was lost."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # Without a SQLSTATE the client noticed by itself. A time-out of the pool says nothing about
    # its connections.
    sqlstate = sqlstate_of(error) or "08"
    return sqlstate.startswith(_DISCONNECTED) and type(error.__cause__).__name__ != "PoolTimeout"
