"""The production server with several worker processes, tested over HTTP."""

import itertools
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPException

import pytest
from django.db import connection

from inventory_project.server import THREADS_PER_WORKER
from products.models import Product, StockEvent
from products.tests.concurrency import at_once
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import SERVER_NAME, WORKERS, Reply, Server, running_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    """Start one server for all tests of this module, because it starts slowly."""
    with running_server() as running:
        running.wait_for_workers()
        yield running


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    """Return the header with a valid key."""
    return {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}


@pytest.mark.parametrize("operation", ["remove", "reserve"])
def test_64_clients_of_several_processes_get_exactly_20_units(
    server: Server, key: dict[str, str], operation: str
) -> None:
    product = ProductFactory.create(quantity=20)
    path = f"/v1/products/{product.sku}/{operation}"

    responses = at_once([partial(server.request, "POST", path, {"amount": 1}, key)] * 64)

    outcomes = Counter(
        (response.status, response.body.get("code"))
        if isinstance(response, Reply)
        else repr(response)
        for response in responses
    )
    assert outcomes == {(200, None): 20, (409, "insufficient_stock"): 44}
    stored = Product.objects.get(pk=product.pk)
    assert stored.available_quantity == 0
    assert stored.version == StockEvent.objects.filter(product=product).count() == 21


def test_the_tour_of_one_product(server: Server, key: dict[str, str]) -> None:
    """Create 25, remove 3, fail to remove 50, reserve 2, fulfill them."""
    product = {"sku": "TSHIRT-RED-L", "name": "Red T-Shirt (Large)", "quantity": 25}
    path = "/v1/products/TSHIRT-RED-L"

    created = server.request("POST", "/v1/products", product, key)
    assert (created.status, created.body["quantity"], created.body["version"]) == (201, 25, 1)
    assert created.headers["location"] == path

    removed = server.request("POST", f"{path}/remove", {"amount": 3}, key)
    assert (removed.status, removed.body["quantity"], removed.body["version"]) == (200, 22, 2)

    refused = server.request("POST", f"{path}/remove", {"amount": 50}, key)
    assert (refused.status, refused.body["code"]) == (409, "insufficient_stock")
    assert (refused.body["requested"], refused.body["available"]) == (50, 22)

    reserved = server.request("POST", f"{path}/reserve", {"amount": 2}, key)
    assert (reserved.body["quantity"], reserved.body["reserved_quantity"]) == (22, 2)
    assert (reserved.body["available_quantity"], reserved.body["version"]) == (20, 3)

    reservation = reserved.body["reservation"]["id"]
    fulfilled = server.request("POST", f"/v1/reservations/{reservation}/fulfill", {}, key)
    assert (fulfilled.status, fulfilled.body["status"]) == (200, "fulfilled")

    after = server.request("GET", path, headers=key).body
    assert (after["quantity"], after["reserved_quantity"], after["version"]) == (20, 0, 4)
    events = server.request("GET", f"{path}/events", headers=key).body["results"]
    assert [(event["version"], event["type"], event["quantity_change"]) for event in events] == [
        (4, "InventoryFulfilled", -2),
        (3, "InventoryReserved", 0),
        (2, "InventoryRemoved", -3),
        (1, "ProductCreated", 25),
    ]


def test_requests_are_utf_8_even_if_they_name_another_charset(
    server: Server, key: dict[str, str]
) -> None:
    product = {"sku": "TEA", "name": "th\u00e9", "quantity": 2}
    found = "/v1/products?search=th%C3%A9"

    for number, charset in enumerate(
        [
            "zlib",
            "base64",
            "hex",
            "idna",
            "undefined",
            "unicode_escape",
            "utf-7",
            "utf-16",
            "latin-1",
        ]
    ):
        named = {**key, "Content-Type": f"application/json; charset={charset}"}
        created = server.request("POST", "/v1/products", {**product, "sku": f"TEA-{number}"}, named)
        response = server.request("GET", found, headers=named)
        refused = server.request("GET", "/v1/products?search=%5Cud800%ff", headers=named)

        assert (created.status, created.body["name"]) == (201, product["name"])
        assert len(response.body["results"]) == number + 1
        assert (refused.status, refused.body["code"]) == (400, "invalid")

    odd = {"Content-Type": "a/b; c*=foo''x"}
    assert server.request("GET", "/health?a=1", headers=odd).status == 200


def test_killed_workers_lose_no_acknowledged_change(key: dict[str, str]) -> None:
    """Kill the workers one after another while clients remove units."""
    with running_server() as server:
        _remove_while_workers_are_killed(server, server.wait_for_workers(), key)
        server.wait_for_workers()


def _remove_while_workers_are_killed(
    server: Server, workers: list[int], key: dict[str, str]
) -> None:
    product = ProductFactory.create(quantity=10_000)
    path = f"/v1/products/{product.sku}/remove"
    acknowledged: list[str] = []
    killed = threading.Event()

    def remove_until_all_are_killed(client: int) -> None:
        for number in itertools.takewhile(lambda _: not killed.is_set(), itertools.count()):
            request_id = f"client-{client}-{number}"
            # A killed worker may or may not have committed the change.
            with suppress(OSError, HTTPException):
                response = server.request(
                    "POST", path, {"amount": 1}, {**key, "X-Request-ID": request_id}
                )
                assert response.status == 200
                acknowledged.append(request_id)

    def kill_workers() -> None:
        started = time.monotonic()
        for worker in workers:
            seen = len(acknowledged)
            while len(acknowledged) < seen + 20:
                assert time.monotonic() < started + 60, "The clients make no progress."
                os.sched_yield()
            os.kill(worker, signal.SIGKILL)
        killed.set()

    clients = [partial(remove_until_all_are_killed, client) for client in range(4)]
    assert at_once([*clients, kill_workers]) == [None] * 5

    recorded = Counter(
        StockEvent.objects.filter(product=product, version__gt=1).values_list(
            "request_id", flat=True
        )
    )
    assert len(acknowledged) >= 20 * WORKERS
    assert set(acknowledged) <= set(recorded)
    assert set(recorded.values()) == {1}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connections to lose")
def test_the_service_recovers_after_the_database_dropped_every_connection(
    server: Server, key: dict[str, str]
) -> None:
    """At most one request of each thread fails, with 503."""
    path = f"/v1/products/{ProductFactory.create().sku}"
    read = partial(server.request, "GET", path, headers=key)
    at_once([read] * 12)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = %s AND datname = current_database()",
            [SERVER_NAME],
        )
        assert cursor.fetchone()[0] >= WORKERS

    noticed = [server.request("GET", path, headers=key).status for _ in range(50)]
    after = [response for response in at_once([read] * 12) if isinstance(response, Reply)]

    assert set(noticed) <= {200, 503}
    assert noticed.count(503) <= WORKERS * THREADS_PER_WORKER
    assert [response.status for response in after] == [200] * 12


def test_an_unavailable_database_gives_503() -> None:
    with running_server("postgres://nobody@127.0.0.1:1/nothing") as server:
        server.wait_for_workers()
        health = server.request("GET", "/health")
        listed = server.request("GET", "/v1/products", headers={"Authorization": "Api-Key a.b"})
        live = server.request("GET", "/health/live")

    assert (health.status, health.body["code"]) == (503, "database_unavailable")
    assert (listed.status, listed.body["code"]) == (503, "database_unavailable")
    assert int(listed.headers["retry-after"]) >= 1
    assert live.status == 200


def test_a_body_without_a_length_is_refused(server: Server, key: dict[str, str]) -> None:
    product = ProductFactory.create(quantity=20)
    path = f"/v1/products/{product.sku}/reserve"
    reserved = server.request("POST", path, {"amount": 5}, key).body["reservation"]["id"]
    chunk = json.dumps({"lines": [{"sku": product.sku, "amount": 1}]})

    response = server.request(
        "POST",
        f"/v1/reservations/{reserved}/fulfill",
        f"{len(chunk):x}\r\n{chunk}\r\n0\r\n\r\n",
        {**key, "Transfer-Encoding": "chunked"},
    )

    assert (response.status, response.body["code"]) == (411, "length_required")
    assert Product.objects.get(pk=product.pk).quantity == 20


def test_an_unknown_path_gives_a_complete_problem(server: Server) -> None:
    response = server.request("POST", "/nope", {})

    assert (response.status, response.body["code"]) == (404, "not_found")


def test_http_2_is_not_supported(server: Server) -> None:
    """With HTTP/2, WSGI cannot distinguish a body without a length from an empty body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        response = client.recv(100)

    assert response == b"" or response.startswith(b"HTTP/1.1 400")
