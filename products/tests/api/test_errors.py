"""The errors: status, code and members. They change nothing."""

from dataclasses import dataclass, field
from typing import Any

import psycopg.errors
import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection
from pytest_django import Settings
from rest_framework.test import APIClient

from products import stock
from products.stock import Line
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

COMMON = {"type", "title", "status", "detail", "instance", "code", "request_id"}


@pytest.fixture
def ids(db: None) -> dict[str, int]:
    """Create 25 cups with 20 reserved, a billion plates, and reservations. Return their ids."""
    ProductFactory.create(sku="CUP", quantity=25)
    ProductFactory.create(sku="PLATE", quantity=1_000_000_000)
    order = stock.reserve_lines(
        lines=[Line("CUP", 18), Line("PLATE", 1)], reference="order-1", by=ACTOR
    )
    loose = stock.reserve(sku="CUP", amount=2, by=ACTOR)
    closed = stock.reserve(sku="CUP", amount=1, by=ACTOR)
    stock.release(reservation_id=closed.pk, by=ACTOR)
    return {"order": order.pk, "loose": loose.pk, "closed": closed.pk}


@dataclass
class Refused:
    """A request and its error. `{order}`, `{loose}` and `{closed}` stand for reservation ids."""

    path: str
    body: dict[str, Any]
    status: int
    code: str
    known: dict[str, Any] = field(default_factory=dict)
    method: str = "post"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.code}"


def lines(*wanted: tuple[str, int]) -> dict[str, Any]:
    return {"lines": [{"sku": sku, "amount": amount} for sku, amount in wanted]}


def not_found(sku: str, index: int) -> dict[str, Any]:
    return {"index": index, "sku": sku, "code": "product_not_found"}


def short(code: str, index: int, sku: str, requested: int, available: int) -> dict[str, Any]:
    return {
        "index": index,
        "sku": sku,
        "code": code,
        "requested": requested,
        "available": available,
    }


NO_SUCH_PRODUCT = (404, "product_not_found", {"sku": "NOPE"})

REFUSALS = [
    # An unknown product.
    Refused("/v1/products/NOPE", {}, *NO_SUCH_PRODUCT, method="get"),
    Refused("/v1/products/NOPE", {"name": "x"}, *NO_SUCH_PRODUCT, method="patch"),
    Refused("/v1/products/NOPE/events", {}, *NO_SUCH_PRODUCT, method="get"),
    Refused("/v1/products/NOPE/add", {"amount": 1}, *NO_SUCH_PRODUCT),
    Refused("/v1/products/NOPE/remove", {"amount": 1}, *NO_SUCH_PRODUCT),
    Refused("/v1/products/NOPE/remove", {"amount": 1}, *NO_SUCH_PRODUCT, method="patch"),
    Refused("/v1/products/NOPE/reserve", {"amount": 1}, *NO_SUCH_PRODUCT),
    Refused("/v1/products/NOPE/release", {"amount": 1}, *NO_SUCH_PRODUCT),
    Refused("/v1/products/NOPE/adjust", {"quantity": 1, "reason": "count"}, *NO_SUCH_PRODUCT),
    Refused(
        "/v1/reservations", lines(("NOPE", 1)), 404, "product_not_found",
        {"lines": [not_found("NOPE", 0)]},
    ),
    Refused(
        "/v1/reservations/{order}/fulfill", lines(("NOPE", 1)), 404, "product_not_found",
        {"lines": [not_found("NOPE", 0)]},
    ),
    # An unknown reservation.
    Refused("/v1/reservations/987654", {}, 404, "reservation_not_found", method="get"),
    Refused(f"/v1/reservations/{2**63}", {}, 404, "reservation_not_found", method="get"),
    Refused(f"/v1/reservations/{2**63 - 1}/release", {}, 404, "reservation_not_found"),
    Refused(f"/v1/reservations/{10**99}/fulfill", {}, 404, "reservation_not_found"),
    Refused("/v1/reservations/987654/fulfill", {}, 404, "reservation_not_found"),
    Refused("/v1/reservations/987654/release", {}, 404, "reservation_not_found"),
    Refused(
        "/v1/products/CUP/release", {"amount": 1, "reservation": 987654}, 404,
        "reservation_not_found",
    ),
    # Too few units.
    Refused(
        "/v1/products/CUP/remove", {"amount": 6}, 409, "insufficient_stock",
        {"sku": "CUP", "requested": 6, "available": 5},
    ),
    Refused(
        "/v1/products/CUP/reserve", {"amount": 6}, 409, "insufficient_stock",
        {"sku": "CUP", "requested": 6, "available": 5},
    ),
    Refused(
        "/v1/reservations", lines(("CUP", 6)), 409, "insufficient_stock",
        {"lines": [short("insufficient_stock", 0, "CUP", 6, 5)]},
    ),
    Refused(
        "/v1/reservations", lines(("PLATE", 1), ("CUP", 3), ("NOPE", 1), ("CUP", 3)), 409,
        "insufficient_stock",
        {"lines": [short("insufficient_stock", 1, "CUP", 6, 5), not_found("NOPE", 2)]},
    ),
    Refused(
        "/v1/reservations", lines(("PLATE", 1), ("NOPE", 1), ("CUP", 6)), 404,
        "product_not_found",
        {"lines": [not_found("NOPE", 1), short("insufficient_stock", 2, "CUP", 6, 5)]},
    ),
    Refused(
        "/v1/products/CUP/release", {"amount": 3}, 409, "insufficient_reserved",
        {"sku": "CUP", "requested": 3, "available": 2},
    ),
    Refused(
        "/v1/products/CUP/release", {"amount": 19, "reservation": "{order}"}, 409,
        "insufficient_reserved", {"sku": "CUP", "requested": 19, "available": 18},
    ),
    Refused(
        "/v1/products/PLATE/release", {"amount": 1, "reservation": "{loose}"}, 409,
        "insufficient_reserved", {"sku": "PLATE", "requested": 1, "available": 0},
    ),
    Refused(
        "/v1/reservations/{order}/fulfill", lines(("CUP", 18), ("PLATE", 2)), 409,
        "insufficient_reserved",
        {"lines": [short("insufficient_reserved", 1, "PLATE", 2, 1)]},
    ),
    Refused(
        "/v1/reservations/{order}/release", lines(("PLATE", 2), ("CUP", 10), ("CUP", 9)), 409,
        "insufficient_reserved",
        {
            "lines": [
                short("insufficient_reserved", 0, "PLATE", 2, 1),
                short("insufficient_reserved", 1, "CUP", 19, 18),
            ]
        },
    ),
    # The state does not allow it.
    Refused(
        "/v1/products/CUP/adjust", {"quantity": 19, "reason": "count"}, 409, "below_reserved",
        {"sku": "CUP", "requested": 19, "available": 5},
    ),
    Refused(
        "/v1/products/CUP/adjust", {"quantity": 30, "expected_quantity": 24, "reason": "count"},
        409, "quantity_changed", {"sku": "CUP", "available": 5},
    ),
    Refused(
        "/v1/products/PLATE/add", {"amount": 1}, 409, "stock_limit_exceeded",
        {"sku": "PLATE", "requested": 1},
    ),
    Refused(
        "/v1/products", {"sku": "CUP", "name": "Cup"}, 409, "duplicate_sku", {"sku": "CUP"}
    ),
    Refused("/v1/reservations/{closed}/fulfill", {}, 409, "reservation_closed"),
    Refused("/v1/reservations/{closed}/release", {}, 409, "reservation_closed"),
    Refused("/v1/reservations/{closed}/release", lines(("CUP", 1)), 409, "reservation_closed"),
    Refused(
        "/v1/products/CUP/release", {"amount": 1, "reservation": "{closed}"}, 409,
        "reservation_closed",
    ),
    # An invalid request.
    Refused(
        "/v1/products/CUP/add", {"amount": 0, "colour": "red"}, 400, "invalid",
        {
            "errors": [
                {"field": "amount", "code": "min_value", "detail": "At least 1 unit is required."},
                {"field": "colour", "code": "unknown", "detail": "Unknown field."},
            ]
        },
    ),
    # A method that the path does not take.
    Refused("/v1/products", {}, 405, "method_not_allowed", method="put"),
    Refused("/v1/products/CUP", {}, 405, "method_not_allowed", method="put"),
    Refused("/v1/products/CUP", {}, 405, "method_not_allowed", method="delete"),
    Refused("/v1/products/CUP", {}, 405, "method_not_allowed", method="post"),
    Refused("/v1/products/CUP/add", {}, 405, "method_not_allowed", method="get"),
    Refused("/v1/products/CUP/reserve", {}, 405, "method_not_allowed", method="patch"),
    Refused("/v1/products/CUP/events", {}, 405, "method_not_allowed", method="delete"),
    Refused("/v1/products/low-stock", {}, 405, "method_not_allowed", method="post"),
    Refused("/v1/reservations", {}, 405, "method_not_allowed", method="options"),
    Refused("/v1/reservations/{order}", {}, 405, "method_not_allowed", method="delete"),
    Refused("/v1/reservations/{order}/fulfill", {}, 405, "method_not_allowed", method="get"),
    Refused("/health", {}, 405, "method_not_allowed", method="post"),
]  # fmt: skip


@pytest.mark.parametrize("refused", REFUSALS, ids=str)
def test_an_error_has_all_its_members_and_changes_nothing(
    api: APIClient, ids: dict[str, int], refused: Refused
) -> None:
    path, body = refused.path.format(**ids), dict(refused.body)
    if isinstance(body.get("reservation"), str):
        body["reservation"] = int(body["reservation"].format(**ids))
    before = stored()

    send = getattr(api, refused.method)
    response = send(path) if refused.method == "get" else send(path, body, format="json")

    problem = assert_problem(response, refused.status, refused.code)
    assert {name: problem[name] for name in problem.keys() - COMMON} == refused.known
    assert problem["instance"] == path
    assert all(isinstance(problem[name], str) for name in COMMON - {"status"})
    assert all(problem[name] for name in COMMON)
    assert stored() == before


def test_title_and_type_match_the_code(api: APIClient) -> None:
    first = assert_problem(api.get("/v1/products/A"), 404, "product_not_found")
    second = assert_problem(api.get("/v1/products/B"), 404, "product_not_found")
    other = assert_problem(api.get("/v1/reservations/1"), 404, "reservation_not_found")

    assert (first["type"], first["title"]) == (second["type"], second["title"])
    assert first["type"] != other["type"]
    assert first["title"] != other["title"]


def test_below_reserved_links_the_open_reservations(api: APIClient, ids: dict[str, int]) -> None:
    response = api.post(
        "/v1/products/CUP/adjust", {"quantity": 1, "reason": "count"}, format="json"
    )

    where = "/v1/reservations?sku=CUP&status=open"
    assert where in assert_problem(response, 409, "below_reserved")["detail"]
    found = {row["id"] for row in api.get(where).json()["results"]}
    assert found == {ids["order"], ids["loose"]}


def test_method_not_allowed_names_the_allowed_methods(api: APIClient) -> None:
    response = api.delete("/v1/products")

    assert_problem(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response["Allow"].replace(" ", "").split(","))


# -------------------------------------------------------------------------------- outside the views


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*", "image/png"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/nope"),
        ("get", "/v1/nope"),
        ("get", "/v1"),
        ("get", "/v1/"),
        ("get", "/v1/products/"),
        ("post", "/v1/products/"),
        ("get", "/products/"),
        ("get", "/v1/products/CUP/"),
        ("get", "/v1/products/CUP/nope"),
        ("post", "/v1/products/CUP/add/"),
        ("get", "/v1/products/A%2FB"),
        ("get", "/v1/reservations/"),
        ("get", "/v1/reservations/abc"),
        ("post", "/v2/products"),
        ("delete", "/health/dead"),
        ("get", "/static/nope.js"),
    ],
)
def test_an_unknown_path_is_a_problem_and_not_a_page(
    api: APIClient, settings: Settings, method: str, path: str, accept: str, debug: bool
) -> None:
    settings.DEBUG = debug

    response = getattr(api, method)(path, HTTP_ACCEPT=accept)

    problem = assert_problem(response, 404, "not_found")
    assert problem.keys() == COMMON
    assert problem["instance"] == path.replace("%2F", "/")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("path", ["/v1/products", "/docs", "/nope"])
def test_an_unknown_host_is_a_problem(
    api: APIClient, settings: Settings, path: str, accept: str, debug: bool
) -> None:
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = ["inventory.example"]

    # This path reads the host. The others do when they build a link.
    response = api.get(path, HTTP_HOST="evil.example", HTTP_ACCEPT=accept)

    problem = assert_problem(response, 400, "invalid")
    assert problem["detail"] == "Unknown host name. Ask the operator to add it to ALLOWED_HOSTS."


@pytest.mark.parametrize("path", ["/health", "/health/live"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "evil.example", "not a host"])
def test_health_checks_may_use_any_host(settings: Settings, path: str, host: str) -> None:
    settings.ALLOWED_HOSTS = ["inventory.example"]
    settings.SECURE_SSL_REDIRECT = True

    assert APIClient().get(path, HTTP_HOST=host).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "image/png", "nonsense", ""])
def test_accept_is_ignored(api: APIClient, accept: str) -> None:
    ProductFactory.create(sku="CUP")

    found = api.get("/v1/products/CUP", HTTP_ACCEPT=accept)
    missing = api.get("/v1/products/NOPE", HTTP_ACCEPT=accept)

    assert (found.status_code, found["Content-Type"]) == (200, "application/json")
    assert_problem(missing, 404, "product_not_found")


# ---------------------------------------------------------------------------------- internal errors


@pytest.fixture
def quiet_api(api: APIClient) -> APIClient:
    """A client that gets a response for an exception in a view."""
    api.raise_request_exception = False
    return api


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_exception_is_a_problem_without_details(
    quiet_api: APIClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    debug: bool,
) -> None:
    settings.DEBUG = debug

    def fail(**_: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(stock, "add", fail)

    response = quiet_api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    problem = assert_problem(response, 500, "internal_error")
    assert problem.keys() == COMMON
    assert b"swordfish" not in response.content
    assert b"RuntimeError" not in response.content


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(stock, "add", fail)


@pytest.mark.parametrize(
    "error",
    [
        caused_by(OperationalError("server is gone"), psycopg.OperationalError("server is gone")),
        caused_by(OperationalError("shutdown"), psycopg.errors.AdminShutdown("shutdown")),
        caused_by(InternalError("replica"), psycopg.errors.ReadOnlySqlTransaction("replica")),
        InterfaceError("connection already closed"),
    ],
)
def test_an_unavailable_database_is_a_503_with_retry_after(
    quiet_api: APIClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(monkeypatch, error)

    response = quiet_api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    problem = assert_problem(response, 503, "database_unavailable")
    assert problem.keys() == COMMON
    assert int(response["Retry-After"]) >= 1
    assert str(error) not in response.content.decode()


@pytest.mark.parametrize(
    "error",
    [
        caused_by(OperationalError("lock timeout"), psycopg.errors.LockNotAvailable("lock")),
        caused_by(OperationalError("too long"), psycopg.errors.QueryCanceled("too long")),
        caused_by(InternalError("idle"), psycopg.errors.IdleInTransactionSessionTimeout("idle")),
    ],
)
def test_a_timeout_of_a_lock_or_a_statement_is_busy(
    quiet_api: APIClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(monkeypatch, error)

    response = quiet_api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    assert_problem(response, 503, "busy")
    assert int(response["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "state", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure]
)
def test_a_transaction_that_was_aborted_too_often_is_busy(
    quiet_api: APIClient, monkeypatch: pytest.MonkeyPatch, state: type[Exception]
) -> None:
    fail_with(monkeypatch, caused_by(OperationalError("broken off"), state("broken off")))

    response = quiet_api.post("/v1/products/CUP/add", {"amount": 1}, format="json")

    assert_problem(response, 503, "busy")
    assert int(response["Retry-After"]) >= 1


def test_a_database_that_is_unavailable_for_the_key_look_up_is_a_503(quiet_api: APIClient) -> None:
    def fail() -> None:
        raise OperationalError("server is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "cursor", fail)
        response = quiet_api.get("/v1/products")

    assert_problem(response, 503, "database_unavailable")
    assert quiet_api.get("/v1/products").status_code == 200
