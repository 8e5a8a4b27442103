"""Several relays, restored databases, parked webhooks, other publishers, and the command."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase
from django.utils import timezone

from products import feed, stock
from products.models import StockEvent, Subscription
from products.publishing import envelopes, parking, subscriptions
from products.publishing.publishers import memory
from products.publishing.relay import Relay
from products.stock import Add
from products.tests.concurrency import OpenChange, at_once
from products.tests.factories import ACTOR, ProductFactory
from products.tests.flush import flush
from products.tests.live import manage
from products.tests.mail import MailServer
from products.tests.publishing.receiver import Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)

Subscribe = Callable[..., Subscription]
Follow = Callable[[], AbstractContextManager[Relay]]


def change(sku: str, times: int) -> None:
    stock.apply([Add(sku=sku, amount=1)] * times, by=ACTOR)


# ------------------------------------------------------------------------------------- many relays


def test_relays_share_subscriptions_without_double_work(subscribe: Subscribe) -> None:
    ProductFactory.create(sku="CUP")
    receivers = [Receiver() for _ in range(6)]
    for each in receivers:
        subscribe(each.__enter__())

    relays = [Relay() for _ in range(4)]
    errors = at_once([partial(relay.run_once, threading.Event()) for relay in relays])

    assert errors == [None] * 4
    assert sum(relay.delivered for relay in relays) == 6
    assert [len(each.requests) for each in receivers] == [1] * 6
    for each in receivers:
        each.__exit__()


def test_one_claim_wins(receiver: Receiver, subscribe: Subscribe) -> None:
    """Eight relays claim one subscription at the same time.

    Fails on PostgreSQL without `select_for_update` in `subscriptions.claim`.
    """
    subscribe(receiver)

    def claim(number: int) -> int:
        claimed = subscriptions.claim(
            lease=f"relay-{number}", seconds=60, limit=4, excluding=(), with_publisher=False
        )
        return len(claimed)

    assert sorted(map(str, at_once([partial(claim, n) for n in range(8)]))) == ["0"] * 7 + ["1"]


def test_a_lease_that_has_ended_can_be_claimed(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    soon = timezone.now() + timedelta(minutes=1)
    Subscription.objects.update(lease="relay of a dead process", lease_until=soon)
    assert publish_once() == 0

    Subscription.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert publish_once() == 1


def test_a_relay_that_has_lost_its_lease_saves_nothing(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    """A user moves the cursor back while a relay waits for an answer."""
    ProductFactory.create(sku="CUP")
    subscription = subscribe(receiver)
    sent, may_answer = threading.Event(), threading.Event()

    def answer(request: Any) -> Reply:
        sent.set()
        assert may_answer.wait(timeout=60)
        return Reply()

    receiver.answer = answer
    relay = threading.Thread(target=publish_once)
    relay.start()
    assert sent.wait(timeout=60)
    subscriptions.edit(subscription.pk, after="start")
    may_answer.set()
    relay.join()

    subscription.refresh_from_db()
    assert (subscription.cursor, subscription.delivered) == ("start", 0)
    assert not subscription.attempts.exists()


def test_an_event_that_commits_late_is_not_missed(
    receiver: Receiver, subscribe: Subscribe, following: Follow
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time, so ids are in the order of commits.")
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="POT")
    subscribe(receiver)
    with following():
        receiver.wait_for_events(2)
        late = OpenChange(lambda: change("CUP", 1))
        change("POT", 1)  # Has a higher id, and commits first.
        late.end()
        receiver.wait_for_events(4)

    assert receiver.versions == {"CUP": [1, 2], "POT": [1, 2]}


def test_no_request_runs_inside_a_transaction(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    """While a receiver answers, no connection of PostgreSQL has a transaction of the relay open."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no list of transactions.")
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    seen = []

    def answer(request: Any) -> Reply:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT query FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                )
                seen.append(cursor.fetchall())
        finally:
            connection.close()
        return Reply()

    receiver.answer = answer
    publish_once()
    assert seen == [[]]


def test_the_relay_sends_no_statement_to_tables_of_stock_but_reads(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    """Its writes touch its own tables only, so they hold no lock that a change of stock needs."""
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql.strip())
        return execute(sql, params, many, context)

    def connected(**options: Any) -> None:
        wrapper: BaseDatabaseWrapper = options["connection"]
        if record not in wrapper.execute_wrappers:
            wrapper.execute_wrappers.append(record)

    connection_created.connect(connected)
    try:
        publish_once()
    finally:
        connection_created.disconnect(connected)
        connection.close()
    writes = [sql for sql in statements if not sql.startswith(("SELECT", "PRAGMA", "SET"))]
    assert writes
    for sql in writes:
        assert (
            "products_subscription" in sql
            or "products_deliveryattempt" in sql
            or (sql.split()[0] in ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))
        ), sql


# ---------------------------------------------------------------------------------------- restores


def test_a_receiver_is_told_of_a_restore_before_anything_else(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    publish_once()
    call_command("publish_events", restored=True)
    last = StockEvent.objects.get()
    change("CUP", 1)
    publish_once()

    _, told, changed = receiver.accepted
    assert told["type"] == "inventory.ledger.restored"
    assert told["data"]["cursor"] == feed.cursor_after(last)
    assert told["data"]["restored_to"] == receiver.accepted[0]["time"]
    assert (changed["subject"], changed["data"]["version"]) == ("CUP", 2)
    change("CUP", 1)
    publish_once()
    assert len(receiver.accepted) == 4  # Told once.


def test_a_receiver_that_fails_is_told_of_the_restore_later_and_first(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int], settings: Any
) -> None:
    settings.WEBHOOK_RETRY_SECONDS = 3600
    ProductFactory.create(sku="CUP")
    subscription = subscribe(receiver)
    call_command("publish_events", restored=True)
    receiver.answer = lambda request: Reply(500)
    for failures in (1, 2):
        Subscription.objects.update(next_attempt_at=None)
        publish_once()
        subscription.refresh_from_db()
        assert subscription.failures == failures
    assert {request.events[0]["type"] for request in receiver.requests} == {envelopes.RESTORED}
    assert len({request.events[0]["id"] for request in receiver.requests}) == 1

    receiver.answer = lambda request: Reply()
    Subscription.objects.update(next_attempt_at=None)
    publish_once()
    types = [event["type"] for event in receiver.accepted]
    assert types == [envelopes.RESTORED, "inventory.product.created"]


def test_a_cursor_whose_event_is_gone_moves_back(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    """The ledger was restored, but not the subscription: it has seen events that are gone."""
    ProductFactory.create(sku="CUP")
    change("CUP", 1)
    second = StockEvent.objects.latest("pk")
    gone = feed.cursor_after(second).replace("-", "0-")
    subscribe(receiver)
    Subscription.objects.update(cursor=gone, ahead=[second.pk * 10 + 1])
    publish_once()
    publish_once()

    told, *_ = receiver.accepted
    assert told["type"] == "inventory.ledger.restored"
    subscription = Subscription.objects.get()
    assert (subscription.cursor, subscription.ahead) == (feed.cursor_after(second), [])


def test_a_running_relay_notices_a_restore(
    receiver: Receiver, subscribe: Subscribe, following: Follow
) -> None:
    """The database is replaced by an earlier state, with the subscription, while a relay runs."""
    ProductFactory.create(sku="CUP")
    change("CUP", 5)
    subscription = subscribe(receiver)
    earlier = subscription.cursor
    with following():
        receiver.wait_for_events(6)
        with transaction.atomic():
            flush(TransactionTestCase(), [])
            subscription.cursor = earlier
            subscription.lease, subscription.lease_until = "", None
            subscription.save(force_insert=True)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT setval('products_stockevent_id_seq', 1, false)")
        receiver.wait_for_events(7)
        ProductFactory.create(sku="CUP")
        receiver.wait_for_events(8)

    *_, told, created = receiver.accepted
    assert told["type"] == "inventory.ledger.restored"
    assert (created["type"], created["data"]["version"]) == ("inventory.product.created", 1)


# ----------------------------------------------------------------------------------------- parking


@pytest.fixture
def mail_server(settings: Any) -> Iterator[MailServer]:
    server = MailServer()
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.SENDS_EMAIL, settings.ALERT_EMAILS = True, ["shop@example.com"]
    yield server
    server.shutdown()
    server.server_close()


def park(receiver: Receiver, publish_once: Callable[[], int]) -> None:
    receiver.answer = lambda request: Reply(410)
    publish_once()


def test_a_parked_webhook_is_reported_by_e_mail_once(
    receiver: Receiver,
    subscribe: Subscribe,
    publish_once: Callable[[], int],
    mail_server: MailServer,
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    park(receiver, publish_once)
    parking.report()

    [mail] = mail_server.taken
    assert receiver.url in str(mail["Subject"])
    assert "410" in mail.get_content()


def test_a_refused_e_mail_is_sent_later(
    receiver: Receiver,
    subscribe: Subscribe,
    publish_once: Callable[[], int],
    mail_server: MailServer,
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    mail_server.answers["DATA"] = "451 Try later"
    park(receiver, publish_once)
    assert mail_server.taken == []

    del mail_server.answers["DATA"]
    parking.report()
    assert len(mail_server.taken) == 1


def test_parking_works_without_a_mail_server(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int], caplog: Any
) -> None:
    ProductFactory.create(sku="CUP")
    subscribe(receiver)
    park(receiver, publish_once)

    assert Subscription.objects.parked().exists()
    assert "a webhook is parked" in caplog.text


# ------------------------------------------------------------------------------- other publishers


def test_the_memory_gets_all_events(settings: Any, publish_once: Callable[[], int]) -> None:
    settings.PUBLISHER_URL = "memory:"
    memory.published.clear()
    ProductFactory.create(sku="CUP")
    publish_once()
    assert memory.published == []  # It starts with the next event.
    change("CUP", 3)
    publish_once()

    assert [envelope.subject for envelope in memory.published] == ["CUP"] * 3
    assert Subscription.objects.webhooks().count() == 0


def test_the_log_gets_all_events(
    settings: Any, publish_once: Callable[[], int], caplog: Any
) -> None:
    settings.PUBLISHER_URL = "log:"
    publish_once()
    ProductFactory.create(sku="CUP")
    caplog.set_level("INFO")
    publish_once()

    [line] = [record for record in caplog.records if record.message == "event"]
    assert '"subject":"CUP"' in line.event


# ------------------------------------------------------------------------------------- the command


def test_the_command_replays_and_skips(
    receiver: Receiver, subscribe: Subscribe, publish_once: Callable[[], int]
) -> None:
    ProductFactory.create(sku="CUP")
    change("CUP", 1)
    webhook = subscribe(receiver).pk
    publish_once()
    call_command("publish_events", webhook=webhook, replay_from="start")
    first = StockEvent.objects.order_by("pk").first()
    assert first is not None
    call_command("publish_events", webhook=webhook, skip=first.pk, reason="too old")
    publish_once()

    assert [int(event["sequence"]) for event in receiver.accepted] == [1, 2, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": 1}, "--skip needs a --reason"),
        ({"skip": 1, "reason": "x"}, "Name a webhook"),
        ({"skip": 1, "reason": "x", "webhook": 99}, "Name a webhook"),
        ({"replay_from": "start", "broker": True}, "Name a webhook"),
    ],
)
def test_the_command_refuses_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message) as refusal:
        call_command("publish_events", **options)
    assert refusal.value.returncode == 2


def test_the_command_refuses_an_unknown_cursor(receiver: Receiver, subscribe: Subscribe) -> None:
    webhook = subscribe(receiver).pk
    with pytest.raises(CommandError, match="The ledger has no event for this cursor") as refusal:
        call_command("publish_events", webhook=webhook, replay_from="1-1")
    assert refusal.value.returncode == 1


@pytest.mark.slow
def test_the_command_runs_once() -> None:
    result = manage("publish_events")
    assert (result.returncode, result.stdout) == (0, "0 events delivered.\n")
