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
from django.db import connection
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from products.db.errors import busy, is_disconnect

Result = TypeVar("Result")


class _TimeLoader(Loader):
    """Read a time in UTC, the time zone of the connection. It is faster than Django's loader."""

    timezone = UTC  # Django compares this to decide whether to replace the loader.

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


class Connection(psycopg.Connection[Any]):
    """A connection of the pool, with a timeout for responses (ADR 10).

    A server that hangs cannot apply its own `statement_timeout`, and TCP notices nothing while the
    host still acknowledges packets. After `response_timeout` seconds without a response, the
    connection is closed and `OperationalError` is raised. The outcome of the statement is unknown.
    """

    response_timeout: float | None = None
    pending_response: Callable[[], object] | None = None
    """Read the response to a prepared statement that was sent without waiting."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().connect(*args, **kwargs)
        connection.adapters.register_loader("timestamptz", _TimeLoader)
        return connection

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        if self.pending_response is not None:
            self.read_pending_response()
        try:
            return super().wait(gen, interval, timeout or self.response_timeout)
        except psycopg.OperationalError:
            # An error that the server sent would have ended the statement.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise

    def read_pending_response(self) -> None:
        """Wait for the pending response, if any, and raise its error."""
        read, self.pending_response = self.pending_response, None
        if read is not None:
            read()


def connection_with_timeout(seconds: float) -> type[Connection]:
    """Return a class of connections that wait up to `seconds` for a response; 0 sets no limit."""
    return type("Connection", (Connection,), {"response_timeout": seconds or None})


def drain_pool_on_disconnect(**_: Any) -> None:
    """Replace all idle connections of the pool after a lost connection.

    Receives `got_request_exception`. A restart of the database breaks all connections, and each
    would fail a request. A check before each use would cost every request a round trip.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None and is_disconnect(sys.exc_info()[1]):
        pool.drain()


_queues: "WeakValueDictionary[str, threading.Lock]" = WeakValueDictionary()


@contextmanager
def per_sku_queue(skus: Collection[str]) -> Iterator[None]:
    """Let the threads of this process change a product one after the other, on PostgreSQL.

    A thread that waits for a row lock keeps one of the few connections, which others need for other
    products (ADR 10). Threads with a connection do not queue, nor do changes of several products.
    The row lock still protects the product.

    Raises a "busy" `OperationalError` after `CONNECTION_WAIT_SECONDS`.
    """
    if len(skus) != 1 or connection.connection is not None:
        yield
        return
    (sku,) = skus
    queue = _queues.setdefault(sku, threading.Lock())
    if not queue.acquire(timeout=settings.CONNECTION_WAIT_SECONDS):
        raise busy(f"other requests are changing {sku}")
    try:
        yield
    finally:
        queue.release()


def wait_for_locks(seconds: int) -> None:
    """Set the lock timeout and the planner options for the transaction of a file, on PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET LOCAL lock_timeout = '{seconds}s'; "
            # The products of a batch are close together: an index scan beats reading all others.
            "SET LOCAL random_page_cost = 1; "
            # A batch of thousands of lines is worth its own plan.
            "SET LOCAL plan_cache_mode = auto"
        )
