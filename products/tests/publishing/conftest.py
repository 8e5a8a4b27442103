"""Fixtures for the publication of events."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from products.models import Subscription
from products.publishing import subscriptions
from products.publishing.relay import Relay
from products.tests.publishing.receiver import Receiver


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    """Allow requests to this machine, and wait less than in production."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    settings.WEBHOOK_TIMEOUT_SECONDS = 2
    settings.WEBHOOK_RETRY_SECONDS = 0.02


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def subscribe() -> Callable[..., Subscription]:
    """Return a function that subscribes a receiver, from the first event on."""

    def subscribe(receiver: Receiver, **fields: Any) -> Subscription:
        return subscriptions.create(
            **{"url": receiver.url, "after": "start", "by": "tester", **fields}
        )

    return subscribe


@pytest.fixture
def publish_once(db: None) -> Callable[[], int]:
    """Return a function that delivers the events that exist, and returns their number."""

    def publish() -> int:
        relay = Relay()
        relay.run_once(threading.Event())
        return relay.delivered

    return publish


@pytest.fixture
def following(db: None) -> Callable[[], AbstractContextManager[Relay]]:
    """Return a context manager in which a relay runs."""

    @contextmanager
    def follow() -> Iterator[Relay]:
        relay, stopped = Relay(), threading.Event()
        thread = threading.Thread(target=relay.follow, args=[stopped])
        thread.start()
        try:
            yield relay
        finally:
            stopped.set()
            thread.join()

    return follow
