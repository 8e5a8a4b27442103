"""Kill relays and restart receivers while stock changes, and check that every event arrives."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from standardwebhooks.webhooks import Webhook

from products import feed, stock
from products.models import StockEvent, Subscription
from products.publishing import subscriptions
from products.stock import Line
from products.tests.factories import ACTOR, ProductFactory
from products.tests.live import environment_of_test
from products.tests.publishing.receiver import Received, Receiver, Reply

PRODUCTS = 40
WRITERS = 8
END_SECONDS = 600


@dataclass
class Result:
    """What the drill has seen of one subscriber."""

    title: str
    events: int
    requests: int
    failed: int
    repeated: int
    missing: int
    inversions: int
    wrong_signatures: int


@contextmanager
def relay() -> Iterator[subprocess.Popen[bytes]]:
    """Run a relay as a process of its own, which the caller may kill."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "publish_events", "--follow"],
        cwd=settings.BASE_DIR,
        env={
            **environment_of_test(),
            "DJANGO_SETTINGS_MODULE": "products.tests.publishing.quick_settings",
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "LOG_LEVEL": "ERROR",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Relays:
    """Two relays, of which one after the other is killed and started again."""

    def __init__(self) -> None:
        self.kills = 0
        self._open = [ExitStack(), ExitStack()]
        for each in self._open:
            each.enter_context(relay())

    def kill_one(self) -> None:
        """Kill a relay by SIGKILL, and start another one in its place."""
        stack = self._open[self.kills % 2]
        self.kills += 1
        stack.close()
        stack.enter_context(relay())

    def close(self) -> None:
        for each in self._open:
            each.close()


class Unreliable:
    """The answers of a receiver that verifies each request, answers late and fails one in ten."""

    def __init__(self, subscription: Subscription) -> None:
        self.failed = self.wrong_signatures = 0
        self._webhook = Webhook(subscription.secret)
        self._random = random.Random(subscription.pk)
        self._lock = threading.Lock()

    def __call__(self, request: Received) -> Reply:
        try:
            self._webhook.verify(request.body, request.headers)
        except Exception:
            self.wrong_signatures += 1
        with self._lock:
            delay, fails = self._random.uniform(0, 0.02), self._random.random() < 0.1
            self.failed += fails
        time.sleep(delay)
        return Reply(500 if fails else 204)


def run(*, operations: int, kills: int) -> list[Result]:
    """Change stock, kill each of two relays `kills` times, restart each receiver twice."""
    skus = [ProductFactory.create(sku=f"SKU-{n:02}", quantity=1000).sku for n in range(PRODUCTS)]
    with ExitStack() as stack:
        receivers = [stack.enter_context(Receiver()) for _ in range(2)]
        for receiver, batch in zip(receivers, (False, True), strict=True):
            subscription = subscriptions.create(
                url=receiver.url, after="start", batch=batch, by="drill"
            )
            receiver.answer = Unreliable(subscription)
        relays = Relays()
        stack.callback(relays.close)
        with ThreadPoolExecutor(WRITERS) as writers:
            share = operations // WRITERS
            changes = [writers.submit(_write, skus, share, seed) for seed in range(WRITERS)]
            _disturb(receivers, relays, operations, kills)
            for change in changes:
                change.result()
        expected = {feed.cursor_after(event): event for event in StockEvent.objects.all()}
        for receiver in receivers:
            receiver.wait_for_events(len(expected), END_SECONDS)
    return [
        _result_of(title, receiver, set(expected))
        for title, receiver in zip(("one by one", "batches"), receivers, strict=True)
    ]


def _write(skus: list[str], operations: int, seed: int) -> None:
    choose = random.Random(seed)
    try:
        for number in range(operations):
            if number % 10 == 0:
                lines = [Line(sku, 1) for sku in sorted(choose.sample(skus, 3))]
                stock.reserve_lines(lines=lines, by=ACTOR)
            else:
                stock.add(sku=choose.choice(skus), amount=1, by=ACTOR)
    finally:
        connection.close()


def _disturb(receivers: list[Receiver], relays: Relays, operations: int, kills: int) -> None:
    """Kill relays and restart receivers at equal steps of the progress."""
    steps = 2 * kills
    for step in range(1, steps + 1):
        receivers[0].wait_for_events(operations * step // (steps + 1), END_SECONDS)
        relays.kill_one()
        if step in (kills // 2, kills):
            for receiver in receivers:
                receiver.restart()


def _result_of(title: str, receiver: Receiver, expected: set[str]) -> Result:
    answer = receiver.answer
    assert isinstance(answer, Unreliable)
    return Result(
        title=title,
        events=len(expected),
        requests=len(receiver.requests),
        failed=answer.failed,
        repeated=len(receiver.accepted) - len(receiver.ids),
        missing=len(expected - receiver.ids),
        inversions=sum(
            versions != [*range(1, len(versions) + 1)] for versions in receiver.versions.values()
        ),
        wrong_signatures=answer.wrong_signatures,
    )
