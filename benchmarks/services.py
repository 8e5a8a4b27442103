"""The contestants: our service, the reference, and the database alone.

Each has its own database, and counts the units of its successful responses. At the end, the sums
in the database must match.
"""

import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import pgbench, processes
from benchmarks.load import Load, closed_loop, fixed_rate, send_each
from benchmarks.shop import HOT_SKU, OPENING_QUANTITY, PRODUCTS, Case, Request, Units, opening

PROJECT = Path(__file__).resolve().parent.parent
REFERENCE_PYTHON = str(PROJECT / ".venv-bench/bin/python")
SECONDS_TO_START = 60
REQUESTS_SAMPLED = 9
NO_VARIABLES: Mapping[str, str] = {}

Client = Callable[..., Load]
Manage = Callable[..., str]
"""Runs a `manage.py` command and returns its output."""


class WrongSums(Exception):
    """The sums in a database do not match the responses."""


class Contestant(ABC):
    """A service or database that is measured."""

    products_table = "product"
    events_table = "stockevent"
    has_opening_events = False

    def __init__(self, name: str, database_url: str, *, pid: int | None = None) -> None:
        """`pid` is the root of the processes between client and database, if there are any."""
        self.name = name
        self.database_url = database_url
        self.pid = pid
        self._answered = Units()
        self._unanswered = Units()

    @abstractmethod
    def takes(self, case: Case) -> bool:
        """Return whether the contestant supports the case."""

    @abstractmethod
    def _run(self, case: Case, connections: int, seconds: float) -> Load: ...

    def run(self, case: Case, *, connections: int, seconds: float) -> Load:
        """Run the case for `seconds`. Raises `RuntimeError` if a request is refused."""
        load = self._run(case, connections, seconds)
        if load.failed:
            raise RuntimeError(f"{self.name} refused {load.failed} requests of {case.name}.")
        self.count(case, load)
        return load

    def count(self, case: Case, load: Load) -> None:
        """Add the units of the responses to the totals."""
        self._answered = self._answered.plus(case.units.times(load.succeeded))
        self._unanswered = self._unanswered.plus(case.units.times(load.unanswered))

    def check(self) -> str:
        """Return a summary. Raises `WrongSums` unless levels, ledger and responses match.

        Requests without a response at the end may or may not have been applied.
        """
        levels = self._totals(self.products_table, "quantity", "reserved_quantity")
        ledger = self._totals(self.events_table, "quantity_change", "reserved_change")
        start = Units(quantity=PRODUCTS * OPENING_QUANTITY)
        if levels != (ledger if self.has_opening_events else start.plus(ledger)):
            raise WrongSums(f"{self.name}: the levels are {levels}, the ledger's sums {ledger}.")
        changed = levels.plus(start.times(-1))
        most = self._answered.plus(self._unanswered)
        for at_least, real, at_most in zip(self._answered, changed, most, strict=True):
            if not min(at_least, at_most) <= real <= max(at_least, at_most):
                raise WrongSums(
                    f"{self.name}: levels changed by {changed}, responses by {self._answered}."
                )
        removed, reserved = -changed.quantity, changed.reserved_quantity
        return f"{self.name}: {removed:,} units removed, {reserved:,} reserved"

    def _totals(self, table: str, *columns: str) -> Units:
        sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns)
        sql = f"SELECT {sums} FROM {table}"
        if self.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"))) as lite:
                return Units(*lite.execute(sql).fetchone())
        with psycopg.connect(self.database_url) as connection:
            [totals] = connection.execute(sql)
            return Units(*map(int, totals))


class Database(Contestant):
    """The statements of the reference, without a service."""

    def takes(self, case: Case) -> bool:
        return case.name.partition("-")[0] in pgbench.UPDATE

    def _run(self, case: Case, connections: int, seconds: float) -> Load:
        verb, _, skus = case.name.partition("-")
        products = 1 if skus == "hot" else PRODUCTS
        return pgbench.run(
            self.database_url, verb, products=products, connections=connections, seconds=seconds
        )


class Service(Contestant):
    """A service that is measured over HTTP."""

    prefix = ""
    headers: Mapping[str, str] = {}

    def __init__(
        self, name: str, database_url: str, *, port: int, client: Client, pid: int
    ) -> None:
        super().__init__(name, database_url, pid=pid)
        self.port = port
        self._client = client
        self._rendered: dict[str, list[bytes]] = {}

    def takes(self, case: Case) -> bool:
        return not case.only_ours

    def requests(self, case: Case) -> list[bytes]:
        if case.name not in self._rendered:
            self._rendered[case.name] = self.render(case.requests())
        return self._rendered[case.name]

    def render(self, requests: Iterable[Request]) -> list[bytes]:
        return [request.rendered(self.prefix, self.headers) for request in requests]

    def statements(self, case: Case, read: Callable[[], list[str]]) -> list[str]:
        """Return the statements of a typical request. `read` returns newly logged ones."""
        found = []
        for request in islice(cycle(self.requests(case)), REQUESTS_SAMPLED):
            read()
            self.count(case, send_each(self.port, [request], connections=1))
            found.append(read())
        return sorted(found, key=len)[len(found) // 2]

    def run_at(self, rate: float, case: Case, *, connections: int, seconds: float) -> Load:
        """Send `rate` requests per second. The result also counts refused requests."""
        load = fixed_rate(
            self.port, self.requests(case), connections=connections, seconds=seconds, rate=rate
        )
        self.count(case, load)
        return load

    def _run(self, case: Case, connections: int, seconds: float) -> Load:
        client = closed_loop if case.is_slow else self._client
        return client(self.port, self.requests(case), connections=connections, seconds=seconds)


class Ours(Service):
    """Our production server."""

    prefix = "/v1"
    products_table = "products_product"
    events_table = "products_stockevent"
    has_opening_events = True

    def __init__(self, *arguments: Any, manage: Manage, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.manage = manage

    def takes(self, case: Case) -> bool:
        return True

    def check(self) -> str:
        sums = super().check()
        self.manage("verify_stock")
        return f"{sums}; verify_stock finds no difference"


@contextmanager
def running_ours(
    name: str,
    database_url: str,
    *,
    client: Client,
    log: Path,
    variables: Mapping[str, str] = NO_VARIABLES,
    folder: Path = PROJECT,
) -> Iterator[Ours]:
    """Run our production server on an empty database, and fill the database through the API.

    The server has production settings, an API key, and the headers of a proxy that ends TLS.
    `variables` change its environment. A DATABASE_URL of only `?option=value` is appended to the
    address. `folder` may be another checkout of the project.
    """
    port = _free_port()
    environment = {
        **os.environ,
        "ALLOWED_HOSTS": "127.0.0.1",
        "API_THROTTLE_RATE": "",
        "DEBUG": "off",
        "HOST": "127.0.0.1",
        "LOG_LEVEL": "INFO",
        "PORT": str(port),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRUSTED_PROXY_SSL_HEADER": "X-Forwarded-Proto",
        **variables,
        "DATABASE_URL": database_url + variables.get("DATABASE_URL", ""),
    }
    own_python = folder / ".venv/bin/python"
    python = str(own_python) if own_python.exists() else sys.executable
    manage = partial(_manage, [python, "manage.py"], folder, environment)
    manage("migrate")
    key = manage("create_api_key", "benchmark", "--role", "manage").strip()
    command = [python, "-m", "inventory_project.server"]
    with processes.running(command, folder=folder, environment=environment, log=log) as process:
        _wait_until_ready(process, port, "/health/live", log)
        ours = Ours(name, database_url, port=port, client=client, pid=process.pid, manage=manage)
        ours.headers = {"Authorization": f"Api-Key {key}", "X-Forwarded-Proto": "https"}
        if send_each(port, ours.render(opening()), connections=8).failed:
            raise RuntimeError(f"The shop could not be filled. The end of the log:\n{_end_of(log)}")
        yield ours


@contextmanager
def running_reference(database_url: str, *, client: Client, log: Path) -> Iterator[Service]:
    """Run the reference on a database with its tables."""
    port = _free_port()
    environment = {**os.environ, "DATABASE_URL": database_url}
    command = [
        *(REFERENCE_PYTHON, "-m", "uvicorn", "benchmarks.reference:app"),
        *("--port", str(port), "--workers", str(os.cpu_count())),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    ]
    with processes.running(command, folder=PROJECT, environment=environment, log=log) as process:
        _wait_until_ready(process, port, f"/products/{HOT_SKU}", log)
        yield Service("reference", database_url, port=port, client=client, pid=process.pid)


def create_database(url: str, name: str, template: str = "template1") -> str:
    """Create a database in the server of `url` and return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{url.rpartition('/')[0]}/{name}"


def create_tables_of_reference(database_url: str) -> None:
    """Create and fill the tables of the reference."""
    if not Path(REFERENCE_PYTHON).exists():
        raise SystemExit(
            "The packages of the reference are missing. Run `make bench`, which installs them."
        )
    environment = {**os.environ, "DATABASE_URL": database_url}
    subprocess.run(
        [REFERENCE_PYTHON, "-m", "benchmarks.reference"], cwd=PROJECT, env=environment, check=True
    )


def _manage(
    program: list[str], folder: Path, environment: Mapping[str, str], *arguments: str
) -> str:
    result = subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"manage.py {arguments[0]} failed:\n{result.stdout}")
    return result.stdout


def _end_of(log: Path) -> str:
    return log.read_text()[-2_000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        client = HTTPConnection("127.0.0.1", port, timeout=SECONDS_TO_START)
        with closing(client), suppress(ConnectionRefusedError):
            client.request("GET", path)
            if client.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The server did not start. The end of the log:\n{_end_of(log)}")
