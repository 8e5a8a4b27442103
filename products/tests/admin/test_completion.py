"""Products are suggested while a SKU is typed."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from products import stock
from products.admin.completion import MAX_SUGGESTED
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

URL = reverse("admin:products_product_complete")


@pytest.fixture
def viewer() -> Client:
    return browser_of("Ada", "view_product")


def results(client: Client, **query: Any) -> list[dict[str, Any]]:
    response = client.get(URL, query)
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def skus(client: Client, **query: Any) -> list[str]:
    return [found["sku"] for found in results(client, **query)]


def test_products_are_found_by_sku_and_by_name(viewer: Client) -> None:
    ProductFactory.create(sku="CUP-1", name="Blue mug", quantity=9)
    ProductFactory.create(sku="CUP-2", name="Red mug")
    ProductFactory.create(sku="POT", name="Tea pot")
    stock.reserve(sku="CUP-1", amount=2, by=ACTOR)

    assert skus(viewer, q="cup") == ["CUP-1", "CUP-2"]
    assert results(viewer, q=" blue ") == [{"sku": "CUP-1", "name": "Blue mug", "available": 7}]


def test_the_product_with_exactly_this_sku_comes_first(viewer: Client) -> None:
    ProductFactory.create(sku="A-1", name="Holder for CUP")
    ProductFactory.create(sku="CUP", name="Cup")

    assert skus(viewer, q="cup") == ["CUP", "A-1"]


def test_suggestions_are_bounded(viewer: Client) -> None:
    for number in range(MAX_SUGGESTED + 5):
        ProductFactory.create(sku=f"CUP-{number:02}")

    assert skus(viewer, q="cup") == [f"CUP-{number:02}" for number in range(MAX_SUGGESTED)]


def test_archived_products_are_not_suggested(viewer: Client) -> None:
    ProductFactory.create(sku="CUP")
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    assert skus(viewer, q="CUP") == []


@pytest.mark.parametrize("text", ["", " ", "\0", "x\0", "x" * 10_000, "%", "'; --", "\ud800"])
def test_odd_texts_find_nothing(viewer: Client, text: str) -> None:
    ProductFactory.create(sku="CUP")

    response = viewer.get(URL, {"q": text.encode("utf-8", "surrogatepass")})

    assert (response.status_code, response.json()) == (200, {"results": []})


def test_users_who_may_not_view_products_are_refused() -> None:
    ProductFactory.create(sku="CUP")

    response = browser_of("Eve", "operate_stock").get(URL, {"q": "CUP"})

    assert response.status_code == 403
