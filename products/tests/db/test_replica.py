"""Reads from a copy of the database that is behind, away or both (`DATABASE_REPLICA_URL`)."""

import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from django.db import connection

from products.tests.live import END_SECONDS, Reply, Server, manage, running_server
from products.tests.postgres import Node, running_pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server"),
]


class Shop(NamedTuple):
    """A server that reads from a standby, which has an old state of the product CUP."""

    server: Server
    standby: Node
    key: dict[str, str]

    def get(self, path: str, **headers: str) -> Reply:
        return self.server.request("GET", path, headers=self.key | headers)

    def version(self, path: str, **headers: str) -> int:
        reply = self.get(path, **headers)
        assert reply.status == 200
        version: int = reply.body["version"]
        return version


def sql(node: Node, statement: str) -> Any:
    with psycopg.connect(node.url, autocommit=True) as database:
        cursor = database.execute(statement)
        return cursor.fetchone() if cursor.description else None


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with running_pair() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def shop(pair: tuple[Node, Node]) -> Iterator[Shop]:
    primary, standby = pair
    environment = {**os.environ, "DATABASE_URL": primary.url}
    assert manage("migrate", "--verbosity", "0", env=environment).returncode == 0
    created = manage("create_api_key", "test", "--role", "manage", env=environment)
    key = {"Authorization": f"Bearer {created.stdout.strip()}"}
    with running_server(primary.url, workers=1, DATABASE_REPLICA_URL=standby.url) as server:
        server.wait_for_workers()
        body = {"sku": "CUP", "name": "Cup", "quantity": 5}
        assert server.request("POST", "/v1/products", body, key).status == 201
        stop_replay(standby)
        add(server, key)
        server.request("POST", "/v1/products", {**body, "sku": "NEW"}, key)
        yield Shop(server, standby, key)


def stop_replay(standby: Node) -> None:
    """Wait until the standby has a product. It shows no later changes."""
    wait_until(standby, "EXISTS (SELECT FROM products_product)")
    sql(standby, "SELECT pg_wal_replay_pause()")
    wait_until(standby, "pg_get_wal_replay_pause_state() = 'paused'")


def wait_until(node: Node, condition: str) -> None:
    end = time.monotonic() + END_SECONDS
    while not sql(node, f"SELECT {condition}")[0]:
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def add(server: Server, key: dict[str, str]) -> None:
    assert server.request("POST", "/v1/products/CUP/add", {"amount": 1}, key).status == 200


def test_a_product_and_lists_come_from_the_replica(shop: Shop) -> None:
    assert shop.version("/v1/products/CUP") == 1
    assert [each["sku"] for each in shop.get("/v1/products").body["results"]] == ["CUP"]
    assert shop.get("/v1/products/low-stock").body["results"] == []
    assert len(shop.get("/v1/products/CUP/events").body["results"]) == 1
    assert shop.get("/v1/reservations").body["results"] == []


@pytest.mark.parametrize(("wanted", "version"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_min_version_leads_to_the_primary_when_the_replica_is_behind(
    shop: Shop, wanted: int, version: int
) -> None:
    assert shop.version(f"/v1/products/CUP?min_version={wanted}") == version


@pytest.mark.parametrize(
    ("known", "status"), [('"1"', 304), ('"2"', 304), ('"1", "2"', 304), ("*", 304), ('"3"', 200)]
)
def test_a_known_version_is_never_answered_by_an_older_one(
    shop: Shop, known: str, status: int
) -> None:
    reply = shop.get("/v1/products/CUP", **{"If-None-Match": known})

    assert reply.status == status
    assert reply.headers["etag"] == ('"1"' if known in {'"1"', "*"} else '"2"')


def test_a_new_product_is_found_on_the_primary(shop: Shop) -> None:
    assert shop.version("/v1/products/NEW") == 1
    assert shop.get("/v1/products/NONE").status == 404


def test_the_feed_and_past_levels_come_from_the_primary(shop: Shop) -> None:
    assert len(shop.get("/v1/events").body["results"]) == 3
    at = sql_time(shop)
    assert shop.version(f"/v1/products/CUP?as_of={at}") == 2


def sql_time(shop: Shop) -> str:
    at: str = shop.get("/v1/products/NEW").body["updated_at"]
    return at


@pytest.mark.parametrize("text", ["-1", "1.0", "x", "1" * 19, "%00"])
def test_a_wrong_min_version_is_refused(shop: Shop, text: str) -> None:
    reply = shop.get(f"/v1/products/CUP?min_version={text}")

    assert reply.status == 400
    assert reply.body["errors"][0]["field"] == "min_version"


def test_a_replica_that_dies_costs_no_request(shop: Shop) -> None:
    assert shop.version("/v1/products/CUP") == 1

    shop.standby.stop()

    assert [shop.version("/v1/products/CUP") for _ in range(5)] == [2] * 5


def test_a_replica_that_is_away_at_the_start_costs_no_request(pair: tuple[Node, Node]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/none"
        with running_server(pair[0].url, workers=1, DATABASE_REPLICA_URL=url) as server:
            server.wait_for_workers()
            created = manage(
                "create_api_key",
                "two",
                "--role",
                "read",
                env=os.environ | {"DATABASE_URL": pair[0].url},
            )
            key = {"Authorization": f"Bearer {created.stdout.strip()}"}
            replies = [server.request("GET", "/v1/products/CUP", None, key) for _ in range(3)]

    assert [reply.status for reply in replies] == [200] * 3
