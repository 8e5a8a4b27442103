"""Create PostgreSQL databases for a test, and run the programs of PostgreSQL on them."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.apps import apps

from products.tests.live import END_SECONDS, environment_of_test, manage, run_python
from products.tests.postgres import client_program

_PRINT_ROWS = """
import django, json
django.setup()
from products.tests.moving.databases import rows
print(json.dumps(rows()))
"""


@contextmanager
def new_database(server: str, *options: str) -> Iterator[str]:
    """Yield the URL of an empty database. `server` is the URL of another database of the server."""
    name = f"moving_{secrets.token_hex(6)}"
    _execute(server, " ".join([f"CREATE DATABASE {name}", *options]))
    try:
        yield urlsplit(server)._replace(path=f"/{name}", query="").geturl()
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, *statements: str) -> None:
    """Execute statements in one transaction."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def run(program: str, *words: str) -> str:
    """Run a client program of PostgreSQL, such as pg_dump, and return its output."""
    result = subprocess.run(
        [client_program(program), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def manage_on(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `manage.py` on another database."""
    return manage(*words, env={**environment_of_test(), "DATABASE_URL": url})


def assert_verified(url: str) -> None:
    """Assert that `verify_stock` finds no difference."""
    result = manage_on(url, "verify_stock")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("No differences found.")


def rows() -> dict[str, list[str]]:
    """Return all rows of all tables of the configured database, as texts."""
    return {
        model._meta.label: sorted(
            json.dumps([row[name] for name in sorted(row)], default=str, sort_keys=True)
            for row in model._default_manager.values()
        )
        for model in apps.get_models(include_auto_created=True)
    }


def rows_of(url: str) -> Any:
    """Return `rows` of another database."""
    environment = {**environment_of_test(), "DATABASE_URL": url}
    result = run_python(_PRINT_ROWS, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def has_data(url: str) -> bool:
    """Return whether the database has a product."""
    tables = query(url, "SELECT to_regclass('products_product') IS NOT NULL")
    return tables == [(True,)] and query(url, "SELECT count(*) FROM products_product") != [(0,)]


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its password, and the environment that has it."""
    parts = urlsplit(url)
    assert parts.password
    shown = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)).geturl()
    return shown, {**os.environ, "PGPASSWORD": parts.password}
