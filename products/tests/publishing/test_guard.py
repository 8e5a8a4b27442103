"""No request reaches an address of the inside, and the time and size of answers are bounded."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import trustme

from products.models import Subscription
from products.publishing import client, guard, manual, subscriptions
from products.tests.publishing.receiver import Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)

NOT_ALLOWED = guard.NOT_ALLOWED


def subscription_to(url: str) -> Subscription:
    """Return a subscription whose URL was not checked when it was made, or was allowed then."""
    return Subscription.objects.create(url=url, cursor="start", created_by="tester")


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/",
        "ftp://shop.example.com/",
        "https://",
        "https:///events",
        "shop.example.com",
        "",
        "https://user@shop.example.com/",
        "https://user:password@shop.example.com/",
        "https://@shop.example.com/",
        "https://shop.example.com/#part",
        "https://shop.example.com:0/",
        "https://shop.example.com:99999/",
        "https://shop.example.com:abc/",
        "https://shop.example.com/a b",
        "https://shop.example.com/\x00",
        "https://shop.example.com\\@10.0.0.1/",
        "https://münchen.example.com/",
        "https://[::1/",
        f"https://shop.example.com/{'x' * 2000}",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://192.168.1.1:8443/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
    ],
)
def test_a_wrong_or_unsafe_url_is_refused_at_once(url: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []

    with pytest.raises(subscriptions.InvalidSubscription) as refusal:
        subscriptions.create(url=url, by="tester")

    assert refusal.value.field == "url"
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    "url", ["https://shop.example.com/events?key=1", "https://8.8.8.8:8443/", "https://[2606::1]/"]
)
def test_a_public_https_url_is_accepted(url: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []

    assert subscriptions.create(url=url, by="tester").url == url


# Forms of 127.0.0.1 and of other inner addresses that only the resolver understands.
HIDDEN = ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", HIDDEN)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_to_the_inside_is_refused(
    receiver: Receiver, settings: Any, host: str, scheme: str
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("10.0.0.0/8")]
    outcome = manual.send_test(subscription_to(f"{scheme}://{host}:{receiver.port}/"))

    assert outcome.error == NOT_ALLOWED
    assert (outcome.status, outcome.answer) == (None, "")
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"])
def test_an_allowed_network_gets_requests_by_plain_http(receiver: Receiver, host: str) -> None:
    outcome = manual.send_test(subscription_to(f"http://{host}:{receiver.port}/"))

    assert outcome.is_success
    [request] = receiver.requests
    assert request.events[0]["type"] == "inventory.test"
    assert request.headers["Host"] == f"{host}:{receiver.port}"


def test_the_address_that_was_checked_is_the_one_connected_to(
    receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name resolves to an allowed address first, and to the inside at each later look-up."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.2/32")]
    resolve, found = socket.getaddrinfo, iter(["127.0.0.2", *["127.0.0.1"] * 10])

    def rebind(host: Any, *args: Any, **options: Any) -> Any:
        return resolve(next(found) if host == "rebind.test" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    subscription = subscription_to(f"http://rebind.test:{receiver.port}/")
    first, second = (manual.send_test(subscription) for _ in range(2))

    # Nothing listens on 127.0.0.2. The receiver is on 127.0.0.1.
    assert first.error.startswith("No connection")
    assert second.error == NOT_ALLOWED
    assert receiver.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as inside:
        headers = {"Location": inside.url}
        receiver.answer = lambda request: Reply(status, headers, b"secret of the inside")
        outcome = manual.send_test(subscription_to(receiver.url))

        assert outcome.error.startswith("The receiver redirects")
        assert (outcome.status, outcome.answer) == (status, "")
        assert inside.requests == []


def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert manual.send_test(subscription_to(receiver.url)).is_success
        assert proxy.requests == []


@contextmanager
def raw_server(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Run a server that talks to each connection as it likes, until the test ends."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection, ended)
            except OSError:
                return  # The client has closed the connection.

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("name", "is_known", "error"),
    [
        ("localhost", True, ""),
        ("127.0.0.1", True, ""),
        ("localhost", False, "The certificate of the receiver is not valid, or TLS failed."),
        ("other.test", True, "The certificate of the receiver is not valid, or TLS failed."),
    ],
)
def test_the_certificate_must_be_valid_for_the_name(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str, is_known: bool, error: str
) -> None:
    """The connection goes to a checked address, but the certificate is that of the name."""
    authority, trusted = trustme.CA(), ssl.create_default_context()
    receiver.use_tls(authority.issue_cert(name))
    if is_known:
        authority.configure_trust(trusted)
    monkeypatch.setattr(client, "_tls", lambda: trusted)
    host = "localhost" if name == "other.test" else name

    assert manual.send_test(subscription_to(f"https://{host}:{receiver.port}/")).error == error
    assert len(receiver.requests) == (not error)


HEAD = b"HTTP/1.1 200 OK\r\n"


def drip(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Return a talk that starts, and then sends a byte from time to time without an end."""

    def talk(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(start)
        while not ended.wait(0.1):
            connection.sendall(b"1")

    return talk


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"HTTP/1.1 200 ", id="status line"),
        pytest.param(HEAD + b"X-Endless: ", id="header"),
        pytest.param(HEAD + b"Content-Length: 1000\r\n\r\n", id="body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", id="chunk"),
    ],
)
def test_an_answer_that_drips_is_ended(start: bytes, settings: Any) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 1
    with raw_server(drip(start)) as url:
        outcome = manual.send_test(subscription_to(url))

    assert outcome.error == "The receiver did not answer within 1 s."


def flood(start: bytes, line: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def talk(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(start)
        while not ended.is_set():
            connection.sendall(line * 1000)

    return talk


@pytest.mark.parametrize(
    ("start", "line"),
    [
        pytest.param(b"", b"x" * 100, id="status line"),
        pytest.param(HEAD, b"X-Endless: yes\r\n", id="headers"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"x" * 100, id="no chunk"),
    ],
)
def test_an_endless_answer_is_ended(start: bytes, line: bytes) -> None:
    with raw_server(flood(start, line)) as url:
        assert manual.send_test(subscription_to(url)).error


def test_an_endless_body_is_read_up_to_a_limit() -> None:
    with raw_server(flood(HEAD + b"\r\n", b"x" * 100)) as url:
        outcome = manual.send_test(subscription_to(url))

    assert (outcome.status, outcome.error, outcome.answer) == (200, "", "x" * 200)


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(lambda connection, ended: None, id="closed"),
        pytest.param(
            lambda connection, ended: connection.sendall(b"no HTTP\r\n\r\n"), id="no HTTP"
        ),
        pytest.param(lambda connection, ended: connection.sendall(HEAD[:9]), id="cut"),
    ],
)
def test_a_broken_answer_is_a_failure(talk: Any) -> None:
    with raw_server(talk) as url:
        outcome = manual.send_test(subscription_to(url))

    assert outcome.error
    assert outcome.answer == ""
