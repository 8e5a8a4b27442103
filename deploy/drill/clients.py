"""Clients that change stock, follow the feed and poll the health checks during a fault.

Each change has an idempotency key, which is also its reference in the ledger. It is sent again
until the service acknowledges it with 200.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import requests

WRITERS = 8
PRODUCTS = 20
OPENING_QUANTITY = 1_000_000
VERBS = ("remove", "add", "reserve")
PAUSE_SECONDS = 0.04
"""Between two changes of a writer."""
RETRY_SECONDS = 0.2
POLL_SECONDS = 0.25
TIMEOUT_SECONDS = 30
SECONDS_TO_ACKNOWLEDGE = 60
SECONDS_TO_DRAIN = 20
READ_PATH = "/v1/products/DRILL-0"
POLLED = ("/health", "/health/live", READ_PATH)


class Answer(NamedTuple):
    """An answer of the service, or a request without one."""

    path: str
    """The path of a GET, or `write`."""
    change: str
    """The idempotency key of a write."""
    started: float
    """Seconds since the clients started."""
    ended: float
    outcome: str
    """The status, with the code of an error: `200`, `503 busy`, or `no answer`."""

    @property
    def is_ok(self) -> bool:
        return self.outcome == "200"

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Clients:
    """Eight writers, a follower of the feed, and three pollers, each in a thread of its own."""

    def __init__(self, address: str, key: str, run: str) -> None:
        """`run` starts the reference of each change. It must be new for the database."""
        self.run = run
        self.answers: list[Answer] = []
        self.acknowledged: set[str] = set()
        self.seen: list[tuple[int, str]] = []
        """The id and the reference of each event that the follower got."""
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}"}
        self._started = time.monotonic()
        self._written_once = [0.0] * WRITERS
        """When each writer began its last change that was acknowledged."""
        self._no_new_changes = threading.Event()
        self._end = threading.Event()
        self._writers: list[threading.Thread] = []
        self._others: list[threading.Thread] = []

    def now(self) -> float:
        return time.monotonic() - self._started

    def create_products(self) -> None:
        """Create the products that do not exist yet. Raises `RuntimeError` after a minute."""
        session = requests.Session()
        for number in range(PRODUCTS):
            product: dict[str, Any] = {"sku": f"DRILL-{number}", "name": f"Drill {number}"}
            product |= {"quantity": OPENING_QUANTITY, "minimum_stock_level": 0}
            outcome = "503"
            while outcome.startswith("503"):
                if self.now() > SECONDS_TO_ACKNOWLEDGE:
                    raise RuntimeError("The service is not available to create the products.")
                path = "/v1/products"
                answer, _ = self._send(session, path, "", "POST", path, json=product)
                outcome = answer.outcome
            if not outcome.startswith(("201", "409")):
                raise RuntimeError(f"A product could not be created: {outcome}")
        self.answers.clear()

    def start(self) -> None:
        """Start all clients. The follower knows its cursor before the first change."""
        cursor = self._first_cursor()
        self._others = [self._thread(self._follow, cursor)]
        self._others += [self._thread(self._poll, path) for path in POLLED]
        self._writers = [self._thread(self._write, number) for number in range(WRITERS)]

    def wait_until_served(self, since: float, at_most: float) -> None:
        """Wait until each writer has a change acknowledged that it began after `since`."""
        end = self.now() + at_most
        while min(self._written_once) <= since and self.now() < end:
            time.sleep(0.1)

    def finish(self) -> None:
        """Begin no new changes, wait for the pending ones and for the feed, and end."""
        self._no_new_changes.set()
        _join(self._writers, SECONDS_TO_ACKNOWLEDGE)
        end = self.now() + SECONDS_TO_DRAIN
        while self.acknowledged - {reference for _, reference in self.seen} and self.now() < end:
            time.sleep(0.2)
        self.abandon()

    def abandon(self) -> None:
        """End all threads, after the requests that they wait for."""
        self._no_new_changes.set()
        self._end.set()
        _join(self._writers + self._others, 2 * TIMEOUT_SECONDS)

    def _write(self, writer: int) -> None:
        session = requests.Session()
        for number in count():
            if self._no_new_changes.wait(PAUSE_SECONDS):
                return
            sku = f"DRILL-{(writer * 7 + number) % PRODUCTS}"
            path = f"/v1/products/{sku}/{VERBS[number % len(VERBS)]}"
            change, began = f"{self.run}-{writer}-{number}", self.now()
            while not self._change(session, path, change):
                if self._end.wait(RETRY_SECONDS):
                    return
            self._written_once[writer] = began

    def _change(self, session: requests.Session, path: str, change: str) -> bool:
        """Send a change, and return whether it was acknowledged."""
        body = {"amount": 1, "reference": change}
        headers = {"Idempotency-Key": change}
        answer, _ = self._send(session, "write", change, "POST", path, json=body, headers=headers)
        if answer.is_ok:
            self.acknowledged.add(change)
        return answer.is_ok

    def _follow(self, cursor: str) -> None:
        session = requests.Session()
        while not self._end.is_set():
            query = {"after": cursor, "page_size": "500"}
            answer, page = self._send(session, "/v1/events", "", "GET", "/v1/events", params=query)
            if answer.is_ok:
                self.seen += [(event["id"], event["reference"]) for event in page["results"]]
                cursor = page["cursor"]
            if not (answer.is_ok and page["more"]):
                self._end.wait(RETRY_SECONDS)

    def _first_cursor(self) -> str:
        answer, page = self._send(
            requests.Session(), "/v1/events", "", "GET", "/v1/events", params={"after": "latest"}
        )
        if not answer.is_ok:
            raise RuntimeError(f"The feed does not answer: {answer.outcome}")
        cursor: str = page["cursor"]
        return cursor

    def _poll(self, path: str) -> None:
        session = requests.Session()
        while not self._end.is_set():
            answer, _ = self._send(session, path, "", "GET", path)
            self._end.wait(max(0, POLL_SECONDS - answer.seconds))

    def _send(
        self, session: requests.Session, name: str, change: str, method: str, path: str, **more: Any
    ) -> tuple[Answer, Any]:
        """Send a request, and return its answer with the decoded body."""
        started, body, outcome = self.now(), None, "no answer"
        more["headers"] = {**self._headers, **more.get("headers", {})}
        with suppress(requests.RequestException):
            response = session.request(
                method, self._address + path, timeout=TIMEOUT_SECONDS, **more
            )
            outcome = str(response.status_code)
            with suppress(ValueError):
                body = response.json()
            if not response.ok:
                outcome += f" {body['code'] if body else ''}"
        answer = Answer(name, change, started, self.now(), outcome)
        self.answers.append(answer)
        return answer, body

    def _thread(self, target: Callable[..., None], argument: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        thread.start()
        return thread


def _join(threads: list[threading.Thread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
