"""`GET /metrics`: the figures of subscriptions, for the holder of `METRICS_TOKEN` alone."""

from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from products import stock
from products.models import Subscription
from products.tests.checks import assert_problem
from products.tests.factories import ACTOR, ProductFactory

# Real commits, because the feed contains committed events only.
pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = {"Authorization": "Bearer secret"}


def scrape(client: Client) -> dict[str, dict[str, float]]:
    """Return the values of each figure by subscription."""
    response = client.get("/metrics", headers=TOKEN)
    assert response.status_code == 200
    return {
        family.name: {sample.labels["subscription"]: sample.value for sample in family.samples}
        for family in text_string_to_metric_families(response.content.decode())
    }


def test_each_subscription_has_its_figures(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "secret"
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ACTOR)
    fields = {"cursor": "start", "created_by": "tester", "delivered": 7, "failed": 3}
    late = Subscription.objects.create(url="https://a.example/", **fields)
    parked = Subscription.objects.create(
        url="https://b.example/", types=["InventoryRemoved"], state="parked", **fields
    )
    found = scrape(client)

    first, second = str(late.pk), str(parked.pk)
    prefix = "inventory_subscription"
    assert found[f"{prefix}_waiting_events"] == {first: 2, second: 0}
    assert found[f"{prefix}_oldest_waiting_seconds"][first] > 0
    assert found[f"{prefix}_oldest_waiting_seconds"][second] == 0
    assert found[f"{prefix}_parked"] == {first: 0, second: 1}
    assert found[f"{prefix}_delivered_events"] == {first: 7, second: 7}
    assert found[f"{prefix}_failed_requests"] == {first: 3, second: 3}


@pytest.mark.parametrize(
    "authorization", [None, "", "secret", "Bearer", "Bearer secre", "Bearer sécret", "bearer x"]
)
def test_others_get_nothing(client: Client, settings: Any, authorization: str | None) -> None:
    settings.METRICS_TOKEN = "secret"
    headers = {} if authorization is None else {"Authorization": authorization}

    assert_problem(client.get("/metrics", headers=headers), 401, "not_authenticated")


def test_without_a_token_there_are_no_metrics(client: Client) -> None:
    assert_problem(client.get("/metrics"), 404, "not_found")
    assert_problem(client.get("/metrics", headers={"Authorization": "Bearer "}), 404, "not_found")


def test_metrics_can_only_be_read(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "secret"
    assert_problem(client.post("/metrics", headers=TOKEN), 405, "method_not_allowed")
