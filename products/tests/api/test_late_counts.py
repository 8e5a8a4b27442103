"""`counted_at` of an adjust."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from products import stock
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, at

pytestmark = pytest.mark.django_db

EVENING = datetime(2026, 11, 20, 18, tzinfo=UTC)
MOMENT = "2026-11-20T18:00:00Z"
ADJUST = "/v1/products/CUP/adjust"
LATE = {"quantity": 8, "reason": "stocktake", "counted_at": MOMENT}


@pytest.fixture(autouse=True)
def _products() -> None:
    """Create products with 9 on hand in the evening, and 7 now."""
    for sku in ("CUP", "MUG", "POT"):
        stock.create(sku=sku, name=sku, quantity=9, by=at(EVENING - timedelta(days=1)))
        stock.remove(sku=sku, amount=2, by=at(EVENING + timedelta(minutes=1)))


def adjust(api: APIClient, **fields: Any) -> Any:
    return api.post(ADJUST, {**LATE, **fields}, format="json")


def apply(api: APIClient, *operations: dict[str, Any]) -> Any:
    return api.post("/v1/operations", {"operations": operations}, format="json")


def line(sku: str, **fields: Any) -> dict[str, Any]:
    return {"operation": "adjust", "sku": sku, **LATE, **fields}


def test_an_adjust_applies_the_difference_and_its_event_keeps_the_moment(api: APIClient) -> None:
    response = adjust(api, counted_at="2026-11-20T19:00:00+01:00")

    assert (response.status_code, response.json()["quantity"]) == (200, 6)
    event = api.get("/v1/products/CUP/events").json()["results"][0]
    assert (event["type"], event["quantity_change"]) == ("InventoryAdjusted", -1)
    assert event["details"] == {"counted_at": MOMENT}


def test_operations_apply_late_and_other_counts(api: APIClient) -> None:
    response = apply(
        api,
        line("CUP"),
        {"operation": "add", "sku": "CUP", "amount": 1},
        {"operation": "adjust", "sku": "MUG", "quantity": 8, "reason": "stocktake"},
        line("POT", counted_at="2026-11-20T18:01:00.000Z"),
    )

    assert response.status_code == 200
    assert [row["quantity"] for row in response.json()["results"]] == [7, 7, 8, 8]


def test_a_second_late_count_is_refused(api: APIClient) -> None:
    adjust(api)

    body = assert_problem(adjust(api), 409, "quantity_changed")

    assert (body["sku"], body["available"]) == ("CUP", 6)
    assert body["detail"].startswith("CUP was counted again at 20")


def test_an_idempotency_key_returns_the_first_response(api: APIClient) -> None:
    first, second = (
        api.post(ADJUST, LATE, format="json", headers={"Idempotency-Key": "count-1"})
        for _ in range(2)
    )
    other = api.post(
        ADJUST,
        {**LATE, "counted_at": "2026-11-20T18:00:01Z"},
        format="json",
        headers={"Idempotency-Key": "count-1"},
    )

    assert first.status_code == 200
    assert (second.content, second["Idempotent-Replayed"]) == (first.content, "true")
    assert_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("counted_at", "words"),
    [
        ("9999-12-31T23:59:59Z", "is in the future."),
        ("2026-11-01T00:00:00Z", "CUP did not exist at"),
        ("0001-01-01T00:00:00Z", "CUP did not exist at"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(api: APIClient, counted_at: str, words: str) -> None:
    before = stored()

    alone = assert_problem(adjust(api, counted_at=counted_at), 400, "invalid")
    in_lines = assert_problem(
        apply(api, line("MUG"), line("CUP", counted_at=counted_at)), 400, "invalid"
    )

    assert [error["field"] for error in alone["errors"]] == ["counted_at"]
    assert words in alone["errors"][0]["detail"]
    assert in_lines["lines"] == [{"index": 1, "sku": "CUP", "code": "invalid"}]
    assert [error["field"] for error in in_lines["errors"]] == ["operations.1.counted_at"]
    assert words in in_lines["errors"][0]["detail"]
    assert stored() == before


def test_every_refused_line_is_named(api: APIClient) -> None:
    stock.remove(sku="MUG", amount=7, by=ACTOR)
    before = stored()

    response = apply(api, line("MUG"), line("CUP", counted_at="9999-01-01T00:00:00Z"))

    body = assert_problem(response, 409, "below_reserved")
    assert body["lines"] == [
        {"index": 0, "sku": "MUG", "code": "below_reserved", "requested": -1, "available": 0},
        {"index": 1, "sku": "CUP", "code": "invalid"},
    ]
    assert [error["field"] for error in body["errors"]] == ["operations.1.counted_at"]
    assert stored() == before


def test_lines_name_all_that_is_refused_and_errors_the_first_100(api: APIClient) -> None:
    skus = [f"P-{number}" for number in range(101)]
    for sku in skus:
        stock.create(sku=sku, name=sku, quantity=9, by=ACTOR)

    refused = apply(api, *(line(sku, counted_at="9999-01-01T00:00:00Z") for sku in skus))

    body = assert_problem(refused, 400, "invalid")
    assert [each["index"] for each in body["lines"]] == list(range(101))
    assert len(body["errors"]) == 100
    assert body["errors_omitted"] == 1


def test_a_late_count_with_an_expected_quantity_is_refused(api: APIClient) -> None:
    before = stored()

    alone = assert_problem(adjust(api, expected_quantity=9), 400, "invalid")
    in_lines = assert_problem(apply(api, line("CUP", expected_quantity=9)), 400, "invalid")

    assert [error["field"] for error in alone["errors"]] == ["counted_at"]
    assert [error["field"] for error in in_lines["errors"]] == ["operations.0.counted_at"]
    assert stored() == before
