"""`manage.py copy_to`: move to PostgreSQL with ids, sequences and cursors."""

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import F

from products import copying, feed, stock
from products.models import ApiKey, Product, Role, StockEvent
from products.tests.factories import ACTOR, ProductFactory
from products.tests.live import (
    Server,
    database_url_of_test,
    environment_of_test,
    manage,
    run_python,
    running_server,
)
from products.tests.moving.databases import (
    assert_verified,
    execute,
    has_data,
    manage_on,
    new_database,
    query,
    rows,
    rows_of,
    without_password,
)
from products.tests.moving.shop import fill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

IS_SQLITE = connection.vendor == "sqlite"


@pytest.fixture
def target(server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with new_database(server) as url:
        yield url


def assert_refused(ended: subprocess.CompletedProcess[str], status: int, message: str) -> None:
    """Assert that a command ended with one line that contains the message."""
    assert (ended.returncode, ended.stdout) == (status, ""), ended
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert message in ended.stderr


def test_all_rows_and_sequences_are_copied(target: str) -> None:
    fill()
    before = rows()

    ended = manage("copy_to", target)

    assert ended.returncode == 0, ended.stderr
    assert rows_of(target) == before == rows()
    number = sum(map(len, before.values()))
    assert f"rows copied and compared {number:>28,}\n" in ended.stdout
    assert f"The change feed goes on after {feed.latest().cursor}.\n" in ended.stdout
    assert_verified(target)

    # New rows get the same ids on both sides, also after the highest id was deleted.
    assert manage_on(target, "adjust_stock", "TEE-00004", "--add", "1").returncode == 0
    stock.add(sku="TEE-00004", amount=1, by=ACTOR)
    last = StockEvent.objects.latest("pk").pk
    assert query(target, "SELECT max(id) FROM products_stockevent") == [(last,)]
    group = "INSERT INTO auth_group (name) VALUES ('new')"
    execute(target, group)
    assert query(target, "SELECT id FROM auth_group WHERE name = 'new'") == [
        (Group.objects.create(name="new").pk,)
    ]


def test_the_search_finds_products_of_the_copy(target: str) -> None:
    ProductFactory.create(sku="CUP", name="Caf\u00e9 cup")
    key = ApiKey.issue(name="shop", role=Role.MANAGE).text

    assert manage("copy_to", target).returncode == 0

    with running_server(target, workers=1) as server:
        server.wait_for_workers()
        headers = {"Authorization": f"Api-Key {key}"}
        found = server.request("GET", "/v1/products?search=cafe", headers=headers)
    assert [each["sku"] for each in found.body["results"]] == ["CUP"]


class Follower:
    """A consumer of the change feed, which knows nothing of the move."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self._after = feed.START
        self.seen: list[int] = []

    def read(self, server: Server, *, pages: int | None = None) -> None:
        """Read up to a number of pages of 7 events, by default all."""
        more = True
        while more and pages != 0:
            path = f"/v1/events?page_size=7&after={self._after}"
            reply = server.request("GET", path, headers=self._headers)
            assert reply.status == 200, reply
            self.seen += [event["id"] for event in reply.body["results"]]
            self._after, more = reply.body["cursor"], reply.body["more"]
            pages = None if pages is None else pages - 1


def test_a_follower_goes_on_without_a_gap_and_retries_are_recognized(target: str) -> None:
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}")
    headers = {"Authorization": f"Api-Key {ApiKey.issue(name='shop', role=Role.MANAGE).text}"}
    retried: dict[str, Any] = {
        "method": "POST",
        "path": "/v1/products/CUP-1/remove",
        "body": {"amount": 2},
        "headers": {**headers, "Idempotency-Key": "order-1"},
    }
    follower = Follower(headers)

    with running_server(workers=1) as old:
        old.wait_for_workers()
        first = old.request(**retried)
        follower.read(old, pages=2)
    moved = manage("copy_to", target)
    with running_server(target, workers=1) as new:
        new.wait_for_workers()
        again = new.request(**retried)
        added = new.request("POST", "/v1/products/CUP-2/add", {"amount": 1}, headers)
        follower.read(new)

    assert moved.returncode == 0, moved.stderr
    assert first.status == again.status == added.status == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == first.body
    ids = [number for (number,) in query(target, "SELECT id FROM products_stockevent ORDER BY id")]
    assert follower.seen == ids
    assert len(ids) == 22
    assert_verified(target)


def test_the_source_can_be_read_but_not_changed_during_the_copy() -> None:
    ProductFactory.create(sku="CUP")
    change = "UPDATE products_product SET minimum_stock_level = 1"

    with copying.unchanging_source():
        if IS_SQLITE:
            with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0)) as other:
                assert other.execute("SELECT sku FROM products_product").fetchall() == [("CUP",)]
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute(change)
        else:
            with psycopg.connect(database_url_of_test()) as other:
                assert other.execute("SELECT sku FROM products_product").fetchall() == [("CUP",)]
                other.execute("SET lock_timeout = '50ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(change)


_KILLED = """
import os, signal, sys, django
django.setup()
from django.core.management import call_command
from products import copying
copying._set_sequences = lambda: os.kill(os.getpid(), signal.SIGKILL)
call_command("copy_to", sys.argv[1])
"""


def test_a_killed_copy_leaves_the_target_empty_and_can_be_repeated(target: str) -> None:
    ProductFactory.create(sku="CUP")

    killed = run_python(_KILLED, target)
    assert killed.returncode == -signal.SIGKILL
    assert not has_data(target)

    again = manage("copy_to", target)
    assert again.returncode == 0, again.stderr
    assert rows_of(target) == rows()


_LOSES_A_ROW = """
import sys, django
django.setup()
from django.core.management import CommandError, call_command
from products import copying
write = copying._write
copying._write = lambda model, rows: write(model, rows[1:])
try:
    call_command("copy_to", sys.argv[1])
except CommandError as error:
    sys.exit(str(error))
"""


def test_a_copy_that_differs_is_not_kept(target: str) -> None:
    ProductFactory.create(sku="CUP")
    fill()

    ended = run_python(_LOSES_A_ROW, target)

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert not has_data(target)


@pytest.mark.skipif(not IS_SQLITE, reason="PostgreSQL refuses the text when it is written.")
def test_a_row_that_does_not_fit_is_named_and_nothing_is_kept(target: str) -> None:
    ProductFactory.create(sku="CUP")
    user = User.objects.create_user("ada", first_name="a" * 151)

    assert_refused(
        manage("copy_to", target),
        2,
        f"The target refuses the rows of auth_user, {user.pk} to {user.pk}: "
        "value too long for type character varying(150)",
    )
    assert not has_data(target)
    # Not in a COPY, but before it.
    User.objects.filter(pk=user.pk).update(first_name="a\0b")
    assert_refused(manage("copy_to", target), 2, "NUL (0x00) bytes")
    assert not has_data(target)


def test_a_ledger_that_does_not_match_is_not_copied(target: str) -> None:
    ProductFactory.create(sku="CUP")
    Product.objects.update(quantity=F("quantity") + 1)

    ended = manage("copy_to", target)
    Product.objects.update(quantity=F("quantity") - 1)

    assert_refused(ended, 1, "The ledger does not match the stock levels. Run verify_stock first.")
    assert not has_data(target)


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("sqlite:///other.sqlite3", 2, "The target must be a PostgreSQL database."),
        ("", 2, "The target must be a PostgreSQL database."),
        ("mysql://user:secret@host/name", 2, "DATABASE_URL must look like postgres://"),
        ("postgres://user:secret@host:port/name", 2, "DATABASE_URL must look like postgres://"),
        ("postgres://user:secret@host", 2, "DATABASE_URL must look like postgres://"),
        ("postgres://user:secret@127.0.0.1:1/name", 3, "The target is busy or unavailable ("),
    ],
)
def test_a_wrong_url_is_refused_in_one_line(url: str, status: int, message: str) -> None:
    ended = manage("copy_to", url)

    assert_refused(ended, status, message)
    assert "secret" not in ended.stderr


def test_a_wrong_password_is_refused_and_one_of_the_environment_works(target: str) -> None:
    ProductFactory.create(sku="CUP")
    url, environment = without_password(target)

    refused = manage("copy_to", url, env={**environment_of_test(), "PGPASSWORD": "wrong"})
    copied = manage("copy_to", url, env={**environment, **environment_of_test()})

    assert_refused(refused, 3, "password authentication failed")
    assert copied.returncode == 0, copied.stderr
    assert has_data(target)


def test_a_target_with_data_is_refused_and_stays_as_it_is(target: str) -> None:
    ProductFactory.create(sku="CUP")
    assert manage("copy_to", target).returncode == 0
    before = rows_of(target)

    ended = manage("copy_to", target)

    assert_refused(
        ended, 2, "The target has data: products_product is not empty. Use a new database."
    )
    assert rows_of(target) == before


def test_a_target_of_another_program_is_refused(target: str) -> None:
    execute(target, "CREATE TABLE parcels (id int)")

    message = "The target has tables of another program, such as parcels."
    assert_refused(manage("copy_to", target), 2, message)


def test_a_target_of_a_later_release_is_refused(target: str) -> None:
    assert manage_on(target, "migrate", "--verbosity", "0").returncode == 0
    later = (
        "INSERT INTO django_migrations (app, name, applied) VALUES ('products', '9999_x', now())"
    )
    execute(target, later)

    message = "The target has the migration products.9999_x, which this release does not know."
    assert_refused(manage("copy_to", target), 2, message)


def test_a_source_without_all_migrations_is_refused(server: str, target: str) -> None:
    with new_database(server) as source:
        assert manage_on(source, "migrate", "products", "0033", "--verbosity", "0").returncode == 0

        message = "The database lacks migrations. Run python manage.py migrate."
        assert_refused(manage_on(source, "copy_to", target), 2, message)


def test_a_target_with_another_encoding_is_refused(server: str) -> None:
    options = ("ENCODING 'LATIN1'", "LOCALE 'C'", "TEMPLATE template0")
    with new_database(server, *options) as target:
        message = "The target has the encoding LATIN1. Create it with ENCODING 'UTF8'."
        assert_refused(manage("copy_to", target), 2, message)


def test_a_user_without_rights_is_refused(server: str, target: str) -> None:
    execute(server, "CREATE ROLE weak_mover LOGIN PASSWORD 'weak'")
    try:
        weak = f"postgres://weak_mover:weak@{target.rpartition('@')[2]}"
        message = "The user of the target may not create tables. Let this user own the database."
        assert_refused(manage("copy_to", weak), 2, message)
    finally:
        execute(server, "DROP ROLE weak_mover")


@pytest.mark.skipif(IS_SQLITE, reason="The target is never SQLite.")
def test_the_database_is_not_copied_to_itself(server: str) -> None:
    message = "The target is the database of the service itself."
    assert_refused(manage("copy_to", database_url_of_test()), 2, message)
    with new_database(server) as empty:
        assert manage_on(empty, "migrate", "--verbosity", "0").returncode == 0
        assert_refused(manage_on(empty, "copy_to", empty), 2, message)
