"""What is particular to SQLite."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.conf import settings
from django.db import (
    connection,
)
from django.db.backends.base.base import BaseDatabaseWrapper


@cache
def is_sqlite() -> bool:
    """Tell which of the two databases this is. Each change asks several times, and to look the
    thread's connection up takes longer than the answer is worth."""
    return connection.vendor == "sqlite"


def raise_sqlite_parameter_limit(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receive `connection_created` of SQLite: let a statement have as many parameters as it allows.

    Django 5.2 assumes 999, and would insert the events of a large batch in many statements.
    """
    limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    connection.features.max_query_params = limit


_writing = threading.RLock()


@contextmanager
def sqlite_writer_lock() -> Iterator[None]:
    """Let the threads of this process write one after the other.

    Waiting threads of SQLite try again now and then, in no order, so one of many may fail each
    time. SQLite still decides: a thread that has waited here for as long as it would there goes on.
    """
    is_ours = _writing.acquire(timeout=settings.SQLITE_BUSY_SECONDS)
    try:
        yield
    finally:
        if is_ours:
            _writing.release()
