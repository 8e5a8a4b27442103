"""Archived products."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from products import stock
from products.models import Product
from products.stock import Line
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


def archive(api: APIClient, sku: str, *, archived: bool = True) -> Any:
    return api.patch(f"/v1/products/{sku}", {"archived": archived}, format="json")


@pytest.fixture
def old(api: APIClient) -> Product:
    """An archived product that is low on stock, with 25 units on hand and 5 reserved."""
    product = ProductFactory.create(sku="OLD", minimum_stock_level=50)
    stock.reserve(sku="OLD", amount=5, reference="order-1", by=ACTOR)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    return product


def test_archiving_is_an_event_and_changes_the_etag(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    before = api.get("/v1/products/CUP")

    response = archive(api, "CUP")

    assert response.status_code == 200
    assert response.json() == {
        **before.json(),
        "archived": True,
        "version": 2,
        "updated_at": response.json()["updated_at"],
    }
    assert (before["ETag"], response["ETag"]) == ('"1"', '"2"')
    assert api.get("/v1/products/CUP").json() == response.json()


@pytest.mark.parametrize(
    ("query", "skus"),
    [
        ("", ["NEW"]),
        ("?archived=false", ["NEW"]),
        ("?archived=true", ["OLD"]),
        ("?archived=all", ["NEW", "OLD"]),
        ("?sku=NEW,OLD", ["NEW"]),
        ("?sku=NEW,OLD&archived=all", ["NEW", "OLD"]),
        ("?low_stock=true", []),
        ("?low_stock=true&archived=true", ["OLD"]),
        ("/low-stock", []),
    ],
)
def test_lists_leave_out_archived_products_by_default(
    api: APIClient, old: Product, query: str, skus: list[str]
) -> None:
    ProductFactory.create(sku="NEW")

    rows = api.get(f"/v1/products{query}").json()["results"]

    assert [row["sku"] for row in rows] == skus


@pytest.mark.parametrize(
    ("path", "body", "has_lines"),
    [
        ("products/OLD/add", {"amount": 1}, False),
        ("products/OLD/reserve", {"amount": 1}, False),
        (
            "reservations",
            {"lines": [{"sku": "NEW", "amount": 1}, {"sku": "OLD", "amount": 1}]},
            True,
        ),
        (
            "operations",
            {
                "operations": [
                    {"operation": "add", "sku": "NEW", "amount": 1},
                    {"operation": "add", "sku": "OLD", "amount": 1},
                ]
            },
            True,
        ),
    ],
)
def test_add_and_reserve_refuse_an_archived_product(
    api: APIClient, old: Product, path: str, body: Any, has_lines: bool
) -> None:
    ProductFactory.create(sku="NEW")
    before = stored()

    response = api.post(f"/v1/{path}", body, format="json")

    problem = assert_problem(response, 409, "product_archived")
    refused = {"sku": "OLD", "code": "product_archived", "requested": 1, "available": 20}
    if has_lines:
        assert problem["lines"] == [{"index": 1, **refused}]
    else:
        assert problem == {**problem, **refused}
    assert stored() == before


@pytest.mark.parametrize("verb", [stock.fulfill, stock.release])
def test_reserved_units_of_an_archived_product_can_be_fulfilled_or_released(
    old: Product, verb: Any
) -> None:
    reservation = old.reservation_lines.get().reservation_id

    verb(reservation_id=reservation, lines=[Line("OLD", 2)], by=ACTOR)
    stock.extend(reservation_id=reservation, expires_in=60, by=ACTOR)
    verb(reservation_id=reservation, by=ACTOR)

    old.refresh_from_db()
    assert old.reserved_quantity == 0


def test_units_of_an_archived_product_can_be_counted_and_removed(
    api: APIClient, old: Product
) -> None:
    count = {"quantity": 9, "reason": "stocktake"}
    counted = api.post("/v1/products/OLD/adjust", count, format="json")
    removed = api.post("/v1/products/OLD/remove", {"amount": 4}, format="json")

    assert (counted.status_code, removed.status_code) == (200, 200)
    assert removed.json()["quantity"] == 5


def test_an_archived_product_can_be_restored(api: APIClient, old: Product) -> None:
    response = archive(api, "OLD", archived=False)

    assert response.json()["archived"] is False
    assert api.post("/v1/products/OLD/reserve", {"amount": 20}, format="json").status_code == 200


@pytest.mark.usefixtures("old")
def test_a_new_product_with_the_sku_of_an_archived_one_is_told_so(api: APIClient) -> None:
    response = api.post("/v1/products", {"sku": "OLD", "name": "New"}, format="json")

    assert_problem(response, 409, "duplicate_sku")
    detail = "Product OLD already exists and is archived. Restore it instead."
    assert response.json()["detail"] == detail
