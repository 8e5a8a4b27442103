"""Settings and locks for SQLite."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


@cache
def is_sqlite() -> bool:
    """Return whether the database is SQLite.

    Cached, because each change asks several times, and looking up the thread's connection is slow.
    """
    return connection.vendor == "sqlite"


def raise_sqlite_parameter_limit(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let statements have as many parameters as SQLite allows. Receives `connection_created`.

    Django 5.2 assumes 999, and would insert the events of a large batch in many statements.
    """
    limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    connection.features.max_query_params = limit


_writing = threading.RLock()


@contextmanager
def sqlite_writer_lock() -> Iterator[None]:
    """Let the threads of this process write one after the other.

    SQLite's own waiting retries at intervals and without an order, so one of many threads could
    time out (ADR 4). After the same time here, a thread proceeds without this lock. SQLite's own
    lock still protects the data.
    """
    is_acquired = _writing.acquire(timeout=settings.SQLITE_BUSY_SECONDS)
    try:
        yield
    finally:
        if is_acquired:
            _writing.release()


@contextmanager
def sqlite_without_waiting() -> Iterator[None]:
    """Let statements fail at once if another connection writes. Does nothing on PostgreSQL."""
    if not is_sqlite():
        yield
        return
    with connection.cursor() as cursor:
        [milliseconds] = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
