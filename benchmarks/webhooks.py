"""Measure the delivery of events to webhooks, on databases and receivers of its own.

    python -m benchmarks.webhooks [kills] [lag] [speed] [writers]

Without a name, all four run.

`kills`: 8 writers make 10,000 changes, on each database. Two relays are killed ten times each. The
receivers fail one request in ten, answer late, and restart twice. Prints the numbers of events that
are missing, out of order, repeated or wrongly signed.

`lag`: 200 changes per second. One receiver hangs, one always fails, and one is slow. Prints the
time between a change and its arrival at a fourth one.

`speed`: a backlog for one receiver that takes 100 ms for each answer, one by one and in batches.

`writers`: the latency of 200 changes per second through the server, with and without a relay that
has five receivers, in turn: first one by one, then in batches. These receivers do next to nothing:
in real use, they run elsewhere.

The relay has the low priority that the documentation recommends. The receivers have it, too. The
time of an event is that of its statement. Its arrival is the end of its request.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import load, processes
from benchmarks.services import PROJECT, Ours, running_ours
from benchmarks.shop import CASES
from products.tests.postgres import running_postgres
from products.tests.publishing.receiver import Answer, Received, Receiver, Reply, slow

OPERATIONS, KILLS = 10_000, 10
RATE = 200
SECONDS = 20
CONNECTIONS = 16
ROUNDS = 3
BACKLOG_SECONDS = 15
LOW_PRIORITY = ("nice", "-n", "19")
ALLOWED = {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}


def main(names: list[str]) -> None:
    for name in names or [*PARTS]:
        print(f"\n{name}")
        PARTS[name]()


# -------------------------------------------------------------------------------------------- kills


def kills() -> None:
    with TemporaryDirectory() as folder:
        _run_drill(f"sqlite:///{Path(folder) / 'drill.sqlite3'}")
    with running_postgres() as url:
        _run_drill(url)


def _run_drill(url: str) -> None:
    settings = {
        **ALLOWED,
        "DATABASE_URL": url,
        "DATABASE_POOL_SIZE": "20",
        "DEBUG": "on",
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "products.tests.publishing.quick_settings",
    }
    command = [sys.executable, "-m", "benchmarks.webhooks", "--drill"]
    subprocess.run(command, env=os.environ | settings, check=True)


def drill_here() -> None:
    """Run the drill on the configured database and print its table."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from products.tests.publishing import drill

    call_command("migrate", verbosity=0)
    started = time.monotonic()
    results = drill.run(operations=OPERATIONS, kills=KILLS)
    print(f"{connection.vendor}: {OPERATIONS:,} changes in {time.monotonic() - started:.0f} s")
    for result in results:
        print(
            f"  {result.title:<12} {result.events:,} events, {result.requests:,} requests, "
            f"{result.failed:,} failed, {result.repeated:,} repeated, {result.missing} missing, "
            f"{result.inversions} products out of order, {result.wrong_signatures} wrong signatures"
        )


# ---------------------------------------------------------------------------------------------- lag


def lag() -> None:
    with _shop() as ours, ExitStack() as stack:
        receivers = {
            kind: stack.enter_context(_receiver(kind)) for kind in ("hangs", "fails", "slow", "ok")
        }
        for receiver in receivers.values():
            _subscribe(ours, receiver.url)
        stack.enter_context(_relay(ours))
        _change(ours, seconds=5)  # The failing and the hanging receiver are known by now.
        _change(ours, seconds=SECONDS)
        for kind, receiver in receivers.items():
            seen = receiver.end()
            print(f"{kind:<6} {_lags_of(seen)}")


def _lags_of(seen: dict[str, list[float]]) -> str:
    lags = sorted(seen["lags"])
    if not lags:
        return f"{seen['requests']} requests, nothing accepted"
    p50, p99 = (lags[len(lags) * percent // 100] for percent in (50, 99))
    return (
        f"{seen['requests']} requests, {len(lags):,} events accepted after "
        f"{p50:.2f} s (median), {p99:.2f} s (p99), {lags[-1]:.2f} s (worst)"
    )


# -------------------------------------------------------------------------------------------- speed


def speed() -> None:
    for batch in (False, True):
        with _shop() as ours, _receiver("100ms") as receiver:
            _change(ours, seconds=10, rate=1_000)
            _subscribe(ours, receiver.url, after="start", batch=batch)
            with _relay(ours):
                time.sleep(BACKLOG_SECONDS)
                seen = receiver.end()
            arrivals = seen["arrivals"]
            seconds = arrivals[-1] - arrivals[0]
            print(
                f"{'batches' if batch else 'one by one':<12} {len(arrivals):,} events in "
                f"{seconds:.1f} s, {len(arrivals) / seconds:,.0f} events/s"
            )


# ------------------------------------------------------------------------------------------ writers


def writers() -> None:
    for batch in (False, True):
        print("batches" if batch else "one by one")
        _compare_writers(batch=batch)


def _compare_writers(*, batch: bool) -> None:
    with _shop() as ours, ExitStack() as stack:
        receivers = [stack.enter_context(_receiver("idle")) for _ in range(5)]
        for receiver in receivers:
            _subscribe(ours, receiver.url, batch=batch)
        _change(ours, seconds=5)
        ratios = []
        for _ in range(ROUNDS):
            without = _change(ours, seconds=SECONDS)
            with _relay(ours):
                time.sleep(3)
                beside = _change(ours, seconds=SECONDS)
            ratios.append(beside.p99 / without.p99)
            print(
                f"p50 {without.p50:.1f} and {beside.p50:.1f} ms, "
                f"p99 {without.p99:.1f} and {beside.p99:.1f} ms, ratio {ratios[-1]:.2f}"
            )
        print(f"median ratio of p99 {sorted(ratios)[len(ratios) // 2]:.2f}")


# ---------------------------------------------------------------------------------------- its parts


@contextmanager
def _shop() -> Iterator[Ours]:
    """Run the server with 1,000 products on a PostgreSQL of its own."""
    with TemporaryDirectory() as folder, running_postgres() as url:
        log = Path(folder) / "server.log"
        variables = {"WEB_CONCURRENCY": "2", **ALLOWED}
        with running_ours(
            "ours", url, client=load.closed_loop, log=log, variables=variables
        ) as ours:
            yield ours


def _change(ours: Ours, *, seconds: float, rate: float = RATE) -> load.Load:
    case = CASES["remove-uniform"]
    result = load.fixed_rate(
        ours.port, ours.requests(case), connections=CONNECTIONS, seconds=seconds, rate=rate
    )
    if result.failed:
        raise RuntimeError(f"{result.failed} changes failed.")
    return result


def _environment_of(ours: Ours) -> dict[str, str]:
    return {
        **os.environ,
        **ALLOWED,
        "DATABASE_URL": ours.database_url,
        "SECRET_KEY": "benchmark",
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
    }


SUBSCRIBE = """
import django, json, sys
django.setup()
from products.publishing import subscriptions
subscriptions.create(**json.loads(sys.argv[1]), by="benchmark")
"""


def _subscribe(ours: Ours, url: str, **fields: object) -> None:
    command = [sys.executable, "-c", SUBSCRIBE, json.dumps({"url": url, **fields})]
    subprocess.run(command, cwd=PROJECT, env=_environment_of(ours), check=True)


@contextmanager
def _relay(ours: Ours) -> Iterator[None]:
    with TemporaryDirectory() as folder:
        command = [*LOW_PRIORITY, sys.executable, "manage.py", "publish_events", "--follow"]
        with processes.running(
            command,
            folder=PROJECT,
            environment=_environment_of(ours),
            log=Path(folder) / "relay.log",
        ):
            yield


class _Remote:
    """A receiver in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        output: Any = process.stdout
        self.url: str = output.readline().strip()

    def end(self) -> dict[str, list[float]]:
        """Stop the receiver and return its result."""
        output, _ = self._process.communicate("", timeout=60)
        seen: dict[str, list[float]] = json.loads(output)
        return seen


@contextmanager
def _receiver(kind: str) -> Iterator[_Remote]:
    process = subprocess.Popen(
        [*LOW_PRIORITY, sys.executable, "-m", "benchmarks.webhooks", "--receive", kind],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _Remote(process)
    finally:
        process.kill()
        process.wait()


ANSWERS: dict[str, Answer] = {
    "ok": lambda request: Reply(),
    "fails": lambda request: Reply(500),
    "slow": slow(2),
    "hangs": slow(3600),
    "100ms": slow(0.1),
}


def receive_here(kind: str) -> None:
    """Receive until the standard input ends, and print the result as JSON."""
    lags: list[float] = []
    arrivals: list[float] = []

    def answer(request: Received) -> Reply:
        reply = ANSWERS[kind](request)
        now = datetime.now(UTC)
        if reply.status < 300:
            for event in request.events:
                lags.append((now - datetime.fromisoformat(event["time"])).total_seconds())
                arrivals.append(now.timestamp())
        return reply

    with Receiver(answer) as receiver:
        print(receiver.url, flush=True)
        sys.stdin.read()
        found = {"requests": len(receiver.requests), "lags": lags, "arrivals": arrivals}
        print(json.dumps(found), flush=True)
    os._exit(0)  # A thread may still hang.


_HEAD = re.compile(rb"\r\ncontent-length: *(\d+).*?\r\n\r\n", re.IGNORECASE | re.DOTALL)


class _Idle(asyncio.Protocol):
    """Answers each request without looking at it."""

    def connection_made(self, transport: Any) -> None:
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while found := _HEAD.search(self._received):
            end = found.end() + int(found[1])
            if len(self._received) < end:
                break
            self._received = self._received[end:]
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def receive_idly() -> None:
    """Receive until the standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Idle, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


PARTS: dict[str, Callable[[], None]] = {
    "kills": kills,
    "lag": lag,
    "speed": speed,
    "writers": writers,
}

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--drill"]:
            drill_here()
        case ["--receive", "idle"]:
            asyncio.run(receive_idly())
        case ["--receive", kind]:
            receive_here(kind)
        case names:
            main(names)
