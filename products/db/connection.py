"""Database connections: bounded waiting, recovery after a loss, and a queue for each product."""

import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

import psycopg
from django.conf import settings
from django.db import (
    connection,
)
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from products.db.errors import busy, is_disconnect

Result = TypeVar("Result")


class _MomentLoader(Loader):
    """Reads a moment in UTC, as Django has the connection set, faster than Django's own."""

    timezone = UTC  # Where Django looks whether this is the right one.

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


class Connection(psycopg.Connection[Any]):
    """A connection of the pool.

    A server that hangs cannot end a statement by its own time-out, and TCP notices nothing while
    the host still acknowledges packets. After `gives_up_after` seconds without an answer the
    connection is closed and `OperationalError` raised: the outcome of the statement is unknown.
    """

    gives_up_after: float | None = None
    read_answer: Callable[[], object] | None = None
    """Reads the answer of a prepared statement that was sent without waiting."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().connect(*args, **kwargs)
        connection.adapters.register_loader("timestamptz", _MomentLoader)
        return connection

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        if self.read_answer is not None:
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
    """Return the class of connections that wait that long for an answer, or for ever if 0."""
    return type("Connection", (Connection,), {"gives_up_after": seconds or None})


def drain_pool_on_disconnect(**_: Any) -> None:
    """Receive `got_request_exception`: after a lost connection, replace all idle ones of the pool.

    A restart of the database kills them all, and each would fail a request. A probe of each
    connection before its use would cost every request a round trip.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None and is_disconnect(sys.exc_info()[1]):
        pool.drain()


_turns: "WeakValueDictionary[str, threading.Lock]" = WeakValueDictionary()


@contextmanager
def per_sku_queue(skus: Collection[str]) -> Iterator[None]:
    """On PostgreSQL, let the threads of this process change a single product one after the other.

    A thread that waits for the lock of a row keeps one of the few connections, which others need
    for other products. The row's lock still decides: a thread that has a connection already does
    not queue up, nor does one that changes several products. Raises `OperationalError`, as
    PostgreSQL does for a lock, after waiting for as long as for a connection.
    """
    if len(skus) != 1 or connection.connection is not None:
        yield
        return
    (sku,) = skus
    turn = _turns.setdefault(sku, threading.Lock())
    if not turn.acquire(timeout=settings.CONNECTION_WAIT_SECONDS):
        raise busy(f"others want {sku}, too")
    try:
        yield
    finally:
        turn.release()


def wait_for_locks(seconds: int) -> None:
    """On PostgreSQL, set how long the transaction of a file waits for locks, and its plans."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET LOCAL lock_timeout = '{seconds}s'; "
            # The products of a batch lie side by side: no reason to read all others, too.
            "SET LOCAL random_page_cost = 1; "
            # Thousands of lines are worth a plan of their own.
            "SET LOCAL plan_cache_mode = auto"
        )
