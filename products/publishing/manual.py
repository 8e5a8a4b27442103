"""Requests to receivers that a user asks for and waits for: tests and single events again."""

import time
from threading import Lock

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from products.models import DeliveryAttempt, Subscription
from products.publishing import attempts, envelopes
from products.publishing.envelopes import Envelope
from products.publishing.publishers import DeliveryError, Receipt
from products.publishing.subscriptions import (
    InvalidSubscription,
    SubscriptionError,
    SubscriptionNotFound,
    event_with,
)
from products.publishing.webhooks import WebhookPublisher

MAX_SECONDS = 5
"""The time for a request that a user waits for."""

# Each request occupies a thread of the server for seconds.
_one_at_a_time = Lock()


class Busy(SubscriptionError):
    """Another user of this process waits for a receiver."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("Another request to a receiver is running. Try again.")


def send_test(subscription: Subscription) -> DeliveryAttempt:
    """Send `inventory.test` to a webhook now, and return the recorded attempt.

    Must not be called in a transaction. Raises `Busy`, and `SubscriptionNotFound` if the webhook
    was deleted meanwhile.
    """
    return _send(subscription, envelopes.of_test())


def redeliver(subscription: Subscription, *, event_id: int) -> DeliveryAttempt:
    """Send one event to a webhook again now, with the same id. The cursor stays.

    Like `send_test`. Also raises `EventNotFound`, and `InvalidSubscription` if the webhook does not
    get the event.
    """
    event = event_with(event_id)
    if not subscription.wants(event):
        raise InvalidSubscription(
            "event", f"The types or the SKU prefix of the webhook leave out event {event_id}."
        )
    return _send(subscription, envelopes.of_event(event))


def _send(subscription: Subscription, envelope: Envelope) -> DeliveryAttempt:
    """Send an event, unless another request runs, and keep the outcome."""
    if not _one_at_a_time.acquire(blocking=False):
        raise Busy
    try:
        started_at, started = timezone.now(), time.monotonic()
        result = _result_of(subscription, envelope)
        seconds = time.monotonic() - started
    finally:
        _one_at_a_time.release()
    attempt = attempts.attempt_of(
        subscription, result, event_id=envelope.id, started_at=started_at, seconds=seconds
    )
    try:
        with transaction.atomic():
            attempts.save(subscription, [attempt])
    except IntegrityError:
        raise SubscriptionNotFound(subscription.pk) from None
    return attempt


def _result_of(subscription: Subscription, envelope: Envelope) -> Receipt | DeliveryError:
    seconds = min(MAX_SECONDS, settings.WEBHOOK_TIMEOUT_SECONDS)
    publisher = WebhookPublisher(subscription, seconds=seconds)
    try:
        return publisher.publish([envelope])
    except DeliveryError as error:
        return error
    finally:
        publisher.close()
