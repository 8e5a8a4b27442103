"""The production server and clients that send too much, or less than they announce."""

import socket
from collections.abc import Iterator

import pytest
from django.test import Client

from products.models import Product
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import Server, running_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MIB = 1024 * 1024
IMPORT = "/admin/products/product/import/products/"
PATHS = [
    *("/admin/login/", "/admin/products/product/add/", IMPORT, "/admin/nope", "/nope", "/"),
    *("/v1/products", "/v1/nope", "/products", "/docs", "/redoc", "/openapi.json", "/health"),
    *("/static/products/favicon.svg", "/favicon.ico"),
]


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    with running_server(workers=1) as running:
        running.wait_for_workers()
        yield running


def request(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    server: Server, path: str, method: str
) -> None:
    answer = server.send(request(method, path, f"Content-Length: {9 * MIB}"))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 "), answer[:300]
    limit = b"5 MiB" if path == IMPORT else b"1 MiB"
    assert b"larger than " + limit in body
    is_page = path.startswith("/admin/")
    assert (b"text/html" if is_page else b"application/problem+json") in head


def test_the_server_is_alive_while_every_thread_waits_for_a_body(server: Server) -> None:
    # With a cookie, the server has to look for the token in the form.
    cookie = f"Cookie: csrftoken={'a' * 32}"
    type_ = "Content-Type: application/x-www-form-urlencoded"
    head = request("POST", "/admin/login/", type_, cookie, "Content-Length: 100")
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(24)]
    try:
        for client in waiting:
            client.sendall(head + b"username=")
        answers = [server.request("GET", "/health/live") for _ in range(3)]
    finally:
        for client in waiting:
            client.close()

    assert [(answer.status, answer.body) for answer in answers] == [(200, {"status": "ok"})] * 3


def test_the_file_of_the_liveness_check_leads_to_no_other_file(server: Server) -> None:
    for path in ("/health/live/../server.py", "/health/live/%2e%2e/server.py", "/health/live/x"):
        assert b"Granian" not in server.send(request("GET", path))
    view = Client().get("/health/live")
    assert server.request("GET", "/health/live").body == view.json()


@pytest.mark.parametrize("path", ["/v1/products", "/nope", "/docs"])
def test_a_body_that_is_a_little_too_large_breaks_no_connection(server: Server, path: str) -> None:
    """Some clients, such as nginx, do not read the answer if they cannot send the whole body."""
    for size in (2 * MIB, 8 * MIB):
        answer = server.request("POST", path, "x" * size)

        assert (answer.status, answer.body["code"]) == (413, "request_too_large")


def test_a_client_may_ask_before_it_sends_a_body(server: Server) -> None:
    head = request("POST", "/v1/products", "Expect: 100-continue", f"Content-Length: {2 * MIB}")

    assert server.send(head).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/admin/login/", IMPORT, "/v1/products", "/nope"])
def test_the_answer_arrives_although_the_body_is_sent(server: Server, path: str) -> None:
    """The client reads the answer only when it cannot send any more."""
    boundary = "Content-Type: multipart/form-data; boundary=x"
    head = request("POST", path, boundary, f"Content-Length: {300 * MIB}")

    answer = server.send(head, *[b"x" * MIB] * 300)

    assert answer.startswith(b"HTTP/1.1 413 "), answer[:300]


def test_an_upload_of_a_stranger_never_reaches_the_disk(server: Server) -> None:
    [worker] = server.workers
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    head = request(
        "POST",
        IMPORT,
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {5 * MIB}",
        f"Cookie: csrftoken={'a' * 32}",
    )
    before = _written_by(worker)

    answer = server.send(head, form.ljust(5 * MIB - 7, b"y"), b"\r\n--x--")

    assert answer.startswith(b"HTTP/1.1 403 "), answer[:300]
    assert _written_by(worker) - before < MIB


def _written_by(pid: int) -> int:
    """Return how many bytes a process has passed to `write` so far."""
    with open(f"/proc/{pid}/io") as counters:
        return int(dict(line.split(": ") for line in counters)["wchar"])


@pytest.mark.parametrize("path", PATHS)
def test_a_chunked_body_is_refused_unread(server: Server, path: str) -> None:
    head = request("POST", path, "Transfer-Encoding: chunked")

    answer = server.send(head, *[b"100000\r\n" + b"x" * MIB + b"\r\n"] * 100)

    assert answer.startswith(b"HTTP/1.1 411 "), answer[:300]


@pytest.mark.parametrize("announced", [14, 60, MIB])
def test_a_body_that_was_cut_off_is_not_carried_out(server: Server, announced: int) -> None:
    product = ProductFactory.create(sku="CUP", quantity=20)
    headers = [f"Authorization: Api-Key {ApiKeyFactory.create().text}"]
    headers += ["Content-Type: application/json", f"Content-Length: {announced}"]

    head = request("POST", "/v1/products/CUP/add", *headers)
    answer = server.send(head, b'{"amount": 1}', half_close=True)

    assert answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert b"shorter than its Content-Length" in answer
    assert Product.objects.get(pk=product.pk).quantity == 20


def test_a_form_that_was_cut_off_is_not_carried_out(server: Server) -> None:
    form = b"username=root&password=secret"
    type_ = "Content-Type: application/x-www-form-urlencoded"
    token = f"Cookie: csrftoken={'a' * 32}\r\nX-CSRFToken: {'a' * 32}"

    head = request("POST", "/admin/login/", type_, token, "Content-Length: 60")
    answer = server.send(head, form, half_close=True)

    assert answer.startswith(b"HTTP/1.1 400 "), answer[:300]
