"""The interface of publishers, and the two that need no other system."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from products.publishing.envelopes import Envelope

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """The answer of a receiver that has accepted events."""

    status: int | None = None
    answer: str = ""
    """The start of the answer."""


class DeliveryError(Exception):
    """The receiver has not accepted the events."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        answer: str = "",
        retry_after: float | None = None,
        is_gone: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.answer = answer
        self.retry_after = retry_after
        """Seconds that the receiver asks to wait."""
        self.is_gone = is_gone
        """Whether the receiver wants no more events."""


class Publisher:
    """Sends events to one receiver."""

    parallel = 1
    """How many requests may run at the same time."""
    max_events = 1
    """The most events of one request."""
    max_bytes: int | None = None
    """The largest body of a request with several events."""
    window = 100
    """The most events in memory that the receiver has not accepted."""

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        """Send the events in this order. Raises `DeliveryError`.

        After an error, some events may have arrived. All are sent again.
        """
        raise NotImplementedError

    def start(self, envelopes: Sequence[Envelope], executor: Executor) -> Future[Receipt]:
        """Publish without waiting, in a thread of the executor or of the publisher."""
        return executor.submit(self.publish, envelopes)

    def close(self) -> None:
        """Close the connections."""


class LogPublisher(Publisher):
    """Writes each event to the log of the relay."""

    max_events = 100

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        for envelope in envelopes:
            logger.info("event", extra={"event": envelope.body.decode()})
        return Receipt()


@dataclass
class MemoryPublisher(Publisher):
    """Keeps the events in `published`, for tests."""

    published: list[Envelope] = field(default_factory=list)
    max_events = 100

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        self.published += envelopes
        return Receipt()


memory = MemoryPublisher()
"""The publisher of `PUBLISHER_URL=memory:`."""
