"""Check that orders succeed while other clients abuse the service.

    python -m benchmarks.abuse [--seconds N] [--rate N] [--without-proxy]

Starts its own PostgreSQL, the production server with two workers, and nginx with
`deploy/nginx.conf`. A client sends RATE orders per second, first alone and then during each kind of
abuse, which comes from another address of this machine. Each row shows the orders sent and failed,
their latency, and the ratio of its 99th percentile to that of the quiet row. Then it shows the
largest memory of a worker, and the number of files left on the disk.

Slow bodies and unread downloads go through nginx, because the server does not time them out. With
`--without-proxy`, they go to the server. Without nginx, these rows are skipped.

Exits with 1 and a list of the missed targets, if there are any: no order fails, the ratio is at
most 3, a worker takes at most 400 MB, and no file is left. The last row of a route is quiet again,
so its ratio shows the noise of the machine. It needs Linux to measure memory.
"""

import argparse
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks import load, processes
from benchmarks.services import PROJECT, Ours, running_ours
from benchmarks.shop import CASES, SKUS, Request
from products.tests.nginx import NGINX, running_nginx
from products.tests.postgres import running_postgres

SECONDS, RATE = 20, 20
CONNECTIONS = 16
WARM_UP_SECONDS = 3
WORKERS = 2

HIGHEST_RATIO = 3
MOST_MEGABYTES = 400

SOURCE = "127.0.0.2"
"""The address of the abusive clients."""
SLOW, UNREAD = 48, 24
"""Connections of a row. Both are more than the server has threads: eight in each worker."""
LARGE_RESERVATIONS, LINES = 30, 1_000
REFERENCE = "large"
LARGE_LIST = f"/v1/reservations?reference={REFERENCE}&page_size=1000"
EXPORT = "/admin/products/stockevent/export/"

misses: list[str] = []


class Target(NamedTuple):
    """What an abusive client knows."""

    port: int
    read_key: str
    session: str


class Kind(NamedTuple):
    """A kind of abuse. `run` sends requests for some seconds and returns a summary."""

    title: str
    run: Callable[[Target, float], str]
    is_slow: bool = False


def main(options: argparse.Namespace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Interrupted."))  # The stack cleans up.
    _collect_static_files()
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(fsync=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uploads = folder / "uploads"
        uploads.mkdir()
        password = secrets.token_urlsafe(20)
        variables = {
            "DJANGO_SUPERUSER_PASSWORD": password,
            "NUM_PROXIES": "1",
            "SECURE_SSL_REDIRECT": "off",  # This nginx has no certificate.
            "TMPDIR": str(uploads),
            "WEB_CONCURRENCY": str(WORKERS),
        }
        log = folder / "server.log"
        ours = stack.enter_context(
            running_ours("ours", url, client=load.closed_loop, log=log, variables=variables)
        )
        _fill(ours)
        known = {"read_key": _read_key(ours), "session": _session(ours, password)}
        _print(f"{date.today()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, fsync on")
        _print(f"{options.rate} orders per second for {options.seconds} s in each row\n", HEADINGS)
        fast = [kind for kind in KINDS if not kind.is_slow]
        slow = [kind for kind in KINDS if kind.is_slow]
        if options.without_proxy:
            _route("server", ours, Target(ours.port, **known), [*fast, *slow], [uploads], options)
        else:
            _route("server", ours, Target(ours.port, **known), fast, [uploads], options)
            if NGINX:
                nginx = folder / "nginx"
                nginx.mkdir()
                port = stack.enter_context(running_nginx(nginx, ours.port))
                folders = [uploads, nginx / "temporary"]
                _route("nginx", ours, Target(port, **known), slow, folders, options)
            else:
                titles = ", ".join(kind.title for kind in slow)
                _print(f"Skipped, because nginx is not installed: {titles}.")
        ours.manage("verify_stock")
        _print("verify_stock finds no difference")
    _print(*(f"missed: {miss}" for miss in misses))
    sys.exit(bool(misses))


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


# ------------------------------------------------------------------------------------------ rows

HEADINGS = (
    f"{'route':<7} {'orders during':<26} {'sent':>5} {'failed':>6} {'p50 ms':>7} {'p99 ms':>7} "
    f"{'ratio':>6} {'MB':>4} {'files':>5}  abuse"
)


def _route(
    name: str,
    ours: Ours,
    target: Target,
    kinds: Iterable[Kind],
    folders: list[Path],
    options: argparse.Namespace,
) -> None:
    """Print the rows of the orders and the abuse that take one way to the server."""
    orders = ours.requests(CASES["order"])
    load.fixed_rate(
        target.port, orders, connections=CONNECTIONS, seconds=WARM_UP_SECONDS, rate=options.rate
    )
    quiet = None
    for kind in (Kind("nothing", _nothing), *kinds, Kind("nothing, again", _nothing)):
        before = _files(folders)
        # The children of the server: its workers, and a process of Python's.
        workers = processes.descendants(ours.pid or 0)
        _forget_peaks(workers)
        with _abuse(kind, target, options.seconds) as sent:
            seen = _orders(target.port, orders, options)
        quiet = quiet or seen
        if processes.descendants(ours.pid or 0) != workers:
            misses.append(f"{name}: a worker was replaced during {kind.title}")
            workers = processes.descendants(ours.pid or 0)
        ratio, megabytes = seen.p99 / quiet.p99, _peak_megabytes(workers)
        left = len(_files(folders) - before)
        line = (
            f"{name:<7} {kind.title:<26} {seen.answered:>5} {seen.failed:>6} {seen.p50:>7.1f} "
            f"{seen.p99:>7.1f} {ratio:>6.2f} {megabytes:>4.0f} {left:>5}"
        )
        is_met = (
            seen.failed == 0
            and ratio <= HIGHEST_RATIO
            and megabytes <= MOST_MEGABYTES
            and left == 0
        )
        if not is_met:
            misses.append(line)
        _print(f"{line}  {sent[0]}{'' if is_met else '  MISSED'}")


def _orders(port: int, orders: list[bytes], options: argparse.Namespace) -> load.Load:
    """Send the orders. If one has no answer, count all as failed."""
    try:
        return load.fixed_rate(
            port, orders, connections=CONNECTIONS, seconds=options.seconds, rate=options.rate
        )
    except OSError:
        total = round(options.seconds * options.rate)
        return load.Load(options.seconds, total, total, *[1000 * load.LONGEST_WAIT_SECONDS] * 3)


@contextmanager
def _abuse(kind: Kind, target: Target, seconds: float) -> Iterator[list[str]]:
    """Run the abuse in another process, from a second before the block. Yield its result."""
    result: list[str] = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(os.getpid).result()  # The process has started.
        future = pool.submit(kind.run, target, seconds + 1)
        time.sleep(1)
        yield result
        result.append(future.result())


def _files(folders: Iterable[Path]) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def _forget_peaks(workers: Iterable[int]) -> None:
    for pid in workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_megabytes(workers: Iterable[int]) -> float:
    """Return the largest memory of a worker since the last `_forget_peaks`."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in workers]
    peaks = [int(kibibytes) for kibibytes in re.findall(r"VmHWM:\s+(\d+)", " ".join(statuses))]
    return max(peaks) * 1024 / 1e6


# ----------------------------------------------------------------------------------------- abuse


def _nothing(target: Target, seconds: float) -> str:
    return ""


def _large_uploads(target: Target, seconds: float) -> str:
    """Upload without a login. Bodies of 8 MB are read and thrown away, larger ones are not read."""
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    paths = ("/admin/login/", "/nope", "/admin/products/product/import/products/")
    sizes = [8_000_000] * 10 + [20_000_000]
    jobs = [(path, size) for size in sizes for path in paths]
    sent = 0
    for (path, size), _ in zip(jobs, _paced(seconds, len(jobs) / seconds), strict=False):
        lines = ["Content-Type: multipart/form-data; boundary=x", f"Cookie: csrftoken={'a' * 32}"]
        head = _head("POST", path, *lines, f"Content-Length: {size}")
        with _connected(target) as client, suppress(OSError):
            client.sendall(head + form)
            client.sendall(bytes(size - len(form)))
            client.recv(65536)
        sent += size
    return f"{len(jobs)} uploads, {sent / 1e6:.0f} MB"


def _large_lists(target: Target, seconds: float) -> str:
    """Read large lists, one after the other."""
    end, sent, size = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        size += len(_get(target, LARGE_LIST, _key(target.read_key)))
        sent += 1
    return f"{sent} lists, {size / 1e6:.0f} MB"


def _schemas(target: Target, seconds: float) -> str:
    sent = 0
    for _ in _paced(seconds, 20):
        _get(target, "/openapi.json")
        sent += 1
    return f"{sent} requests"


def _wrong_keys(target: Target, seconds: float) -> str:
    sent = 0
    for _ in _paced(seconds, 50):
        _get(target, "/v1/products", _key(f"{secrets.token_hex(4)}.{secrets.token_hex(16)}"))
        sent += 1
    return f"{sent} requests"


def _slow_bodies(target: Target, seconds: float) -> str:
    """Send a byte per second on each of many connections, without a login."""
    # With a cookie, the server has to look for the token in the form.
    lines = ["Content-Type: application/x-www-form-urlencoded", f"Cookie: csrftoken={'a' * 32}"]
    head = _head("POST", "/admin/login/", *lines, "Content-Length: 1000")
    with ExitStack() as stack:
        clients = [stack.enter_context(_connected(target)) for _ in range(SLOW)]
        for client in clients:
            client.sendall(head)
        for _ in _paced(seconds, 1):
            for client in clients:
                with suppress(OSError):
                    client.sendall(b"x")
    return f"{SLOW} connections"


def _unread_exports(target: Target, seconds: float) -> str:
    return _unread(target, seconds, EXPORT, f"Cookie: {target.session}")


def _unread_lists(target: Target, seconds: float) -> str:
    return _unread(target, seconds, LARGE_LIST, _key(target.read_key))


def _unread(target: Target, seconds: float, path: str, header: str) -> str:
    """Request large answers without reading them."""
    request = _head("GET", path, header)
    with ExitStack() as stack:
        for _ in _paced(seconds, UNREAD / seconds):
            client = stack.enter_context(_connected(target))
            client.sendall(request)
    return f"{UNREAD} connections"


KINDS = [
    Kind("large uploads, no login", _large_uploads),
    Kind("large lists, a read key", _large_lists),
    Kind("schema requests", _schemas),
    Kind("wrong keys", _wrong_keys),
    Kind("slow bodies, no login", _slow_bodies, is_slow=True),
    Kind("unread exports, staff", _unread_exports, is_slow=True),
    Kind("unread lists, a read key", _unread_lists, is_slow=True),
]


def _paced(seconds: float, rate: float) -> Iterator[int]:
    """Yield `rate` times per second until the seconds are over."""
    started = time.monotonic()
    for number in range(round(seconds * rate)):
        time.sleep(max(0, started + number / rate - time.monotonic()))
        if time.monotonic() - started > seconds:
            return
        yield number
    time.sleep(max(0, started + seconds - time.monotonic()))


@contextmanager
def _connected(target: Target) -> Iterator[socket.socket]:
    with socket.socket() as client:
        # The kernel would otherwise take megabytes that the client does not read.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(load.LONGEST_WAIT_SECONDS)
        client.bind((SOURCE, 0))
        client.connect(("127.0.0.1", target.port))
        yield client


def _get(target: Target, path: str, *headers: str) -> bytes:
    """Send a request on a connection of its own, and return the answer."""
    answer = bytearray()
    with _connected(target) as client:
        client.sendall(_head("GET", path, *headers, "Connection: close"))
        while received := client.recv(1 << 18):
            answer += received
    return bytes(answer)


def _head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def _key(key: str) -> str:
    return f"Authorization: Api-Key {key}"


# -------------------------------------------------------------------------------------- the shop


def _collect_static_files() -> None:
    """Collect the files of the back office, as `make serve` does. Its pages need them."""
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=PROJECT,
        env={**os.environ, "DEBUG": "off", "SECRET_KEY": secrets.token_urlsafe(50)},
        check=True,
    )


def _fill(ours: Ours) -> None:
    """Add large reservations, and a ledger that does not fit into the buffers of a connection."""
    lines = [{"sku": sku, "amount": 1} for sku in SKUS[:LINES]]
    large = Request("POST", "/reservations", {"reference": REFERENCE, "lines": lines})
    requests = [large] * LARGE_RESERVATIONS + [*CASES["operations"].requests()] * 3
    if load.send_each(ours.port, ours.render(requests), connections=2).failed:
        raise RuntimeError("The shop could not be filled.")


def _read_key(ours: Ours) -> str:
    return ours.manage("create_api_key", "reader", "--role", "read").strip()


def _session(ours: Ours, password: str) -> str:
    """Log in to the back office, and return the cookie of the session."""
    ours.manage("createsuperuser", "--no-input", "--username", "ada", "--email", "a@example.com")
    client = HTTPConnection("127.0.0.1", ours.port, timeout=load.LONGEST_WAIT_SECONDS)
    client.request("GET", "/admin/login/")
    response = client.getresponse()
    page, cookie = response.read().decode(), response.headers["Set-Cookie"].partition(";")[0]
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    form = f"csrfmiddlewaretoken={token}&username=ada&password={password}"
    type_ = "application/x-www-form-urlencoded"
    client.request("POST", "/admin/login/", form, {"Content-Type": type_, "Cookie": cookie})
    cookies = client.getresponse().headers.get_all("Set-Cookie") or []
    client.close()
    [session] = [each.partition(";")[0] for each in cookies if each.startswith("sessionid=")]
    return session


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="length of a row")
    parser.add_argument("--rate", type=int, default=RATE, help="orders per second")
    parser.add_argument("--without-proxy", action="store_true", help="send slow abuse directly")
    main(parser.parse_args())
