"""The exact responses of the API."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from products.models import ApiKey, Product, Role, StockEvent
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """Return `row` without its times, after checking that they are RFC 3339 in UTC."""
    times = {name for name in row if name in ("created_at", "updated_at", "occurred_at")}
    assert times
    assert all(UTC_TIME.fullmatch(row[name]) for name in times), row
    return {name: value for name, value in row.items() if name not in times}


def post(api: APIClient, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send an operation, which must succeed, and return the response body."""
    response = api.post(path, body or {}, format="json")
    assert response.status_code in (200, 201), response.content
    assert response["Content-Type"] == "application/json"
    product: dict[str, Any] = response.json()
    return product


def levels(product: dict[str, Any]) -> tuple[int, int, int]:
    return product["quantity"], product["reserved_quantity"], product["available_quantity"]


# ----------------------------------------------------------------------------------------- products


def test_create_returns_201_with_the_product_and_its_location(api: APIClient) -> None:
    response = api.post(
        "/v1/products",
        {
            "sku": "TSHIRT-RED-L",
            "name": "Red T-Shirt (Large)",
            "description": "100 % cotton, größe L",
            "quantity": 25,
            "minimum_stock_level": 5,
        },
        format="json",
    )

    assert response.status_code == 201
    assert without_times(response.json()) == {
        "sku": "TSHIRT-RED-L",
        "name": "Red T-Shirt (Large)",
        "description": "100 % cotton, größe L",
        "quantity": 25,
        "reserved_quantity": 0,
        "available_quantity": 25,
        "minimum_stock_level": 5,
        "low_stock": False,
        "archived": False,
        "version": 1,
    }
    assert response["Location"] == "/v1/products/TSHIRT-RED-L"
    found = api.get(response["Location"])
    assert (found.status_code, found.json()) == (200, response.json())
    assert found["ETag"] == response["ETag"]


def test_create_needs_only_a_sku_and_a_name(api: APIClient) -> None:
    product = post(api, "/v1/products", {"sku": "CUP", "name": "Cup"})

    assert without_times(product) == {
        "sku": "CUP",
        "name": "Cup",
        "description": "",
        "quantity": 0,
        "reserved_quantity": 0,
        "available_quantity": 0,
        "minimum_stock_level": 0,
        "low_stock": False,
        "archived": False,
        "version": 1,
    }


def test_a_product_created_below_its_minimum_is_low_on_stock(api: APIClient) -> None:
    product = post(
        api, "/v1/products", {"sku": "CUP", "name": "Cup", "quantity": 4, "minimum_stock_level": 5}
    )

    assert (product["low_stock"], product["version"]) == (True, 2)
    assert api.get("/v1/products/CUP").json() == product


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Blue cup"},
        {"description": "holds tea"},
        {"description": ""},
        {"minimum_stock_level": 7},
        {"name": "Blue cup", "description": "holds tea", "minimum_stock_level": 0},
        {},
    ],
)
def test_patch_changes_only_the_given_fields(api: APIClient, change: dict[str, Any]) -> None:
    ProductFactory.create(sku="CUP", description="red", minimum_stock_level=5)
    before = api.get("/v1/products/CUP").json()

    response = api.patch("/v1/products/CUP", change, format="json")

    assert response.status_code == 200
    version = 2 if change else 1
    assert without_times(response.json()) == {**without_times(before), **change, "version": version}
    assert api.get("/v1/products/CUP").json() == response.json()
    created, *edits = StockEvent.objects.order_by("version")
    assert [edit.type for edit in edits] == ["ProductEdited"] * bool(change)
    for edit in edits:
        assert edit.details == {
            name: {"old": before[name], "new": value} for name, value in change.items()
        }
        assert (edit.quantity, edit.quantity_change) == (created.quantity, 0)


def test_patch_of_the_minimum_can_make_a_product_low_on_stock(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=25)

    response = api.patch("/v1/products/CUP", {"minimum_stock_level": 26}, format="json")

    assert (response.json()["low_stock"], response.json()["version"]) == (True, 3)
    assert api.get("/v1/products/CUP").json() == response.json()


# ------------------------------------------------------------------------------ operations on stock


@pytest.mark.parametrize("method", ["post", "patch"])
@pytest.mark.parametrize(("operation", "quantity"), [("add", 28), ("remove", 22)])
def test_add_and_remove_return_the_product(
    api: APIClient, method: str, operation: str, quantity: int
) -> None:
    ProductFactory.create(sku="CUP", quantity=25)

    response = getattr(api, method)(f"/v1/products/CUP/{operation}", {"amount": 3}, format="json")

    assert response.status_code == 200
    assert levels(response.json()) == (quantity, 0, quantity)
    assert response.json()["version"] == 2
    assert api.get("/v1/products/CUP").json() == response.json()


def test_reserve_returns_the_product_and_the_reservation(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=25)

    response = post(api, "/v1/products/CUP/reserve", {"amount": 3, "reference": "order-1"})

    reservation = response.pop("reservation")
    assert levels(response) == (25, 3, 22)
    assert response == api.get("/v1/products/CUP").json()
    assert isinstance(reservation["id"], int)
    assert without_times(reservation) == {
        "id": reservation["id"],
        "reference": "order-1",
        "status": "open",
        "expires_at": None,
        "lines": [
            {"sku": "CUP", "amount": 3, "fulfilled": 0, "released": 0, "expired": 0, "open": 3}
        ],
    }
    assert reservation == api.get(f"/v1/reservations/{reservation['id']}").json()


def test_release_takes_from_the_oldest_reservations_without_a_reference(
    api: APIClient,
) -> None:
    ProductFactory.create(sku="CUP", quantity=25)
    held = [
        post(api, "/v1/products/CUP/reserve", body)["reservation"]["id"]
        for body in ({"amount": 5, "reference": "order-1"}, {"amount": 2}, {"amount": 3})
    ]

    product = post(api, "/v1/products/CUP/release", {"amount": 4})

    assert levels(product) == (25, 6, 19)
    assert product == api.get("/v1/products/CUP").json()
    lines = [api.get(f"/v1/reservations/{number}").json()["lines"][0] for number in held]
    assert [line["open"] for line in lines] == [5, 0, 1]


def test_release_from_a_reservation_takes_from_it_alone(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=25)
    post(api, "/v1/products/CUP/reserve", {"amount": 2})
    order = post(api, "/v1/products/CUP/reserve", {"amount": 5, "reference": "order-1"})
    number = order["reservation"]["id"]

    product = post(api, "/v1/products/CUP/release", {"amount": 3, "reservation": number})

    assert levels(product) == (25, 4, 21)
    assert product == api.get("/v1/products/CUP").json()
    reservation = api.get(f"/v1/reservations/{number}").json()
    assert (reservation["status"], reservation["lines"][0]["released"]) == ("open", 3)


@pytest.mark.parametrize("expected", [{}, {"expected_quantity": 25}])
@pytest.mark.parametrize("counted", [0, 25, 30])
def test_adjust_sets_the_quantity(api: APIClient, expected: dict[str, int], counted: int) -> None:
    ProductFactory.create(sku="CUP", quantity=25)

    product = post(
        api, "/v1/products/CUP/adjust", {"quantity": counted, "reason": "stocktake", **expected}
    )

    assert levels(product) == (counted, 0, counted)
    assert product["version"] == 2
    assert product == api.get("/v1/products/CUP").json()


# ------------------------------------------------------------------------------------- reservations


def line(sku: str, amount: int, **parts: int) -> dict[str, Any]:
    """Return a line of a reservation as the API returns it."""
    ended = {"fulfilled": 0, "released": 0, "expired": 0} | parts
    return {"sku": sku, "amount": amount, **ended, "open": amount - sum(ended.values())}


@pytest.fixture
def order(api: APIClient) -> str:
    """Reserve 5 cups and 1 plate, and return the path of the reservation."""
    ProductFactory.create(sku="CUP", quantity=25)
    ProductFactory.create(sku="PLATE", quantity=25)
    body = {
        "reference": "order-1",
        "lines": [{"sku": "CUP", "amount": 5}, {"sku": "PLATE", "amount": 1}],
    }
    return f"/v1/reservations/{post(api, '/v1/reservations', body)['id']}"


def test_reserving_several_products_returns_the_reservation(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=25)
    ProductFactory.create(sku="PLATE", quantity=25)

    response = api.post(
        "/v1/reservations",
        {
            "reference": "order-1",
            "lines": [
                {"sku": "PLATE", "amount": 1},
                {"sku": "CUP", "amount": 2},
                {"sku": "PLATE", "amount": 3},
            ],
        },
        format="json",
    )

    assert response.status_code == 201
    reservation = response.json()
    assert without_times(reservation) == {
        "id": reservation["id"],
        "reference": "order-1",
        "status": "open",
        "expires_at": None,
        "lines": [line("PLATE", 4), line("CUP", 2)],
    }
    assert response["Location"] == f"/v1/reservations/{reservation['id']}"
    assert api.get(response["Location"]).json() == reservation
    assert levels(api.get("/v1/products/PLATE").json()) == (25, 4, 21)


def test_a_reservation_needs_no_reference(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")

    reservation = post(api, "/v1/reservations", {"lines": [{"sku": "CUP", "amount": 1}]})

    assert reservation["reference"] == ""


@pytest.mark.parametrize("body", [{}, {"reason": "shipped", "reference": "parcel-1"}])
@pytest.mark.parametrize(
    ("verb", "status", "part", "cups"),
    [("fulfill", "fulfilled", "fulfilled", 20), ("release", "released", "released", 25)],
)
def test_a_reservation_ends_as_a_whole(
    api: APIClient,
    order: str,
    body: dict[str, str],
    verb: str,
    status: str,
    part: str,
    cups: int,
) -> None:
    reservation = post(api, f"{order}/{verb}", body)

    assert reservation == api.get(order).json()
    assert reservation["status"] == status
    assert reservation["reference"] == "order-1"
    assert reservation["lines"] == [line("CUP", 5, **{part: 5}), line("PLATE", 1, **{part: 1})]
    assert levels(api.get("/v1/products/CUP").json()) == (cups, 0, cups)


def test_a_reservation_ends_as_a_whole_without_a_body(api: APIClient, order: str) -> None:
    response = api.post(f"{order}/fulfill")

    assert (response.status_code, response.json()["status"]) == (200, "fulfilled")


def test_a_reservation_ends_in_parts(api: APIClient, order: str) -> None:
    partly = post(api, f"{order}/fulfill", {"lines": [{"sku": "CUP", "amount": 2}]})
    less = post(
        api,
        f"{order}/release",
        {"lines": [{"sku": "PLATE", "amount": 1}, {"sku": "CUP", "amount": 1}]},
    )
    ended = post(api, f"{order}/release")

    assert (partly["status"], less["status"], ended["status"]) == ("open", "open", "fulfilled")
    assert partly["lines"] == [line("CUP", 5, fulfilled=2), line("PLATE", 1)]
    assert less["lines"] == [line("CUP", 5, fulfilled=2, released=1), line("PLATE", 1, released=1)]
    assert ended["lines"] == [line("CUP", 5, fulfilled=2, released=3), line("PLATE", 1, released=1)]
    assert api.get(order).json() == ended
    assert levels(api.get("/v1/products/CUP").json()) == (23, 0, 23)


# ------------------------------------------------------------------------------------------- events


def test_an_event_has_change_levels_actor_reason_and_source(
    client_as: Callable[[Role], APIClient],
) -> None:
    ProductFactory.create(sku="CUP", quantity=25)
    scanner = client_as(Role.COUNT)

    scanner.post(
        "/v1/products/CUP/adjust",
        {"quantity": 21, "reason": "stocktake, 4 broken", "reference": "count-7"},
        format="json",
        HTTP_X_REQUEST_ID="scan-0815",
    )

    event = scanner.get("/v1/products/CUP/events").json()["results"][0]
    assert without_times(event) == {
        "id": StockEvent.objects.latest("id").pk,
        "sku": "CUP",
        "version": 2,
        "type": "InventoryAdjusted",
        "quantity_change": -4,
        "reserved_change": 0,
        "quantity": 21,
        "reserved_quantity": 0,
        "available_quantity": 21,
        "reservation": None,
        "reason": "stocktake, 4 broken",
        "reference": "count-7",
        "actor": ApiKey.objects.get().name,
        "source": "api",
        "request_id": "scan-0815",
        "details": {},
    }


def test_every_operation_records_its_type_of_event(api: APIClient) -> None:
    post(api, "/v1/products", {"sku": "CUP", "name": "Cup", "quantity": 9})
    post(api, "/v1/products/CUP/add", {"amount": 3, "reason": "delivery", "reference": "po-1"})
    post(api, "/v1/products/CUP/remove", {"amount": 2, "reason": "broken", "reference": "rma-1"})
    held = post(api, "/v1/products/CUP/reserve", {"amount": 6, "reference": "order-1"})
    number = held["reservation"]["id"]
    release = {"amount": 1, "reservation": number, "reason": "changed", "reference": "call-1"}
    post(api, "/v1/products/CUP/release", release)
    fulfill = {
        "lines": [{"sku": "CUP", "amount": 2}],
        "reason": "shipped",
        "reference": "parcel-1",
    }
    post(api, f"/v1/reservations/{number}/fulfill", fulfill)
    post(api, f"/v1/reservations/{number}/release", {"reason": "cancelled", "reference": "call-2"})

    rows = api.get("/v1/products/CUP/events").json()["results"]
    names = ("version", "type", "quantity_change", "reserved_change", "reservation")
    assert [tuple(row[name] for name in names) for row in reversed(rows)] == [
        (1, "ProductCreated", 9, 0, None),
        (2, "InventoryAdded", 3, 0, None),
        (3, "InventoryRemoved", -2, 0, None),
        (4, "InventoryReserved", 0, 6, number),
        (5, "InventoryReleased", 0, -1, number),
        (6, "InventoryFulfilled", -2, -2, number),
        (7, "InventoryReleased", 0, -3, number),
    ]
    assert [(row["reason"], row["reference"]) for row in reversed(rows)] == [
        ("", ""),
        ("delivery", "po-1"),
        ("broken", "rma-1"),
        ("", "order-1"),
        ("changed", "call-1"),
        ("shipped", "parcel-1"),
        ("cancelled", "call-2"),
    ]


def test_an_event_keeps_the_request_id_that_the_service_created(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")

    response = api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    event = api.get("/v1/products/CUP/events").json()["results"][0]
    assert event["request_id"] == response["X-Request-ID"] != ""


def test_reason_and_reference_are_kept_unchanged(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    text = ' <b>"größer" & 🫖</b>, \t=1+1 '

    post(api, "/v1/products/CUP/add", {"amount": 1, "reason": text, "reference": text})

    event = api.get("/v1/products/CUP/events").json()["results"][0]
    assert (event["reason"], event["reference"]) == (text, text)


# -------------------------------------------------------------------------------------------- ETags


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/add", {"amount": 1}),
        ("post", "/remove", {"amount": 1}),
        ("post", "/reserve", {"amount": 1}),
        ("post", "/release", {"amount": 1}),
        ("post", "/adjust", {"quantity": 25, "reason": "stocktake"}),
        ("patch", "", {"name": "Blue cup"}),
        ("patch", "", {"description": "holds tea"}),
        ("patch", "", {"minimum_stock_level": 1}),
        ("patch", "", {"minimum_stock_level": 1000}),
    ],
)
def test_the_etag_changes_with_the_product_and_matches_the_next_get(
    api: APIClient, method: str, path: str, body: dict[str, Any]
) -> None:
    ProductFactory.create(sku="CUP", quantity=25)
    post(api, "/v1/products/CUP/reserve", {"amount": 1})
    before = api.get("/v1/products/CUP")["ETag"]

    after = getattr(api, method)(f"/v1/products/CUP{path}", body, format="json")["ETag"]

    assert re.fullmatch(r'"[!-~]+"', after)
    assert before != after == api.get("/v1/products/CUP")["ETag"]


def test_the_etag_stays_while_nothing_changes(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    before = api.get("/v1/products/CUP")["ETag"]

    same = api.patch("/v1/products/CUP", {"name": "Cup"}, format="json")["ETag"]

    assert before == same == api.get("/v1/products/CUP")["ETag"]


# ------------------------------------------------------------------------------------------ aliases


@pytest.mark.parametrize(
    "path",
    [
        "/products",
        "/products?search=cup",
        "/products/low-stock",
        "/products/CUP",
        "/products/CUP/events",
        "/reservations",
        "/reservations?status=open",
        "/reservations/{id}",
    ],
)
def test_reading_is_the_same_without_v1(api: APIClient, path: str) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=5, minimum_stock_level=5)
    held = post(api, "/v1/products/CUP/reserve", {"amount": 1})
    path = path.format(id=held["reservation"]["id"])

    alias, canonical = api.get(path), api.get(f"/v1{path}")

    assert alias.status_code == canonical.status_code == 200
    assert alias.json() == canonical.json()
    assert alias.get("ETag") == canonical.get("ETag")


def test_operations_are_the_same_without_v1(api: APIClient) -> None:
    created = api.post("/products", {"sku": "CUP", "name": "Cup", "quantity": 9}, format="json")
    post(api, "/products/CUP/add", {"amount": 3})
    post(api, "/products/CUP/remove", {"amount": 2})
    post(api, "/products/CUP/reserve", {"amount": 6})
    post(api, "/products/CUP/release", {"amount": 2})
    number = post(api, "/reservations", {"lines": [{"sku": "CUP", "amount": 1}]})["id"]
    post(api, f"/reservations/{number}/fulfill")
    post(api, "/products/CUP/adjust", {"quantity": 7, "reason": "stocktake"})

    assert created["Location"] == "/v1/products/CUP"
    assert Product.objects.get().levels == (7, 4, 0)
