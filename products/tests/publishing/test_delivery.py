"""Events reach their receivers: all of them, in order, signed, and again after a failure."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from products import feed, stock
from products.models import ATTEMPTS_KEPT, StockEvent, Subscription
from products.publishing import subscriptions
from products.publishing.relay import Relay
from products.stock import Add, Line
from products.tests.factories import ACTOR, ProductFactory
from products.tests.publishing.receiver import Received, Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)

Subscribe = Callable[..., Subscription]
Follow = Callable[[], AbstractContextManager[Relay]]


def change(sku: str, times: int) -> None:
    """Add one unit several times. Each is an event."""
    stock.apply([Add(sku=sku, amount=1)] * times, by=ACTOR)


def fail_first(times: int, reply: Reply) -> Callable[[Received], Reply]:
    """Return an answer that fails for the first requests."""
    left = [times]

    def answer(request: Received) -> Reply:
        left[0] -= 1
        return reply if left[0] >= 0 else Reply()

    return answer


def test_a_receiver_gets_every_event_as_a_cloud_event(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    reservation = stock.reserve(sku="CUP", amount=2, reference="order-1", by=ACTOR)
    subscription = subscribe(receiver)

    assert publish_once() == 2

    created, reserved = receiver.accepted
    event = StockEvent.objects.get(version=2)
    assert created["type"] == "inventory.product.created"
    assert reserved == {
        "specversion": "1.0",
        "id": feed.cursor_after(event),
        "source": "urn:inventory:ledger",
        "type": "inventory.reserved",
        "subject": "CUP",
        "datacontenttype": "application/json",
        "time": reserved["data"]["occurred_at"],
        "sequence": "0000000000000000002",
        "data": {
            "id": event.pk,
            "sku": "CUP",
            "version": 2,
            "type": "InventoryReserved",
            "quantity_change": 0,
            "reserved_change": 2,
            "quantity": 5,
            "reserved_quantity": 2,
            "available_quantity": 3,
            "reservation": reservation.pk,
            "reason": "",
            "reference": "order-1",
            "actor": "tester",
            "source": "command",
            "request_id": "request-1",
            "occurred_at": reserved["time"],
            "details": {},
            "cursor": reserved["id"],
        },
    }
    [request, _] = receiver.requests
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    subscription.refresh_from_db()
    assert (subscription.cursor, subscription.delivered) == (reserved["id"], 2)
    assert publish_once() == 0


def test_a_request_is_signed_with_each_valid_secret(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    subscription = subscribe(receiver)
    old, new = subscription.secret, subscriptions.rotate(subscription.pk).secret
    publish_once()

    [request] = receiver.requests
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == receiver.accepted[0]["id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(request.body + b" ", request.headers)

    Subscription.objects.update(old_secret_until=timezone.now())
    change("CUP", 1)
    publish_once()
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(receiver.requests[1].body, receiver.requests[1].headers)


def test_types_and_a_prefix_choose_the_events(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    for sku in ("MUG-RED", "MUG-BLUE", "POT"):
        ProductFactory.create(sku=sku)
    change("POT", 1)
    change("MUG-RED", 1)
    subscription = subscribe(receiver, types=["InventoryAdded"], sku_prefix="MUG-")
    publish_once()

    assert [event["subject"] for event in receiver.accepted] == ["MUG-RED"]
    subscription.refresh_from_db()
    assert subscription.cursor == feed.latest().cursor


def test_events_of_a_product_arrive_in_order_and_those_of_others_beside_them(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    for sku in ("CUP", "POT", "PAN"):
        ProductFactory.create(sku=sku)
    for _ in range(20):
        stock.reserve_lines(lines=[Line(sku, 1) for sku in ("CUP", "POT", "PAN")], by=ACTOR)
    subscribe(receiver)
    publish_once()

    assert receiver.versions == {sku: [*range(1, 22)] for sku in ("CUP", "POT", "PAN")}
    assert len(receiver.accepted) == 63


def test_a_failed_event_holds_up_its_own_product_only(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int], settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = 3600
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="POT")
    change("POT", 5)
    change("CUP", 1)
    receiver.answer = lambda request: Reply(500 * (request.events[0]["subject"] == "CUP") or 204)
    subscription = subscribe(receiver)

    assert publish_once() == 6

    subscription.refresh_from_db()
    assert receiver.versions == {"POT": [1, 2, 3, 4, 5, 6]}
    assert (subscription.cursor, len(subscription.ahead)) == ("start", 6)
    assert subscription.failing_since is not None
    assert subscription.next_attempt_at is not None
    assert subscription.next_attempt_at > timezone.now()

    receiver.answer = lambda request: Reply()
    Subscription.objects.update(next_attempt_at=None)
    publish_once()
    subscription.refresh_from_db()
    assert receiver.versions["CUP"] == [1, 2]
    assert len(receiver.accepted) == 8  # Nothing twice.
    assert (subscription.ahead, subscription.failing_since, subscription.failures) == ([], None, 0)


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_a_refused_event_is_sent_again_until_it_is_accepted(
    receiver: Receiver, subscribe: Subscribe, following: Follow, status: int
) -> None:
    ProductFactory.create(sku="CUP")
    change("CUP", 3)
    receiver.answer = fail_first(3, Reply(status, {"Location": receiver.url}))
    subscribe(receiver)

    with following():
        receiver.wait_for_events(4)

    assert receiver.versions == {"CUP": [1, 2, 3, 4]}
    first = [request.headers["webhook-id"] for request in receiver.requests[:4]]
    assert len(set(first)) == 1


def test_a_receiver_that_is_down_gets_one_request_at_a_time(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int], settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = 3600
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}")
    receiver.answer = lambda request: Reply(503)
    subscription = subscribe(receiver)
    publish_once()
    first = len(receiver.requests)
    assert 4 <= first <= 11  # Eight at once, until four have failed.

    for expected in (1, 2):
        Subscription.objects.update(next_attempt_at=None)
        publish_once()
        assert len(receiver.requests) == first + expected
    subscription.refresh_from_db()
    assert (subscription.failures, subscription.delivered) == (3, 0)
    assert subscription.failed == first + 2


def test_retry_after_is_honoured(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    receiver.answer = lambda request: Reply(429, {"Retry-After": "7200"})
    subscription = subscribe(receiver)
    publish_once()

    subscription.refresh_from_db()
    assert subscription.next_attempt_at is not None
    wait = subscription.next_attempt_at - timezone.now()
    assert timedelta(minutes=119) < wait <= timedelta(hours=2)
    assert publish_once() == 0
    assert len(receiver.requests) == 1


def test_410_parks_at_once_and_nothing_is_lost(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    receiver.answer = lambda request: Reply(410)
    subscription = subscribe(receiver)
    publish_once()
    subscription.refresh_from_db()
    assert subscription.state == "parked"
    assert "410" in subscription.parked_because
    change("CUP", 2)
    assert publish_once() == 0

    receiver.answer = lambda request: Reply()
    subscriptions.edit(subscription.pk, state="active")
    publish_once()
    assert receiver.versions == {"CUP": [1, 2, 3]}


def test_five_days_of_failures_park(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    receiver.answer = lambda request: Reply(500)
    subscription = subscribe(receiver)
    since = timezone.now() - timedelta(days=5, minutes=1)
    Subscription.objects.update(failures=9, failing_since=since)
    publish_once()

    subscription.refresh_from_db()
    assert subscription.state == "parked"
    assert "5 days" in subscription.parked_because
    assert subscription.failing_since == since


def test_a_batch_has_events_up_to_20_kb(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="POT")
    change("CUP", 200)
    change("POT", 200)
    subscription = subscribe(receiver, batch=True)
    assert publish_once() == 402

    assert receiver.versions == {sku: [*range(1, 202)] for sku in ("CUP", "POT")}
    assert all(len(request.body) <= 20_000 for request in receiver.requests)
    assert len(receiver.requests) < 20
    for request in receiver.requests:
        Webhook(subscription.secret).verify(request.body, request.headers)
        assert request.headers["Content-Type"] == "application/cloudevents-batch+json"


def test_the_last_200_attempts_are_kept(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    change("CUP", 250)
    receiver.answer = lambda request: Reply(200, {}, b"Thanks \0 " + b"x" * 10_000)
    subscription = subscribe(receiver)
    publish_once()

    attempts = list(subscription.attempts.order_by("-pk"))
    assert len(attempts) == ATTEMPTS_KEPT
    assert attempts[0].event_id == feed.latest().cursor
    assert (attempts[0].status, attempts[0].error) == (200, "")
    assert attempts[0].answer == ("Thanks  " + "x" * 1000)[:200]


def test_a_following_relay_delivers_new_events_soon(
    receiver: Receiver, subscribe: Subscribe, following: Follow
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    with following():
        receiver.wait_for_events(1)
        change("CUP", 1)
        receiver.wait_for_events(2)


def test_a_paused_webhook_gets_nothing_until_it_is_active(
    receiver: Receiver, subscribe: Subscribe, following: Follow
) -> None:
    ProductFactory.create(sku="CUP")
    subscription = subscribe(receiver)
    with following():
        receiver.wait_for_events(1)
        subscriptions.edit(subscription.pk, state="paused")
        change("CUP", 1)
    with following():
        pass
    seen = len(receiver.accepted)
    subscriptions.edit(subscription.pk, state="active")
    with following():
        receiver.wait_for_events(2)
    assert seen <= 2  # A relay notices a pause when it saves its progress.


def test_an_event_that_can_never_be_accepted_can_be_skipped(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    change("CUP", 2)
    poison = StockEvent.objects.get(version=2)
    receiver.answer = lambda request: Reply(500 * (request.events[0]["sequence"][-1] == "2") or 204)
    subscription = subscribe(receiver)
    publish_once()
    assert receiver.versions == {"CUP": [1]}

    subscriptions.skip(subscription.pk, event_id=poison.pk, reason="unknown colour")
    publish_once()
    assert receiver.versions == {"CUP": [1, 3]}
    assert subscription.attempts.filter(error="Skipped. unknown colour").count() == 1
    with pytest.raises(subscriptions.InvalidSubscription):
        subscriptions.skip(subscription.pk, event_id=poison.pk, reason="again")


def test_events_are_sent_again_from_an_earlier_cursor(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    change("CUP", 2)
    subscription = subscribe(receiver)
    publish_once()
    subscriptions.edit(subscription.pk, after=receiver.accepted[0]["data"]["cursor"])
    publish_once()

    assert [int(event["sequence"]) for event in receiver.accepted] == [1, 2, 3, 2, 3]
    assert len(receiver.ids) == 3
