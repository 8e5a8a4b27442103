"""Several database servers: the service uses the primary, and follows it without a restart."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import NamedTuple

import psycopg
import pytest
from django.db import connection

from products.tests.live import Reply, Server, database_url_of_test, manage, running_server
from products.tests.postgres import Node, running_pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server"),
]

ATTEMPTS = 20
"""How often a request is sent until it succeeds. Each one waits for seconds."""


class Pair(NamedTuple):
    """A primary, its standby, and an API key."""

    primary: Node
    standby: Node
    key: dict[str, str]

    @property
    def url(self) -> str:
        address = self.primary.url.removesuffix("/postgres")
        return f"{address},127.0.0.1:{self.standby.port}/postgres"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as (primary, standby):
        environment = {**os.environ, "DATABASE_URL": primary.url}
        assert manage("migrate", "--verbosity", "0", env=environment).returncode == 0
        created = manage("create_api_key", "test", "--role", "manage", env=environment)
        key = {"Authorization": f"Bearer {created.stdout.strip()}"}
        yield Pair(primary, standby, key)


def create(server: Server, pair: Pair, *skus: str) -> None:
    for sku in skus:
        body = {"sku": sku, "name": sku}
        assert server.request("POST", "/v1/products", body, pair.key).status == 201


def add(server: Server, pair: Pair, sku: str = "CUP", key: str = "") -> Reply:
    headers = {**pair.key, **({"Idempotency-Key": key} if key else {})}
    return server.request("POST", f"/v1/products/{sku}/add", {"amount": 1}, headers)


def add_until_it_succeeds(server: Server, pair: Pair, key: str) -> None:
    for _ in range(ATTEMPTS):
        reply = add(server, pair, key=key)
        if reply.status == 200:
            return
        assert (reply.status, reply.body["code"]) == (503, "database_unavailable")
    raise AssertionError(f"{ATTEMPTS} requests failed.")


def outcome(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body.get("code", "")


UNAVAILABLE = (503, "database_unavailable")


def test_the_service_follows_the_primary_without_a_restart(pair: Pair) -> None:
    keys = (f"order-{number}" for number in count(1))

    with running_server(pair.url, workers=2) as server:
        server.wait_for_workers()
        create(server, pair, "CUP")
        for _ in range(5):
            add_until_it_succeeds(server, pair, next(keys))
        pair.primary.stop()
        away = [add(server, pair), server.request("GET", "/health")]
        pair.standby.promote()
        for _ in range(5):
            add_until_it_succeeds(server, pair, next(keys))
        pair.primary.follow(pair.standby)
        health = server.request("GET", "/health")
        add_until_it_succeeds(server, pair, next(keys))

    assert [outcome(reply) for reply in away] == [UNAVAILABLE] * 2
    assert health.status == 200
    # The first host of the URL is the standby now.
    with running_server(pair.url, workers=1) as server:
        server.wait_for_workers()
        last = add(server, pair)

    assert (last.status, last.body["quantity"]) == (200, 12)


def test_a_frozen_server_gets_503_and_the_service_recovers(pair: Pair) -> None:
    skus = [f"CUP-{number}" for number in range(6)]

    with running_server(pair.url, workers=1) as server:
        server.wait_for_workers()
        create(server, pair, "CUP", *skus)
        adds = [partial(add, server, pair, sku) for sku in skus]
        ready = partial(server.request, "GET", "/health")
        live = partial(server.request, "GET", "/health/live")
        with pair.primary.frozen(), ThreadPoolExecutor(8) as executor:
            during = [*executor.map(lambda send: send(), [*adds, ready, live])]
        add_until_it_succeeds(server, pair, "after")
        health = ready()

    assert [outcome(reply) for reply in during] == [UNAVAILABLE] * 7 + [(200, "")]
    assert health.status == 200


def test_a_server_that_is_set_read_only_serves_reads_and_refuses_changes(pair: Pair) -> None:
    with running_server(pair.url, workers=1) as server, psycopg.connect(pair.primary.url) as ours:
        ours.autocommit = True
        server.wait_for_workers()
        create(server, pair, "CUP")
        ours.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        ours.execute("SELECT pg_reload_conf()")
        for _ in range(ATTEMPTS):  # Each process of the server reads its settings some time later.
            change, health = add(server, pair), server.request("GET", "/health")
            if change.status == health.status == 503:
                break
        read = server.request("GET", "/v1/products/CUP", headers=pair.key)
        before = read.body["quantity"]
        with psycopg.connect(pair.primary.url, autocommit=True) as other:
            other.execute("SET default_transaction_read_only = off")
            other.execute("ALTER SYSTEM RESET default_transaction_read_only")
            other.execute("SELECT pg_reload_conf()")
        add_until_it_succeeds(server, pair, "after")
        after = server.request("GET", "/v1/products/CUP", headers=pair.key)

    assert outcome(change) == outcome(health) == UNAVAILABLE
    assert "Nothing has changed" in change.body["detail"]
    assert health.body["detail"] == "Nothing can be changed: the database is set read-only."
    assert (read.status, after.body["quantity"]) == (200, before + 1)


def test_a_connection_to_a_former_primary_is_given_up(pair: Pair) -> None:
    """New connections lead to the primary. Idle ones lead to a server that takes no changes."""
    with psycopg.connect(pair.primary.url, autocommit=True) as ours:
        ours.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
        with running_server(pair.url, workers=1) as server:
            server.wait_for_workers()
            refused = add(server, pair, "NOPE")
            ours.execute("ALTER ROLE postgres RESET default_transaction_read_only")
            add(server, pair, "NOPE")  # The pool may have opened another connection before.
            found = [add(server, pair, "NOPE") for _ in range(5)]

    assert outcome(refused) == UNAVAILABLE
    assert {outcome(reply) for reply in found} == {(404, "product_not_found")}


def test_a_standby_alone_is_not_healthy(pair: Pair) -> None:
    with running_server(pair.standby.url, workers=1) as server:
        server.wait_for_workers()
        health = server.request("GET", "/health")
        read = server.request("GET", "/v1/products", headers=pair.key)

    assert outcome(health) == UNAVAILABLE
    assert health.body["detail"] == "Nothing can be changed: the database server is a standby."
    assert read.status == 200


@pytest.mark.django_db(transaction=True)
def test_dead_hosts_before_the_primary_are_passed_over() -> None:
    """One host refuses connections, another one accepts them and never answers."""
    with ExitStack() as sockets:
        refusing, silent = (
            sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=50))
            for _ in range(2)
        )
        dead = [each.getsockname()[1] for each in (refusing, silent)]
        refusing.close()
        hosts = ",".join(f"127.0.0.1:{port}" for port in dead)
        url = database_url_of_test().replace("@", f"@{hosts},")

        command = manage("verify_stock", env={**os.environ, "DATABASE_URL": url})
        with running_server(url, workers=1) as server:
            server.wait_for_workers()
            health = server.request("GET", "/health")

    assert (command.returncode, command.stderr) == (0, "")
    assert health.status == 200
