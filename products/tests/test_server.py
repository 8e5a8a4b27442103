"""The production server with several processes, as its clients see it over HTTP."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from products.models import Product, StockEvent
from products.tests.concurrency import at_once
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import Answer, Server, running_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    """The header that lets a client in."""
    return {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}


@pytest.mark.parametrize("operation", ["remove", "reserve"])
def test_64_clients_of_20_units_over_several_processes(
    server: Server, key: dict[str, str], operation: str
) -> None:
    product = ProductFactory.create(quantity=20)
    path = f"/v1/products/{product.sku}/{operation}"

    answers = at_once([partial(server.request, "POST", path, {"amount": 1}, key)] * 64)

    outcomes = Counter(
        (answer.status, answer.body.get("code")) if isinstance(answer, Answer) else repr(answer)
        for answer in answers
    )
    assert outcomes == {(200, None): 20, (409, "insufficient_stock"): 44}
    stored = Product.objects.get(pk=product.pk)
    assert stored.available_quantity == 0
    assert stored.version == StockEvent.objects.filter(product=product).count() == 21


def test_the_tour_of_one_product(server: Server, key: dict[str, str]) -> None:
    """Create 25, remove 3, fail to remove 50, reserve 2, fulfill them."""
    product = {"sku": "TSHIRT-RED-L", "name": "Red T-Shirt (Large)", "quantity": 25}
    path = "/v1/products/TSHIRT-RED-L"

    created = server.request("POST", "/v1/products", product, key)
    assert (created.status, created.body["quantity"], created.body["version"]) == (201, 25, 1)
    assert created.headers["location"] == path

    removed = server.request("POST", f"{path}/remove", {"amount": 3}, key)
    assert (removed.status, removed.body["quantity"], removed.body["version"]) == (200, 22, 2)

    refused = server.request("POST", f"{path}/remove", {"amount": 50}, key)
    assert (refused.status, refused.body["code"]) == (409, "insufficient_stock")
    assert (refused.body["requested"], refused.body["available"]) == (50, 22)

    reserved = server.request("POST", f"{path}/reserve", {"amount": 2}, key)
    assert (reserved.body["quantity"], reserved.body["reserved_quantity"]) == (22, 2)
    assert (reserved.body["available_quantity"], reserved.body["version"]) == (20, 3)

    reservation = reserved.body["reservation"]["id"]
    fulfilled = server.request("POST", f"/v1/reservations/{reservation}/fulfill", {}, key)
    assert (fulfilled.status, fulfilled.body["status"]) == (200, "fulfilled")

    after = server.request("GET", path, headers=key).body
    assert (after["quantity"], after["reserved_quantity"], after["version"]) == (20, 0, 4)
    events = server.request("GET", f"{path}/events", headers=key).body["results"]
    assert [(event["version"], event["type"], event["quantity_change"]) for event in events] == [
        (4, "InventoryFulfilled", -2),
        (3, "InventoryReserved", 0),
        (2, "InventoryRemoved", -3),
        (1, "ProductCreated", 25),
    ]


def test_a_body_without_a_length_is_refused_and_not_read_as_empty(
    server: Server, key: dict[str, str]
) -> None:
    product = ProductFactory.create(quantity=20)
    path = f"/v1/products/{product.sku}/reserve"
    reserved = server.request("POST", path, {"amount": 5}, key).body["reservation"]["id"]
    chunk = json.dumps({"lines": [{"sku": product.sku, "amount": 1}]})

    answer = server.request(
        "POST",
        f"/v1/reservations/{reserved}/fulfill",
        f"{len(chunk):x}\r\n{chunk}\r\n0\r\n\r\n",
        {**key, "Transfer-Encoding": "chunked"},
    )

    assert (answer.status, answer.body["code"]) == (411, "length_required")
    assert Product.objects.get(pk=product.pk).quantity == 20
