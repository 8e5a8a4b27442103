"""Request ids, headers, CORS, health checks, docs pages and the request log."""

import json
import logging
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings
from pythonjsonlogger.json import JsonFormatter
from rest_framework.test import APIClient

from products.api.docs import _document
from products.models import ApiKey, Role, StockEvent
from products.request_id import request_id
from products.tests.checks import assert_problem
from products.tests.factories import ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

SHOP = "https://shop.example"


@pytest.fixture
def anyone() -> APIClient:
    """A client without a key."""
    return APIClient()


# -------------------------------------------------------------------------------------- request ids

IDS = [
    *("order-1", "x", "x" * 128, "0b8f5e1c-9d0b-4c55-8e4e-0a7c4c9b4f11"),
    *("a.b_c:d/e+f=g@h", "Root=1-67891233-abcdef012345678912345678"),
]
ODD_IDS = [
    "",
    "x" * 129,
    "a b",
    "a\nb",
    "a\r\nSet-Cookie: x=1",
    'a"b',
    "a'b",
    "ä",
    "\udcff",
    "a\0b",
    "<b>",
]


@pytest.mark.parametrize("sent", IDS, ids=lambda text: text[:20])
@pytest.mark.parametrize("path", ["/v1/products", "/v1/nope", "/health/live", "/docs"])
def test_a_request_id_is_echoed(api: APIClient, path: str, sent: str) -> None:
    assert api.get(path, HTTP_X_REQUEST_ID=sent)["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ODD_IDS, ids=lambda text: repr(text)[:20])
def test_an_unsafe_request_id_is_replaced(api: APIClient, sent: str) -> None:
    ProductFactory.create(sku="CUP")

    response = api.post(
        "/v1/products/CUP/add", {"amount": 1}, format="json", HTTP_X_REQUEST_ID=sent
    )

    made = response["X-Request-ID"]
    assert response.status_code == 200
    assert made != sent
    assert re.fullmatch("[A-Za-z0-9-]{16,128}", made)
    assert StockEvent.objects.latest("id").request_id == made


def test_a_request_without_an_id_gets_one(anyone: APIClient) -> None:
    ids = {anyone.get("/health/live")["X-Request-ID"] for _ in range(3)}

    assert len(ids) == 3


@pytest.mark.parametrize("path", ["/v1/products/NOPE", "/v1/nope", "/nope"])
@pytest.mark.parametrize("sent", ["order-1", None, "not fit"])
def test_a_problem_shows_the_id_of_its_request(api: APIClient, path: str, sent: str | None) -> None:
    response = api.get(path, headers={"X-Request-ID": sent} if sent else {})

    assert response.json()["request_id"] == response["X-Request-ID"]
    assert (response["X-Request-ID"] == sent) == (sent == "order-1")


def test_a_request_id_is_cleared_after_its_request(anyone: APIClient) -> None:
    for path in ("/health/live", "/v1/nope", "/static/products/favicon.svg"):
        anyone.get(
            path, HTTP_X_REQUEST_ID="order-1"
        ).getvalue()  # Reading to the end closes the response.

        assert request_id.get() is None, path


# --------------------------------------------------------------------------------------------- CORS

CORS_PATHS = ["/v1/products", "/v1/products/NOPE", "/v1/nope", "/nope", "/health/live"]


@pytest.mark.parametrize("path", CORS_PATHS)
def test_an_allowed_origin_can_read_responses_and_errors(
    api: APIClient, settings: Settings, path: str
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP]

    response = api.get(path, HTTP_ORIGIN=SHOP)

    assert response["Access-Control-Allow-Origin"] == SHOP
    exposed = response["Access-Control-Expose-Headers"].lower().replace(" ", "").split(",")
    assert {"etag", "location", "retry-after", "x-request-id"} <= set(exposed)
    assert "origin" in response["Vary"].lower()
    assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize("path", CORS_PATHS)
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://shop.example", f"{SHOP}.evil.example", f"{SHOP}:8443", "null"],
)
def test_other_origins_cannot_read_responses(
    api: APIClient, settings: Settings, path: str, origin: str
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP]

    assert "Access-Control-Allow-Origin" not in api.get(path, HTTP_ORIGIN=origin)


def test_no_origin_is_allowed_by_default(api: APIClient) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("/v1/products", HTTP_ORIGIN=SHOP)


def preflight(client: APIClient, origin: str) -> Any:
    return client.options(
        "/v1/products/CUP/add",
        HTTP_ORIGIN=origin,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="PATCH",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization,content-type",
    )


def test_the_preflight_request_of_an_allowed_origin_needs_no_key(
    anyone: APIClient, settings: Settings
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP]

    response = preflight(anyone, SHOP)

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == SHOP
    allowed = {name.strip().lower() for name in response["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "x-request-id", "if-none-match"} <= allowed
    # A browser would not send a request with the headers of a tracing library otherwise.
    assert {"baggage", "sentry-trace", "traceparent", "tracestate"} <= allowed
    methods = {name.strip() for name in response["Access-Control-Allow-Methods"].split(",")}
    assert {"GET", "POST", "PATCH"} <= methods


def test_the_preflight_request_of_another_origin_is_refused(
    anyone: APIClient, settings: Settings
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP]

    response = preflight(anyone, "https://evil.example")

    assert not [name for name in response.headers if name.startswith("Access-Control-Allow")]


# --------------------------------------------------------------------------------- security headers


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/products", "/v1/products/NOPE", "/v1/nope", "/nope", "/health", "/docs"),
        *("/openapi.json", "/admin/login/"),
    ],
)
def test_every_response_has_security_headers(api: APIClient, path: str) -> None:
    response = api.get(path)

    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/v1/products", "/docs", "/nope", "/admin/"])
def test_plain_http_is_redirected_to_https(
    anyone: APIClient, settings: Settings, path: str
) -> None:
    settings.SECURE_SSL_REDIRECT = True

    response = anyone.get(path)

    assert response.status_code == 301
    assert response["Location"] == f"https://testserver{path}"


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_checks_work_over_plain_http(
    anyone: APIClient, settings: Settings, path: str
) -> None:
    settings.SECURE_SSL_REDIRECT = True

    assert anyone.get(path).status_code == 200


# ------------------------------------------------------------------------------------------ caching


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/v1/products"), ("GET", "/v1/products/NOPE"), ("GET", "/v1/nope")),
        *(("GET", "/v1/reservations"), ("GET", "/v1/events"), ("GET", "/products"), ("GET", "/")),
        *(("POST", "/v1/products/CUP/add"), ("POST", "/v1/products"), ("DELETE", "/v1/products")),
        *(("GET", "/health"), ("GET", "/health/live"), ("GET", "/nope")),
    ],
)
def test_no_cache_may_keep_a_response(api: APIClient, method: str, path: str) -> None:
    ProductFactory.create(sku="CUP")

    response = api.generic(method, path, '{"amount": 1}', content_type="application/json")

    assert response["Cache-Control"] == "no-store"


def test_a_client_may_ask_whether_a_product_has_changed(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    first = api.get("/v1/products/CUP")
    known = first["ETag"]
    others = [f"W/{known}", f'"x", {known}', known.replace('1"', '1-gzip"'), "*"]

    same = [api.get("/v1/products/CUP", HTTP_IF_NONE_MATCH=tag) for tag in [known, *others]]
    api.patch("/v1/products/CUP", {"name": "Cup"}, format="json")
    changed = api.get("/v1/products/CUP", HTTP_IF_NONE_MATCH=known)

    assert first["Cache-Control"] == "private, no-cache"
    for response in same:
        assert (response.status_code, response.content) == (304, b"")
        assert (response["ETag"], response["Cache-Control"]) == (known, "private, no-cache")
    assert (changed.status_code, changed.json()["name"]) == (200, "Cup")
    assert changed["ETag"] == '"2"'


@pytest.mark.parametrize("tag", ['"7"', '"1-x"', "1", "", '"', 'W/"01"', "\0"])
def test_a_product_is_sent_if_the_tag_is_another(api: APIClient, tag: str) -> None:
    ProductFactory.create(sku="CUP")

    assert api.get("/v1/products/CUP", HTTP_IF_NONE_MATCH=tag).status_code == 200


def test_an_unknown_key_learns_nothing_by_a_tag(anyone: APIClient) -> None:
    ProductFactory.create(sku="CUP")

    assert anyone.get("/v1/products/CUP", HTTP_IF_NONE_MATCH="*").status_code == 401


def test_the_openapi_document_is_made_once_and_cached(anyone: APIClient) -> None:
    first = anyone.get("/openapi.json")
    made = _document.cache_info().misses
    second = anyone.get("/openapi.json")
    unchanged = anyone.get("/openapi.json", HTTP_IF_NONE_MATCH=first["ETag"])

    assert first.content == second.content
    assert _document.cache_info().misses == made
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    for response in (first, second, unchanged):
        assert response["Cache-Control"] == "public, max-age=300"
        assert response["ETag"] == first["ETag"]


@pytest.mark.parametrize("query", ["version=2", "lang=de", "format=yaml", "_=1"])
def test_the_openapi_document_has_no_parameters(anyone: APIClient, query: str) -> None:
    assert_problem(anyone.get(f"/openapi.json?{query}"), 400, "invalid")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_browsers_keep_the_pages_of_the_docs(anyone: APIClient, path: str) -> None:
    assert anyone.get(path)["Cache-Control"] == "public, max-age=300"


# -------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/products", "/v1/products/CUP", "/v1/products/CUP/add", "/v1/reservations/7"),
        *("/v1/events", "/products", "/health", "/health/live", "/docs", "/openapi.json"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slash_at_the_end_is_named(api: APIClient, method: str, path: str) -> None:
    problem = assert_problem(api.generic(method, f"{path}/"), 404, "not_found")

    assert problem["detail"] == f"Unknown path. Paths have no slash at the end: use {path}."


@pytest.mark.parametrize("path", ["/nope", "/nope/", "/v1/", "/v1/products//"])
def test_an_unknown_path_is_not_corrected(api: APIClient, path: str) -> None:
    problem = assert_problem(api.get(path), 404, "not_found")

    assert problem["detail"] == "Unknown path. See /docs for all paths."


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *(("/v1/products", "GET, POST, HEAD"), ("/v1/products/CUP", "GET, PATCH, HEAD")),
        *(("/v1/products/CUP/add", "POST, PATCH"), ("/v1/reservations/7", "GET, HEAD")),
        *(("/v1/operations", "POST"), ("/v1/events", "GET, HEAD"), ("/health", "GET, HEAD")),
        *(("/health/live", "GET, HEAD"), ("/docs", "GET, HEAD"), ("/openapi.json", "GET, HEAD")),
    ],
)
def test_allow_names_the_methods_that_work(api: APIClient, path: str, allowed: str) -> None:
    for method in ("OPTIONS", "DELETE"):
        response = api.generic(method, path)

        assert_problem(response, 405, "method_not_allowed")
        assert sorted(response["Allow"].split(", ")) == sorted(allowed.split(", "))
    assert "Allow" not in api.get("/health")
    assert "Allow" not in api.get("/docs")


# ------------------------------------------------------------------------------------------- health


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_needs_no_key(anyone: APIClient, path: str) -> None:
    response = anyone.get(path)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("authorization", ["Api-Key wrong", "Bearer x", "\0"])
def test_health_ignores_keys(anyone: APIClient, authorization: str) -> None:
    assert anyone.get("/health", HTTP_AUTHORIZATION=authorization).status_code == 200


def test_health_is_503_and_live_is_200_while_the_database_is_unavailable(anyone: APIClient) -> None:
    anyone.raise_request_exception = False

    def fail() -> None:
        raise OperationalError("server is gone, password swordfish")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "cursor", fail)
        ready, live = anyone.get("/health"), anyone.get("/health/live")

    assert_problem(ready, 503, "database_unavailable")
    assert int(ready["Retry-After"]) >= 1
    assert b"swordfish" not in ready.content
    assert live.status_code == 200
    assert anyone.get("/health").status_code == 200


# --------------------------------------------------------------------------------------------- docs


def test_the_document_has_canonical_paths_only(anyone: APIClient) -> None:
    response = anyone.get("/openapi.json")

    assert response.status_code == 200
    schema = json.loads(response.content)
    assert schema["openapi"].startswith("3.")
    assert "/v1/products/{sku}/reserve" in schema["paths"]
    assert all(path.startswith(("/v1/", "/health")) for path in schema["paths"])


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_docs_pages_load_nothing_from_other_hosts(anyone: APIClient, path: str) -> None:
    response = anyone.get(path)

    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    page = response.content.decode()
    assets = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert any(asset.endswith(".js") for asset in assets)
    assert [asset for asset in assets if not asset.startswith(("/static/", "data:"))] == []
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", page) == []


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_assets_of_the_docs_pages_are_served(anyone: APIClient, path: str) -> None:
    page = anyone.get(path).content.decode()

    for asset in re.findall(r"""(?:src|href)=["'](/static/[^"']+)""", page):
        response = anyone.get(asset)

        assert response.status_code == 200, asset
        assert response.getvalue()  # Reading to the end closes the file.


def test_the_root_redirects_to_the_docs(anyone: APIClient) -> None:
    response = anyone.get("/")

    assert (response.status_code, response["Location"]) == (302, "/docs")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_root_accepts_only_reading(method: str) -> None:
    browser = Client(enforce_csrf_checks=True)

    response = getattr(browser, method)("/")

    assert_problem(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD"


# ---------------------------------------------------------------------------------------------- log

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Return the log lines as the service writes them to the console."""
    console = next(
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and isinstance(handler.formatter, JsonFormatter)
    )
    written = StringIO()
    monkeypatch.setattr(console, "stream", written)

    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture
def log(console: Log) -> Log:
    """Return the log lines of requests."""
    return lambda: [row for row in console() if row["message"] == "request"]


def logged(line: dict[str, Any]) -> dict[str, Any]:
    names = ("request_id", "operation", "outcome", "status", "skus", "actor")
    return {name: line[name] for name in names}


def test_the_log_has_actor_operation_and_products(api: APIClient, log: Log) -> None:
    ProductFactory.create(sku="CUP")

    api.post("/v1/products/CUP/add", {"amount": 1}, format="json", HTTP_X_REQUEST_ID="order-1")

    [line] = log()
    assert logged(line) == {
        "request_id": "order-1",
        "operation": "product.add",
        "outcome": "ok",
        "status": 200,
        "skus": ["CUP"],
        "actor": ApiKey.objects.get().name,
    }
    assert line["level"] == "INFO"
    assert line["milliseconds"] >= 0
    assert line["time"]


def test_the_log_has_the_code_of_an_error(api: APIClient, log: Log) -> None:
    ProductFactory.create(sku="CUP", quantity=1)

    api.post("/v1/products/CUP/remove", {"amount": 2}, format="json")
    api.post("/v1/products/CUP/remove", {"amount": 0}, format="json")
    api.delete("/v1/products/CUP")

    assert [(line["outcome"], line["status"], line["skus"]) for line in log()] == [
        ("insufficient_stock", 409, ["CUP"]),
        ("invalid", 400, ["CUP"]),
        ("method_not_allowed", 405, ["CUP"]),
    ]


def test_the_log_has_the_products_of_a_reservation(api: APIClient, log: Log) -> None:
    ProductFactory.create(sku="CUP", quantity=1)
    ProductFactory.create(sku="PLATE", quantity=1)
    lines = [{"sku": "CUP", "amount": 1}, {"sku": "PLATE", "amount": 1}]

    made = api.post("/v1/reservations", {"lines": lines}, format="json")
    api.post(f"{made['Location']}/fulfill")
    api.post("/v1/reservations", {"lines": lines}, format="json")

    assert [(line["operation"], line["outcome"], line["skus"]) for line in log()] == [
        ("reservation.create", "ok", ["CUP", "PLATE"]),
        ("reservation.fulfill", "ok", ["CUP", "PLATE"]),
        ("reservation.create", "insufficient_stock", ["CUP", "PLATE"]),
    ]


def test_the_log_has_the_product_that_was_created(api: APIClient, log: Log) -> None:
    api.post("/v1/products", {"sku": "CUP", "name": "Cup"}, format="json")
    api.post("/v1/products", {"sku": "CUP", "name": "Cup"}, format="json")

    assert [(line["operation"], line["outcome"], line["skus"]) for line in log()] == [
        ("product.create", "ok", ["CUP"]),
        ("product.create", "duplicate_sku", ["CUP"]),
    ]


@pytest.mark.parametrize("authorization", [None, "Api-Key wrong.key"])
def test_the_log_has_no_actor_without_a_valid_key(
    anyone: APIClient, log: Log, authorization: str | None
) -> None:
    anyone.get("/v1/products", headers={"Authorization": authorization} if authorization else {})

    [line] = log()
    assert (line["outcome"], line["status"], line["actor"]) == ("not_authenticated", 401, None)


def test_the_log_has_the_actor_of_a_key_without_the_role(
    client_as: Callable[[Role], APIClient], log: Log
) -> None:
    client_as(Role.READ).post("/v1/products", {"sku": "CUP", "name": "Cup"}, format="json")

    [line] = log()
    assert (line["outcome"], line["actor"]) == ("permission_denied", ApiKey.objects.get().name)


def test_the_log_never_contains_a_key(anyone: APIClient, log: Log) -> None:
    key = ApiKeyFactory.create().text

    anyone.get("/v1/products", HTTP_AUTHORIZATION=f"Api-Key {key}")
    anyone.get("/v1/products", HTTP_AUTHORIZATION=f"Api-Key {key}x")

    assert [line["status"] for line in log()] == [200, 401]
    assert key not in json.dumps(log())


def test_the_log_of_an_exception_has_the_request_id(anyone: APIClient, console: Log) -> None:
    anyone.raise_request_exception = False

    def fail() -> None:
        raise OperationalError("server is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "cursor", fail)
        anyone.get("/health", HTTP_X_REQUEST_ID="probe-1")
    logging.getLogger("products").warning("no request")

    # Django writes the first line after all middleware.
    named = [(line["logger"], line["request_id"]) for line in console()]
    assert named == [("django.request", "probe-1"), ("products", None)]


def test_the_log_has_one_line_per_request_for_any_path(api: APIClient, log: Log) -> None:
    api.get('/v1/products/A%0A{"message": "request"}%0A%1b')

    [line] = log()
    assert (line["outcome"], line["status"]) == ("product_not_found", 404)
