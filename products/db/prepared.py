"""Run frequent statements: prepared, and several in one round trip (ADR 12).

Django and psycopg bind values into the text of a statement, so PostgreSQL parses and plans it each
time. This module prepares a statement once in each connection and sends its values separately.
BEGIN and COMMIT are sent in the same packet as the statement (libpq's pipeline mode).

`execute_prepared` is the only public function that sends statements. Django and psycopg still do
everything else: opening, pooling, waiting, rollback, exceptions, query log and execute wrappers.
ADR 16 explains why this does not use psycopg's public API.
"""

import json
import secrets
import weakref
from collections.abc import Collection, Iterable, Sequence
from functools import cache, partial
from itertools import count
from types import NoneType, SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, DataError, connections
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from products.db.connection import Connection
from products.db.errors import FORGOTTEN_STATEMENT, sqlstate_of
from products.db.pooler import Route
from products.db.sqlite import is_sqlite

_NUL = "PostgreSQL text cannot contain NUL characters."

_Values = Sequence[bytes | None]


def execute_prepared(
    sql: str,
    values: Sequence[Any],
    *,
    commits: bool = False,
    waits: bool = True,
    using: str = DEFAULT_DB_ALIAS,
) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows.

    `values` are sent as text. The statement must cast them where PostgreSQL cannot infer the type.

    With `commits`, the transaction is committed in the same round trip.

    Without `waits`, a connection of the pool only sends the statement and returns no rows. The next
    use of the connection waits for the response and raises its error.

    On SQLite, both options have no effect.
    """
    database: Any = connections[using]
    if is_sqlite():
        with database.cursor() as sqlite_cursor:
            sqlite_cursor.execute(sql, values)
            rows: list[tuple[Any, ...]] = sqlite_cursor.fetchall()
            return rows
    database.ensure_connection()
    # Wrapped as Django wraps its own cursors: for exceptions, query log and execute wrappers.
    wrap = database.make_debug_cursor if database.queries_logged else database.make_cursor
    connection = database.connection
    cursor = _cursors.get(connection) or _cursors.setdefault(
        connection, _PreparedCursor(connection)
    )
    cursor.commits, cursor.waits = commits, waits
    try:
        wrap(cursor).execute(sql, values)
    except DatabaseError as error:
        # A transaction must be retried as a whole.
        if sqlstate_of(error) not in FORGOTTEN_STATEMENT or database.in_atomic_block:
            raise
        wrap(cursor).execute(sql, values)
    return cursor.rows


class _PreparedCursor:
    """The part of a cursor that `execute_prepared` needs, for one connection."""

    commits = False
    waits = True

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        # Weak, because the connection is the key of this cursor in `_cursors`.
        self._connection: psycopg.Connection[Any] = weakref.proxy(connection)
        self._query: Any = None  # Django's query log reads it.
        self._names: dict[str, bytes] = {}
        # Unique, because a pooler may lend a connection with the names of another process.
        self._prefix = secrets.token_hex(4)
        # A connection without a pool serves one request. Preparing would cost more than it saves.
        self._route = getattr(connection, "route", Route(prepares=False))
        # Makes the text of statements unlike that of earlier ones.
        self._mark = b""
        self._numbers = count()
        # Without a connection, the transformer reads times in UTC.
        self._transformer = Transformer()
        self.rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, values: Sequence[Any]) -> None:
        """Send a statement, with BEGIN if it is the first of a transaction, and store its rows."""
        connection, self.rows = self._connection, []
        if isinstance(connection, Connection) and connection.pending_response:
            connection.read_pending_response()
        self._query = SimpleNamespace(query=_numbered(sql))
        statements: list[tuple[str, _Values]] = [(sql, _encoded(values))]
        pgconn = connection.pgconn
        if not connection.autocommit and pgconn.transaction_status == TransactionStatus.IDLE:
            statements.insert(0, ("BEGIN", ()))
        index = len(statements) - 1
        if self.commits:
            statements.append(("COMMIT", ()))
        if self._prepares:
            for statement, _ in statements:
                if statement not in self._names:
                    self._prepare(statement)
        try:
            self._enqueue(statements)
        except BaseException:
            connection.close()  # It may still be in pipeline mode.
            raise
        if not self.waits and isinstance(connection, Connection):
            self._results(_send(pgconn))
            responses = _responses(pgconn, len(statements))
            connection.pending_response = partial(self._results, responses)
            return
        result = self._results(_responses(pgconn, len(statements)))[index]
        self._transformer.set_pgresult(result)
        self.rows = self._transformer.load_rows(0, result.ntuples, tuple)

    @property
    def _prepares(self) -> bool:
        return bool(settings.PREPARED_STATEMENTS) and self._route.prepares

    def _enqueue(self, statements: Sequence[tuple[str, _Values]]) -> None:
        """Enqueue statements in one packet. The server skips those after a failed one."""
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        for sql, values in statements:
            if self._prepares:
                pgconn.send_query_prepared(self._names[sql], values)
            else:
                pgconn.send_query_params(_numbered(sql), values)
        pgconn.pipeline_sync()

    def _prepare(self, sql: str) -> None:
        """Prepare a statement, and make PostgreSQL plan it with indexes.

        A plan for a small or unanalyzed table would read all rows, and PostgreSQL would keep it
        while the table grows. Once PostgreSQL has analyzed the table, it plans again (ADR 12).
        """
        pgconn = self._connection.pgconn
        name = f"inventory_{self._prefix}_{next(self._numbers)}".encode()
        pgconn.send_prepare(name, _numbered(sql) + self._mark)
        self._results(generators.execute(pgconn))
        self._names[sql] = name
        # Behind a pooler, the statement has another name, and other connections plan it as well.
        parameters = 0 if self._route.is_pooled else sql.count("%s")
        if parameters:
            nulls = b", ".join([b"NULL"] * parameters)
            pgconn.send_query(
                b"SET enable_seqscan = off; EXPLAIN EXECUTE %b (%b); RESET enable_seqscan"
                % (name, nulls)
            )
            self._results(generators.execute(pgconn))

    def _results(self, responses: PQGen[list[PGresult]]) -> list[PGresult]:
        """Wait for the responses, and raise the first error."""
        try:
            results = self._connection.wait(responses)
        except BaseException:
            self._connection.close()  # Responses may still arrive.
            raise
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                error = psycopg.errors.error_from_result(result)
                if error.sqlstate in FORGOTTEN_STATEMENT:
                    self._forget()
                raise error
        return results

    def _forget(self) -> None:
        """Prepare all statements again at their next use.

        A pooler recognizes a statement by its text, and would run its old plan again.
        """
        self._names.clear()
        if self._route.is_pooled:
            self._mark = f" /* {secrets.token_hex(4)} */".encode()


_cursors: "WeakKeyDictionary[psycopg.Connection[Any], _PreparedCursor]" = WeakKeyDictionary()


def _send(pgconn: PGconn) -> PQGen[list[PGresult]]:
    yield from generators.send(pgconn)
    return []


def _responses(pgconn: PGconn, count: int) -> PQGen[list[PGresult]]:
    """Send the enqueued statements, and fetch the responses to `count` statements."""
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    for _ in range(count + 1):  # The last response is that of the sync.
        results += yield from generators.fetch_many(pgconn)
    pgconn.exit_pipeline_mode()
    return results


def _encoded(values: Iterable[Any]) -> list[bytes | None]:
    encoded = [None if value is None else str(value).encode() for value in values]
    # libpq would cut the text at the NUL.
    if b"\0" in b"".join([value for value in encoded if value]):
        raise DataError(_NUL)
    return encoded


@cache
def _numbered(sql: str) -> bytes:
    """Return a statement with PostgreSQL's placeholders $1, $2, ... for each %s."""
    first, *others = sql.split("%s")
    return "".join(
        [first, *(f"${number}{part}" for number, part in enumerate(others, start=1))]
    ).encode()


def array(values: Collection[Any]) -> str:
    """Return an array as a parameter: a PostgreSQL array, or JSON on SQLite."""
    if is_sqlite():
        return json.dumps(list(values))
    kinds = set(map(type, values))
    if kinds <= {int}:
        return f"{{{','.join(map(str, values))}}}"
    if NoneType in kinds:
        members = ["NULL" if value is None else array([value])[1:-1] for value in values]
        return f"{{{','.join(members)}}}"
    # Quotes all members at once.
    are_texts = all(issubclass(kind, str) for kind in kinds)
    joined = "\0".join(values if are_texts else map(str, values))
    if joined.count("\0") >= len(values):
        raise DataError(_NUL)
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{quoted}"}}'


def binary(value: bytes) -> bytes | str:
    """Return bytes as a parameter."""
    return value if is_sqlite() else f"\\x{value.hex()}"
