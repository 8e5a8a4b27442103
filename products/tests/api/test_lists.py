"""Lists: pages, orders and filters."""

import gc
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from products import stock
from products.api import pagination
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.stock import Line
from products.tests.checks import assert_problem
from products.tests.factories import ACTOR, ProductFactory, record_event

pytestmark = pytest.mark.django_db


def rows(api: APIClient, path: str, **query: str | int) -> list[dict[str, Any]]:
    """Return the rows of a list, which must fit on one page."""
    response = api.get(f"{path}?{urlencode(query)}" if query else path)
    assert response.status_code == 200, response.content
    body = response.json()
    assert body.keys() == {"next", "previous", "results"}
    assert (body["next"], body["previous"]) == (None, None)
    found: list[dict[str, Any]] = body["results"]
    return found


def skus(api: APIClient, path: str = "/v1/products", **query: str | int) -> list[str]:
    return [row["sku"] for row in rows(api, path, **query)]


def walk(api: APIClient, url: str | None, direction: str = "next") -> list[list[str]]:
    """Return the SKUs of each page, from `url` on in one direction."""
    pages = []
    while url:
        body = api.get(url).json()
        pages.append([row["sku"] for row in body["results"]])
        url = body[direction]
    return pages


def last_page(api: APIClient, url: str) -> str:
    while following := api.get(url).json()["next"]:
        url = following
    return url


# -------------------------------------------------------------------------------------------- pages

SEVEN = ["B-1", "A-3", "A", "Z", "A-10", "0", "M"]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        (None, ["0", "A", "A-10", "A-3", "B-1", "M", "Z"]),
        ("sku", ["0", "A", "A-10", "A-3", "B-1", "M", "Z"]),
        ("-sku", ["Z", "M", "B-1", "A-3", "A-10", "A", "0"]),
        ("created_at", ["B-1", "A-3", "A", "Z", "A-10", "0", "M"]),
        ("-created_at", ["M", "0", "A-10", "Z", "A", "A-3", "B-1"]),
    ],
)
def test_pages_contain_every_product_once_in_order(
    api: APIClient, ordering: str | None, expected: list[str]
) -> None:
    for sku in SEVEN:
        ProductFactory.create(sku=sku)
    first = "/v1/products?page_size=2" + (f"&ordering={ordering}" if ordering else "")

    forward = walk(api, first)
    back = walk(api, last_page(api, first), "previous")

    assert forward == [expected[0:2], expected[2:4], expected[4:6], expected[6:]]
    assert [sku for page in reversed(back) for sku in page] == expected


def test_first_page_has_no_previous_and_last_no_next(api: APIClient) -> None:
    for sku in SEVEN:
        ProductFactory.create(sku=sku)

    first = api.get("/v1/products?page_size=4").json()
    last = api.get(first["next"]).json()

    assert (first["previous"], last["next"]) == (None, None)
    assert api.get(last["previous"]).json()["results"] == first["results"]


def test_a_page_that_exactly_fits_all_rows_has_no_next(api: APIClient) -> None:
    for sku in SEVEN:
        ProductFactory.create(sku=sku)

    assert len(rows(api, "/v1/products", page_size=7)) == 7


def test_pages_keep_their_filters(api: APIClient) -> None:
    for sku in ("A", "B", "C", "D"):
        ProductFactory.create(sku=sku, quantity=0 if sku == "C" else 1)

    assert walk(api, "/v1/products?page_size=2&in_stock=true") == [["A", "B"], ["D"]]


@pytest.mark.parametrize("new", ["AA", "BB", "CC", "ZZ"])
def test_a_product_created_between_pages_neither_repeats_nor_hides_another(
    api: APIClient, new: str
) -> None:
    for sku in ("A", "B", "C", "D", "E", "F", "G"):
        ProductFactory.create(sku=sku)
    first = api.get("/v1/products?page_size=2").json()
    second = api.get(first["next"]).json()

    ProductFactory.create(sku=new)

    seen = [row["sku"] for page in (first, second) for row in page["results"]]
    seen += [sku for page in walk(api, second["next"]) for sku in page]
    assert [sku for sku in seen if sku != new] == ["A", "B", "C", "D", "E", "F", "G"]
    assert seen.count(new) <= 1


@pytest.mark.parametrize("new", ["AA", "BB", "CC", "ZZ"])
def test_paging_back_over_a_new_product_neither_repeats_nor_hides_another(
    api: APIClient, new: str
) -> None:
    for sku in ("A", "B", "C", "D", "E", "F", "G"):
        ProductFactory.create(sku=sku)
    third = api.get(api.get(api.get("/v1/products?page_size=2").json()["next"]).json()["next"])

    ProductFactory.create(sku=new)

    back = walk(api, third.json()["previous"], "previous")
    seen = [sku for page in reversed(back) for sku in page]
    assert [sku for sku in seen if sku != new] == ["A", "B", "C", "D"]
    assert ("AA" in seen, "BB" in seen) == (new == "AA", new == "BB")


def test_the_links_of_an_emptied_page_skip_no_row(api: APIClient) -> None:
    for sku in ("A", "B", "C", "D", "E", "F", "G"):
        ProductFactory.create(sku=sku, quantity=0, minimum_stock_level=1)
    low = "/v1/products?page_size=3&low_stock=true"
    second = api.get(low).json()["next"]
    last = last_page(api, low)
    for sku in ("A", "G"):
        stock.edit(sku=sku, minimum_stock_level=0, by=ACTOR)

    assert api.get(last).json()["results"] == []
    assert walk(api, last, "previous") == [[], ["D", "E", "F"], ["B", "C"]]

    to_first = api.get(second).json()["previous"]
    for sku in ("B", "C"):
        stock.edit(sku=sku, minimum_stock_level=0, by=ACTOR)

    assert walk(api, to_first) == [[], ["D", "E", "F"]]


def test_a_page_has_100_rows_by_default(api: APIClient) -> None:
    products = [stock.NewProduct(sku=f"P-{number:04}", name="x") for number in range(1002)]
    stock.save_products(products, by=ACTOR)

    sizes = [
        len(api.get(f"/v1/products{query}").json()["results"])
        for query in ("", "?page_size=1", "?page_size=1000")
    ]

    assert sizes == [100, 1, 1000]


def test_an_empty_list_is_a_page(api: APIClient) -> None:
    for path in ("/v1/products", "/v1/products/low-stock", "/v1/reservations"):
        assert rows(api, path) == []


@pytest.mark.parametrize(
    ("taken", "used"),
    [
        ("created_at", "sku"),
        ("created_at", "-sku"),
        ("-created_at", "created_at"),
        ("sku", "-sku"),
        ("sku", "created_at"),
    ],
)
@pytest.mark.parametrize("names", [["A", "B", "C"], ["1", "2", "3"]])
def test_a_cursor_of_another_order_is_refused(
    api: APIClient, taken: str, used: str, names: list[str]
) -> None:
    for sku in names:
        ProductFactory.create(sku=sku)
    following = api.get(f"/v1/products?page_size=1&ordering={taken}").json()["next"]

    response = api.get(following.replace(f"ordering={taken}", f"ordering={used}"))

    assert assert_problem(response, 400, "invalid")["errors"][0]["field"] == "cursor"


# ------------------------------------------------------------------------------------------ filters


def test_a_product_looks_the_same_in_a_list_as_alone(api: APIClient) -> None:
    product = ProductFactory.create(quantity=4, minimum_stock_level=5)

    alone = api.get(f"/v1/products/{product.sku}").json()

    assert rows(api, "/v1/products") == rows(api, "/v1/products/low-stock") == [alone]


def test_the_sku_filter_finds_the_named_products_that_exist(api: APIClient) -> None:
    for sku in ("A", "B", "B-1", "C"):
        ProductFactory.create(sku=sku)

    assert skus(api, sku="C,A,UNKNOWN,A") == ["A", "C"]
    assert skus(api, sku="B") == ["B"]
    assert skus(api, sku=",".join(["A"] + ["X"] * 199)) == ["A"]


@pytest.fixture
def catalogue(db: None) -> None:
    for sku, name in {
        "TSHIRT-BLUE": "Blue T-Shirt",
        "TSHIRT-RED-L": "Red T-Shirt (Large)",
        "100-CUP": "Café crème cup, 100%",
        "MUG": "under_score back\\slash",
        "STRASSE": "Straße",
    }.items():
        ProductFactory.create(sku=sku, name=name)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("TSHIRT", ["TSHIRT-BLUE", "TSHIRT-RED-L"]),
        ("TSHIRT-R", ["TSHIRT-RED-L"]),
        ("tshirt-red-l", ["TSHIRT-RED-L"]),
        ("SHIRT-RED", ["TSHIRT-RED-L"]),  # Two words of the name.
        ("RED-L", ["TSHIRT-RED-L"]),  # A part of the SKU.
        ("shirt", ["TSHIRT-BLUE", "TSHIRT-RED-L"]),
        ("shir", ["TSHIRT-BLUE", "TSHIRT-RED-L"]),
        ("hirt", ["TSHIRT-BLUE", "TSHIRT-RED-L"]),
        ("rge", []),
        ("red", ["TSHIRT-RED-L"]),
        ("RED", ["TSHIRT-RED-L"]),
        ("large red", ["TSHIRT-RED-L"]),
        ("  Large,   RED!", ["TSHIRT-RED-L"]),
        ("(large)", ["TSHIRT-RED-L"]),
        ("blue large", []),
        ("t-shirt blue", ["TSHIRT-BLUE"]),
        ("café", ["100-CUP"]),
        ("cafe creme", ["100-CUP"]),
        ("CAFÉ", ["100-CUP"]),
        ("CRE\u0300ME Cafe\u0301", ["100-CUP"]),  # Accents as combining characters.
        ("cup 100", ["100-CUP"]),
        ("100%", ["100-CUP"]),
        ("straße", ["STRASSE"]),
        ("STRASSE", ["STRASSE"]),
        ("under score", ["MUG"]),
        ("under_score", ["MUG"]),
        ("back\\slash", ["MUG"]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("*", []),
        (" ", []),
        ("TSH%", []),
        ("TSHIRT_BLUE", []),
        ("MU\\G", []),
        ("M%G", []),
        ("'", []),
        ('"', []),
        ("{red}", ["TSHIRT-RED-L"]),
        ("red,null", []),
    ],
)
@pytest.mark.usefixtures("catalogue")
def test_search_finds_parts_of_skus_and_the_beginnings_of_words(
    api: APIClient, search: str, found: list[str]
) -> None:
    assert skus(api, search=search) == found


def test_search_finds_products_by_sku_and_by_name_at_once(api: APIClient) -> None:
    for sku, name in {"RED": "Scarlet", "RED-2": "Red", "PEN": "A red pen", "CUP": "Cup"}.items():
        ProductFactory.create(sku=sku, name=name)

    assert skus(api, search="red") == ["PEN", "RED", "RED-2"]
    assert skus(api, search="red-") == ["PEN", "RED-2"]
    assert skus(api, search="red", ordering="-sku") == ["RED-2", "RED", "PEN"]


@pytest.mark.usefixtures("catalogue")
def test_search_finds_a_changed_name_and_not_the_old_one(api: APIClient) -> None:
    api.patch("/v1/products/MUG", {"name": "Beaker"}, format="json")

    assert (skus(api, search="beaker"), skus(api, search="slash")) == (["MUG"], [])


@pytest.fixture
def levels(db: None) -> None:
    """Create products named by their available units and minimum, one with all units reserved."""
    for available, minimum in [(0, 0), (0, 1), (4, 5), (5, 5), (6, 5)]:
        ProductFactory.create(
            sku=f"HAS-{available}-OF-{minimum}", quantity=available, minimum_stock_level=minimum
        )
    ProductFactory.create(sku="RESERVED", quantity=3)
    stock.reserve(sku="RESERVED", amount=3, by=ACTOR)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"low_stock": "true"}, ["HAS-0-OF-1", "HAS-4-OF-5"]),
        ({"low_stock": "false"}, ["HAS-0-OF-0", "HAS-5-OF-5", "HAS-6-OF-5", "RESERVED"]),
        ({"in_stock": "true"}, ["HAS-4-OF-5", "HAS-5-OF-5", "HAS-6-OF-5"]),
        ({"in_stock": "false"}, ["HAS-0-OF-0", "HAS-0-OF-1", "RESERVED"]),
        ({"in_stock": "true", "low_stock": "true"}, ["HAS-4-OF-5"]),
        ({"low_stock": "true", "ordering": "-sku"}, ["HAS-4-OF-5", "HAS-0-OF-1"]),
        ({"in_stock": "true", "search": "HAS-6"}, ["HAS-6-OF-5"]),
        ({"low_stock": "false", "sku": "HAS-4-OF-5,RESERVED"}, ["RESERVED"]),
    ],
)
@pytest.mark.usefixtures("levels")
def test_products_are_filtered_by_levels(
    api: APIClient, query: dict[str, str], found: list[str]
) -> None:
    assert skus(api, **query) == found


@pytest.mark.usefixtures("levels")
def test_low_stock_lists_products_below_their_minimum(api: APIClient) -> None:
    assert skus(api, "/v1/products/low-stock") == ["HAS-0-OF-1", "HAS-4-OF-5"]
    assert walk(api, "/v1/products/low-stock?page_size=1") == [["HAS-0-OF-1"], ["HAS-4-OF-5"]]


# -------------------------------------------------------------------------- reservations and events


@pytest.fixture
def reservations(db: None) -> dict[str, int]:
    """Create reservations in several states, oldest first. Return their ids by name."""
    for sku in ("CUP", "PLATE"):
        ProductFactory.create(sku=sku)
    made = {
        name: stock.reserve_lines(
            lines=[Line(sku, 2) for sku in skus], reference=reference, by=ACTOR
        ).pk
        for name, skus, reference in [
            ("first", ["CUP"], "order-1"),
            ("both", ["PLATE", "CUP"], "order-1"),
            ("shipped", ["PLATE"], "order-2"),
            ("released", ["PLATE"], ""),
        ]
    }
    stock.fulfill(reservation_id=made["shipped"], by=ACTOR)
    stock.release(reservation_id=made["released"], by=ACTOR)
    return made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["released", "shipped", "both", "first"]),
        ({"reference": "order-1"}, ["both", "first"]),
        ({"reference": "ORDER-1"}, []),
        ({"reference": "order-"}, []),
        ({"reference": " order-1"}, []),
        ({"status": "open"}, ["both", "first"]),
        ({"status": "fulfilled"}, ["shipped"]),
        ({"status": "released"}, ["released"]),
        ({"status": "expired"}, []),
        ({"sku": "CUP"}, ["both", "first"]),
        ({"sku": "UNKNOWN"}, []),
        ({"sku": "PLATE", "status": "open"}, ["both"]),
        ({"sku": "PLATE", "reference": "order-2", "status": "fulfilled"}, ["shipped"]),
    ],
)
def test_reservations_are_filtered_by_reference_status_and_sku(
    api: APIClient, reservations: dict[str, int], query: dict[str, str], found: list[str]
) -> None:
    listed = rows(api, "/v1/reservations", **query)

    assert [row["id"] for row in listed] == [reservations[name] for name in found]
    assert all(row == api.get(f"/v1/reservations/{row['id']}").json() for row in listed)


def test_reservations_come_in_pages(api: APIClient, reservations: dict[str, int]) -> None:
    url, seen = "/v1/reservations?page_size=3", []
    while url:
        body = api.get(url).json()
        seen.append([row["id"] for row in body["results"]])
        url = body["next"]

    newest_first = list(reversed(reservations.values()))
    assert seen == [newest_first[:3], newest_first[3:]]


def pages(api: APIClient, url: str | None, direction: str) -> list[list[dict[str, Any]]]:
    found = []
    while url:
        body = api.get(url).json()
        found.append(body["results"])
        url = body[direction]
    return found


@pytest.mark.parametrize("query", ["page_size=5", "sku=P-1&page_size=5"])
def test_a_page_of_reservations_ends_when_it_has_many_lines(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(pagination, "MAX_LINES_ON_PAGE", 6)
    for number in range(1, 10):
        ProductFactory.create(sku=f"P-{number}", quantity=99)
    sizes = (1, 2, 3, 4, 9, 1, 1, 5, 2, 1, 1, 1, 1, 1)
    expected = [
        stock.reserve_lines(lines=[Line(f"P-{n + 1}", 1) for n in range(size)], by=ACTOR).pk
        for size in sizes
    ]

    forward = pages(api, f"/v1/reservations?{query}", "next")

    shown = [[len(row["lines"]) for row in page] for page in forward]
    assert shown == [[1, 1, 1, 1, 1], [2], [5, 1], [1], [9], [4], [3, 2, 1]]
    assert [row["id"] for page in forward for row in page] == expected[::-1]
    assert [row["lines"][0]["sku"] for page in forward for row in page] == ["P-1"] * len(sizes)
    last = api.get(f"/v1/reservations?{query}").json()
    while last["next"]:
        last = api.get(last["next"]).json()
    back = [last["results"], *pages(api, last["previous"], "previous")]
    assert [row["id"] for page in back for row in page[::-1]] == expected
    assert all(len(page) == 1 or sum(len(row["lines"]) for row in page) <= 6 for page in back)


@pytest.mark.slow
def test_the_largest_page_of_reservations(api: APIClient) -> None:
    for number in range(1_000):
        ProductFactory.create(sku=f"P-{number}", description="x" * 1_000)
    lines = [Line(f"P-{number}", 1) for number in range(1_000)]
    for _ in range(12):
        stock.reserve_lines(lines=lines, by=ACTOR)

    with CaptureQueriesContext(connection) as queries:
        first = api.get("/v1/reservations?page_size=1000").json()
    second = api.get(first["next"]).json()

    assert [len(first["results"]), len(second["results"])] == [5, 5]
    assert [len(row["lines"]) for row in first["results"]] == [1_000] * 5
    assert second["next"] is not None
    # A join took 14 seconds while PostgreSQL believed that its tables were empty.
    unwanted = re.compile("description|JOIN")
    assert not [query["sql"] for query in queries if unwanted.search(query["sql"])]


def rows_in_memory() -> list[Reservation | ReservationLine]:
    # `isinstance` would evaluate lazy objects, such as those of Django's test client.
    return [row for row in gc.get_objects() if type(row) in (Reservation, ReservationLine)]


def test_the_rows_of_a_page_are_freed_without_the_garbage_collector(
    api: APIClient, reservations: dict[str, int]
) -> None:
    """Its pauses would delay other requests."""
    before = set(map(id, rows_in_memory()))
    gc.disable()
    try:
        assert api.get("/v1/reservations").json()["results"]
        left = [row for row in rows_in_memory() if id(row) not in before]
    finally:
        gc.enable()

    assert left == []


def test_reservations_of_a_product_come_in_pages(
    api: APIClient, reservations: dict[str, int]
) -> None:
    url = "/v1/reservations?sku=CUP&page_size=1"

    first = api.get(url).json()
    last = api.get(first["next"]).json()

    assert [row["id"] for row in first["results"]] == [reservations["both"]]
    assert [row["id"] for row in last["results"]] == [reservations["first"]]
    assert (first["previous"], last["next"]) == (None, None)
    assert api.get(last["previous"]).json()["results"] == first["results"]


def test_a_cursor_of_all_reservations_is_refused_for_those_of_a_product(
    api: APIClient, reservations: dict[str, int]
) -> None:
    link = api.get("/v1/reservations?page_size=1").json()["next"]

    assert_problem(api.get(f"{link}&sku=CUP"), 400, "invalid")


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"type": "InventoryAdded"}, [4, 2]),
        ({"type": "ProductCreated"}, [1]),
        ({"type": "InventoryAdjusted"}, []),
        ({"reference": "po-1"}, [3, 2]),
        ({"reference": "PO-1"}, []),
        ({"reference": "po-1", "type": "InventoryAdded"}, [2]),
    ],
)
def test_events_come_newest_first_and_are_filtered_by_type_and_reference(
    api: APIClient, query: dict[str, str], versions: list[int]
) -> None:
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, reference="po-1", by=ACTOR)
    stock.remove(sku="CUP", amount=1, reference="po-1", by=ACTOR)
    stock.add(sku="CUP", amount=1, reference="po-2", by=ACTOR)
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    stock.add(sku=ProductFactory.create().sku, amount=1, reference="po-1", by=ACTOR)

    events = rows(api, "/v1/products/CUP/events", **query)

    assert [event["version"] for event in events] == versions


def test_edits_are_found_by_their_type(api: APIClient) -> None:
    product = ProductFactory.create(sku="CUP")
    edit = {"name": {"old": "Cup", "new": "Mug"}}
    record_event(product, StockEvent.Type.PRODUCT_EDITED, details=edit)
    record_event(product, StockEvent.Type.PRODUCT_ARCHIVED)
    record_event(product, StockEvent.Type.PRODUCT_RESTORED)

    def found(event_type: str) -> list[tuple[int, object]]:
        events = rows(api, "/v1/products/CUP/events", type=event_type)
        return [(event["version"], event["details"]) for event in events]

    assert found("ProductEdited") == [(2, edit)]
    assert found("ProductArchived") == [(3, {})]
    assert found("ProductRestored") == [(4, {})]


def test_pages_of_events_stay_correct_while_events_are_added(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    for _ in range(4):
        stock.add(sku="CUP", amount=1, by=ACTOR)
    first = api.get("/v1/products/CUP/events?page_size=2").json()

    stock.add(sku="CUP", amount=1, by=ACTOR)

    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    pages = [[event["version"] for event in page["results"]] for page in (first, second, third)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert third["next"] is None


# ------------------------------------------------------------------------------------------ queries


def queries_for(api: APIClient, path: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert api.get(path).status_code == 200
    return len(queries)


@pytest.mark.parametrize(
    "path",
    ["/v1/products", "/v1/products/low-stock", "/v1/reservations", "/v1/products/SKU-0/events"],
)
def test_the_number_of_queries_does_not_depend_on_the_length_of_a_list(
    api: APIClient, path: str
) -> None:
    def grow_to(length: int) -> int:
        for number in range(Product.objects.count(), length):
            product = ProductFactory.create(
                sku=f"SKU-{number}", quantity=25, minimum_stock_level=30
            )
            lines = [Line(sku, 1) for sku in {product.sku, "SKU-0"}]
            stock.reserve_lines(lines=lines, by=ACTOR)
        return queries_for(api, path)

    api.get(path)  # Caches the API key.

    assert grow_to(2) == grow_to(20) <= 4


def test_the_status_of_a_reservation_agrees_with_its_lines(api: APIClient) -> None:
    """The lines are read after the row. The reservation may end in between."""
    reservation = stock.reserve(sku=ProductFactory.create().sku, amount=1, by=ACTOR)
    Reservation.objects.filter(pk=reservation.pk).update(status="fulfilled")

    assert api.get(f"/v1/reservations/{reservation.pk}").json()["status"] == "open"
