"""`POST /v1/operations`: many changes of stock, all or none."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from products import stock
from products.api import access
from products.models import Product, Role, StockEvent
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


def apply(api: APIClient, *operations: Any) -> Any:
    return api.post("/v1/operations", {"operations": operations}, format="json")


def test_operations_are_applied_in_order_as_one_event_each(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="POT", quantity=5)

    response = apply(
        api,
        {"operation": "remove", "sku": "POT", "amount": 5, "reason": "sold", "reference": "o-1"},
        {"operation": "add", "sku": "CUP", "amount": 10},
        {"operation": "adjust", "sku": "CUP", "quantity": 7, "reason": "stocktake"},
    )

    assert response.status_code == 200
    assert [
        (row["sku"], row["quantity"], row["version"]) for row in response.json()["results"]
    ] == [
        ("POT", 0, 2),
        ("CUP", 7, 3),
        ("CUP", 7, 3),
    ]
    events = StockEvent.objects.filter(version__gt=1).order_by("product__sku", "version")
    assert [(e.product.sku, e.type, e.quantity_change, e.reference) for e in events] == [
        ("CUP", "InventoryAdded", 10, ""),
        ("CUP", "InventoryAdjusted", -8, ""),
        ("POT", "InventoryRemoved", -5, "o-1"),
    ]


def test_one_refused_line_refuses_all_and_the_error_names_each(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    before = stored()

    response = apply(
        api,
        {"operation": "add", "sku": "CUP", "amount": 1},
        {"operation": "remove", "sku": "CUP", "amount": 7},
        {"operation": "add", "sku": "NOPE", "amount": 1},
        {
            "operation": "adjust",
            "sku": "CUP",
            "quantity": 1,
            "reason": "count",
            "expected_quantity": 9,
        },
    )

    body = assert_problem(response, 409, "insufficient_stock")
    assert [(line["index"], line["code"]) for line in body["lines"]] == [
        (1, "insufficient_stock"),
        (2, "product_not_found"),
        (3, "quantity_changed"),
    ]
    assert stored() == before


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"sku": "CUP", "amount": 1}, "operations.0.operation"),
        ({"operation": "reserve", "sku": "CUP", "amount": 1}, "operations.0.operation"),
        ({"operation": ["add"], "sku": "CUP", "amount": 1}, "operations.0.operation"),
        ({"operation": "add", "sku": "cup", "amount": 1}, "operations.0.sku"),
        ({"operation": "add", "sku": "CUP", "amount": 0}, "operations.0.amount"),
        ({"operation": "add", "sku": "CUP", "amount": "1"}, "operations.0.amount"),
        ({"operation": "add", "sku": "CUP", "amount": 1, "quantity": 1}, "operations.0.quantity"),
        ({"operation": "adjust", "sku": "CUP", "quantity": 1}, "operations.0.reason"),
        ({"operation": "adjust", "sku": "CUP", "amount": 1, "reason": "x"}, "operations.0.amount"),
        ("add", "operations.0"),
        (None, "operations.0"),
    ],
)
def test_a_wrong_line_is_named(api: APIClient, operation: Any, field: str) -> None:
    ProductFactory.create(sku="CUP")
    before = stored()

    body = assert_problem(apply(api, operation), 400, "invalid")

    assert field in [error["field"] for error in body["errors"]]
    assert stored() == before


@pytest.mark.parametrize("body", [{}, {"operations": []}, {"operations": {}}, {"operations": None}])
def test_a_body_without_operations_is_refused(api: APIClient, body: Any) -> None:
    response = api.post("/v1/operations", body, format="json")

    assert assert_problem(response, 400, "invalid")["errors"][0]["field"] == "operations"


def test_at_most_a_thousand_lines_are_accepted(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=0)
    line = {"operation": "add", "sku": "CUP", "amount": 1}

    assert_problem(apply(api, *[line] * 1001), 400, "invalid")
    response = apply(api, *[line] * 1000)

    assert response.status_code == 200
    assert Product.objects.get(sku="CUP").levels == (1000, 0, 0)


def test_an_adjust_requires_the_role_count(client_as: Callable[[Role], APIClient]) -> None:
    ProductFactory.create(sku="CUP")
    add = {"operation": "add", "sku": "CUP", "amount": 1}
    adjust = {"operation": "adjust", "sku": "CUP", "quantity": 3, "reason": "stocktake"}

    assert apply(client_as(Role.OPERATE), add).status_code == 200
    assert_problem(apply(client_as(Role.OPERATE), add, adjust), 403, "permission_denied")
    assert apply(client_as(Role.COUNT), add, adjust).status_code == 200
    assert_problem(apply(client_as(Role.READ), add), 403, "permission_denied")


def test_a_thousand_lines_take_as_many_queries_as_one(api: APIClient) -> None:
    products = [
        stock.NewProduct(sku=f"CUP-{number}", name="Cup", quantity=1, minimum_stock_level=1)
        for number in range(1001)
    ]
    stock.save_products(products, by=ACTOR)

    def queries_of(skus: list[str]) -> int:
        removals = [{"operation": "remove", "sku": sku, "amount": 1} for sku in skus]
        with CaptureQueriesContext(connection) as captured:
            assert apply(api, *removals).status_code == 200
        return len(captured)

    first, *others = [product.sku for product in products]
    api.get("/v1/products/CUP")  # Caches the API key.

    assert queries_of([first]) == queries_of(others)
    assert StockEvent.objects.filter(type=StockEvent.Type.LOW_STOCK_DETECTED).count() == 1001


ON_HAND = [
    ("add", {"amount": 1}),
    ("remove", {"amount": 1}),
    ("adjust", {"quantity": 20, "reason": "stocktake"}),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("operation", "body"), ON_HAND)
def test_an_operation_takes_4_statements(
    api: APIClient, operation: str, body: dict[str, Any]
) -> None:
    """On PostgreSQL: BEGIN, the lock, the write and COMMIT. The API key is cached."""
    ProductFactory.create(sku="CUP")
    api.get("/v1/products/CUP")

    with CaptureQueriesContext(connection) as captured:
        response = api.post(f"/v1/products/CUP/{operation}", body, format="json")

    assert response.status_code == 200
    # On SQLite the write takes two statements.
    assert len(captured) <= 4 + (connection.vendor == "sqlite")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("operation", "body"), ON_HAND)
def test_an_operation_with_an_idempotency_key_takes_at_most_8_statements(
    api: APIClient, operation: str, body: dict[str, Any]
) -> None:
    """BEGIN, COMMIT and the look-up of the API key are included."""
    ProductFactory.create(sku="CUP")
    # Records the use of the key, once in five minutes.
    api.get("/v1/products/CUP")
    access.forget_keys()

    with CaptureQueriesContext(connection) as captured:
        response = api.post(
            f"/v1/products/CUP/{operation}",
            body,
            format="json",
            headers={"Idempotency-Key": "key-1"},
        )

    assert response.status_code == 200
    assert len(captured) <= 8
