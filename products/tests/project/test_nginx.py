"""The production server behind nginx with `deploy/nginx.conf`."""

import json
import re
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from products.models import Product
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import Reply, Server, free_port, running_server
from products.tests.nginx import NGINX, running_nginx

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed."),
]

MIB = 1024 * 1024
CONNECTIONS_OF_AN_ADDRESS = 100
REQUIRED_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
ALLOWED_WRONG_KEYS = 30
NO_HEADERS: Mapping[str, str] = {}
# With a cookie, the server has to look for the token in the form.
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={'a' * 32}",
}


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    with running_server(workers=1, NUM_PROXIES="1") as running:
        running.wait_for_workers()
        yield running


@pytest.fixture(scope="module")
def port(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_nginx(tmp_path_factory.mktemp("nginx"), server.port) as port:
        yield port


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    return {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}


def send(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Reply:
    client = HTTPConnection("127.0.0.1", port, timeout=60)
    client.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = client.getresponse()
    names = {name.lower(): value for name, value in response.getheaders()}
    reply = Reply(response.status, names, response.read().decode())
    client.close()
    return reply


def test_an_operation_passes_with_its_request_id(port: int, key: dict[str, str]) -> None:
    product = ProductFactory.create(sku="CUP", quantity=3)

    own = send(port, "POST", "/v1/products/CUP/add", '{"amount": 2}', key)
    given = send(port, "GET", "/v1/products/CUP", headers={**key, "X-Request-ID": "order-7"})

    assert own.status == 200
    assert re.fullmatch("[0-9a-f]{32}", own.headers["x-request-id"])
    assert given.headers["x-request-id"] == "order-7"
    assert Product.objects.get(pk=product.pk).quantity == 5


@pytest.mark.parametrize("path", ["/v1/products", "/nope", "/docs"])
def test_the_refusal_of_a_large_body_passes(port: int, path: str) -> None:
    reply = send(port, "POST", path, "x" * 2 * MIB)

    assert (reply.status, json.loads(reply.body)["code"]) == (413, "request_too_large")


def test_a_body_over_the_limit_of_nginx_gets_413_too(port: int) -> None:
    client = HTTPConnection("127.0.0.1", port, timeout=60)
    client.putrequest("POST", "/v1/products")
    client.putheader("Content-Length", str(7 * MIB))
    client.endheaders()
    response = client.getresponse()

    assert (response.status, json.load(response)["code"]) == (413, "request_too_large")
    client.close()


def test_a_server_that_is_away_is_a_503(tmp_path: Path) -> None:
    with running_nginx(tmp_path, free_port()) as port:
        odd = send(port, "GET", "/v1/products", headers={"X-Request-ID": 'a"b'})
        page = send(port, "GET", "/admin/")

    problem = json.loads(odd.body)
    assert (odd.status, problem["code"]) == (503, "server_unavailable")
    assert odd.headers["retry-after"] == "5"
    assert odd.headers["content-type"] == "application/problem+json"
    assert set(problem) == REQUIRED_MEMBERS
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])
    assert (page.status, page.headers["content-type"]) == (502, "text/html")


def test_too_many_connections_of_an_address_are_a_429(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_OF_AN_ADDRESS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(head("/admin/login/", 100, FORM) + b"username=")
        reply = send(port, "GET", "/v1/products")

    assert (reply.status, json.loads(reply.body)["code"]) == (429, "throttled")
    assert reply.headers["retry-after"] == "1"


def test_a_body_without_a_length_gets_one(port: int, key: dict[str, str]) -> None:
    product = ProductFactory.create(sku="CUP", quantity=3)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        chunked = b"Transfer-Encoding: chunked"
        json_head = head("/v1/products/CUP/add", 0, {**key, "Content-Type": "application/json"})
        request = json_head.replace(b"Content-Length: 0", chunked)
        client.sendall(request + b'd\r\n{"amount": 2}\r\n0\r\n\r\n')
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")

    assert Product.objects.get(pk=product.pk).quantity == 5


def test_slow_bodies_take_no_thread_of_the_server(port: int, key: dict[str, str]) -> None:
    ProductFactory.create(sku="CUP", quantity=3)
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(24)]
    try:
        for client in slow:
            client.sendall(head("/admin/login/", 100, FORM) + b"username=")
        statuses = [send(port, "GET", "/v1/products/CUP", headers=key).status for _ in range(3)]
        given_up, _, _ = select.select(slow, [], [], 0)
    finally:
        for client in slow:
            client.close()

    assert statuses == [200, 200, 200]
    assert given_up == []  # The answers did not wait until nginx gave the slow clients up.


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "X-Forwarded-For"])
def test_a_client_cannot_choose_its_address(port: int, name: str) -> None:
    statuses = [
        send(
            port,
            "GET",
            "/v1/products",
            headers={"Authorization": "Api-Key wrong.key", name: f"198.51.100.{number}"},
        ).status
        for number in range(2 * ALLOWED_WRONG_KEYS)
    ]

    assert statuses[0] == 401
    assert statuses[-1] == 429


def head(path: str, length: int, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
