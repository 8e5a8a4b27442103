"""Poolers that lend a server connection for one transaction, such as PgBouncer (ADR 24)."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from psycopg import generators, sql
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

logger = logging.getLogger(__name__)

_QUESTION = """
    SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statements WHERE name = '{name}'),
        current_setting('lock_timeout'), current_setting('statement_timeout'),
        current_setting('idle_in_transaction_session_timeout')
"""


class Route(NamedTuple):
    """The way of a connection to the server."""

    is_pooled: bool = False
    """The server has another process id than the one that was announced."""
    prepares: bool = True
    """A prepared statement can be run in a later transaction."""


def find_route(connection: "psycopg.Connection[Any]") -> Route:
    """Ask the server about its connection, in one round trip. Warn if it lacks the timeouts."""
    pgconn = connection.pgconn
    name = f"inventory_{secrets.token_hex(6)}"
    *_, answer, _ = connection.wait(_ask(pgconn, name))
    if answer.status != ExecStatus.TUPLES_OK:
        raise psycopg.errors.error_from_result(answer)
    found = [(answer.get_value(0, column) or b"").decode() for column in range(answer.nfields)]
    process, keeps_name, *timeouts = found
    if int(process) == pgconn.backend_pid:
        return Route()
    _warn_without(tuple(timeouts), connection.info.user, connection.info.dbname)
    # Since 1.21, PgBouncer gives statements names of its own, and prepares them where they are run.
    return Route(is_pooled=True, prepares=keeps_name == "f")


def _ask(pgconn: PGconn, name: str) -> PQGen[list[PGresult]]:
    """Prepare a statement and run it in one packet: so both reach the same server connection."""
    pgconn.enter_pipeline_mode()
    pgconn.send_prepare(name.encode(), _QUESTION.format(name=name).encode())
    pgconn.send_query_prepared(name.encode(), ())
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    for _ in range(3):  # The last response is that of the sync.
        results += yield from generators.fetch_many(pgconn)
    pgconn.exit_pipeline_mode()
    return results


@cache
def _warn_without(timeouts: tuple[str, ...], user: str, database: str) -> None:
    """Log the statements that bring back the timeouts that the pooler has dropped, once."""
    wanted = settings.DATABASE_TIMEOUTS
    place = sql.SQL("ALTER ROLE {} IN DATABASE {} SET ").format(
        sql.Identifier(user), sql.Identifier(database)
    )
    missing = [
        f"{place.as_string()}{name} = '{seconds}s';"
        for (name, seconds), found in zip(wanted.items(), timeouts, strict=True)
        if seconds and found == "0"
    ]
    if missing:
        logger.warning(
            "The pooler drops the timeouts of the service. Run on the database server: %s",
            " ".join(missing),
        )


def is_pooled() -> bool:
    """Return whether the connection of this thread leads to PostgreSQL through a pooler."""
    if connection.vendor == "sqlite":
        return False
    connection.ensure_connection()
    raw: Any = connection.connection
    route: Route = getattr(raw, "route", None) or find_route(raw)
    return route.is_pooled


@contextmanager
def one_server_connection() -> Iterator[None]:
    """Use the same server connection for the whole block, also through a pooler.

    That takes a transaction, which is opened for a pooler only.
    """
    if not is_pooled():
        yield
        return
    with transaction.atomic():
        yield


def refuse_pooler() -> None:
    """Raise `ImproperlyConfigured` if the connection leads through a pooler.

    A temporary table would stay on a server connection that others use, too.
    """
    if is_pooled():
        raise ImproperlyConfigured(
            "This command needs a direct connection, but DATABASE_URL leads to a pooler. Run it "
            "with the DATABASE_URL of PostgreSQL itself."
        )
