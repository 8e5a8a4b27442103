"""What Django leaves to us of the connections: bounded waiting, healing, SQLite's limit, and a
short way for the statements that every change sends."""

import secrets
import sqlite3
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache, partial
from itertools import count
from types import NoneType, SimpleNamespace
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

import psycopg
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField
from django.db.models.lookups import (
    FieldGetDbPrepValueMixin,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from psycopg import generators
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader, Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

Result = TypeVar("Result")

_READ_ONLY = "25006"


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


def is_unavailable(error: Exception) -> bool:
    """Tell whether the database is busy, away or broken, and not the statement wrong."""
    cause = error.__cause__
    return (
        isinstance(error, OperationalError | InterfaceError)
        or getattr(cause, "sqlstate", None) == _READ_ONLY
        # SQLite's file is corrupt, or none of SQLite's.
        or type(cause) is sqlite3.DatabaseError
    )


_UNDEFINED = {"42P01", "42703"}  # Of PostgreSQL: a table, a column.


def lacks_migrations(error: Exception) -> bool:
    """Tell whether a table or a column is missing in the database."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.OperationalError):
        return str(cause).startswith(("no such table", "no such column"))
    return getattr(cause, "sqlstate", None) in _UNDEFINED


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


@cache
def is_sqlite() -> bool:
    """Tell which of the two databases this is. Each change asks several times, and to look the
    thread's connection up takes longer than the answer is worth."""
    return connection.vendor == "sqlite"


def take_sqlite_at_its_word(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receive `connection_created` of SQLite: let a statement have as many parameters as it allows.

    Django 5.2 assumes 999, and would insert the events of a large batch in many statements.
    """
    limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    connection.features.max_query_params = limit


# SQLite compares moments as texts, and there are several of one moment: its own clock writes
# 10:30:00.000 and 10:30:00.500, Django 10:30:00 and 10:30:00.500000.


class _FromLeastText(FieldGetDbPrepValueMixin):
    """A comparison that, on SQLite, puts the moment before all of its texts."""

    def get_db_prep_lookup(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        prepared: Any = super().get_db_prep_lookup(value, connection)
        if not is_sqlite():
            return prepared
        sql, [text] = prepared
        return sql, [text.rstrip("0") if "." in text else text]


class _FromGreatestText(FieldGetDbPrepValueMixin):
    """A comparison that, on SQLite, puts the moment after all of its texts."""

    def get_db_prep_lookup(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        prepared: Any = super().get_db_prep_lookup(value, connection)
        if not is_sqlite():
            return prepared
        sql, [text] = prepared
        return sql, [text if "." in text else f"{text}.000000"]


@DateTimeField.register_lookup
class _Before(_FromLeastText, LessThan):
    pass


@DateTimeField.register_lookup
class _AtOrAfter(_FromLeastText, GreaterThanOrEqual):
    pass


@DateTimeField.register_lookup
class _AtOrBefore(_FromGreatestText, LessThanOrEqual):
    pass


@DateTimeField.register_lookup
class _After(_FromGreatestText, GreaterThan):
    pass


_writing = threading.RLock()


def one_writer() -> AbstractContextManager[None]:
    """On SQLite, let the threads of this process write one after the other.

    SQLite lets those that wait look again now and then, for a tenth of a second in between, and
    does not remember who came first: one of many may find it taken each time. It still decides: a
    thread that has waited here for as long as it would there goes on to ask it.
    """
    return _one_writer() if is_sqlite() else nullcontext()


@contextmanager
def _one_writer() -> Iterator[None]:
    is_ours = _writing.acquire(timeout=settings.SQLITE_BUSY_SECONDS)
    try:
        yield
    finally:
        if is_ours:
            _writing.release()


_turns: "WeakValueDictionary[str, threading.Lock]" = WeakValueDictionary()


@contextmanager
def in_turn(sku: str) -> Iterator[None]:
    """On PostgreSQL, let the threads of this process change a product one after the other.

    Whoever waits for the lock of its row keeps one of the few connections, which others need for
    other products. The row's lock still decides. A thread that has a connection already does not
    wait here; one that waits for as long as for a connection is told that the lock is not to be
    had, by the `OperationalError` that PostgreSQL would raise.
    """
    if is_sqlite() or connection.connection is not None:
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


# ------------------------------------------------------------------------- statements sent often


def execute_often(
    sql: str, values: Sequence[Any], *, commits: bool = False, waits: bool = True
) -> list[tuple[Any, ...]]:
    """Run a statement that is sent often, in few round trips, and return its rows.

    On PostgreSQL the statement is prepared once in each connection, and values are sent apart from
    it, as text: the statement says what types they are. BEGIN goes along with the first statement
    of a transaction, and COMMIT with one that `commits`.

    Where it `waits` not, and the connection is of the pool, the statement is only sent. Whatever
    uses the connection next waits for its end, and raises what it raised; its rows are lost.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if is_sqlite():
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()
    database.ensure_connection()
    try:
        return _execute(database, sql, values, commits=commits, waits=waits)
    except DatabaseError as error:
        sqlstate = getattr(error.__cause__, "sqlstate", None)
        # Inside a transaction, all of that has to be run again.
        if sqlstate not in FORGOTTEN_STATEMENT or database.in_atomic_block:
            raise
        return _execute(database, sql, values, commits=commits, waits=waits)


def _execute(
    database: Any, sql: str, values: Sequence[Any], *, commits: bool, waits: bool
) -> list[tuple[Any, ...]]:
    prepared: Any = _PreparedCursor(database.connection, commits=commits, waits=waits)
    # As Django wraps its own: for its exceptions, its log of queries and its wrappers.
    wrap = database.make_debug_cursor if database.queries_logged else database.make_cursor
    wrap(prepared).execute(sql, values)
    rows: list[tuple[Any, ...]] = prepared.rows
    return rows


FORGOTTEN_STATEMENT = {"0A000", "26000"}
"""What the server says when it cannot run a prepared statement any more: a table has changed, or a
pooler has lent us another connection. It is prepared anew when it is sent again."""

_NUL = "PostgreSQL's text cannot contain NUL."

_Values = Sequence[bytes | None]


class _Known:
    """What is kept for a connection: the names under which its server knows statements, and what
    reads its answers."""

    def __init__(self) -> None:
        self.names: dict[str, bytes] = {}
        # Nobody else's: a connection that a pooler lends us may know theirs.
        self._prefix = secrets.token_hex(4)
        self._numbers = count()
        # Without a connection, whose time zone it would ask for: moments are read in UTC.
        self.transformer = Transformer()

    def new_name(self) -> bytes:
        return f"often_{self._prefix}_{next(self._numbers)}".encode()


_known: "WeakKeyDictionary[psycopg.Connection[Any], _Known]" = WeakKeyDictionary()


class _PreparedCursor:
    """As much of a cursor as such a statement needs, straight on libpq.

    Those of Django and psycopg bind values into the text, which PostgreSQL then parses and plans
    anew: with them a change takes a third more of its CPU time and three times as much of ours.
    """

    def __init__(
        self, connection: "psycopg.Connection[Any]", *, commits: bool, waits: bool
    ) -> None:
        self._connection = connection
        self._commits = commits
        self._waits = waits
        self._query: Any = None  # Where Django's log of queries looks for it.
        self._known = _known.get(connection) or _known.setdefault(connection, _Known())
        self.rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, values: Sequence[Any]) -> None:
        if isinstance(self._connection, Connection):
            self._connection.catch_up()
        self._query = SimpleNamespace(query=_numbered(sql))
        wanted: list[tuple[str, _Values]] = [(sql, _encoded(values))]
        status = self._connection.pgconn.transaction_status
        if not self._connection.autocommit and status == TransactionStatus.IDLE:
            wanted.insert(0, ("BEGIN", ()))
        index = len(wanted) - 1
        if self._commits:
            wanted.append(("COMMIT", ()))
        self._enqueue(wanted)
        pgconn = self._connection.pgconn
        if not self._waits and isinstance(self._connection, Connection):
            self._wait(generators.send(pgconn))
            self._connection.read_answer = partial(self._results, _answers(pgconn, len(wanted)))
            return
        result = self._results(_round_trip(pgconn, len(wanted)))[index]
        transformer = self._known.transformer
        transformer.set_pgresult(result)
        self.rows = transformer.load_rows(0, result.ntuples, tuple)

    def _enqueue(self, wanted: Sequence[tuple[str, _Values]]) -> None:
        """Let statements be sent in one go; after one that fails the others are not run."""
        pgconn = self._connection.pgconn
        names = self._known.names
        are_prepared = settings.PREPARED_STATEMENTS
        if are_prepared:
            for sql, _ in wanted:
                if sql not in names:
                    self._prepare(sql)
        pgconn.enter_pipeline_mode()
        for sql, values in wanted:
            if are_prepared:
                pgconn.send_query_prepared(names[sql], values)
            else:
                pgconn.send_query_params(_numbered(sql), values)
        pgconn.pipeline_sync()

    def _prepare(self, sql: str) -> None:
        """Let the server know a statement, and plan it so that it goes by keys.

        Of tables that are small yet, or not analyzed, it would rather read all rows, and keep to
        that plan while they grow. It makes a better one when it has analyzed them.
        """
        pgconn, names = self._connection.pgconn, self._known.names
        name = self._known.new_name()
        pgconn.send_prepare(name, _numbered(sql))
        self._results(generators.execute(pgconn))
        names[sql] = name
        if parameters := sql.count("%s"):
            nulls = b", ".join([b"NULL"] * parameters)
            pgconn.send_query(
                b"SET enable_seqscan = off; EXPLAIN EXECUTE %b (%b); RESET enable_seqscan"
                % (name, nulls)
            )
            self._results(generators.execute(pgconn))

    def _wait(self, gen: PQGen[Result]) -> Result:
        try:
            return self._connection.wait(gen)
        except BaseException:
            self._connection.close()  # Answers may still be under way.
            raise

    def _results(self, answers: PQGen[list[PGresult]]) -> list[PGresult]:
        results = self._wait(answers)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                error = psycopg.errors.error_from_result(result)
                if error.sqlstate in FORGOTTEN_STATEMENT:
                    self._known.names.clear()
                raise error
        return results


def _round_trip(pgconn: PGconn, count: int) -> PQGen[list[PGresult]]:
    yield from generators.send(pgconn)
    return (yield from _answers(pgconn, count))


def _answers(pgconn: PGconn, count: int) -> PQGen[list[PGresult]]:
    results: list[PGresult] = []
    for _ in range(count + 1):  # The last tells that the server has seen the end.
        results += yield from generators.fetch_many(pgconn)
    pgconn.exit_pipeline_mode()
    return results


def _encoded(values: Iterable[Any]) -> list[bytes | None]:
    encoded = [None if value is None else str(value).encode() for value in values]
    # libpq would cut a text off there.
    if b"\0" in b"".join([value for value in encoded if value]):
        raise DataError(_NUL)
    return encoded


@cache
def _numbered(sql: str) -> bytes:
    """Return a statement with $1, $2, ... for each %s, as PostgreSQL wants it."""
    first, *others = sql.split("%s")
    return "".join(
        [first, *(f"${number}{part}" for number, part in enumerate(others, start=1))]
    ).encode()


def array(values: Collection[Any]) -> str:
    """Return a value for a parameter that is an array of PostgreSQL."""
    kinds = set(map(type, values))
    if kinds <= {int}:
        return f"{{{','.join(map(str, values))}}}"
    if NoneType in kinds:
        members = ["NULL" if value is None else array([value])[1:-1] for value in values]
        return f"{{{','.join(members)}}}"
    # All members are quoted at once, which is fast.
    are_texts = all(issubclass(kind, str) for kind in kinds)
    joined = "\0".join(values if are_texts else map(str, values))
    if joined.count("\0") >= len(values):
        raise DataError(_NUL)
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{quoted}"}}'
