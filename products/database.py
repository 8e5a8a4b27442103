"""What Django leaves to us of the connections: bounded waiting, healing, SQLite's limit."""

import sqlite3
import sys
from typing import Any, TypeVar

import psycopg
from django.db import InterfaceError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

Result = TypeVar("Result")

_READ_ONLY = "25006"


def connection_giving_up_after(seconds: float) -> type[psycopg.Connection[Any]]:
    """Return the class of connections that wait so long for the answer to one statement.

    A server that hangs while its host still acknowledges what is sent cannot end a statement by
    its own time-out, nor does TCP notice. What has become of the statement is then not known, so
    the connection is closed and `OperationalError` raised.
    """

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(
            self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = seconds
        ) -> Result:
            try:
                return super().wait(gen, interval, timeout)
            except psycopg.OperationalError:
                # After an error that the server sent, it is no longer active.
                if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    self.close()
                raise

    return BoundedConnection


def is_unavailable(error: Exception) -> bool:
    """Tell whether the database is busy, away or broken, and not the statement wrong."""
    cause = error.__cause__
    return (
        isinstance(error, OperationalError | InterfaceError)
        or getattr(cause, "sqlstate", None) == _READ_ONLY
        # SQLite's file is corrupt, or none of SQLite's.
        or type(cause) is sqlite3.DatabaseError
    )


def forget_lost_connections(**_: Any) -> None:
    """Receive `got_request_exception`: after a lost connection, trust no other of the pool.

    When the database was restarted, all of its idle connections are dead. Left alone, each would
    fail a request of its own; probed whenever they are taken, each request would pay for that.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None and _is_loss_of_connection(sys.exc_info()[1]):
        pool.drain()


def _is_loss_of_connection(error: BaseException | None) -> bool:
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    cause = error.__cause__
    # Classes 08 and 57P: connection exceptions, and the server's shutdown. Without a state, the
    # client noticed by itself; a time-out of the pool says nothing of its connections.
    sqlstate = getattr(cause, "sqlstate", None) or "08"
    return sqlstate.startswith(("08", "57P")) and type(cause).__name__ != "PoolTimeout"


def take_sqlite_at_its_word(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receive `connection_created`: let a statement have as many parameters as SQLite allows.

    Django 5.2 assumes 999, and would insert the events of a large batch in many statements.
    """
    if connection.vendor == "sqlite":
        limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        connection.features.max_query_params = limit
