"""Database connections: bounded waiting, recovery after a loss, and a queue for each product."""

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping, TransactionStatus

from products.db import deadline
from products.db.errors import busy, is_busy, is_disconnect, read_only
from products.db.pooler import Route, find_route
from products.db.sqlite import is_sqlite, sqlite_without_waiting

Result = TypeVar("Result")


STANDBY = "the database server is a standby"

# After this silence, a command asks whether its server still takes connections. It gives up after
# this number of questions without an answer.
SILENCE_SECONDS = 10
PING_SECONDS = 3
MAX_FAILED_PINGS = 2


class _TimeLoader(Loader):
    """Read a time in UTC, the time zone of the connection. It is faster than Django's loader."""

    timezone = UTC  # Django compares this to decide whether to replace the loader.

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


class Connection(psycopg.Connection[Any]):
    """A connection of the pool, with a timeout for responses (ADR 10).

    A server that hangs cannot apply its own `statement_timeout`, and TCP notices nothing while the
    host still acknowledges packets. After `response_timeout` seconds without a response, or at the
    deadline of the request, the connection is closed and `OperationalError` is raised. The outcome
    of the statement is unknown.

    Without a `response_timeout`, as in commands, the same happens if the server does not respond
    and takes no new connection either. A statement that runs for hours is left alone.
    """

    route: Route
    response_timeout: float | None = None
    pending_response: Callable[[], object] | None = None
    """Read the response to a prepared statement that was sent without waiting."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        connection = super().connect(*args, **kwargs)
        connection.adapters.register_loader("timestamptz", _TimeLoader)
        connection.route = find_route(connection)
        return connection

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        if self.pending_response is not None:
            self.read_pending_response()
        seconds = timeout or deadline.limit(self.response_timeout)
        try:
            return super().wait(gen if seconds else self._watched(gen), interval, seconds)
        except psycopg.OperationalError:
            # An error that the server sent would have ended the statement.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
                self._leave_transaction()
            raise

    def _leave_transaction(self) -> None:
        """Give a closed connection back while Django knows that it is in a transaction.

        At the end of the transaction, Django would otherwise wait for a new connection.
        """
        if connection.connection is self and connection.in_atomic_block:
            connection.close()

    def _watched(self, gen: PQGen[Result]) -> PQGen[Result]:
        """Run `gen`. Raise `OperationalError` if the server has hung while it waits."""
        heard_at, failures = time.monotonic(), 0
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at, failures = time.monotonic(), 0
                elif time.monotonic() - heard_at > SILENCE_SECONDS:
                    failures = 0 if self._takes_connections() else failures + 1
                    if failures == MAX_FAILED_PINGS:
                        raise psycopg.OperationalError("the server does not respond")
                    heard_at = time.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _takes_connections(self) -> bool:
        pgconn = self.pgconn
        server = {"host": pgconn.host, "hostaddr": pgconn.hostaddr, "port": pgconn.port}
        names = {"user": pgconn.user, "dbname": pgconn.db}
        known = {name: value.decode() for name, value in (server | names).items() if value}
        ping = PGconn.ping(make_conninfo("", **known, connect_timeout=PING_SECONDS).encode())
        return ping != Ping.NO_RESPONSE

    def read_pending_response(self) -> None:
        """Wait for the pending response, if any, and raise its error."""
        read, self.pending_response = self.pending_response, None
        if read is not None:
            read()


def connection_with_timeout(seconds: float) -> type[Connection]:
    """Return a class of connections that wait up to `seconds` for a response; 0 sets no limit."""
    return type("Connection", (Connection,), {"response_timeout": seconds or None})


def drain_pool_after(error: BaseException | None, *, database: str = DEFAULT_DB_ALIAS) -> None:
    """Replace all connections of the pool if `error` means that they are lost.

    A restart of the database breaks all connections, and each would fail a request. A check before
    each use would cost every request a round trip.
    """
    pool = getattr(connections[database], "pool", None)
    if pool is not None and is_disconnect(error):
        pool.drain()


def drain_pool_on_disconnect(**_: Any) -> None:
    """Call `drain_pool_after` with the error of a request. Receives `got_request_exception`."""
    drain_pool_after(sys.exc_info()[1])


def check_writable() -> None:
    """Raise a database error if the database does not respond, or takes no changes."""
    if is_sqlite():
        _check_sqlite_writable()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only'), pg_is_in_recovery()")
        setting, is_standby = cursor.fetchone()
    if setting == "on":
        raise read_only(STANDBY if is_standby else "the database is set read-only")


def _check_sqlite_writable() -> None:
    try:
        # In IMMEDIATE mode, BEGIN takes the lock for writing.
        with sqlite_without_waiting(), transaction.atomic():
            pass
    except OperationalError as error:
        if not is_busy(error):  # Another writer shows that the file can be written.
            raise


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
    if not queue.acquire(timeout=deadline.limit(settings.CONNECTION_WAIT_SECONDS) or 0):
        raise busy(f"other requests are changing {sku}")
    try:
        yield
    finally:
        queue.release()


def wait_for_locks(seconds: int) -> None:
    """Set the lock timeout and the planner options for the transaction of a file, on PostgreSQL.

    A request that applies a file has no deadline: its statements have limits of their own.
    """
    deadline.lift()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET LOCAL lock_timeout = '{seconds}s'; "
            # The products of a batch are close together: an index scan beats reading all others.
            "SET LOCAL random_page_cost = 1; "
            # A batch of thousands of lines is worth its own plan.
            "SET LOCAL plan_cache_mode = auto"
        )
