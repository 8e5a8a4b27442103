"""The events that a receiver has not accepted yet, in order within each product."""

import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings

from products import feed
from products.models import StockEvent
from products.publishing.envelopes import Envelope
from products.publishing.publishers import Publisher

MAX_AHEAD = 1_000
"""Delivered events after an undelivered one, from which no more events are read."""
MAX_RETRY_SECONDS = 60 * 60


def retry_seconds(failures: int) -> float:
    """Return the wait after some failures: random, at most 5 s, doubled up to an hour."""
    limit = settings.WEBHOOK_RETRY_SECONDS * 2.0 ** min(max(failures, 1) - 1, 20)
    return random.uniform(0, min(limit, MAX_RETRY_SECONDS))


@dataclass(eq=False)
class Message:
    """An event that the receiver has not accepted yet."""

    envelope: Envelope
    event_id: int
    before: str
    """The cursor of the feed before the event."""
    failures: int = 0


class Window:
    """The part of the feed that is being delivered.

    Events of different products are sent at the same time, and those of one product one after the
    other. A failed event holds up its own product only.
    """

    def __init__(
        self, publisher: Publisher, *, cursor: str, ahead: Iterable[int], failures: int
    ) -> None:
        """Start after a cursor. `ahead` are the ids of later events that were accepted.

        The first event that was not accepted has failed `failures` times.
        """
        self._publisher = publisher
        self._read_to = cursor
        self._ahead = set(ahead)
        self._earlier_failures = failures
        # In the order of the feed.
        self._pending: dict[int, Message] = {}
        # Those of each product that are not in flight.
        self._queues: dict[str, deque[Message]] = {}
        self._in_flight: set[str] = set()
        self._retry_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def head(self) -> Message | None:
        """The first event that the receiver has not accepted."""
        return next(iter(self._pending.values()), None)

    @property
    def failures(self) -> int:
        """How often the head has failed."""
        return self.head.failures if self.head else self._earlier_failures

    @property
    def cursor(self) -> str:
        """The cursor up to which the receiver has accepted everything."""
        return self.head.before if self.head else self._read_to

    @property
    def ahead(self) -> list[int]:
        """The ids of accepted events after the cursor."""
        accepted_to = feed.id_in(self.cursor)
        self._ahead = {event_id for event_id in self._ahead if event_id > accepted_to}
        return sorted(self._ahead)

    @property
    def read_to(self) -> str:
        """The cursor up to which the feed was read."""
        return self._read_to

    @property
    def has_room(self) -> bool:
        return len(self) < self._publisher.window and len(self._ahead) < MAX_AHEAD

    def add(self, event: StockEvent, envelope: Envelope | None) -> None:
        """Add the next event of the feed. Without an envelope, the receiver does not want it."""
        before, self._read_to = self._read_to, feed.cursor_after(event)
        if envelope is None or event.pk in self._ahead:
            return
        message = Message(envelope, event.pk, before, self._earlier_failures)
        self._earlier_failures = 0
        self._pending[event.pk] = message
        self._queues.setdefault(event.sku, deque()).append(message)

    def take(self) -> list[Message]:
        """Take the messages of the next request, or none if all must wait."""
        taken = self._next_messages()
        self._in_flight.update(message.envelope.subject for message in taken)
        return taken

    def _next_messages(self) -> list[Message]:
        taken: list[Message] = []
        size, limit = 0, self._publisher.max_bytes
        for sku, queue in self._queues.items():
            if sku in self._in_flight or self._retry_at.get(sku, 0) > time.monotonic():
                continue
            while queue:
                size += len(queue[0].envelope.body) + 1
                is_full = len(taken) >= self._publisher.max_events or (limit and size > limit)
                if taken and is_full:
                    return taken
                taken.append(queue.popleft())
        return taken

    def accept(self, messages: list[Message]) -> None:
        """Record that the receiver has accepted messages."""
        for message in messages:
            sku = message.envelope.subject
            del self._pending[message.event_id]
            self._ahead.add(message.event_id)
            self._in_flight.discard(sku)
            self._retry_at.pop(sku, None)
            if sku in self._queues and not self._queues[sku]:
                del self._queues[sku]

    def reject(self, messages: list[Message]) -> None:
        """Put messages back. Their products wait."""
        for message in reversed(messages):
            sku = message.envelope.subject
            message.failures += 1
            self._queues[sku].appendleft(message)
            self._in_flight.discard(sku)
            self._retry_at[sku] = time.monotonic() + retry_seconds(message.failures)

    def seconds_to_retry(self) -> float | None:
        """Return the seconds until the next product may be sent again, if one waits."""
        waits = [at for sku, at in self._retry_at.items() if sku not in self._in_flight]
        return max(min(waits) - time.monotonic(), 0) if waits else None

    @property
    def is_waiting(self) -> bool:
        """Whether all that is left has failed and waits."""
        return bool(self) and all(sku in self._retry_at for sku in self._queues)
