"""Keep the last attempts to deliver events of each subscription."""

from collections.abc import Collection
from datetime import datetime

from products.models import (
    ATTEMPTS_KEPT,
    MAX_CURSOR_LENGTH,
    DeliveryAttempt,
    Subscription,
)
from products.publishing.publishers import DeliveryError, Receipt
from products.validators import MAX_NOTE_LENGTH


def attempt_of(
    subscription: Subscription,
    result: Receipt | DeliveryError,
    *,
    event_id: str,
    events: int = 1,
    started_at: datetime,
    seconds: float,
) -> DeliveryAttempt:
    """Return the record of a request, which is not saved yet."""
    return DeliveryAttempt(
        subscription=subscription,
        event_id=event_id[:MAX_CURSOR_LENGTH],
        event_count=events,
        started_at=started_at,
        milliseconds=int(seconds * 1000),
        status=result.status,
        error=result.reason[:MAX_NOTE_LENGTH] if isinstance(result, DeliveryError) else "",
        answer=result.answer,
    )


def save(subscription: Subscription, attempts: Collection[DeliveryAttempt]) -> None:
    """Save attempts, and delete those that are too old. Call it in a transaction."""
    if not attempts:
        return
    DeliveryAttempt.objects.bulk_create(attempts)
    kept = subscription.attempts.order_by("-pk").values_list("pk", flat=True)
    oldest = kept[ATTEMPTS_KEPT - 1 : ATTEMPTS_KEPT].first()
    if oldest is not None:
        subscription.attempts.filter(pk__lt=oldest).delete()
