"""Webhooks in the back office: add, show the secret once, watch, pause, test, skip, delete."""

import re
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from products import feed, stock
from products.models import DeliveryAttempt, IdempotencyKey, StockEvent, Subscription
from products.publishing import subscriptions
from products.tests.admin.browsers import browser_of
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory
from products.tests.publishing.receiver import Received, Receiver, Reply

pytestmark = pytest.mark.django_db

LIST = reverse("admin:products_subscription_changelist")
ADD = reverse("admin:products_subscription_add")
HOME = reverse("admin:index")
SHOP = "https://shop.example.com/events"
BROKER_URL = "amqp://inventory:s3cret-pw@rabbit.example.com:5672/"

DIALOGS = {
    "pause": {},
    "resume": {},
    "rotate_secret": {},
    "start_again": {"start": "start"},
    "send_test": {},
    "redeliver": {},
    "skip": {"reason": "unknown to the receiver"},
    "remove": {},
}
"""Each dialog with the fields of its form, besides the event."""


@pytest.fixture(autouse=True)
def _this_machine(settings: Any) -> None:
    """Allow requests to this machine."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def manager(db: None) -> Client:
    """A client in which a stock manager is logged in."""
    return member_of("Stock manager")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def event(db: None) -> StockEvent:
    """The first event of the ledger, which created a product."""
    ProductFactory.create(sku="CUP", quantity=5)
    return StockEvent.objects.get()


@pytest.fixture
def webhook(event: StockEvent) -> Subscription:
    """A webhook for which one event waits."""
    return subscriptions.create(url=SHOP, after=feed.START, by="tester")


def member_of(group: str) -> Client:
    user = User.objects.create_user(username=f"{group} Mia", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    browser = Client()
    browser.force_login(user)
    return browser


def add(browser: Client, **fields: Any) -> Any:
    sent = {"url": SHOP, "sku_prefix": "", "start": "latest", "opening": uuid4().hex, **fields}
    return browser.post(ADD, sent)


def secret_shown(response: Any) -> str:
    found = re.search(r'id="secret"[^>]* value="([^"]+)"', response.content.decode())
    assert found
    return found[1]


def page_of(webhook: Subscription) -> str:
    return reverse("admin:products_subscription_change", args=[webhook.pk])


def url_of(webhook: Subscription, name: str) -> str:
    return reverse(f"admin:products_subscription_{name}", args=[webhook.pk])


def send(browser: Client, webhook: Subscription, name: str, **fields: Any) -> Any:
    """Submit a dialog."""
    sent = {"_form_submitted": "1", "opening": uuid4().hex, **fields}
    return browser.post(url_of(webhook, name), sent)


def message_after(browser: Client, webhook: Subscription, name: str, **fields: Any) -> str:
    """Submit a dialog, and return the messages of the next page."""
    response = send(browser, webhook, name, **fields)
    assert response.status_code == 302, response.content.decode()
    shown = browser.get(response["Location"]).context["messages"]
    return " ".join(str(message) for message in shown)


def attempt(webhook: Subscription, event: StockEvent, **fields: Any) -> DeliveryAttempt:
    values = {"event_count": 1, "started_at": timezone.now(), "milliseconds": 12, **fields}
    return webhook.attempts.create(event_id=feed.cursor_after(event), **values)


def row_of(webhook: Subscription) -> dict[str, Any]:
    return dict(Subscription.objects.values().get(pk=webhook.pk))


def park(webhook: Subscription, reason: str) -> None:
    past = timezone.now() - timedelta(days=5)
    Subscription.objects.filter(pk=webhook.pk).update(
        state="parked",
        parked_because=reason,
        parked_at=timezone.now(),
        failures=9,
        failing_since=past,
    )


# --------------------------------------------------------------------------------------------- add


def test_an_added_webhook_has_the_settings_of_the_form(manager: Client, event: StockEvent) -> None:
    types = ["InventoryAdded", "LowStockDetected"]
    add(manager, types=types, sku_prefix="CUP", batch="on", start="start")

    webhook = Subscription.objects.get()
    assert (webhook.url, webhook.types, webhook.sku_prefix) == (SHOP, types, "CUP")
    assert (webhook.batch, webhook.cursor) == (True, feed.START)
    assert webhook.created_by == "Stock manager Mia"
    assert LogEntry.objects.get().get_change_message() == "Added."


@pytest.mark.django_db(transaction=True)
def test_a_webhook_starts_with_the_next_event_unless_told_otherwise(
    manager: Client, event: StockEvent
) -> None:
    add(manager)

    assert Subscription.objects.get().cursor == feed.cursor_after(event)
    assert Subscription.objects.get().types == []


def test_the_secret_is_shown_once_and_signs_the_requests(
    manager: Client, receiver: Receiver
) -> None:
    response = add(manager, url=receiver.url)
    secret = secret_shown(response)
    webhook = Subscription.objects.get()
    send(manager, webhook, "send_test")

    [request] = receiver.requests
    Webhook(secret).verify(request.body, request.headers)
    pages = [manager.get(path).content.decode() for path in (LIST, page_of(webhook), HOME)]
    kept = [
        *LogEntry.objects.values_list(),
        *IdempotencyKey.objects.values_list(),
        *(session.get_decoded() for session in Session.objects.all()),
        *(cookie.OutputString() for cookie in manager.cookies.values()),
    ]
    assert "no-store" in response["Cache-Control"]
    assert secret not in repr(pages) + repr(kept) + repr(list(response.items()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", ""),
        ("url", "shop.example.com"),
        ("url", "https://mia:secret@shop.example.com/"),
        ("url", "https://10.0.0.1/"),
        ("url", "http://169.254.169.254/latest/meta-data"),
        ("url", "https://shop.example.com/a\0b"),
        ("types", "Everything"),
        ("sku_prefix", "cup!"),
        ("sku_prefix", "X" * 51),
        ("start", "tomorrow"),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(manager: Client, field: str, value: str) -> None:
    response = add(manager, **{field: value})

    assert response.status_code == 200
    assert response.context["adminform"].form.errors[field]
    assert not Subscription.objects.exists()


def test_the_form_sent_twice_adds_one_webhook(manager: Client) -> None:
    opening = uuid4().hex
    add(manager, opening=opening)

    again = manager.post(
        ADD,
        {"url": SHOP, "sku_prefix": "", "start": "latest", "opening": opening},
        follow=True,
    )

    assert Subscription.objects.count() == 1
    assert "already added" in again.content.decode()
    assert LogEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_form_sent_twice_at_once_adds_one_webhook(manager: Client) -> None:
    opening = uuid4().hex

    responses = at_once([lambda: add(manager, opening=opening)] * 2)

    statuses = [response.status_code for response in responses if hasattr(response, "status_code")]
    assert sorted(statuses) == [200, 302]
    assert Subscription.objects.count() == 1


def test_more_webhooks_than_allowed_are_refused(manager: Client) -> None:
    Subscription.objects.bulk_create(
        Subscription(url=SHOP, cursor=feed.START, created_by="tester")
        for _ in range(subscriptions.MAX_SUBSCRIPTIONS)
    )

    response = manager.get(add(manager)["Location"])

    assert "Delete one first" in " ".join(map(str, response.context["messages"]))
    assert Subscription.objects.count() == subscriptions.MAX_SUBSCRIPTIONS


# ------------------------------------------------------------------------------- the list, the page


def test_the_list_shows_and_filters_by_state(manager: Client, webhook: Subscription) -> None:
    for state in ("active", "paused", "parked"):
        created = subscriptions.create(url=f"https://{state}.example.com/", by="tester")
        Subscription.objects.filter(pk=created.pk).update(state=state)
    Subscription.objects.filter(pk=webhook.pk).update(failing_since=timezone.now())

    def listed(**query: str) -> list[str]:
        return [each.url for each in manager.get(LIST, query).context["cl"].result_list]

    assert listed(state="failing") == [SHOP]
    for state in ("active", "paused", "parked"):
        assert listed(state=state) == [f"https://{state}.example.com/"]
    assert listed(q="PARKED.example") == ["https://parked.example.com/"]
    page = manager.get(LIST).content.decode()
    assert all(state in page for state in ("Active", "Failing", "Paused", "Parked"))


def test_the_list_counts_the_events_that_a_receiver_wants(
    manager: Client, webhook: Subscription
) -> None:
    for _ in range(3):
        stock.add(sku="CUP", amount=1, by=ACTOR)
    subscriptions.create(
        url="https://b.example.com/", types=["InventoryAdded"], after="start", by="t"
    )
    subscriptions.create(url="https://c.example.com/", sku_prefix="MUG", after="start", by="t")

    found = manager.get(LIST).context["cl"].result_list

    assert {each.url: each.waiting.events for each in found} == {
        SHOP: 4,
        "https://b.example.com/": 3,
        "https://c.example.com/": 0,
    }


def test_the_page_shows_why_a_webhook_is_parked_and_its_attempts(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    attempt(webhook, event, status=503, error="The receiver answered 503.", answer="<b>over</b>")
    attempt(webhook, event, error="No connection to the receiver.", event_count=14)
    webhook.attempts.create(
        event_id="test-1", event_count=1, started_at=timezone.now(), milliseconds=7, status=204
    )
    park(webhook, "It has failed for 5 days.")

    page = manager.get(page_of(webhook)).content.decode()

    assert "It has failed for 5 days." in page
    assert page.index("7 ms") < page.index("No connection to") < page.index("answered 503.")
    assert "&lt;b&gt;over&lt;/b&gt;" in page
    assert "and 13 more" in page
    assert reverse("admin:products_product_change", args=[event.product_id]) in page
    assert reverse("admin:products_stockevent_change", args=[event.pk]) in page


def test_an_attempt_from_before_a_restore_links_to_no_other_event(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    webhook.attempts.create(
        event_id=f"{event.pk}-1", event_count=1, started_at=timezone.now(), milliseconds=7
    )

    page = manager.get(page_of(webhook)).content.decode()

    assert f"{event.pk}-1" in page
    assert reverse("admin:products_stockevent_change", args=[event.pk]) not in page


def test_the_form_of_a_webhook_changes_its_settings_only(
    manager: Client, webhook: Subscription
) -> None:
    park(webhook, "gone")
    before = row_of(webhook)

    response = manager.post(
        page_of(webhook),
        {"url": "https://new.example.com/", "types": ["InventoryAdded"], "state": "active"},
    )

    assert response.status_code == 302
    changed = {name: value for name, value in row_of(webhook).items() if value != before[name]}
    assert changed == {"url": "https://new.example.com/", "types": ["InventoryAdded"]}


def test_a_user_who_may_only_view_gets_a_page_without_form_and_actions(
    webhook: Subscription, event: StockEvent
) -> None:
    attempt(webhook, event, error="failed")

    page = browser_of("Vera", "view_subscription").get(page_of(webhook)).content.decode()

    assert SHOP in page
    assert 'name="url"' not in page
    assert not any(url_of(webhook, name) in page for name in DIALOGS)


# -------------------------------------------------------------------------------------- the broker


def test_the_broker_is_shown_only_while_the_settings_name_one(
    manager: Client, settings: Any
) -> None:
    subscriptions.ensure_publisher()
    broker = Subscription.objects.get()

    assert not manager.get(LIST).context["cl"].result_list
    assert manager.get(page_of(broker)).status_code == 302

    settings.PUBLISHER_URL = BROKER_URL
    assert "Broker (amqp)" in manager.get(LIST).content.decode()


def test_the_pages_of_the_broker_show_no_part_of_its_address(
    manager: Client, settings: Any, event: StockEvent
) -> None:
    settings.PUBLISHER_URL = BROKER_URL
    subscriptions.ensure_publisher()
    broker = Subscription.objects.get()
    park(broker, "The broker failed.")

    for path in (LIST, page_of(broker), HOME, url_of(broker, "resume")):
        page = manager.get(path).content.decode()
        assert "Broker" in page
        assert not any(part in page for part in ("s3cret-pw", "rabbit.example.com", "amqp://"))


def test_the_broker_can_be_paused_but_has_no_secret_and_is_not_deleted(
    manager: Client, settings: Any, event: StockEvent
) -> None:
    settings.PUBLISHER_URL = BROKER_URL
    subscriptions.ensure_publisher()
    broker = Subscription.objects.get()

    for name in ("rotate_secret", "send_test", "redeliver", "remove"):
        assert send(manager, broker, name, event=event.pk).status_code == 404
    assert manager.post(page_of(broker), {"url": SHOP}).status_code == 403
    send(manager, broker, "pause")

    broker.refresh_from_db()
    assert (broker.url, broker.state) == ("", "paused")


# ----------------------------------------------------------------------------------------- dialogs


def test_a_webhook_is_paused_and_resumed(manager: Client, webhook: Subscription) -> None:
    assert message_after(manager, webhook, "pause") == f"Paused {SHOP}."
    assert row_of(webhook)["state"] == "paused"

    assert message_after(manager, webhook, "resume") == f"Resumed {SHOP}."
    assert row_of(webhook)["state"] == "active"


def test_a_parked_webhook_goes_on_at_its_cursor(manager: Client, webhook: Subscription) -> None:
    park(webhook, "gone")

    send(manager, webhook, "resume")

    row = row_of(webhook)
    assert (row["state"], row["cursor"]) == ("active", feed.START)
    assert (row["parked_because"], row["failing_since"]) == ("", None)


def test_a_page_offers_what_the_state_allows(manager: Client, webhook: Subscription) -> None:
    page = manager.get(page_of(webhook)).content.decode()
    assert url_of(webhook, "pause") in page
    assert url_of(webhook, "resume") not in page

    send(manager, webhook, "pause")

    page = manager.get(page_of(webhook)).content.decode()
    assert url_of(webhook, "pause") not in page
    assert url_of(webhook, "resume") in page


def test_a_rotated_secret_is_shown_once_and_the_old_one_signs_too(
    manager: Client, webhook: Subscription
) -> None:
    old = webhook.secret
    opening = uuid4().hex

    response = send(manager, webhook, "rotate_secret", opening=opening)
    secret = secret_shown(response)
    again = send(manager, webhook, "rotate_secret", opening=opening)

    webhook.refresh_from_db()
    assert webhook.secrets == [secret, old]
    assert "no-store" in response["Cache-Control"]
    assert secret not in manager.get(again["Location"]).content.decode()
    assert secret not in repr([*LogEntry.objects.values_list()])


@pytest.mark.django_db(transaction=True)
def test_a_webhook_starts_again_from_a_cursor_from_now_and_from_the_beginning(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    stock.add(sku="CUP", amount=1, by=ACTOR)
    first, last = feed.cursor_after(event), feed.latest().cursor

    for fields, cursor in (
        ({"start": "latest"}, last),
        ({"start": "cursor", "after": first}, first),
        ({"start": "start"}, feed.START),
    ):
        send(manager, webhook, "start_again", **fields)
        assert row_of(webhook)["cursor"] == cursor


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"start": "cursor", "after": "7-7"}, "The ledger has no event for this cursor."),
        ({"start": "cursor", "after": "yesterday"}, "The ledger has no event for this cursor."),
        ({"start": "cursor"}, "Enter a cursor."),
        ({"start": "latest", "after": "7-7"}, "Leave this empty"),
        ({}, "This field is required."),
    ],
)
def test_a_wrong_cursor_is_refused(
    manager: Client, webhook: Subscription, fields: dict[str, str], error: str
) -> None:
    response = send(manager, webhook, "start_again", **fields)

    assert error in response.content.decode()
    assert row_of(webhook)["cursor"] == feed.START


def test_the_outcome_of_a_test_is_in_the_message(manager: Client, receiver: Receiver) -> None:
    webhook = subscriptions.create(url=receiver.url, by="tester")

    message = message_after(manager, webhook, "send_test")

    assert re.fullmatch(r"Test: The receiver answered 204 after [\d,]+ ms\.", message)
    [request] = receiver.requests
    assert request.events[0]["type"] == "inventory.test"


def test_a_failed_test_shows_the_error_and_the_answer(manager: Client, receiver: Receiver) -> None:
    receiver.answer = lambda request: Reply(500, body=b"<b>no such tenant</b>")
    webhook = subscriptions.create(url=receiver.url, by="tester")

    response = send(manager, webhook, "send_test")

    page = response.content.decode()
    assert response.status_code == 200
    assert "The receiver answered 500." in page
    assert "&lt;b&gt;no such tenant&lt;/b&gt;" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["send_test", "redeliver"])
def test_no_transaction_is_open_while_a_receiver_is_asked(
    manager: Client, receiver: Receiver, event: StockEvent, name: str
) -> None:
    """Look from the receiver: at the sessions of PostgreSQL, or by a write to SQLite's file."""
    webhook = subscriptions.create(url=receiver.url, by="tester")
    open_transactions: list[int] = []

    def look(request: Received) -> Reply:
        try:
            Subscription.objects.filter(pk=webhook.pk).update(batch=False)
            if connection.vendor == "postgresql":
                open_transactions.append(sessions_in_transaction())
            else:
                open_transactions.append(0)
        finally:
            connection.close()
        return Reply()

    receiver.answer = look

    message = message_after(manager, webhook, name, event=event.pk)

    assert "The receiver answered 204" in message
    assert open_transactions == [0]


def sessions_in_transaction() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
        (number,) = cursor.fetchone()
    return int(number)


def test_an_event_is_redelivered_with_its_id_and_the_cursor_stays(
    manager: Client, receiver: Receiver, event: StockEvent
) -> None:
    webhook = subscriptions.create(url=receiver.url, by="tester")
    before = row_of(webhook)["cursor"]

    asked = manager.get(url_of(webhook, "redeliver"), {"event": event.pk})
    message = message_after(manager, webhook, "redeliver", event=event.pk)

    assert "Created with 5 on hand" in asked.content.decode()
    assert message.startswith("Redelivered “CUP: Created with 5 on hand”.")
    assert [each["id"] for each in receiver.accepted] == [feed.cursor_after(event)]
    assert row_of(webhook)["cursor"] == before


def test_an_event_is_skipped_with_a_reason(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    attempt(webhook, event, status=400, error="The receiver answered 400.")
    park(webhook, "It has failed for 5 days.")
    assert (
        f"{url_of(webhook, 'skip')}?event={event.pk}"
        in manager.get(page_of(webhook)).content.decode()
    )

    message = message_after(manager, webhook, "skip", event=event.pk, reason="unknown SKU")

    row = row_of(webhook)
    assert message == "Skipped “CUP: Created with 5 on hand”."
    assert (row["ahead"], row["state"]) == ([event.pk], "active")
    page = manager.get(page_of(webhook)).content.decode()
    assert "Skipped. unknown SKU (Stock manager Mia)" in page
    assert url_of(webhook, "skip") not in page


def test_a_skip_does_not_resume_a_paused_webhook(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    send(manager, webhook, "pause")

    send(manager, webhook, "skip", event=event.pk, reason="unknown SKU")

    assert (row_of(webhook)["state"], row_of(webhook)["ahead"]) == ("paused", [event.pk])


def test_a_skip_needs_a_reason_and_an_event_that_waits(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    page = send(manager, webhook, "skip", event=event.pk, reason="").content.decode()
    assert "This field is required." in page
    assert send(manager, webhook, "skip", event=event.pk + 7, reason="x").status_code == 404
    assert send(manager, webhook, "skip", reason="x").status_code == 404

    subscriptions.edit(webhook.pk, after=feed.cursor_after(event))
    page = send(manager, webhook, "skip", event=event.pk, reason="x").content.decode()

    assert "was delivered already" in page
    assert not webhook.attempts.exists()


def test_a_deleted_webhook_is_gone_with_its_attempts(
    manager: Client, webhook: Subscription, event: StockEvent
) -> None:
    attempt(webhook, event)
    current = {"HX-Current-URL": f"http://testserver{page_of(webhook)}", "HX-Request": "true"}

    response = manager.post(
        url_of(webhook, "remove"),
        {"_form_submitted": "1", "opening": uuid4().hex},
        headers=current,
    )

    assert response["HX-Redirect"] == LIST
    assert not Subscription.objects.exists()
    assert not DeliveryAttempt.objects.exists()
    assert send(manager, webhook, "remove").status_code == 404
    entry = LogEntry.objects.get()
    assert entry.is_deletion()
    assert entry.object_repr == SHOP


CHANGES = ["pause", "resume", "rotate_secret", "start_again", "skip"]


@pytest.mark.parametrize("name", CHANGES)
def test_a_dialog_sent_twice_changes_once(
    manager: Client, webhook: Subscription, event: StockEvent, name: str
) -> None:
    fields = {**DIALOGS[name], "event": event.pk, "opening": uuid4().hex}
    send(manager, webhook, name, **fields)
    # Changes in between, which the second one would take back.
    Subscription.objects.filter(pk=webhook.pk).update(
        state="parked", cursor=feed.cursor_after(event)
    )
    before = row_of(webhook), webhook.attempts.count(), LogEntry.objects.count()

    message = message_after(manager, webhook, name, **fields)

    assert "already" in message
    assert before == (row_of(webhook), webhook.attempts.count(), LogEntry.objects.count())


@pytest.mark.django_db(transaction=True)
def test_a_secret_is_rotated_once_by_a_dialog_that_is_sent_twice_at_once(
    manager: Client, webhook: Subscription
) -> None:
    opening = uuid4().hex

    responses = at_once([lambda: send(manager, webhook, "rotate_secret", opening=opening)] * 2)

    [secret] = [secret_shown(each) for each in responses if getattr(each, "status_code", 0) == 200]
    assert Subscription.objects.get().secrets == [secret, webhook.secret]


# -------------------------------------------------------------------------------- forged requests


@pytest.mark.parametrize("user_kind", ["anonymous", "Stock viewer", "Stock clerk", "may only view"])
def test_forged_requests_without_the_permission_change_and_send_nothing(
    receiver: Receiver, event: StockEvent, user_kind: str
) -> None:
    webhook = subscriptions.create(url=receiver.url, after=feed.START, by="tester")
    browser = {
        "anonymous": Client,
        "may only view": lambda: browser_of("Vera", "view_subscription"),
    }.get(user_kind, lambda: member_of(user_kind))()
    before = row_of(webhook)
    refused = 302 if user_kind == "anonymous" else 403

    for name, fields in DIALOGS.items():
        response = send(browser, webhook, name, event=event.pk, **fields)
        opened = browser.get(url_of(webhook, name), {"event": event.pk})
        assert (response.status_code, opened.status_code) == (refused, refused), name
    assert add(browser).status_code == refused
    assert browser.post(page_of(webhook), {"url": SHOP}).status_code == refused

    assert row_of(webhook) == before
    assert Subscription.objects.count() == 1
    assert not receiver.requests


def test_the_permission_to_change_does_not_delete(webhook: Subscription) -> None:
    browser = browser_of("Ben", "view_subscription", "change_subscription")

    assert send(browser, webhook, "remove").status_code == 403
    assert send(browser, webhook, "pause").status_code == 302
    assert Subscription.objects.get().state == "paused"


# ---------------------------------------------------------------------------------- the front page


def sections_of(browser: Client) -> dict[str, Any]:
    return {each.title: each.table["rows"] for each in browser.get(HOME).context["sections"]}


def test_the_front_page_shows_parked_and_failing_webhooks(
    manager: Client, webhook: Subscription
) -> None:
    assert "Webhooks to mend" not in sections_of(manager)

    failing = subscriptions.create(url="https://failing.example.com/", by="tester")
    since = timezone.now() - timedelta(hours=2)
    Subscription.objects.filter(pk=failing.pk).update(failing_since=since)
    park(webhook, "gone")

    first, second = sections_of(manager)["Webhooks to mend"]
    assert SHOP in first[0]
    assert (first[1], second[1]) == ("Parked", "Failing")
    assert second[2] == "2\N{NO-BREAK SPACE}hours"


def test_the_front_page_shows_webhooks_only_to_users_who_may_view_them(
    webhook: Subscription,
) -> None:
    park(webhook, "gone")

    page = member_of("Stock clerk").get(HOME).content.decode()

    assert SHOP not in page
    assert "Webhooks" not in page
