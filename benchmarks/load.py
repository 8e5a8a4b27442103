"""Clients that send rendered requests to 127.0.0.1 and measure the responses.

The client shares the cores with the servers, so it must use little CPU time. It is `wrk` if that is
installed, else a loop over plain sockets that reads only the status and the length.
"""

import itertools
import json
import math
import re
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LONGEST_WAIT_SECONDS = 30

_LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """The result of a client. Latencies are in milliseconds."""

    seconds: float
    answered: int
    failed: int
    p50: float
    p95: float
    p99: float
    unanswered: int = 0
    """The maximum number of further requests that were sent and cut off at the end."""

    @property
    def succeeded(self) -> int:
        return self.answered - self.failed

    @property
    def per_second(self) -> float:
        return self.succeeded / self.seconds


def load_of(seconds: float, latencies: Sequence[float], failed: int = 0) -> Load:
    """Return the load of latencies in seconds. Its percentiles are in milliseconds."""
    ordered = sorted(latencies)
    p50, p95, p99 = (1000 * ordered[len(ordered) * percent // 100] for percent in (50, 95, 99))
    return Load(seconds, len(ordered), failed, p50, p95, p99)


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def wrk(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Send with `wrk`. Each connection sends as soon as it has its response."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0".join(requests))
        file.flush()
        result = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(connections)),
                *("--duration", f"{seconds:.0f}s", "--timeout", f"{LONGEST_WAIT_SECONDS}s"),
                *("--script", str(Path(__file__).with_name("wrk.lua"))),
                *(f"http://127.0.0.1:{port}", "--", file.name),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    seen = json.loads(result.stdout.splitlines()[-1])
    if seen["broken"]:
        raise ConnectionError(f"wrk had connection errors: {result.stdout}")
    p50, p95, p99 = seen["ms"]
    return Load(seen["seconds"], seen["answered"], seen["refused"], p50, p95, p99, connections)


def closed_loop(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Send from this process. Each connection sends as soon as it has its response."""
    return _send(port, itertools.cycle(requests), connections, seconds)


def send_each(port: int, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send each request once. There must be at least as many requests as connections."""
    return _send(port, iter(requests), connections, seconds=math.inf)


def _send(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    latencies: list[float] = []
    failed = 0
    with _connected(port, connections) as (selector, opened):
        started = time.perf_counter()
        for connection in opened:
            connection.send(next(requests), due=time.perf_counter())
        busy = connections
        while busy:
            for connection, status in _responses(selector, LONGEST_WAIT_SECONDS):
                now = time.perf_counter()
                latencies.append(now - connection.due)
                failed += status >= 400
                request = next(requests, None) if now - started < seconds else None
                if request is None:
                    busy -= 1
                else:
                    connection.send(request, due=now)
        return load_of(time.perf_counter() - started, latencies, failed)


def fixed_rate(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, rate: float
) -> Load:
    """Send `rate` requests per second, independent of the responses.

    A latency starts when the request is due, so it includes the wait for a connection.
    """
    turns = itertools.cycle(requests)
    latencies: list[float] = []
    failed = 0
    total = round(seconds * rate)
    with _connected(port, connections) as (selector, opened):
        idle = deque(opened)
        started = time.perf_counter()
        sent = 0
        while len(latencies) < total:
            due = started + sent / rate
            now = time.perf_counter()
            if sent < total and idle and due <= now:
                idle.popleft().send(next(turns), due=due)
                sent += 1
                continue
            waits_for_time = sent < total and idle
            for connection, status in _responses(
                selector, due - now if waits_for_time else LONGEST_WAIT_SECONDS
            ):
                latencies.append(time.perf_counter() - connection.due)
                failed += status >= 400
                idle.append(connection)
        return load_of(time.perf_counter() - started, latencies, failed)


class _Connection:
    """A persistent connection with at most one request in progress."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.due = 0.0

    def send(self, request: bytes, *, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read the available bytes. Return the status if the response is complete, else None."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("The server closed a connection.")
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return None
        self._received = b""
        return int(head[9:12])


@contextmanager
def _connected(
    port: int, connections: int
) -> Iterator[tuple[selectors.BaseSelector, list[_Connection]]]:
    with selectors.DefaultSelector() as selector:
        opened: list[_Connection] = []
        try:
            for _ in range(connections):
                opened.append(_Connection(port))
                selector.register(opened[-1].socket, selectors.EVENT_READ, opened[-1])
            yield selector, opened
        finally:
            for connection in opened:
                connection.socket.close()


def _responses(
    selector: selectors.BaseSelector, wait_seconds: float
) -> Iterator[tuple[_Connection, int]]:
    """Wait at most `wait_seconds` for data, and yield the complete responses."""
    ready = selector.select(wait_seconds)
    if not ready and wait_seconds == LONGEST_WAIT_SECONDS:
        raise TimeoutError(f"No response within {LONGEST_WAIT_SECONDS} s.")
    for key, _ in ready:
        status = key.data.receive()
        if status is not None:
            yield key.data, status
