"""Every wait for the database has a timeout, and the service recovers after an outage."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from django.test import override_settings
from rest_framework.test import APIClient

from products import stock
from products.api.problems import database_problem
from products.db import deadline
from products.db.connection import connection_with_timeout, per_sku_queue
from products.models import Product, Reservation
from products.tests.checks import assert_problem
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import Reply, database_url_of_test, run_python, running_server

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no server and a single lock"
)


class Proxy:
    """A proxy between a client and the database. While frozen, it accepts data and passes none.

    This simulates a server that hangs while its host still acknowledges packets. Stopping the
    server's processes by a signal would not work for a server on another machine.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._thawed = threading.Event()
        self._thawed.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._thawed.clear()
        try:
            yield
        finally:
            self._thawed.set()

    def url(self) -> str:
        database = connection.settings_dict
        return database_url_of_test().replace(f":{database['PORT']}/", f":{self.port}/")

    def serve(self) -> None:
        database = connection.settings_dict
        with suppress(OSError):  # The end of the test closes the listener.
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((database["HOST"], int(database["PORT"])))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target)).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source:
            while sent := source.recv(65536):
                self._thawed.wait()
                target.sendall(sent)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener)
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def another() -> Iterator[BaseDatabaseWrapper]:
    """A second connection, in a transaction that stays open until the end of the test."""
    other = connection.copy()
    other.set_autocommit(False)
    yield other
    other.rollback()
    other.close()


@pytest.fixture
def _impatient() -> Iterator[None]:
    """Set a short lock timeout on the connection of the test."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        yield
        cursor.execute("RESET lock_timeout")


# -------------------------------------------------------------------------------------------- locks

ROW = "SELECT 1 FROM products_product FOR NO KEY UPDATE"
PRODUCTS = "LOCK TABLE products_product IN ACCESS EXCLUSIVE MODE"
KEYS = "LOCK TABLE products_apikey IN ACCESS EXCLUSIVE MODE"
SAME_IDEMPOTENCY_KEY = """
    INSERT INTO products_idempotencykey (source, caller, key, fingerprint, body, headers)
    SELECT 'api', name, 'order-1', '', '', '{}' FROM products_apikey
"""


@on_postgresql
@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("held", "method"),
    [
        (ROW, "post"),
        (PRODUCTS, "post"),
        (PRODUCTS, "get"),
        (KEYS, "get"),
        (SAME_IDEMPOTENCY_KEY, "post"),
    ],
)
def test_a_lock_that_is_held_too_long_gets_busy(
    api: APIClient, another: BaseDatabaseWrapper, held: str, method: str
) -> None:
    api.raise_request_exception = False
    path = f"/v1/products/{ProductFactory.create().sku}"
    with another.cursor() as cursor:
        cursor.execute(held)

    if method == "get":
        response = api.get(path)
    else:
        response = api.post(
            f"{path}/add", {"amount": 1}, format="json", headers={"Idempotency-Key": "order-1"}
        )

    assert_problem(response, 503, "busy")
    assert int(response["Retry-After"]) >= 1
    another.rollback()
    assert api.get(path).json()["quantity"] == 25


@on_postgresql
@pytest.mark.usefixtures("_impatient")
def test_expire_reservations_reports_its_result_before_an_error(
    another: BaseDatabaseWrapper,
) -> None:
    product = ProductFactory.create()
    stock.reserve(sku=product.sku, amount=1, expires_in=60, by=ACTOR)
    Reservation.objects.update(expires_at="2000-01-01T00:00:00Z")
    with another.cursor() as cursor:
        cursor.execute(PRODUCTS)
    said = StringIO()

    with pytest.raises(
        CommandError, match=r"^The database is busy or unavailable \(.*lock timeout\)"
    ):
        call_command("expire_reservations", batch=1, stdout=said)

    assert said.getvalue() == "0 reservations expired.\n"
    another.rollback()
    call_command("expire_reservations", stdout=StringIO())
    assert Product.objects.get(pk=product.pk).reserved_quantity == 0


@on_postgresql
@pytest.mark.usefixtures("_impatient")
def test_prune_reports_locked_keys_as_busy(another: BaseDatabaseWrapper) -> None:
    with another.cursor() as cursor:
        cursor.execute("LOCK TABLE products_idempotencykey IN ACCESS EXCLUSIVE MODE")

    with pytest.raises(CommandError, match=r"^The database is busy or unavailable \(.*\)"):
        call_command("prune")


@pytest.mark.slow
@on_postgresql
def test_requests_that_wait_for_a_product_do_not_block_other_products(
    another: BaseDatabaseWrapper,
) -> None:
    """The worker has two connections. Requests that wait for the lock must not take both."""
    taken, free = ProductFactory.create(sku="TAKEN"), ProductFactory.create(sku="FREE")
    key = {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}

    with (
        running_server(workers=1, DATABASE_POOL_SIZE="2") as server,
        ThreadPoolExecutor() as executor,
    ):
        server.wait_for_workers()

        def add(product: Product) -> int:
            path = f"/v1/products/{product.sku}/add"
            return server.request("POST", path, {"amount": 1}, key).status

        add(free)  # The worker now has the API key in its cache.
        with another.cursor() as cursor:
            cursor.execute(f"{ROW.replace(' FOR', ' WHERE id = %s FOR')}", [taken.pk])
        waiting = [executor.submit(add, taken) for _ in range(4)]
        served = [add(free) for _ in range(5)]
        another.rollback()
        waited = [response.result() for response in waiting]

    assert served == [200] * 5
    assert waited == [200] * 4


@on_postgresql
@override_settings(CONNECTION_WAIT_SECONDS=0.05)
def test_a_timeout_in_the_queue_of_a_product_is_busy() -> None:
    ProductFactory.create(sku="CUP")
    connection.close()  # Only a thread without a connection waits in the queue.

    with per_sku_queue(["CUP"]), ThreadPoolExecutor() as executor:
        error = executor.submit(lambda: stock.add(sku="CUP", amount=1, by=ACTOR)).exception()

    assert isinstance(error, OperationalError)
    problem = database_problem(error)
    assert problem is not None
    assert problem.code == "busy"
    assert Product.objects.get().quantity == 25


# ------------------------------------------------------------------------------- slow statements


@pytest.mark.slow
@on_postgresql
def test_a_statement_that_takes_too_long_is_busy(another: BaseDatabaseWrapper) -> None:
    """The statement waits for a lock, without a lock timeout."""
    path = f"/v1/products/{ProductFactory.create().sku}"
    key = {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}
    url = f"{database_url_of_test()}&options=-c%20lock_timeout%3D0"

    with running_server(url, DATABASE_STATEMENT_TIMEOUT="1") as server:
        server.wait_for_workers()
        with another.cursor() as cursor:
            cursor.execute(ROW)
        response = server.request("POST", f"{path}/add", {"amount": 1}, key)
        another.rollback()
        after = server.request("POST", f"{path}/add", {"amount": 1}, key)

    assert (response.status, response.body["code"]) == (503, "busy")
    assert int(response.headers["retry-after"]) >= 1
    assert (after.status, after.body["quantity"]) == (200, 26)


@pytest.mark.slow
@on_postgresql
def test_commands_have_no_statement_timeout() -> None:
    show = (
        "from django.db import connection; cursor = connection.cursor(); "
        "cursor.execute('SHOW statement_timeout'); print(*cursor.fetchone())"
    )

    shown = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", show],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DATABASE_URL": database_url_of_test(),
            "DATABASE_STATEMENT_TIMEOUT": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip() == "0"


# ---------------------------------------------------------------------------- a server that hangs


@pytest.mark.slow
@on_postgresql
def test_a_database_that_hangs_gets_503_and_the_service_recovers(proxy: Proxy) -> None:
    # Several products: requests for a single one would wait in its queue.
    paths = [f"/v1/products/{ProductFactory.create().sku}" for _ in range(4)]
    key = {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}

    with running_server(proxy.url(), DATABASE_STATEMENT_TIMEOUT="1") as server:
        server.wait_for_workers()
        reads = [partial(server.request, "GET", path, headers=key) for path in paths]
        adds = [
            partial(server.request, "POST", f"{path}/add", {"amount": 1}, key) for path in paths
        ]
        ready = partial(server.request, "GET", "/health")
        live = partial(server.request, "GET", "/health/live")
        at_once(reads * 3)
        with proxy.frozen():
            responses = at_once([*reads, *adds, *[ready] * 4, live])
        # Connections that were being opened may need another attempt.
        recovered = [reads[0]() for _ in range(5)][-1]
        after = at_once(reads * 3)

    assert [_kind(response) for response in responses] == [(503, "database_unavailable")] * 12 + [
        (200, None)
    ]
    assert recovered.status == 200
    assert [_kind(response) for response in after] == [(200, None)] * 12


def _kind(response: object) -> object:
    return (response.status, response.body.get("code")) if isinstance(response, Reply) else response


@on_postgresql
@pytest.mark.parametrize(
    "act",
    [
        lambda ours: ours.execute("SELECT 1"),
        lambda ours: ours.commit(),
        lambda ours: ours.rollback(),
    ],
)
def test_a_connection_closes_after_its_timeout(
    proxy: Proxy, act: Callable[[psycopg.Connection[Any]], object]
) -> None:
    with connection_with_timeout(0.2).connect(proxy.url()) as ours:
        ours.execute("SELECT 1")

        with proxy.frozen(), pytest.raises(psycopg.OperationalError):
            act(ours)

        assert ours.closed


@on_postgresql
def test_the_waits_of_a_request_share_a_deadline(proxy: Proxy) -> None:
    with connection_with_timeout(600).connect(proxy.url()) as ours:
        with deadline.within(3600):
            ours.execute("SELECT pg_sleep(0.1)")
        with proxy.frozen(), deadline.within(0.1), pytest.raises(psycopg.OperationalError):
            ours.execute("SELECT 1")

        assert ours.closed


POOL_IN_USE = """
import django; django.setup()
from django.db import OperationalError, connection
from products.db import deadline

connection.pool.open()
connection.pool.getconn()
with deadline.within(0.01):
    try:
        connection.cursor()
    except OperationalError as error:
        print(error)
"""


@on_postgresql
def test_the_deadline_limits_the_wait_for_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "1")

    assert run_python(POOL_IN_USE).stdout == "couldn't get a connection after 0.50 sec\n"


@on_postgresql
def test_a_transaction_that_hangs_takes_no_other_connection() -> None:
    """There may be none, and the request would wait for the pool after its deadline."""
    with (
        deadline.within(0.1),
        pytest.raises(OperationalError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(2)")

    assert connection.connection is None


@on_postgresql
def test_the_deadline_does_not_end_a_request_that_makes_progress() -> None:
    with connection_with_timeout(600).connect(database_url_of_test()) as ours:
        ours.execute("SELECT pg_sleep(0.01)")
        with deadline.within(0.01):
            for _ in range(5):
                ours.execute("SELECT pg_sleep(0.01)")

        assert not ours.closed


@pytest.mark.slow
@on_postgresql
def test_a_command_gives_up_a_server_that_hangs(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("products.db.connection.SILENCE_SECONDS", 0.2)
    with connection_with_timeout(0).connect(proxy.url()) as ours:
        # The server takes connections while it works on a statement.
        ours.execute("SELECT pg_sleep(1)")

        with proxy.frozen(), pytest.raises(psycopg.OperationalError, match="does not respond"):
            ours.execute("SELECT 1")

        assert ours.closed


@on_postgresql
def test_a_connection_stays_open_after_an_error_of_the_server() -> None:
    with connection_with_timeout(60).connect(database_url_of_test()) as ours:
        ours.execute("SET statement_timeout = 1")

        with pytest.raises(psycopg.errors.QueryCanceled):
            ours.execute("SELECT pg_sleep(60)")

        ours.rollback()
        assert ours.execute("SELECT 1").fetchone() == (1,)


# ----------------------------------------------------------------------------------- SQLite's files


def sqlite(path: object, *, sql: list[str], **options: Any) -> BaseDatabaseWrapper:
    """Open an SQLite file like Django and run statements."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
    opened = ConnectionHandler({"default": database})["default"]
    try:
        with opened.cursor() as cursor:
            for statement in sql:
                cursor.execute(statement)
    except DatabaseError:
        opened.close()
        raise
    return opened


FILL = ["CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))"]


def locked(path: Path) -> None:
    with sqlite(path, sql=["BEGIN IMMEDIATE"]).temporary_connection():
        sqlite(path, sql=["BEGIN IMMEDIATE"], timeout=0)


def table_locked(path: Path) -> None:
    address = f"file:{path}?cache=shared"
    with sqlite(address, sql=[*FILL, "BEGIN", "DELETE FROM t"], uri=True).temporary_connection():
        sqlite(address, sql=["SELECT * FROM t"], uri=True, timeout=0)


def full(path: Path) -> None:
    sqlite(path, sql=["PRAGMA max_page_count = 2", *FILL])


def read_only(path: Path) -> None:
    sqlite(path, sql=FILL).close()
    sqlite(f"file:{path}?mode=ro", sql=["DELETE FROM t"], uri=True)


def missing(path: Path) -> None:
    sqlite(path / "nowhere", sql=FILL)


def another_file(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    sqlite(path, sql=FILL)


def corrupt(path: Path) -> None:
    sqlite(path, sql=FILL).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    sqlite(path, sql=["SELECT * FROM t"])


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (locked, "busy"),
        (table_locked, "busy"),
        (full, "database_unavailable"),
        (read_only, "database_unavailable"),
        (missing, "database_unavailable"),
        (another_file, "database_unavailable"),
        (corrupt, "database_unavailable"),
    ],
)
def test_an_unusable_sqlite_file_gets_503(
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    break_it: Callable[[Path], None],
    code: str,
) -> None:
    api.raise_request_exception = False
    monkeypatch.setattr(stock, "add", lambda **_: break_it(tmp_path / "db.sqlite3"))

    response = api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    assert_problem(response, 503, code)
    assert int(response["Retry-After"]) >= 1
