"""`GET /metrics`: the figures of the service, for the holder of `METRICS_TOKEN` alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from products import stock
from products.api.problems import ERROR_CODES
from products.api.urls import router
from products.models import Reservation, Subscription
from products.tests.checks import assert_problem
from products.tests.concurrency import OpenChange, at_once, wait_for_a_lock
from products.tests.factories import ACTOR, ProductFactory
from products.tests.scrape import HEADERS, TOKEN, Scrape, scrape

# Real commits, because the feed contains committed events only.
pytestmark = pytest.mark.django_db(transaction=True)

VIEWS: list[tuple[str, Any, str]] = router.registry
OPERATIONS = {
    f"{basename}.{action}" for _, view, basename in VIEWS for action in view.required_roles
}

on_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time, and no row locks"
)


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


@pytest.fixture
def growth(client: Client) -> Callable[..., float]:
    """Return a function that tells how much a counter has grown since the start of the test."""
    before = scrape(client)

    def grown(name: str, **labels: str) -> float:
        return scrape(client).total(name, **labels) - before.total(name, **labels)

    return grown


# ----------------------------------------------------------------------------------------- requests


def test_requests_are_counted_by_operation_and_outcome(
    api: APIClient, growth: Callable[..., float]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    remove = partial(api.post, "/v1/products/CUP/remove", format="json")
    for _ in range(2):
        assert remove({"amount": 2}, HTTP_IDEMPOTENCY_KEY="order-1").status_code == 200
    assert remove({"amount": 4}).status_code == 409
    assert api.post("/products/CUP/remove", {"amount": 4}, format="json").status_code == 409
    assert api.head("/v1/products/CUP").status_code == 200

    count = partial(growth, "inventory_request_seconds_count")
    assert count(operation="product.remove") == 4
    assert count(operation="product.remove", outcome="ok") == 1
    assert count(operation="product.remove", outcome="replayed") == 1
    assert count(operation="product.remove", outcome="refused") == 2
    assert count(operation="product.retrieve", outcome="ok") == 1
    assert growth("inventory_request_seconds_sum", operation="product.remove") > 0
    assert growth("inventory_request_errors_total", code="insufficient_stock") == 2


def test_requests_that_reach_no_operation_are_counted_together(
    api: APIClient, client: Client, growth: Callable[..., float]
) -> None:
    assert api.put("/v1/products/CUP").status_code == 405
    assert client.get("/v1/nothing").status_code == 404
    assert client.get("/v1/products", headers={"Host": "evil.example"}).status_code == 400
    assert client.generic("POST", "/v1/products", "x" * 1024**2 + "x").status_code == 413
    assert client.get("/admin/").status_code == 302

    count = partial(growth, "inventory_request_seconds_count")
    assert count(operation="other", outcome="refused") == 4
    assert count(operation="back_office", outcome="ok") == 1
    code = partial(growth, "inventory_request_errors_total")
    for expected in ("method_not_allowed", "not_found", "invalid", "request_too_large"):
        assert code(code=expected) == 1


def test_a_request_adds_no_label(api: APIClient, client: Client) -> None:
    for method in ("GET", "FOO", "get", "actions", "X" * 5_000, "OPTIONS", "TRACE", "PROPFIND"):
        for path in (
            "/",
            "/v1/products",
            "/v1/products/A/B",
            "/admin/x",
            "/%00",
            f"/{'x' * 5_000}",
        ):
            api.generic(method, path)
            client.generic(method, path)

    found = scrape(client)

    assert found.labels("operation") <= OPERATIONS | {"back_office", "other"}
    assert found.labels("outcome") <= {"ok", "replayed", "refused", "unavailable", "failed"}
    assert found.labels("code") == set(ERROR_CODES)


def test_a_bug_is_counted_as_failed(
    api: APIClient, growth: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "remove", None)  # A bug, which the view does not expect.
    api.raise_request_exception = False
    assert api.post("/v1/products/CUP/remove", {"amount": 2}, format="json").status_code == 500

    assert growth("inventory_request_seconds_count", outcome="failed") == 1
    assert growth("inventory_request_errors_total", code="internal_error") == 1


# ------------------------------------------------------------------------------------- the database


def test_each_change_measures_how_long_it_waited_for_its_rows(
    api: APIClient, growth: Callable[..., float]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    before = growth("inventory_lock_wait_seconds_count")
    for _ in range(3):
        api.post("/v1/products/CUP/remove", {"amount": 1}, format="json")
    api.get("/v1/products/CUP")

    assert growth("inventory_lock_wait_seconds_count") - before == 3


@on_postgresql
def test_a_change_that_is_tried_again_is_counted(growth: Callable[..., float]) -> None:
    create = partial(stock.create, sku="CUP", name="Cup", by=ACTOR)
    first = OpenChange(create)

    def end_first() -> None:
        wait_for_a_lock()
        first.end()

    refused, _ = at_once([create, end_first])

    assert isinstance(refused, stock.DuplicateSku)
    assert growth("inventory_transaction_retries_total", sqlstate="23505") == 1
    assert growth("inventory_transaction_retries_total") == 1


@on_postgresql
def test_a_session_that_waits_for_a_lock_is_counted(client: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    remove = partial(stock.remove, sku="CUP", amount=1, by=ACTOR)
    first = OpenChange(remove)
    seen: list[float] = []

    def look() -> None:
        wait_for_a_lock()
        seen.append(scrape(client).total("inventory_database_lock_waits"))
        first.end()

    at_once([remove, look])

    assert seen == [1]
    assert scrape(client).total("inventory_database_lock_waits") == 0


def test_events_are_counted(client: Client, growth: Callable[..., float]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    # The sequence of PostgreSQL starts again after each test.
    assert scrape(client).total("inventory_event_ids_total") >= 2
    assert scrape(client).total("inventory_feed_unsettled_events") == 0
    assert scrape(client).total("inventory_feed_held_up_seconds") == 0


@on_postgresql
def test_an_open_transaction_that_holds_up_the_feed_shows(client: Client) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)

    with OpenChange(partial(stock.remove, sku="CUP", amount=1, by=ACTOR)):
        stock.remove(sku="POT", amount=1, by=ACTOR)
        during = scrape(client)
    after = scrape(client)

    assert during.total("inventory_feed_unsettled_events") == 2
    assert during.total("inventory_feed_held_up_seconds") > 0
    assert after.total("inventory_feed_unsettled_events") == 0
    assert after.total("inventory_feed_held_up_seconds") == 0


def test_overdue_reservations_are_counted(client: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    assert scrape(client).total("inventory_overdue_reservations") == 0
    held = [
        stock.reserve(sku="CUP", amount=1, expires_in=seconds, by=ACTOR)
        for seconds in (3_600, 3_600, 7_200)
    ]
    Reservation.objects.filter(pk__in=[each.pk for each in held[:2]]).update(
        expires_at=held[0].created_at
    )

    found = scrape(client)

    assert found.total("inventory_overdue_reservations") == 2
    assert found.total("inventory_overdue_reservation_seconds") > 0


def test_each_subscription_has_its_figures(client: Client) -> None:
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ACTOR)
    fields = {"cursor": "start", "created_by": "tester", "delivered": 7, "failed": 3}
    late = Subscription.objects.create(url="https://a.example/", **fields)
    parked = Subscription.objects.create(
        url="https://b.example/", types=["InventoryRemoved"], state="parked", **fields
    )
    found = scrape(client)

    def values(name: str) -> list[float]:
        metric = f"inventory_subscription_{name}"
        return [found.total(metric, subscription=str(each.pk)) for each in (late, parked)]

    assert values("waiting_events") == [2, 0]
    assert values("oldest_waiting_seconds")[0] > 0
    assert values("oldest_waiting_seconds")[1] == 0
    assert values("parked") == [0, 1]
    assert values("delivered_events_total") == [7, 7]
    assert values("failed_requests_total") == [3, 3]


def test_without_its_tables_the_scrape_has_the_counters(client: Client) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(sql.replace("products_reservation", "missing"), params, many, context)

    with connection.execute_wrapper(refuse):
        found = scrape(client)

    assert found.total("inventory_database_up") == 0
    assert "inventory_event_ids_total" in found.names
    assert "inventory_overdue_reservations" not in found.names
    assert found.total("inventory_request_seconds_count") > 0
    assert scrape(client).total("inventory_database_up") == 1


def test_only_the_first_overdue_reservations_are_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("products.api.metrics.MAX_OVERDUE", 2)
    ProductFactory.create(sku="CUP", quantity=5)
    for _ in range(3):
        held = stock.reserve(sku="CUP", amount=1, expires_in=3_600, by=ACTOR)
    Reservation.objects.update(expires_at=held.created_at)

    assert scrape(client).total("inventory_overdue_reservations") == 2


# ------------------------------------------------------------------------------------------- access


@pytest.mark.parametrize(
    "authorization", [None, "", "secret", "Bearer", "Bearer secre", "Bearer sécret", "bearer x"]
)
def test_others_get_nothing(client: Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    assert_problem(client.get("/metrics", headers=headers), 401, "not_authenticated")


def test_without_a_token_there_are_no_metrics(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert_problem(client.get("/metrics"), 404, "not_found")
    assert_problem(client.get("/metrics", headers={"Authorization": "Bearer "}), 404, "not_found")


def test_metrics_can_only_be_read(client: Client) -> None:
    assert_problem(client.post("/metrics", headers=HEADERS), 405, "method_not_allowed")


def test_prometheus_may_know_only_an_address_and_use_plain_http(
    client: Client, settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/metrics", headers={**HEADERS, "Host": "10.1.2.3:8000"})

    assert response.status_code == 200
    assert "inventory_database_up" in Scrape(response.content.decode()).names
