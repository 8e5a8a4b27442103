"""Statements that are prepared once in each connection, and sent in few round trips."""

import secrets
from collections.abc import Collection, Iterable, Sequence
from functools import cache, partial
from itertools import count
from types import NoneType, SimpleNamespace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    connections,
)
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from products.db.connection import Connection
from products.db.errors import FORGOTTEN_STATEMENT, sqlstate_of
from products.db.sqlite import is_sqlite

Result = TypeVar("Result")


def execute_prepared(
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
        # Inside a transaction, all of that has to be run again.
        if sqlstate_of(error) not in FORGOTTEN_STATEMENT or database.in_atomic_block:
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


def binary(value: bytes) -> bytes | str:
    """Return a value for a parameter that is binary."""
    return value if is_sqlite() else f"\\x{value.hex()}"
