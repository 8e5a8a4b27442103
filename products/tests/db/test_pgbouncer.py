"""The service behind PgBouncer in transaction mode. `PGBOUNCER` chooses another program."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from products.db.connection import connection_with_timeout
from products.db.pooler import Route
from products.models import Product, StockEvent
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import database_url_of_test, environment_of_test, manage, running_server
from products.tests.pgbouncer import PGBOUNCER, running_pgbouncer, version

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no pooler"),
    pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed"),
]


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of the test database through PgBouncer."""
    with running_pgbouncer(database_url_of_test()) as url:
        yield url


@pytest.fixture
def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {ApiKeyFactory.create().text}"}


@pytest.fixture
def _role() -> Iterator[None]:
    """Remove the settings of the role in the test database."""
    yield
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")


def test_the_pooler_is_recognized(url: str) -> None:
    with connection_with_timeout(60).connect(database_url_of_test()) as ours:
        direct = ours.route
    with connection_with_timeout(60).connect(url) as ours:
        pooled = ours.route

    assert direct == Route(is_pooled=False, prepares=True)
    assert pooled == Route(is_pooled=True, prepares=version() >= (1, 21))


def test_many_changes_at_once_succeed_and_none_is_run_again(url: str, key: dict[str, str]) -> None:
    products = [ProductFactory.create(quantity=0) for _ in range(4)]

    with running_server(url, workers=2) as server, ThreadPoolExecutor(8) as executor:
        server.wait_for_workers()

        def change(number: int) -> list[int]:
            path = f"/v1/products/{products[number % 4].sku}"
            once = {**key, "Idempotency-Key": f"order-{number}"}
            added = server.request("POST", f"{path}/add", {"amount": 2}, once)
            reserved = server.request("POST", f"{path}/reserve", {"amount": 1}, key)
            removed = server.request("POST", f"{path}/remove", {"amount": 1}, key)
            read = server.request("GET", path, headers=key)
            feed = server.request("GET", "/v1/events", headers=key)
            health = server.request("GET", "/health")
            return [each.status for each in (added, reserved, removed, read, feed, health)]

        statuses = {status for found in executor.map(change, range(100)) for status in found}
        logged = server.logged()

    assert statuses <= {200, 201}
    assert not [line for line in logged if "retrying" in line or "ERROR" in line]
    levels = Product.objects.values_list("quantity", "reserved_quantity")
    assert [*levels] == [(25, 25)] * 4
    assert StockEvent.objects.count() == 4 + 300


@pytest.mark.usefixtures("_role")
def test_the_log_says_how_to_bring_the_timeouts_back(url: str, key: dict[str, str]) -> None:
    path = f"/v1/products/{ProductFactory.create(sku='CUP').sku}/add"

    with running_server(url, workers=1) as server:
        server.wait_for_workers()
        server.request("GET", "/health")
        warning, *_ = [line for line in server.logged() if "drops the timeouts" in line]
    statements = re.findall(r"ALTER ROLE [^;]*;", warning.replace('\\"', '"'))
    with psycopg.connect(database_url_of_test(), autocommit=True) as ours:
        for statement in statements:
            ours.execute(statement.encode())
    with running_pgbouncer(database_url_of_test()) as fresh, running_server(fresh) as server:
        server.wait_for_workers()
        with psycopg.connect(database_url_of_test()) as ours:
            ours.execute("SELECT 1 FROM products_product FOR UPDATE")
            busy = server.request("POST", path, {"amount": 1}, key)
        after = server.request("POST", path, {"amount": 1}, key)
        logged = server.logged()

    assert [re.findall(r"SET (\w+)", statement)[0] for statement in statements] == [
        "lock_timeout",
        "statement_timeout",
        "idle_in_transaction_session_timeout",
    ]
    assert (busy.status, busy.body["code"]) == (503, "busy")
    assert (after.status, after.body["quantity"]) == (200, 26)
    assert not [line for line in logged if "drops the timeouts" in line]


def test_a_changed_table_fails_no_request(url: str) -> None:
    program = """
import django, psycopg, sys
django.setup()
from products.db.prepared import execute_prepared
read = lambda: [execute_prepared("SELECT value FROM changing", []) for _ in range(8)]
with psycopg.connect(sys.argv[1], autocommit=True) as direct:
    direct.execute("CREATE TABLE changing (value int)")
    read()
    for kind in ("text", "varchar", "int USING NULL"):
        direct.execute(f"ALTER TABLE changing ALTER value TYPE {kind}")
        print(read() == [[]] * 8)
    direct.execute("DROP TABLE changing")
"""

    ended = subprocess.run(
        [sys.executable, "-c", program, database_url_of_test()],
        cwd=settings.BASE_DIR,
        env={**environment_of_test(), "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 0, ended.stderr
    # The log says before that the pooler drops the timeouts.
    assert ended.stdout.splitlines()[-3:] == ["True"] * 3


def test_exports_are_complete_and_files_need_a_direct_connection(url: str, tmp_path: Path) -> None:
    products = [ProductFactory.create() for _ in range(3)]
    file = tmp_path / "count.csv"
    file.write_text(f"sku,quantity\n{products[0].sku},3\n")
    environment = {**os.environ, "DATABASE_URL": url}

    exported = manage("export_products", env=environment)
    refused = manage("bulk_adjust", str(file), "--reason", "count", env=environment)

    assert exported.returncode == 0, exported.stderr
    assert all(product.sku in exported.stdout for product in products)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "This command needs a direct connection, but DATABASE_URL leads to a pooler. Run it with "
        "the DATABASE_URL of PostgreSQL itself."
    )
    assert Product.objects.get(pk=products[0].pk).quantity == products[0].quantity
