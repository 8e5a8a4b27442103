"""The meaning of database errors. Every SQLSTATE that the service handles is named here."""

import sqlite3

import psycopg
from django.db import InterfaceError, InternalError, OperationalError

FORGOTTEN_STATEMENT = frozenset({"0A000", "26000"})
"""The server can no longer run a prepared statement: feature_not_supported (a table has changed) or
invalid_sql_statement_name (a pooler has switched the connection)."""

LOCK_NOT_AVAILABLE = "55P03"

RETRYABLE = frozenset({"40001", "40P01"}) | FORGOTTEN_STATEMENT
"""The transaction was rolled back and can be retried: serialization_failure, deadlock_detected, or
a forgotten statement."""

# Nothing has changed, and a retry may succeed. PostgreSQL: lock_not_available, query_canceled,
# serialization_failure, deadlock_detected, and a transaction that was idle or open for too long.
STATEMENT_TIMEOUT = "57014"

_BUSY: frozenset[str | int] = frozenset(
    {LOCK_NOT_AVAILABLE, STATEMENT_TIMEOUT, "40001", "40P01", "25P03", "25P04"}
    | {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
)

_READ_ONLY = "25006"
UNIQUE_VIOLATION = "23505"
_UNDEFINED = frozenset({"42P01", "42703"})  # A table, a column.
_DISCONNECTED = ("08", "57P")  # Classes: connection exceptions, and the server's shutdown.


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error that Django has raised, or None."""
    return getattr(error.__cause__, "sqlstate", None)


def busy(detail: str) -> OperationalError:
    """Return the error that PostgreSQL raises if a lock cannot be acquired in time."""
    error = OperationalError(detail)
    error.__cause__ = psycopg.errors.LockNotAvailable(detail)
    return error


def read_only(detail: str) -> InternalError:
    """Return the error that PostgreSQL raises for a change on a standby or a read-only server."""
    error = InternalError(detail)
    error.__cause__ = psycopg.errors.ReadOnlySqlTransaction(detail)
    return error


def is_unique_violation(error: Exception) -> bool:
    """Return whether the error is a violation of a unique constraint."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return sqlstate_of(error) == UNIQUE_VIOLATION


def is_busy(error: Exception) -> bool:
    """Return whether the database could not do the work in time, without any change."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # Errors of the Python module have no code. The low byte is the primary code.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BUSY
    return sqlstate_of(error) in _BUSY


def is_read_only(error: BaseException) -> bool:
    """Return whether the database refuses all changes: a standby, or a read-only server or file."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    return sqlstate_of(error) == _READ_ONLY


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is busy, away or broken, as opposed to a wrong statement."""
    return (
        isinstance(error, OperationalError | InterfaceError)
        or is_read_only(error)
        # SQLite's file is corrupt, or is not a database.
        or type(error.__cause__) is sqlite3.DatabaseError
    )


def lacks_migrations(error: Exception) -> bool:
    """Return whether the database lacks a table or a column."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return str(cause).startswith(("no such table", "no such column"))
    return sqlstate_of(error) in _UNDEFINED


def is_disconnect(error: BaseException | None) -> bool:
    """Return whether the connection was lost, or leads to a server that takes no changes.

    After a switchover, connections to the former primary may stay open.
    """
    if error is not None and is_read_only(error):
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # Without a SQLSTATE, the client noticed the loss. A timeout of the pool says nothing about its
    # connections.
    sqlstate = sqlstate_of(error) or "08"
    return sqlstate.startswith(_DISCONNECTED) and type(error.__cause__).__name__ != "PoolTimeout"
