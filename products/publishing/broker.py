"""Publish events to a message broker through kombu: RabbitMQ, Redis and others.

Events go to the durable topic exchange `inventory`. Their routing key is their type. The durable
queue `inventory` gets all of them, so that none is lost before there is a consumer.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from products.publishing.envelopes import CONTENT_TYPE, Envelope
from products.publishing.publishers import DeliveryError, Publisher, Receipt

NAME = "inventory"
"""The name of the exchange and of the queue."""
SECONDS = 15

_CONFIRMED = {"amqp": {"confirm_publish": True}, "pyamqp": {"confirm_publish": True}}
"""Options of transports with which a publication returns once the broker has the message."""


class BrokerPublisher(Publisher):
    """Sends events to the broker at a URL, one after the other, in the order of the ledger."""

    max_events = 100

    def __init__(self, url: str) -> None:
        # An optional package: see `requirements/brokers.in`.
        kombu: Any = import_module("kombu")
        options = _CONFIRMED.get(urlsplit(url).scheme, {})
        self._connection: Any = kombu.Connection(
            url, connect_timeout=SECONDS, transport_options=options
        )
        self._errors = (
            *self._connection.recoverable_connection_errors,
            *self._connection.recoverable_channel_errors,
            kombu.exceptions.KombuError,
            OSError,
        )
        exchange = kombu.Exchange(NAME, type="topic", durable=True)
        self._queue: Any = kombu.Queue(NAME, exchange, routing_key="#", durable=True)
        self._producer: Any = None

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        try:
            producer = self._connected()
            for envelope in envelopes:
                producer.publish(
                    envelope.body,
                    routing_key=envelope.type,
                    message_id=envelope.id,
                    content_type=CONTENT_TYPE,
                    content_encoding="utf-8",
                    delivery_mode="persistent",
                    timeout=SECONDS,
                    confirm_timeout=SECONDS,
                )
        except self._errors as error:
            self.close()
            raise DeliveryError(f"The broker failed: {type(error).__name__}.") from error
        return Receipt()

    def close(self) -> None:
        self._producer = None
        self._connection.release()

    def _connected(self) -> Any:
        if self._producer is None:
            self._producer = self._connection.Producer(exchange=self._queue.exchange)
            # Declared after each loss of the connection: a new broker may be empty.
            self._queue(self._connection.default_channel).declare()
        return self._producer
