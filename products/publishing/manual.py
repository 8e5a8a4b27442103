"""Requests to receivers that a user asks for and waits for: tests and single events again."""

import time
from collections.abc import Callable
from threading import Lock

from django.db import IntegrityError, transaction
from django.utils import timezone

from products import feed
from products.models import ATTEMPTS_KEPT, DeliveryAttempt, StockEvent, Subscription
from products.publishing import subscriptions
from products.publishing.publishers import DeliveryError, Receipt
from products.validators import MAX_NOTE_LENGTH

_one_at_a_time = Lock()


class Busy(subscriptions.SubscriptionError):
    """Another user of this process waits for a receiver."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("Another request to a receiver is running. Try again.")


def send_test(subscription: Subscription) -> DeliveryAttempt:
    """Send `inventory.test` to a webhook now, and return the recorded attempt.

    Raises `Busy`, and `SubscriptionNotFound` if the webhook was deleted meanwhile.
    """
    return _record(subscription, "test", lambda: subscriptions.send_test(subscription))


def redeliver(subscription: Subscription, *, event_id: int) -> DeliveryAttempt:
    """Send one event to a webhook again now, and return the recorded attempt.

    Raises `Busy`, `EventNotFound`, `InvalidSubscription` if the webhook does not get the event,
    and `SubscriptionNotFound` if the webhook was deleted meanwhile.
    """
    event = StockEvent.objects.filter(pk=event_id).first()
    if event is None:
        raise subscriptions.EventNotFound(event_id)
    if not subscription.wants(event):
        raise subscriptions.InvalidSubscription(
            "event", f"The types or the SKU prefix of the webhook leave out event {event_id}."
        )
    return _record(
        subscription,
        feed.cursor_after(event),
        lambda: subscriptions.redeliver(subscription, event_id=event_id),
    )


def _record(
    subscription: Subscription, event_id: str, send: Callable[[], Receipt | DeliveryError]
) -> DeliveryAttempt:
    """Send one request, unless another one runs, and keep its outcome."""
    # Each request occupies a thread of the server for seconds.
    if not _one_at_a_time.acquire(blocking=False):
        raise Busy
    try:
        started_at, started = timezone.now(), time.monotonic()
        outcome = send()
        milliseconds = int((time.monotonic() - started) * 1000)
    finally:
        _one_at_a_time.release()
    attempt = DeliveryAttempt(
        subscription=subscription,
        event_id=event_id,
        event_count=1,
        started_at=started_at,
        milliseconds=milliseconds,
        status=outcome.status,
        error=outcome.reason[:MAX_NOTE_LENGTH] if isinstance(outcome, DeliveryError) else "",
        answer=outcome.answer,
    )
    _save(attempt)
    return attempt


def _save(attempt: DeliveryAttempt) -> None:
    """Save an attempt, and delete those that are too old."""
    subscription = attempt.subscription
    try:
        with transaction.atomic():
            attempt.save(force_insert=True)
            kept = subscription.attempts.order_by("-pk").values_list("pk", flat=True)
            oldest = kept[ATTEMPTS_KEPT - 1 : ATTEMPTS_KEPT].first()
            if oldest is not None:
                subscription.attempts.filter(pk__lt=oldest).delete()
    except IntegrityError:
        raise subscriptions.SubscriptionNotFound(subscription.pk) from None
