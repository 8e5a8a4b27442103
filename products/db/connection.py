"""Database connections: bounded waiting, recovery after a loss, and turns at one product."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

import psycopg
from django.conf import settings
from django.db import (
    OperationalError,
    connection,
)
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from products.db.errors import is_disconnect
from products.db.sqlite import is_sqlite

Result = TypeVar("Result")


class _MomentLoader(Loader):
    """Reads a moment, in UTC as Django has the connection set, in a third of the time of Django's
    own: of a list that took a sixth."""

    timezone = UTC  # Where Django looks whether this is the right one.

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


class Connection(psycopg.Connection[Any]):
    """A connection of the pool.

    A server that hangs while its host still acknowledges what is sent cannot end a statement by
    its own time-out, nor does TCP notice. Where `gives_up_after` so many seconds without an answer,
    nobody knows what has become of the statement, so the connection is closed and
    `OperationalError` raised.
    """

    gives_up_after: float | None = None
    read_answer: Callable[[], object] | None = None
    """Reads the answer that an often sent statement did not wait for."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().connect(*args, **kwargs)
        connection.adapters.register_loader("timestamptz", _MomentLoader)
        return connection

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        self.catch_up()
        try:
            return super().wait(gen, interval, timeout or self.gives_up_after)
        except psycopg.OperationalError:
            # After an error that the server sent, it is no longer active.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise

    def catch_up(self) -> None:
        """Wait for the answer that is under way, if any, and raise what it tells."""
        read, self.read_answer = self.read_answer, None
        if read is not None:
            read()


def connection_giving_up_after(seconds: float) -> type[Connection]:
    """Return the class of connections that wait so long for an answer, or for ever if 0."""
    return type("Connection", (Connection,), {"gives_up_after": seconds or None})


def drain_pool_on_disconnect(**_: Any) -> None:
    """Receive `got_request_exception`: after a lost connection, trust no other of the pool.

    When the database was restarted, all of its idle connections are dead. Left alone, each would
    fail a request of its own; probed whenever they are taken, each request would pay for that.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None and is_disconnect(sys.exc_info()[1]):
        pool.drain()


_turns: "WeakValueDictionary[str, threading.Lock]" = WeakValueDictionary()


@contextmanager
def per_sku_queue(sku: str | None) -> Iterator[None]:
    """On PostgreSQL, let the threads of this process change a product one after the other.

    Whoever waits for the lock of its row keeps one of the few connections, which others need for
    other products. The row's lock still decides. A thread that has a connection already does not
    wait here; one that waits for as long as for a connection is told that the lock is not to be
    had, by the `OperationalError` that PostgreSQL would raise.
    """
    if sku is None or is_sqlite() or connection.connection is not None:
        yield
        return
    turn = _turns.setdefault(sku, threading.Lock())
    if not turn.acquire(timeout=settings.CONNECTION_WAIT_SECONDS):
        busy = psycopg.errors.LockNotAvailable(f"others want {sku}, too")
        raise OperationalError(str(busy)) from busy
    try:
        yield
    finally:
        turn.release()


def wait_for_locks(seconds: int) -> None:
    """On PostgreSQL, let the statements of this transaction wait that long for locks, as a file
    needs it, and plan them for its batches."""
    if is_sqlite():
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET LOCAL lock_timeout = '{seconds}s'; "
            # The products of a batch lie side by side: no reason to read all others, too.
            "SET LOCAL random_page_cost = 1; "
            # So many lines are worth a plan of their own.
            "SET LOCAL plan_cache_mode = auto"
        )
