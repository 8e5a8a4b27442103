"""Versions of a product: `If-Match`, and the levels at a time in the past."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from products import stock
from products.models import Product, StockEvent
from products.tests.checks import assert_problem, stored
from products.tests.concurrency import at_once
from products.tests.factories import (
    ACTOR,
    ApiKeyFactory,
    ProductFactory,
    product_with_past,
)

pytestmark = pytest.mark.django_db

CHANGES = [
    ("post", "/add", {"amount": 1}),
    ("patch", "/remove", {"amount": 1}),
    ("post", "/reserve", {"amount": 1}),
    ("post", "/release", {"amount": 1}),
    ("post", "/adjust", {"quantity": 3, "reason": "stocktake"}),
    ("patch", "", {"name": "Renamed"}),
]


def send(api: APIClient, method: str, path: str, body: Any, if_match: str) -> Any:
    ask = getattr(api, method)
    return ask(path, body, format="json", headers={"If-Match": if_match})


@pytest.mark.parametrize(("method", "action", "body"), CHANGES)
def test_a_change_is_applied_only_if_the_product_matches(
    api: APIClient, method: str, action: str, body: dict[str, Any]
) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku=product.sku, amount=2, by=ACTOR)
    path = "/v1/products/CUP"
    known = api.get(path)["ETag"]
    stock.edit(sku="CUP", description="changed meanwhile", by=ACTOR)
    before = stored()

    refused = send(api, method, path + action, body, known)
    assert assert_problem(refused, 412, "precondition_failed")["sku"] == "CUP"
    assert stored() == before

    current = api.get(path)["ETag"]
    done = send(api, method, path + action, body, f'"other", {current}')
    assert done.status_code == 200
    assert done["ETag"] not in (known, current)


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        *(("*", 200), ('"1"', 200), ('"7", "1"', 200), ("", 412), ('"2"', 412), ("nonsense", 412)),
        # Proxies that compress a response change its tag. The tag names a state, not bytes.
        *(('W/"1"', 200), ('"1-gzip"', 200), ('"1--gzip"', 200), ('"1;br"', 200)),
        *(('W/"1-br"', 200), ('"1-zstd"', 200), ('W/"2"', 412), ('"2-gzip"', 412)),
        *(('"1-x"', 412), ('"1-gzip-x"', 412), ('"gzip"', 412), ('"0001"', 412)),
    ],
)
def test_if_match_accepts_the_tags_of_this_service_and_of_proxies(
    api: APIClient, if_match: str, status: int
) -> None:
    ProductFactory.create(sku="CUP")

    response = send(api, "post", "/v1/products/CUP/add", {"amount": 1}, if_match)

    assert response.status_code == status


def test_if_match_on_an_unknown_product_is_not_found(api: APIClient) -> None:
    response = send(api, "post", "/v1/products/NOPE/add", {"amount": 1}, "*")

    assert_problem(response, 404, "product_not_found")


def test_if_match_is_checked_before_the_reservation(api: APIClient) -> None:
    body = {"amount": 1, "reservation": 404}

    response = send(api, "post", "/v1/products/NOPE/release", body, "*")

    assert_problem(response, 404, "product_not_found")


@pytest.mark.django_db(transaction=True)
def test_only_one_of_several_changes_with_the_same_if_match_is_applied() -> None:
    ProductFactory.create(sku="CUP", quantity=0)
    credentials = f"Api-Key {ApiKeyFactory.create().text}"

    def client() -> APIClient:
        api = APIClient()
        api.credentials(HTTP_AUTHORIZATION=credentials)
        return api

    known = client().get("/v1/products/CUP")["ETag"]

    def add() -> int:
        path = "/v1/products/CUP/add"
        status: int = send(client(), "post", path, {"amount": 1}, known).status_code
        return status

    assert sorted(map(str, at_once([add] * 8))) == ["200"] + ["412"] * 7
    assert Product.objects.get(sku="CUP").quantity == 1


def test_levels_at_a_time_come_from_the_ledger(api: APIClient) -> None:
    product = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    stock.remove(sku="CUP", amount=1, by=ACTOR)
    events = list(StockEvent.objects.filter(product=product).order_by("version"))

    for event in events:
        # The last of several events at the same time counts.
        last = [one for one in events if one.occurred_at == event.occurred_at][-1]
        response = api.get("/v1/products/CUP", {"as_of": event.occurred_at.isoformat()}).json()
        assert response == {
            "sku": "CUP",
            "as_of": event.occurred_at.isoformat().replace("+00:00", "Z"),
            "quantity": last.quantity,
            "reserved_quantity": last.reserved_quantity,
            "available_quantity": last.available_quantity,
            "version": last.version,
        }


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T09:30:00.000000999Z",  # As Go writes it.
        "2026-11-20T09:30:00.0000009Z",  # As .NET writes it.
        "2026-11-20t09:30:00z",
        "2026-11-20T15:00:00.0+05:30",
    ],
)
def test_times_are_accepted_in_the_forms_of_other_languages(api: APIClient, text: str) -> None:
    time = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    product_with_past("CUP", [(time, 7), (time + timedelta(microseconds=1), 1)])

    response = api.get("/v1/products/CUP", {"as_of": text}).json()

    assert (response["quantity"], response["as_of"]) == (7, "2026-11-20T09:30:00Z")


def test_a_product_is_not_found_before_its_creation(api: APIClient) -> None:
    product = ProductFactory.create(sku="CUP")
    before = (product.created_at - timedelta(seconds=1)).isoformat()

    assert_problem(api.get("/v1/products/CUP", {"as_of": before}), 404, "product_not_found")


def test_a_time_in_the_future_returns_the_current_levels(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=7)

    response = api.get("/v1/products/CUP", {"as_of": "9999-12-31T23:59:59Z"})

    assert response.json()["quantity"] == 7


@pytest.mark.parametrize(
    "as_of",
    [
        "",
        "now",
        "2026-11-20",
        "2026-11-20T09:30:00",
        "2026-11-20T09:30:00 02:00",
        "2026-11-20 09:30:00Z",
        "2026-13-20T09:30:00Z",
        "2026-11-20T25:30:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-11-20T09:30:00Z",
        "2026-11-20T09:30:00Z\0",
    ],
)
def test_an_invalid_time_is_refused(api: APIClient, as_of: str) -> None:
    ProductFactory.create(sku="CUP")

    body = assert_problem(api.get("/v1/products/CUP", {"as_of": as_of}), 400, "invalid")

    assert [error["field"] for error in body["errors"]] == ["as_of"]
