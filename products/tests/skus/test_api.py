"""The API, with all characters of SKUs."""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from django.db import connection
from rest_framework.test import APIClient

from products import stock
from products.models import Product, Role, StockEvent
from products.tests.checks import assert_problem
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import running_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(api: APIClient) -> APIClient:
    """A client that sends JSON."""
    api.default_format = "json"
    return api


SKUS = ["tee", "Tee 1.5_x", "A  B", "v1..", "a_", "00.10", "Low-Stock", "x" * 50]


def path_of(sku: str, more: str = "") -> str:
    return f"/v1/products/{quote(sku)}{more}"


def skus_of(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["sku"] for row in response.json()["results"]]


def create(api: APIClient, sku: str, **fields: Any) -> Any:
    return api.post("/v1/products", {"sku": sku, "name": f"Name of {sku}", **fields})


@pytest.mark.parametrize("sku", SKUS)
@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_a_product_is_created_read_changed_and_reserved(
    api: APIClient, sku: str, prefix: str
) -> None:
    created = create(api, sku, quantity=10)

    assert (created.status_code, created.json()["sku"]) == (201, sku)
    assert unquote(created["Location"]) == f"/v1/products/{sku}"
    path = created["Location"].replace("/v1", prefix, 1)
    assert " " not in path
    assert api.get(path).json()["sku"] == sku
    assert api.post(f"{path}/add", {"amount": 5}).json()["quantity"] == 15
    assert api.patch(f"{path}/remove", {"amount": 1}).json()["quantity"] == 14
    assert api.patch(path, {"name": "New name"}).json()["name"] == "New name"
    reserved = api.post(f"{path}/reserve", {"amount": 2, "reference": "order-1"}).json()
    assert reserved["reservation"]["lines"][0]["sku"] == sku
    events = api.get(f"{path}/events").json()["results"]
    assert [event["sku"] for event in events] == [sku] * 5
    feed = api.get("/v1/events").json()["results"]
    assert {event["sku"] for event in feed} <= {sku}  # Newer events may not be visible yet.


@pytest.mark.parametrize("sku", SKUS)
def test_bodies_and_filters_name_a_product(api: APIClient, sku: str) -> None:
    create(api, sku, quantity=10)
    line = {"sku": sku, "amount": 2}

    order = api.post("/v1/reservations", {"lines": [line]})
    applied = api.post("/v1/operations", {"operations": [{"operation": "add", **line}]})

    assert (order.status_code, applied.status_code) == (201, 200)
    assert applied.json()["results"][0]["quantity"] == 12
    of_product = api.get(f"/v1/reservations?{urlencode({'sku': sku})}").json()["results"]
    assert [each["id"] for each in of_product] == [order.json()["id"]]
    assert skus_of(api.get(f"/v1/products?sku={quote(sku)},ZZ")) == [sku]


def test_a_list_of_skus_has_blanks_and_dots(api: APIClient) -> None:
    for sku in SKUS:
        create(api, sku)

    assert skus_of(api.get(f"/v1/products?{urlencode({'sku': ','.join(SKUS)})}")) == sorted(SKUS)
    assert skus_of(api.get("/v1/products?sku=tee,Tee+1.5_x")) == ["Tee 1.5_x", "tee"]


@pytest.mark.parametrize("order", ["sku", "-sku"])
def test_pages_follow_their_cursors_over_all_skus(api: APIClient, order: str) -> None:
    for sku in SKUS:
        create(api, sku)
    url: str | None = f"/v1/products?page_size=1&ordering={order}"

    forward, back, last = [], [], ""
    while url:
        body = api.get(url).json()
        forward += [row["sku"] for row in body["results"]]
        last, url = url, body["next"]
    while last:
        body = api.get(last).json()
        back += [row["sku"] for row in body["results"]]
        last = body["previous"]

    assert forward == sorted(SKUS, reverse=order == "-sku")
    assert back == forward[::-1]


@pytest.mark.parametrize("position", ["a/b", " a", "a\0", "x" * 51, ""])
def test_a_cursor_with_another_text_is_refused(api: APIClient, position: str) -> None:
    cursor = base64.b64encode(urlencode({"p": f"sku {position}"}).encode()).decode()

    response = api.get(f"/v1/products?{urlencode({'cursor': cursor})}")

    assert_problem(response, 400, "invalid")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tee", ["TEE-2", "Tee 1.5_x", "tee"]),
        ("TEE", ["TEE-2", "Tee 1.5_x", "tee"]),
        ("tEe 1", ["Tee 1.5_x"]),
        ("tee 1.5_", ["Tee 1.5_x"]),
        ("tee_", []),
        ("v1.", ["v1.."]),
        ("%", []),
    ],
)
def test_the_search_ignores_the_case_of_a_sku(api: APIClient, text: str, found: list[str]) -> None:
    for sku in ("tee", "Tee 1.5_x", "TEE-2", "v1..", "s", "U"):
        ProductFactory.create(sku=sku, name="x")

    assert skus_of(api.get(f"/v1/products?{urlencode({'search': text})}")) == found


def test_low_stock_is_no_sku_and_its_path_stays_a_list(api: APIClient) -> None:
    response = create(api, "low-stock")

    [error] = assert_problem(response, 400, "invalid")["errors"]
    assert (error["field"], error["detail"]) == (
        "sku",
        "low-stock is a path of the API. Choose another SKU.",
    )
    create(api, "Low-Stock", quantity=1)
    assert skus_of(api.get("/v1/products/low-stock")) == []
    assert api.get("/v1/products/Low-Stock").json()["quantity"] == 1
    assert_problem(api.get("/v1/products/low-stock/events"), 404, "product_not_found")


def test_a_refused_sku_names_the_allowed_characters(api: APIClient) -> None:
    [error] = assert_problem(create(api, "a/b"), 400, "invalid")["errors"]

    assert error["detail"] == (
        "A SKU has 1 to 50 characters of A-Z, a-z, 0-9, hyphens, underscores, dots and inner "
        "blanks. The first one is a letter or a digit."
    )


@pytest.mark.parametrize("path", ["/v1/products/a%2Fb", "/v1/products/%20a", "/v1/products/."])
def test_other_paths_are_404(api: APIClient, path: str) -> None:
    assert api.get(path).status_code == 404


def test_the_instance_of_a_problem_is_a_uri(api: APIClient) -> None:
    problem = assert_problem(api.get("/v1/products/A%20B"), 404, "product_not_found")

    assert problem["instance"] == "/v1/products/A%20B"
    assert problem["detail"] == "Product A B does not exist."


def test_a_problem_links_to_the_reservations_of_the_product(api: APIClient) -> None:
    create(api, "A B", quantity=5)
    api.post("/v1/products/A%20B/reserve", {"amount": 4})

    response = api.post("/v1/products/A%20B/adjust", {"quantity": 1, "reason": "count"})

    detail = assert_problem(response, 409, "below_reserved")["detail"]
    assert detail.endswith(" See /v1/reservations?sku=A%20B&status=open.")
    assert len(api.get("/v1/reservations?sku=A%20B&status=open").json()["results"]) == 1


def test_the_document_has_the_pattern_and_the_reserved_sku(api: APIClient) -> None:
    document = api.get("/openapi.json").json()

    schema = document["components"]["schemas"]["ProductCreateRequest"]["properties"]["sku"]
    assert schema["pattern"] == "^[A-Za-z0-9](?:[A-Za-z0-9_. -]{0,48}[A-Za-z0-9_.-])?$"
    assert schema["not"] == {"enum": ["low-stock"]}


# -------------------------------------------------------------------------------------------- case


@pytest.mark.parametrize(
    ("existing", "new"), [("tee", "TEE"), ("TEE", "tee"), ("Tee", "tEE"), ("a b_C", "A B_c")]
)
def test_a_sku_that_differs_by_case_alone_is_a_duplicate(
    api: APIClient, existing: str, new: str
) -> None:
    create(api, existing, quantity=3)

    problem = assert_problem(create(api, new), 409, "duplicate_sku")

    assert problem["sku"] == new
    assert problem["detail"] == (
        f"Product {existing} already exists. Only case distinguishes {new} from {existing}."
    )
    assert list(Product.objects.values_list("sku", "quantity")) == [(existing, 3)]


def test_an_archived_product_keeps_its_sku_in_every_case(api: APIClient) -> None:
    create(api, "tee")
    api.patch("/v1/products/tee", {"archived": True})

    assert assert_problem(create(api, "TEE"), 409, "duplicate_sku")["detail"] == (
        "Product tee already exists and is archived. Restore it instead. Only case distinguishes "
        "TEE from tee."
    )


def test_one_request_cannot_create_both() -> None:
    new = [stock.NewProduct(sku=sku, name="x") for sku in ("tee", "mug", "TEE", "Mug")]

    with pytest.raises(stock.DuplicateSku) as refused:
        stock.save_products(new, by=ACTOR)

    assert [(index, error.detail) for index, error in refused.value.lines] == [
        (2, "Product tee already exists. Only case distinguishes TEE from tee."),
        (3, "Product mug already exists. Only case distinguishes Mug from mug."),
    ]
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    "send",
    [
        lambda api: api.get("/v1/products/TEE"),
        lambda api: api.post("/v1/products/TEE/add", {"amount": 1}),
        lambda api: api.post("/v1/reservations", {"lines": [{"sku": "TEE", "amount": 1}]}),
        lambda api: api.patch("/v1/products/TEE", {"name": "x"}),
    ],
)
def test_a_sku_is_compared_exactly(api: APIClient, send: Callable[[APIClient], Any]) -> None:
    create(api, "tee", quantity=3)

    assert_problem(send(api), 404, "product_not_found")
    assert skus_of(api.get("/v1/products?sku=TEE")) == []


# ------------------------------------------------------------------------------------------- races


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_creates_is_refused() -> None:
    creates = [partial(stock.create, sku=sku, name="x", by=ACTOR) for sku in ("tee", "TEE", "Tee")]

    outcomes = at_once(creates * 3)

    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds == ["DuplicateSku"] * 8 + ["Product"]
    product = Product.objects.get()
    assert all(
        f"Product {product.sku} already exists." in str(outcome)
        for outcome in outcomes
        if isinstance(outcome, stock.DuplicateSku)
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_creates_of_many_products_in_two_cases_do_not_deadlock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the order of code points, a would come after B, and A before it."""
    skus = [f"{letter}-{number}" for number in range(2_000) for letter in "aB"]
    new = [[stock.NewProduct(sku=sku, name="x") for sku in each]
           for each in (skus, [sku.swapcase() for sku in skus])]  # fmt: skip

    outcomes = at_once([partial(stock.save_products, each, by=ACTOR) for each in new])

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DuplicateSku", "list"]
    assert "retrying the transaction" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_server_creates_one_of_two_products_and_serves_paths_with_blanks() -> None:
    headers = {"Authorization": f"Api-Key {ApiKeyFactory.create(role=Role.MANAGE).text}"}

    with running_server() as server:
        server.wait_for_workers()
        send = partial(server.request, headers=headers)
        created = at_once(
            [partial(send, "POST", "/v1/products", {"sku": sku, "name": "Tee", "quantity": 9})
             for sku in ("tee 1.5", "TEE 1.5")]
        )  # fmt: skip
        statuses = sorted(reply.status for reply in created)  # type: ignore[attr-defined]
        [location] = [reply.headers["location"] for reply in created  # type: ignore[attr-defined]
                      if reply.status == 201]  # type: ignore[attr-defined]  # fmt: skip
        added = send("POST", f"{location}/add", {"amount": 1})
        found = send("GET", f"/v1/products?sku={quote(added.body['sku'])}")

    assert statuses == [201, 409]
    assert (added.status, added.body["quantity"]) == (200, 10)
    assert [row["sku"] for row in found.body["results"]] == [added.body["sku"]]
    assert StockEvent.objects.count() == 2
