"""Create, change and claim subscriptions.

Each change by a user ends the lease, so that a relay that works on the subscription stops, and its
older progress is not saved over the change.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from products import feed
from products.db.clock import SecondsFromNow
from products.models import (
    OLD_SECRET_HOURS,
    StockEvent,
    Subscription,
    new_secret,
)
from products.publishing import guard
from products.validators import MAX_NOTE_LENGTH, validate_sku_prefix

MAX_SUBSCRIPTIONS = 100
LATEST = "latest"

State = Subscription.State


class SubscriptionError(Exception):
    """A change of a subscription was refused."""

    code: str

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidSubscription(SubscriptionError):
    """A value is wrong. `field` names it."""

    code = "invalid"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class SubscriptionNotFound(SubscriptionError):
    code = "webhook_not_found"

    def __init__(self, subscription_id: int) -> None:
        super().__init__(f"Webhook {subscription_id} does not exist.")


class TooManySubscriptions(SubscriptionError):
    code = "too_many_webhooks"

    def __init__(self) -> None:
        super().__init__(f"At most {MAX_SUBSCRIPTIONS} webhooks are allowed. Delete one first.")


class EventNotFound(SubscriptionError):
    code = "event_not_found"

    def __init__(self, event_id: int) -> None:
        super().__init__(f"The ledger has no event {event_id}.")


# ----------------------------------------------------------------------------------- verbs of users


def create(
    *,
    url: str,
    types: Sequence[str] = (),
    sku_prefix: str = "",
    batch: bool = False,
    after: str = LATEST,
    by: str,
) -> Subscription:
    """Create a webhook, which gets the events after a cursor of the feed.

    Raises `InvalidSubscription` and `TooManySubscriptions`.
    """
    subscription = Subscription(
        url=_checked_url(url),
        types=_checked_types(types),
        sku_prefix=_checked_prefix(sku_prefix),
        batch=batch,
        cursor=_checked_cursor(after),
        created_by=by,
    )
    with transaction.atomic():
        # Two requests at the same time may exceed the limit by one. It only bounds the number.
        if Subscription.objects.webhooks().count() >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptions
        subscription.save(force_insert=True)
    return subscription


def edit(subscription_id: int, **fields: Any) -> Subscription:
    """Change fields of a webhook: those of `create`, and `state` (`active` or `paused`).

    Raises `SubscriptionNotFound` and `InvalidSubscription`.
    """
    changes = dict(fields)
    if "url" in changes:
        changes["url"] = _checked_url(changes["url"])
    if "types" in changes:
        changes["types"] = _checked_types(changes["types"])
    if "sku_prefix" in changes:
        changes["sku_prefix"] = _checked_prefix(changes["sku_prefix"])
    if "after" in changes:
        changes |= _moved_to(_checked_cursor(changes.pop("after")))
    if "state" in changes:
        changes |= _in_state(changes["state"])
    return _change(subscription_id, **changes)


def rotate(subscription_id: int) -> Subscription:
    """Give a webhook a new secret. The old one signs, too, for `OLD_SECRET_HOURS`."""
    with transaction.atomic():
        subscription = _locked(subscription_id)
        subscription.old_secret = subscription.secret
        subscription.old_secret_until = timezone.now() + timedelta(hours=OLD_SECRET_HOURS)
        subscription.secret = new_secret()
        subscription.save(update_fields=["old_secret", "old_secret_until", "secret"])
    _end_lease(subscription_id)
    return subscription


def delete(subscription_id: int) -> None:
    """Delete a webhook and its attempts. Raises `SubscriptionNotFound`."""
    with transaction.atomic():
        _locked(subscription_id).delete()


def skip(subscription_id: int, *, event_id: int, reason: str) -> Subscription:
    """Take an event as delivered that the receiver can never accept. A parked webhook goes on.

    The attempts keep the reason. Raises `SubscriptionNotFound`, `EventNotFound`, and
    `InvalidSubscription` if the event was delivered already.
    """
    with transaction.atomic():
        subscription = _locked(subscription_id)
        event = event_with(event_id)
        if event_id <= feed.id_in(subscription.cursor) or event_id in subscription.ahead:
            raise InvalidSubscription("event", f"Event {event_id} was delivered already.")
        if not subscription.wants(event):
            raise InvalidSubscription("event", f"The receiver does not get event {event_id}.")
        subscription.attempts.create(
            event_id=feed.cursor_after(event),
            event_count=1,
            started_at=timezone.now(),
            milliseconds=0,
            error=f"Skipped. {reason}"[:MAX_NOTE_LENGTH],
        )
        is_paused = subscription.state == State.PAUSED
        state = _in_state(State.PAUSED if is_paused else State.ACTIVE)
        return _change(subscription_id, ahead=[*subscription.ahead, event_id], **state)


# --------------------------------------------------------------------------------- checks of values


def _checked_url(url: str) -> str:
    try:
        guard.check_url(url)
    except guard.UnsafeUrl as error:
        raise InvalidSubscription("url", str(error)) from None
    return url


def _checked_types(types: Sequence[str]) -> list[str]:
    known = set(StockEvent.Type.values)
    for each in types:
        if each not in known:
            raise InvalidSubscription("types", f"Unknown type: {each[:40]}.")
    # In one order, without repeated ones. All types are the same as none.
    wanted = [each for each in StockEvent.Type.values if each in types]
    return [] if len(wanted) == len(known) else wanted


def _checked_prefix(prefix: str) -> str:
    try:
        validate_sku_prefix(prefix)
    except ValidationError as error:
        raise InvalidSubscription("sku_prefix", error.messages[0]) from None
    return prefix


def _checked_cursor(after: str) -> str:
    try:
        if after == LATEST:
            return feed.latest().cursor
        return feed.read(after=after, limit=1) and after
    except feed.UnknownCursor:
        raise InvalidSubscription(
            "after",
            "The ledger has no event for this cursor. Send a cursor of the feed, or latest.",
        ) from None


# ------------------------------------------------------------------------------------------ changes


def _moved_to(cursor: str) -> dict[str, Any]:
    return {"cursor": cursor, "ahead": [], **_without_failures()}


def _in_state(state: str) -> dict[str, Any]:
    changes = {"state": state, "parked_because": "", "parked_at": None}
    return changes if state == State.PAUSED else {**changes, **_without_failures()}


def _without_failures() -> dict[str, Any]:
    return {"failures": 0, "failing_since": None, "next_attempt_at": None}


def _change(subscription_id: int, **changes: Any) -> Subscription:
    with transaction.atomic():
        subscription = _locked(subscription_id)
        for name, value in {**changes, "lease": "", "lease_until": None}.items():
            setattr(subscription, name, value)
        subscription.save(update_fields=[*changes, "lease", "lease_until"])
    return subscription


def _end_lease(subscription_id: int) -> None:
    Subscription.objects.filter(pk=subscription_id).update(lease="", lease_until=None)


def _locked(subscription_id: int) -> Subscription:
    found = Subscription.objects.select_for_update(no_key=True).filter(pk=subscription_id).first()
    if found is None:
        raise SubscriptionNotFound(subscription_id)
    return found


def event_with(event_id: int) -> StockEvent:
    """Return the event with an id. Raises `EventNotFound`."""
    event = StockEvent.objects.filter(pk=event_id).first()
    if event is None:
        raise EventNotFound(event_id)
    return event


# ----------------------------------------------------------------------------------- for the relay


def ensure_publisher() -> None:
    """Create the subscription of the publisher of the settings. It starts with the next event."""
    Subscription.objects.get_or_create(
        url="", defaults={"cursor": feed.latest().cursor, "created_by": "publish_events"}
    )


def claim(
    *, lease: str, seconds: int, limit: int, excluding: Collection[int], with_publisher: bool
) -> list[Subscription]:
    """Claim due subscriptions for a relay, in a random order, so that relays share them."""
    due = Subscription.objects.due(lease).exclude(pk__in=excluding)
    if not with_publisher:
        due = due.webhooks()
    if not due.exists():
        return []
    with transaction.atomic():
        found = list(due.select_for_update(skip_locked=True, no_key=True).order_by("?")[:limit])
        Subscription.objects.filter(pk__in=[each.pk for each in found]).update(
            lease=lease, lease_until=SecondsFromNow(seconds), next_attempt_at=None
        )
    for subscription in found:
        subscription.lease, subscription.next_attempt_at = lease, None
    return found


def note_restore(subscription_id: int, *, lease: str | None = None) -> None:
    """Let a subscription go on in a ledger that was restored from a backup.

    The receiver gets a message about it before other events. A cursor whose event is gone moves
    back to the last event before it. With `lease`, do nothing if the subscription has another one.
    """
    last = StockEvent.objects.order_by("-pk").first()
    restored_to = last.occurred_at if last else timezone.now()
    with transaction.atomic():
        subscription = _locked(subscription_id)
        if lease in (None, subscription.lease):
            cursor = _surviving_cursor(subscription.cursor)
            _change(subscription_id, restored_to=restored_to, **_moved_to(cursor))


def _surviving_cursor(cursor: str) -> str:
    """Return the cursor, or the one of the last event before it, if its own event is gone."""
    try:
        feed.read(after=cursor, limit=1)
    except feed.UnknownCursor:
        until = feed.time_of(cursor)
        before = StockEvent.objects.filter(pk__lte=feed.id_in(cursor), occurred_at__lte=until)
        last = before.order_by("-pk").first()
        return feed.cursor_after(last) if last else feed.START
    return cursor


def note_restore_for_all() -> int:
    """Do `note_restore` for all subscriptions, and return their number."""
    found = list(Subscription.objects.values_list("pk", flat=True))
    for subscription_id in found:
        note_restore(subscription_id)
    return len(found)
