"""Every event reaches a real RabbitMQ and a real Redis, over a restart of each."""

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Queue

from products import stock
from products.models import StockEvent, Subscription
from products.publishing.relay import Relay
from products.tests.factories import ACTOR, ProductFactory
from products.tests.publishing.brokers.servers import BROKERS, MISSING, Broker

pytestmark = pytest.mark.django_db(transaction=True)

SKUS = ("CUP", "POT", "PAN")


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, settings: Any) -> Any:
    if request.param in MISSING:
        pytest.fail(f"Install {request.param}-server first.")
    settings.WEBHOOK_TIMEOUT_SECONDS = 2
    settings.WEBHOOK_RETRY_SECONDS = 0.2
    with BROKERS[request.param]() as running:
        settings.PUBLISHER_URL = running.url
        yield running


def messages_of(broker: Broker) -> list[dict[str, Any]]:
    """Take all messages out of the queue."""
    found: list[dict[str, Any]] = []
    with Connection(broker.url) as connection:
        queue = connection.SimpleQueue(Queue("inventory", durable=True, no_declare=True))
        while True:
            try:
                message = queue.get(timeout=1)
            except Empty:
                return found
            body = message.body
            found.append(json.loads(body))
            message.ack()


def test_no_event_is_lost_by_a_restart(
    broker: Broker,
    publish_once: Callable[[], int],
    following: Callable[[], AbstractContextManager[Relay]],
) -> None:
    publish_once()  # The publisher starts with the next event.
    for sku in SKUS:
        ProductFactory.create(sku=sku)
    with following():
        for number in range(120):
            stock.add(sku=SKUS[number % 3], amount=1, by=ACTOR)
            if number == 40:
                broker.stop()
            if number == 80:
                broker.start()
        _wait_until_delivered()

    messages = messages_of(broker)
    seen: set[str] = set()
    versions: dict[str, list[int]] = {}
    for message in messages:
        if message["id"] not in seen:
            seen.add(message["id"])
            versions.setdefault(message["subject"], []).append(message["data"]["version"])
    assert versions == {sku: [*range(1, 42)] for sku in SKUS}
    assert Subscription.objects.get().failed > 0


def _wait_until_delivered() -> None:
    last = StockEvent.objects.latest("pk").pk
    waiting = threading.Event()
    for _ in range(600):
        if Subscription.objects.get().cursor.startswith(f"{last}-"):
            return
        waiting.wait(0.1)
    raise AssertionError(Subscription.objects.get().cursor)
