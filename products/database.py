"""What Django leaves to us of the connections: to heal when they are lost, and SQLite's limit."""

import sqlite3
import sys
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper


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
