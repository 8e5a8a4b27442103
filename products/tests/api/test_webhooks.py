"""Webhooks by the API: roles, secrets, strict input, tests and figures."""

import json
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient
from standardwebhooks.webhooks import Webhook

from products import feed, stock
from products.api.serializers import DeliveryOutcomeSerializer, WebhookSerializer
from products.models import (
    ATTEMPTS_KEPT,
    DeliveryAttempt,
    IdempotencyKey,
    Role,
    StockEvent,
    Subscription,
)
from products.publishing import figures, subscriptions
from products.publishing.relay import Relay
from products.publishing.webhooks import WebhookPublisher
from products.stock import Add
from products.tests.checks import assert_problem
from products.tests.factories import ACTOR, ProductFactory
from products.tests.publishing.receiver import Received, Receiver, Reply

# The feed shows events once they are committed.
pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://shop.example.com/stock-events"
LIST = "/v1/webhooks"
FIELDS = [
    *("id", "url", "types", "sku_prefix", "batch", "format_version", "state", "parked_because"),
    *("cursor", "waiting", "waiting_is_exact", "waiting_since", "failing_since"),
    *("next_attempt_at", "delivered", "failed", "delivered_at", "created_at", "created_by"),
]
ATTEMPT_FIELDS = [
    *("id", "event", "event_count", "started_at", "milliseconds", "delivered", "status", "error"),
]


@pytest.fixture(autouse=True)
def _this_machine(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    settings.WEBHOOK_RETRY_SECONDS = 0.02


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def create(api: APIClient, **fields: Any) -> dict[str, Any]:
    response = api.post(LIST, {"url": URL, **fields}, format="json")
    assert response.status_code == 201, response.json()
    created: dict[str, Any] = response.json()
    return created


def path_of(webhook: dict[str, Any], action: str = "") -> str:
    return f"{LIST}/{webhook['id']}{action}"


def rows() -> list[tuple[Any, ...]]:
    return list(Subscription.objects.order_by("pk").values_list())


def change(sku: str, times: int) -> None:
    stock.apply([Add(sku=sku, amount=1)] * times, by=ACTOR)


# ------------------------------------------------------------------------------------- create, read


def test_a_new_webhook_shows_its_secret_once(api: APIClient) -> None:
    response = api.post(LIST, {"url": URL}, format="json")

    created = response.json()
    assert response.status_code == 201
    assert response["Location"] == f"/v1/webhooks/{created['id']}"
    assert list(created) == [*FIELDS, "secret"]
    assert created["secret"].startswith("whsec_")
    assert created["secret"] == Subscription.objects.get().secret
    assert (created["types"], created["sku_prefix"], created["batch"]) == ([], "", False)
    assert (created["state"], created["format_version"]) == ("active", 1)
    assert created["created_by"]

    one = api.get(response["Location"])
    assert one.json() == {name: created[name] for name in FIELDS}
    [listed] = api.get(LIST).json()["results"]
    assert listed == one.json()


def test_the_document_has_the_fields_of_the_responses() -> None:
    assert list(WebhookSerializer().fields) == FIELDS
    assert list(DeliveryOutcomeSerializer().fields) == ATTEMPT_FIELDS


def test_a_new_webhook_has_the_fields_that_were_sent(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    types = ["LowStockDetected", "InventoryAdded"]

    created = create(api, types=types, sku_prefix="CUP-", batch=True, after="start")

    assert sorted(created["types"]) == sorted(types)
    assert (created["sku_prefix"], created["batch"], created["cursor"]) == ("CUP-", True, "start")


def test_a_new_webhook_starts_with_the_next_event(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")

    created = create(api)

    assert created["cursor"] == feed.latest().cursor
    assert (created["waiting"], created["waiting_since"]) == (0, None)


def test_an_idempotency_key_does_not_store_the_secret(api: APIClient) -> None:
    for _ in range(2):
        response = api.post(
            LIST, {"url": URL}, format="json", headers={"Idempotency-Key": "webhook-1"}
        )
        assert response.status_code == 201
        assert "Idempotent-Replayed" not in response

    assert Subscription.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


def test_the_list_has_pages_with_the_newest_first(api: APIClient) -> None:
    ids = [create(api)["id"] for _ in range(3)]

    first = api.get(f"{LIST}?page_size=2").json()
    second = api.get(first["next"]).json()

    assert [each["id"] for each in first["results"] + second["results"]] == ids[::-1]
    assert second["next"] is None
    assert api.get(second["previous"]).json()["results"] == first["results"]


def test_there_are_at_most_a_hundred_webhooks(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions.ensure_publisher()
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 2)
    create(api)
    create(api)

    problem = assert_problem(api.post(LIST, {"url": URL}, format="json"), 409, "too_many_webhooks")

    assert "Delete one first." in problem["detail"]
    assert Subscription.objects.webhooks().count() == 2


def test_the_aliases_without_v1_manage_webhooks_too(api: APIClient) -> None:
    created = api.post("/webhooks", {"url": URL}, format="json")

    assert created["Location"] == f"/v1/webhooks/{created.json()['id']}"
    assert api.get(f"/webhooks/{created.json()['id']}").status_code == 200
    assert api.delete(f"/webhooks/{created.json()['id']}").status_code == 204


# -------------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize("role", [Role.READ, Role.OPERATE, Role.COUNT])
def test_only_the_role_manage_sees_webhooks(
    api: APIClient, client_as: Callable[[Role], APIClient], role: Role, receiver: Receiver
) -> None:
    webhook = create(api, url=receiver.url)
    before = rows()
    other = client_as(role)

    for method, path in [
        *(("GET", LIST), ("POST", LIST)),
        *((method, path_of(webhook)) for method in ("GET", "PATCH", "DELETE")),
        *(("POST", path_of(webhook, action)) for action in ("/test", "/redeliver", "/rotate")),
        ("GET", path_of(webhook, "/attempts")),
    ]:
        response = other.generic(method, path, "{}", content_type="application/json")

        problem = assert_problem(response, 403, "permission_denied")
        assert problem["detail"] == "This needs an API key with the role manage."
    assert rows() == before
    assert receiver.requests == []


def test_the_broker_of_the_settings_is_no_webhook(api: APIClient) -> None:
    subscriptions.ensure_publisher()
    broker = Subscription.objects.get(url="")
    before = rows()

    assert api.get(LIST).json()["results"] == []
    for method, action, body in [
        *(("GET", "", None), ("PATCH", "", {"state": "paused"}), ("DELETE", "", None)),
        *(("POST", "/test", None), ("POST", "/redeliver", {"event": 1})),
        *(("POST", "/rotate", None), ("GET", "/attempts", None)),
    ]:
        response = api.generic(
            method,
            f"{LIST}/{broker.pk}{action}",
            json.dumps(body) if body else "",
            content_type="application/json",
        )
        assert_problem(response, 404, "webhook_not_found")
    assert rows() == before


@pytest.mark.parametrize("number", ["1", "0", str(2**63), "9" * 100])
def test_an_unknown_webhook_is_not_found(api: APIClient, number: str) -> None:
    problem = assert_problem(api.get(f"{LIST}/{number}"), 404, "webhook_not_found")

    assert problem["detail"] == f"Webhook {number} does not exist."


# ---------------------------------------------------------------------------------------- bad input

WRONG: list[tuple[str, list[Any]]] = [
    ("url", [None, 5, "", "shop.example.com", "ftp://shop.example.com/", "https://"]),
    ("url", ["https://user@shop.example.com/", "https://shop.example.com/#x", "https://a b/"]),
    ("url", ["http://shop.example.com:0/", "https://10.0.0.1/", "https://169.254.169.254/"]),
    ("url", [f"https://shop.example.com/{'x' * 2_000}", "https://shop.example.com/\0"]),
    ("types", [None, "InventoryAdded", {}, ["InventoryAdded", "InventoryAdded"]]),
    ("types.1", [["InventoryAdded", "inventory.added"], ["InventoryAdded", 5]]),
    ("types.0", [[None], [[]], [{}], [True]]),
    ("sku_prefix", [None, 5, "-CUP", "CUP%", "ÄCUP", "x" * 51, "CUP\0"]),
    ("batch", [None, 1, "true", []]),
    ("after", [None, 5, "", "nope", "0", "1-1", "start ", "x" * 41, "1-2\0"]),
    ("secret", ["whsec_x"]),
    ("format_version", [1]),
    ("cursor", ["start"]),
]


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG for value in values]
)
def test_a_wrong_value_is_refused_with_its_field(api: APIClient, field: str, value: Any) -> None:
    webhook = create(api)
    before = rows()
    name = field.partition(".")[0]

    for method, path in [("POST", LIST), ("PATCH", path_of(webhook))]:
        body = json.dumps({"url": URL, name: value})
        response = api.generic(method, path, body, content_type="application/json")

        problem = assert_problem(response, 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field]
    assert rows() == before


def test_all_wrong_fields_are_named_at_once(api: APIClient) -> None:
    body = {"url": "http://", "types": ["x"], "sku_prefix": "-", "batch": 1, "state": "active"}

    problem = assert_problem(api.post(LIST, body, format="json"), 400, "invalid")

    named = {error["field"] for error in problem["errors"]}
    assert named == {"url", "types.0", "sku_prefix", "batch", "state"}


def test_the_url_is_required(api: APIClient) -> None:
    problem = assert_problem(api.post(LIST, {}, format="json"), 400, "invalid")

    assert [(each["field"], each["code"]) for each in problem["errors"]] == [("url", "required")]


@pytest.mark.parametrize("state", ["parked", "Active", "", None, 1])
def test_a_user_can_only_pause_and_resume(api: APIClient, state: Any) -> None:
    webhook = create(api)

    response = api.patch(path_of(webhook), {"state": state}, format="json")

    [error] = assert_problem(response, 400, "invalid")["errors"]
    assert error["field"] == "state"
    assert Subscription.objects.get().state == "active"


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        *(("/test", {"x": 1}, "x"), ("/rotate", {"secret": "x"}, "secret")),
        *(("/redeliver", {}, "event"), ("/redeliver", {"event": "1"}, "event")),
        *(("/redeliver", {"event": 0}, "event"), ("/redeliver", {"event": 2**63}, "event")),
    ],
)
def test_actions_refuse_what_they_do_not_know(
    api: APIClient, receiver: Receiver, action: str, body: Any, field: str
) -> None:
    webhook = create(api, url=receiver.url)
    before = rows()

    response = api.post(path_of(webhook, action), body, format="json")

    [error] = assert_problem(response, 400, "invalid")["errors"]
    assert error["field"] == field
    assert rows() == before
    assert receiver.requests == []


@pytest.mark.parametrize(
    "query", ["x=1", "state=active", "page_size=0", "cursor=x", "cursor=a&cursor=b"]
)
@pytest.mark.parametrize("action", ["list", "/attempts"])
def test_a_wrong_query_is_refused(api: APIClient, query: str, action: str) -> None:
    path = LIST if action == "list" else path_of(create(api), action)

    assert_problem(api.get(f"{path}?{query}"), 400, "invalid")


# ------------------------------------------------------------------------------------ edit, delete


def test_a_webhook_is_paused_and_resumed(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)
    ProductFactory.create(sku="CUP")

    paused = api.patch(path_of(webhook), {"state": "paused"}, format="json").json()
    deliver()
    assert (paused["state"], receiver.requests) == ("paused", [])
    assert paused["waiting"] == 1

    resumed = api.patch(path_of(webhook), {"state": "active"}, format="json").json()
    deliver()
    assert resumed["state"] == "active"
    assert [event["subject"] for event in receiver.accepted] == ["CUP"]
    now = api.get(path_of(webhook)).json()
    assert (now["waiting"], now["delivered"], now["failed"]) == (0, 1, 0)
    assert now["delivered_at"] is not None


def deliver() -> None:
    Relay().run_once(threading.Event())


def test_an_edit_changes_only_what_it_names(api: APIClient) -> None:
    webhook = create(api, types=["InventoryAdded"], sku_prefix="CUP", batch=True)
    secret = webhook.pop("secret")
    changes = {"url": "https://other.example.com/", "types": [], "sku_prefix": "", "batch": False}

    for name, value in changes.items():
        edited = api.patch(path_of(webhook), {name: value}, format="json").json()

        assert edited == {**webhook, name: value}
        webhook = edited
    assert Subscription.objects.get().secret == secret


def test_a_webhook_can_start_again_at_a_cursor(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)
    ProductFactory.create(sku="CUP")
    deliver()

    edited = api.patch(path_of(webhook), {"after": "start"}, format="json").json()
    deliver()

    assert (edited["cursor"], edited["waiting"]) == ("start", 1)
    first, second = receiver.accepted
    assert first["id"] == second["id"]


def test_a_parked_webhook_says_why_and_goes_on_when_it_is_resumed(
    api: APIClient, receiver: Receiver
) -> None:
    receiver.answer = lambda request: Reply(410)
    webhook = create(api, url=receiver.url)
    ProductFactory.create(sku="CUP")
    deliver()

    parked = api.get(path_of(webhook)).json()
    assert (parked["state"], parked["failed"]) == ("parked", 1)
    assert "410" in parked["parked_because"]
    assert parked["failing_since"] is not None

    paused = api.patch(path_of(webhook), {"state": "paused"}, format="json").json()
    assert (paused["state"], paused["parked_because"]) == ("paused", "")
    receiver.answer = lambda request: Reply()
    resumed = api.patch(path_of(webhook), {"state": "active"}, format="json").json()
    assert (resumed["state"], resumed["failing_since"]) == ("active", None)
    deliver()
    assert len(receiver.accepted) == 1


def test_a_deleted_webhook_is_gone(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)
    api.post(path_of(webhook, "/test"))

    response = api.delete(path_of(webhook))

    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response
    assert_problem(api.get(path_of(webhook)), 404, "webhook_not_found")
    assert_problem(api.delete(path_of(webhook)), 404, "webhook_not_found")
    assert not DeliveryAttempt.objects.exists()


def test_a_rotation_shows_a_new_secret_and_both_sign(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)

    response = api.post(path_of(webhook, "/rotate"))

    rotated = response.json()
    assert (response.status_code, list(rotated)) == (200, [*FIELDS, "secret"])
    assert rotated["secret"] != webhook["secret"]
    api.post(path_of(webhook, "/test"))
    [request] = receiver.requests
    for secret in (webhook["secret"], rotated["secret"]):
        Webhook(secret).verify(request.body.decode(), request.headers)
    assert "secret" not in api.get(path_of(webhook)).json()


# --------------------------------------------------------------------------------- test, redeliver


def test_a_test_reports_an_accepted_request(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)

    response = api.post(path_of(webhook, "/test"), {}, format="json")

    outcome = response.json()
    assert (response.status_code, list(outcome)) == (200, ATTEMPT_FIELDS)
    assert (outcome["delivered"], outcome["status"], outcome["error"]) == (True, 204, "")
    assert outcome["milliseconds"] >= 0
    [request] = receiver.requests
    assert request.events[0]["type"] == "inventory.test"
    attempts = api.get(path_of(webhook, "/attempts")).json()["results"]
    assert attempts == [{**outcome, "answer": ""}]


@pytest.mark.parametrize("status", [200, 302, 404, 410, 500])
def test_an_outcome_has_nothing_of_the_answer_of_the_receiver(
    api: APIClient, receiver: Receiver, status: int
) -> None:
    headers = {"Location": "http://127.0.0.1/inside", "Retry-After": "77"}
    receiver.answer = lambda request: Reply(status, headers, b"inside: root:x:0:0")
    webhook = create(api, url=receiver.url)

    response = api.post(path_of(webhook, "/test"))

    outcome = response.json()
    assert (outcome["delivered"], outcome["status"]) == (status == 200, status)
    assert bool(outcome["error"]) == (status != 200)
    assert "inside" not in response.content.decode()
    [attempt] = api.get(path_of(webhook, "/attempts")).json()["results"]
    # A redirect may lead to the inside, so its answer is not kept.
    assert attempt["answer"] == ("" if status == 302 else "inside: root:x:0:0")
    assert api.get(path_of(webhook)).json()["state"] == "active"


def test_a_receiver_that_cannot_be_reached_is_an_outcome(api: APIClient) -> None:
    with Receiver() as gone:
        webhook = create(api, url=gone.url)

    outcome = api.post(path_of(webhook, "/test")).json()

    assert (outcome["delivered"], outcome["status"]) == (False, None)
    assert outcome["error"] == "No connection to the receiver, or it closed the connection."


def test_no_request_goes_to_the_inside(api: APIClient, receiver: Receiver, settings: Any) -> None:
    webhook = create(api, url=receiver.url)
    settings.WEBHOOK_ALLOWED_NETWORKS = []

    outcome = api.post(path_of(webhook, "/test")).json()

    assert (outcome["delivered"], outcome["status"]) == (False, None)
    assert "WEBHOOK_ALLOWED_NETWORKS" in outcome["error"]
    assert receiver.requests == []


def test_one_event_is_sent_again_with_the_same_id(api: APIClient, receiver: Receiver) -> None:
    ProductFactory.create(sku="CUP")
    webhook = create(api, url=receiver.url, after="start")
    deliver()
    before = api.get(path_of(webhook)).json()
    event = StockEvent.objects.get()

    outcome = api.post(path_of(webhook, "/redeliver"), {"event": event.pk}, format="json").json()

    assert (outcome["delivered"], outcome["event"]) == (True, feed.cursor_after(event))
    first, second = receiver.accepted
    assert first == second
    assert api.get(path_of(webhook)).json() == before


def test_an_event_that_the_ledger_lacks_cannot_be_sent(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)

    response = api.post(path_of(webhook, "/redeliver"), {"event": 1}, format="json")

    assert_problem(response, 404, "event_not_found")
    assert receiver.requests == []


@pytest.mark.parametrize("fields", [{"types": ["InventoryAdded"]}, {"sku_prefix": "cup"}])
def test_an_event_that_the_webhook_leaves_out_cannot_be_sent(
    api: APIClient, receiver: Receiver, fields: dict[str, Any]
) -> None:
    ProductFactory.create(sku="CUP")
    webhook = create(api, url=receiver.url, **fields)
    event = StockEvent.objects.get()

    response = api.post(path_of(webhook, "/redeliver"), {"event": event.pk}, format="json")

    [error] = assert_problem(response, 400, "invalid")["errors"]
    assert error["field"] == "event"
    assert receiver.requests == []


def test_only_one_request_to_a_receiver_runs_at_a_time(
    api: APIClient, client_as: Callable[[Role], APIClient], receiver: Receiver
) -> None:
    arrived, may_end = threading.Event(), threading.Event()

    def answer(request: Received) -> Reply:
        arrived.set()
        may_end.wait(timeout=60)
        return Reply()

    receiver.answer = answer
    webhook = create(api, url=receiver.url)
    other = client_as(Role.MANAGE)
    # The test client would raise the exception of a 503 in both threads.
    api.raise_request_exception = other.raise_request_exception = False
    outcomes: list[Any] = []

    def test() -> None:
        try:
            outcomes.append(api.post(path_of(webhook, "/test")).json())
        finally:
            connection.close()

    waiting = threading.Thread(target=test)
    waiting.start()
    try:
        assert arrived.wait(timeout=60)
        busy = other.post(path_of(webhook, "/test"))
    finally:
        may_end.set()
        waiting.join()

    problem = assert_problem(busy, 503, "busy")
    assert (busy["Retry-After"], len(receiver.requests)) == ("1", 1)
    assert problem["detail"] == "Another request to a receiver is running. Try again."
    assert outcomes[0]["delivered"]
    assert other.post(path_of(webhook, "/test")).json()["delivered"]


def test_the_request_runs_in_no_transaction(
    api: APIClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = create(api, url=receiver.url)
    in_transaction: list[bool] = []
    publish = WebhookPublisher.publish

    def noting(publisher: WebhookPublisher, envelopes: Any) -> Any:
        in_transaction.append(connection.in_atomic_block)
        return publish(publisher, envelopes)

    monkeypatch.setattr(WebhookPublisher, "publish", noting)

    assert api.post(path_of(webhook, "/test")).json()["delivered"]
    assert in_transaction == [False]


def test_a_webhook_that_is_deleted_during_its_test_is_not_found(
    api: APIClient, receiver: Receiver
) -> None:
    webhook = create(api, url=receiver.url)

    def answer(request: Received) -> Reply:
        try:
            Subscription.objects.all().delete()
        finally:
            connection.close()
        return Reply()

    receiver.answer = answer

    assert_problem(api.post(path_of(webhook, "/test")), 404, "webhook_not_found")


# ----------------------------------------------------------------------------------------- attempts


def test_the_last_attempts_are_kept_newest_first(api: APIClient, receiver: Receiver) -> None:
    webhook = create(api, url=receiver.url)
    subscription = Subscription.objects.get()
    old = DeliveryAttempt(
        subscription=subscription,
        event_id="1-1",
        event_count=1,
        started_at=subscription.created_at,
        milliseconds=5,
        status=500,
        error="The receiver answered 500.",
    )
    DeliveryAttempt.objects.bulk_create([old] * (ATTEMPTS_KEPT + 5))

    newest = api.post(path_of(webhook, "/test")).json()

    first = api.get(path_of(webhook, "/attempts?page_size=150")).json()
    second = api.get(first["next"]).json()
    attempts = first["results"] + second["results"]
    assert (len(attempts), second["next"]) == (ATTEMPTS_KEPT, None)
    assert attempts[0] == {**newest, "answer": ""}
    assert attempts[1]["error"] == "The receiver answered 500."


def test_attempts_of_the_relay_are_shown(api: APIClient, receiver: Receiver) -> None:
    ProductFactory.create(sku="CUP")
    webhook = create(api, url=receiver.url, after="start", batch=True)
    change("CUP", 2)

    deliver()

    [attempt] = api.get(path_of(webhook, "/attempts")).json()["results"]
    first = StockEvent.objects.order_by("pk")[0]
    assert (attempt["event"], attempt["event_count"]) == (feed.cursor_after(first), 3)
    assert (attempt["delivered"], attempt["status"]) == (True, 204)


# ------------------------------------------------------------------------------------------ waiting


def test_only_the_events_that_the_receiver_wants_are_waiting(api: APIClient) -> None:
    for sku in ("CUP-1", "CUP-2", "CUP3", "PLATE"):
        ProductFactory.create(sku=sku)
        change(sku, 2)
    added = create(api, after="start", types=["InventoryAdded"], sku_prefix="CUP-")
    oldest = StockEvent.objects.filter(type="InventoryAdded").order_by("pk")[0]

    assert (added["waiting"], added["waiting_is_exact"]) == (4, True)
    assert added["waiting_since"] == api.get("/v1/events").json()["results"][1]["occurred_at"]

    Subscription.objects.update(ahead=[oldest.pk])
    assert api.get(path_of(added)).json()["waiting"] == 3


def test_waiting_events_are_counted_up_to_a_limit(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MAX_WAITING", 3)
    ProductFactory.create(sku="CUP")
    change("CUP", 2)
    webhook = create(api, after="start")
    assert (webhook["waiting"], webhook["waiting_is_exact"]) == (3, True)

    change("CUP", 1)

    now = api.get(path_of(webhook)).json()
    assert (now["waiting"], now["waiting_is_exact"]) == (3, False)


def test_waiting_events_are_looked_for_up_to_a_limit(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "SCANNED", 3)
    ProductFactory.create(sku="CUP")
    change("CUP", 10)

    webhook = create(api, after="start", sku_prefix="PLATE")

    assert (webhook["waiting"], webhook["waiting_is_exact"]) == (0, False)
    assert webhook["waiting_since"] is None
