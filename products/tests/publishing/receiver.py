"""A receiver of webhooks on 127.0.0.1, which records its requests."""

import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import trustme

END_SECONDS = 60


class Received(NamedTuple):
    """A request, and the events in it."""

    headers: dict[str, str]
    body: bytes
    events: list[dict[str, Any]]


class Reply(NamedTuple):
    """What the receiver answers."""

    status: int = 204
    headers: dict[str, str] = {}
    body: bytes = b""


Answer = Callable[[Received], Reply]


class Receiver:
    """A server. `answer` decides the reply to a request. Its default accepts all."""

    def __init__(self, answer: Answer = lambda request: Reply(), port: int = 0) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self.accepted: list[dict[str, Any]] = []
        """The events of requests that got a 2xx."""
        self.ids: set[str] = set()
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/events"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()

    def restart(self) -> None:
        """Stop, break all connections, and start again on the same port."""
        self.__exit__()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.receiver = self
        self.__enter__()

    def use_tls(self, certificate: trustme.LeafCert) -> None:
        """Speak HTTPS from now on."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        # The handshake takes place in the thread of the request.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def take(self, request: Received) -> Reply:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        reply = self.answer(request)
        if 200 <= reply.status < 300:
            with self._changed:
                self.accepted += request.events
                self.ids.update(event["id"] for event in request.events)
                self._changed.notify_all()
        return reply

    def wait_until(self, condition: Callable[[], object], seconds: float = END_SECONDS) -> None:
        """Wait until a condition on the received requests is true."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout=seconds), len(self.accepted)

    def wait_for_events(self, number: int, seconds: float = END_SECONDS) -> None:
        self.wait_until(lambda: len(self.ids) >= number, seconds)

    @property
    def versions(self) -> dict[str, list[int]]:
        """The versions of each product, in the order of their first arrival."""
        seen: set[str] = set()
        versions = defaultdict(list)
        for event in [*self.accepted]:
            if event["id"] not in seen:
                seen.add(event["id"])
                versions[event["subject"]].append(int(event["sequence"]))
        return dict(versions)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    receiver: Receiver

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for each in [*self._connections]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = json.loads(body)
        events = found if isinstance(found, list) else [found]
        reply = self.server.receiver.take(Received(dict(self.headers), body, events))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *args: Any) -> None:
        """Write no log."""


def slow(seconds: float) -> Answer:
    """Return an answer that accepts all, after a wait, as a slow receiver does."""

    def answer(request: Received) -> Reply:
        time.sleep(seconds)
        return Reply()

    return answer
