"""Dumps of PostgreSQL, restored as docs/how-to/back-up-and-restore.md describes."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from products import feed
from products.tests.live import database_url_of_test
from products.tests.moving.databases import (
    assert_verified,
    execute,
    manage_on,
    new_database,
    query,
    rows,
    rows_of,
    run,
)
from products.tests.moving.shop import fill

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="pg_dump reads PostgreSQL only."),
]

FORGET_ROWS_OF_MIGRATE = "TRUNCATE django_migrations, django_content_type, auth_group CASCADE"


@pytest.fixture
def shop() -> str:
    """The URL of the test database, with rows in all tables."""
    fill()
    return database_url_of_test().partition("?")[0]


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    with new_database(server) as url:
        yield url


@pytest.fixture
def migrated(empty: str) -> str:
    assert manage_on(empty, "migrate", "--verbosity", "0").returncode == 0
    return empty


def assert_restored(url: str) -> None:
    """Assert that all rows are the same, and that sequences go on after them."""
    assert rows_of(url) == rows()
    assert_verified(url)
    sequence = "SELECT last_value, is_called FROM products_stockevent_id_seq"
    assert query(url, sequence) == [(feed.last_id_drawn(), True)]


@pytest.mark.parametrize("options", [[], ["--inserts"]])
def test_the_data_alone_is_restored_into_a_migrated_database(
    shop: str, migrated: str, tmp_path: Path, options: list[str]
) -> None:
    dump = str(tmp_path / "data.dump")
    run("pg_dump", "--data-only", "-Fc", *options, f"--file={dump}", shop)
    execute(migrated, FORGET_ROWS_OF_MIGRATE)

    run("pg_restore", "--data-only", "--single-transaction", f"--dbname={migrated}", dump)

    assert_restored(migrated)


def test_the_data_of_a_full_dump_is_restored_into_a_migrated_database(
    shop: str, migrated: str, tmp_path: Path
) -> None:
    dump = str(tmp_path / "full.dump")
    run("pg_dump", "-Fc", f"--file={dump}", shop)
    execute(migrated, FORGET_ROWS_OF_MIGRATE)

    run("pg_restore", "--data-only", "--single-transaction", f"--dbname={migrated}", dump)

    assert_restored(migrated)


def test_a_full_dump_is_restored_by_several_processes(
    shop: str, empty: str, tmp_path: Path
) -> None:
    dump = str(tmp_path / "full.dump")
    run("pg_dump", "-Fc", f"--file={dump}", shop)

    run("pg_restore", "--no-owner", "--exit-on-error", "--jobs=4", f"--dbname={empty}", dump)

    assert_restored(empty)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        execute(empty, "DELETE FROM products_stockevent")


def test_a_restore_into_a_schema_of_another_name(server: str, tmp_path: Path) -> None:
    """The functions of the triggers name the schema that has their table."""
    dump = str(tmp_path / "full.dump")
    with new_database(server) as source, new_database(server) as target:
        execute(source, 'CREATE SCHEMA "Stock\'s"')
        in_schema = "?options=-csearch_path%3D%22Stock's%22"
        assert manage_on(source + in_schema, "migrate", "--verbosity", "0").returncode == 0
        assert manage_on(source + in_schema, "load_demo_data").returncode == 0
        run("pg_dump", "-Fc", f"--file={dump}", source)

        run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={target}", dump)

        assert_verified(target + in_schema)
        assert rows_of(target + in_schema) == rows_of(source + in_schema)
        sku = 'SELECT sku FROM "Stock\'s".products_product LIMIT 1'
        [(found,)] = query(target, sku)
        added = manage_on(target + in_schema, "adjust_stock", str(found), "--add", "1")
        assert added.returncode == 0, added.stderr


STATEMENTS = 20_000


def test_many_statements_of_one_transaction_take_one_lock(shop: str) -> None:
    """Each statement once took a lock, until the server had no memory for more."""
    columns = "product_id, sku, version, type, quantity, reserved_quantity, actor, source"
    insert = f"""
        INSERT INTO products_stockevent ({columns}, quantity_change, reserved_change, reason,
            reference, request_id)
        SELECT {columns.replace("version", "version + %s")}, 0, 0, '', '', ''
        FROM products_stockevent ORDER BY id DESC LIMIT 1
    """
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    with psycopg.connect(shop) as open_connection, open_connection.cursor() as cursor:
        cursor.executemany(insert, [[1]] * STATEMENTS)
        assert open_connection.execute(locks).fetchone() == (1,)
        open_connection.rollback()
