"""Read the statements of a request from the log of the PostgreSQL server.

Each is one round trip, unless a service sends several together.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

# PostgreSQL does not report when its processes have read the setting.
SECONDS_TO_RELOAD = 0.5

_ENTRIES = re.compile(r"^\d{4}-\d\d-\d\d [^\[\n]*\[\d+\] ", re.MULTILINE)
_STATEMENT = re.compile(r"LOG: +(?:statement|execute [^:]*): (.*)", re.DOTALL)


@contextmanager
def logged(url: str) -> Iterator[Callable[[], list[str]]]:
    """Log all statements of the server. Yield a function that returns the new ones."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET log_statement = 'none'")
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(SECONDS_TO_RELOAD)
        [(log, size)] = connection.execute(
            "SELECT name, (pg_stat_file(name)).size FROM pg_ls_dir('.') AS name "
            "WHERE name LIKE 'server-%.log' ORDER BY name DESC LIMIT 1"
        )

        def read() -> list[str]:
            nonlocal size
            sql = "SELECT pg_read_binary_file(%s, %s, 10000000)"
            [(content,)] = connection.execute(sql, [log, size])
            size += len(content)
            found = map(_STATEMENT.match, _ENTRIES.split(content.decode()))
            return [" ".join(match[1].split()) for match in found if match]

        try:
            yield read
        finally:
            connection.execute("ALTER SYSTEM RESET log_statement")
            connection.execute("SELECT pg_reload_conf()")
