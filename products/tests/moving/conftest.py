"""Fixtures for the tests of moving."""

from collections.abc import Iterator

import pytest
from django.db import connection

from products.tests.live import database_url_of_test
from products.tests.postgres import running_postgres


@pytest.fixture(scope="session")
def _another_server(django_db_setup: None) -> Iterator[str | None]:
    """On SQLite, start a PostgreSQL."""
    if connection.vendor == "postgresql":
        yield None
        return
    with running_postgres() as url:
        yield url


@pytest.fixture
def server(_another_server: str | None) -> str:
    """The URL of a database on a PostgreSQL server: that of the tests, if they run on one."""
    return _another_server or database_url_of_test().partition("?")[0]
