"""Access to the API: keys and roles."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory

from products import stock
from products.api import access
from products.api.views import InventoryViewSet, ProductViewSet, ReservationViewSet
from products.models import ApiKey, Role
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import manage

pytestmark = pytest.mark.django_db

OPEN_TO_ALL = {
    "health",
    "health/live",
    "openapi.json",
    "docs",
    "redoc",
    "",
    "admin/account/",
    "admin/password_change/",
    "admin/search/",
    "favicon.ico",
}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """Yield every route of the service except those of the admin."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if isinstance(pattern, URLPattern):
            yield route
        elif route != "admin/":
            yield from routes(pattern, route)


WITH_OTHER_TOKEN = {"metrics"}  # See `test_metrics.py`.

CLOSED = sorted(set(routes(get_resolver())) - OPEN_TO_ALL - WITH_OTHER_TOKEN)


def path_of(route: str) -> str:
    return "/" + route.replace("(?P<sku>[^/]+)", "CUP").replace("(?P<pk>[0-9]{1,100})", "1")


def client_with(authorization: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=authorization)
    return client


# ---------------------------------------------------------------------------------- deny by default


def test_every_route_is_covered() -> None:
    paths = {path_of(route) for route in CLOSED}

    assert {"/v1/products", "/v1/products/CUP/adjust", "/v1/reservations/1/fulfill"} <= paths
    canonical = {path for path in paths if path.startswith("/v1/")}
    assert paths - canonical == {path.removeprefix("/v1") for path in canonical}
    assert not any("(" in path for path in paths)


@pytest.mark.parametrize("route", CLOSED)
def test_every_other_route_requires_a_key(route: str) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    before = stored()

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NONSENSE"):
        response = APIClient().generic(method, path_of(route), '{"amount": 1}')

        assert_problem(response, 401, "not_authenticated")
        assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert APIClient().head(path_of(route)).status_code == 401
    assert stored() == before


@pytest.mark.parametrize("route", sorted(OPEN_TO_ALL))
def test_open_routes_reveal_no_stock(route: str) -> None:
    ProductFactory.create(sku="SECRET-SKU", name="Secret name")

    response = APIClient().get(f"/{route}", follow=True)

    assert response.status_code == 200
    body = response.getvalue()  # Also closes the file of a static page.
    assert b"SECRET-SKU" not in body
    assert b"Secret name" not in body


# --------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "authorization",
    [
        *("", " ", "Api-Key", "Api-Key ", "Api-Key  ", "{key}", " {key}", "Api-Key{key}"),
        *(
            "Bearer",
            "Bearer ",
            "Bearer{key}",
            "Bearer  {key}",
            "Bearer {key}x",
            "Bearer {key} {key}",
        ),
        *("Basic {key}", "Token {key}", "ApiKey {key}", "Bearer Api-Key {key}"),
        *("Api-Key {key}x", "Api-Key x{key}", "Api-Key {prefix}", "Api-Key {prefix}."),
        *("Api-Key {prefix}.wrong", "Api-Key .", "Api-Key x", "Api-Key a.b.c", "Api-Key {key}.x"),
        *(
            "Api-Key {key} {key}",
            "Api-Key {key}, Api-Key {key}",
            'Api-Key "{key}"',
            "Api-Key  {key}",
        ),
        *("Api-Key \0", "Api-Key {key}\0", "Api-Key ä.ö", "Api-Key \x7f.\x1b", "Api-Key %00"),
        *("Api-Key ' OR 1=1 --", "Api-Key \udcff", "Api-Key 🫖.🫖", "Api-Key " + "x" * 10_000),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_invalid_keys_are_refused(authorization: str) -> None:
    key = ApiKeyFactory.create()

    client = client_with(authorization.format(key=key.text, prefix=key.prefix))

    response = client.get("/v1/products")
    assert_problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert key.text not in response.content.decode()


@pytest.mark.parametrize(
    "scheme", ["Api-Key", "api-key", "API-KEY", "Bearer", "bearer", "BEARER", "bEaReR"]
)
def test_both_schemes_are_accepted_in_any_case(scheme: str) -> None:
    client = client_with(f"{scheme} {ApiKeyFactory.create().text}")

    assert client.get("/v1/products").status_code == 200


@pytest.mark.parametrize("authorization", [None, "Basic abc"])
def test_the_error_for_a_missing_key_says_how_to_send_it(authorization: str | None) -> None:
    client = client_with(authorization) if authorization else APIClient()

    detail = assert_problem(client.get("/v1/products"), 401, "not_authenticated")["detail"]

    assert "Authorization: Bearer <key>" in detail


def test_a_revoked_key_is_refused() -> None:
    key = ApiKeyFactory.create()
    client = client_with(f"Api-Key {key.text}")
    assert client.get("/v1/products").status_code == 200

    key.revoked = True
    key.save()

    assert_problem(client.get("/v1/products"), 401, "not_authenticated")


def test_a_key_revoked_by_another_process_is_refused_after_the_next_look_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ApiKeyFactory.create()
    client = client_with(f"Api-Key {key.text}")
    client.get("/v1/products")

    ApiKey.objects.update(revoked=True)  # Sends no signal, like a change by another process.
    trusted = client.get("/v1/products")
    over = {digest: found._replace(until=0) for digest, found in access._found.items()}
    monkeypatch.setattr(access, "_found", over)  # 30 seconds later.
    refused = client.get("/v1/products")

    assert trusted.status_code == 200
    assert_problem(refused, 401, "not_authenticated")


@pytest.mark.slow
def test_a_cached_key_expires_on_time() -> None:
    end = timezone.now() + timedelta(seconds=1)
    client = client_with(f"Api-Key {ApiKeyFactory.create(expiry_date=end).text}")

    statuses = [client.get("/v1/products").status_code]
    while timezone.now() <= end:
        statuses.append(client.get("/v1/products").status_code)
    refused = client.get("/v1/products")

    assert statuses[0] == 200
    assert_problem(refused, 401, "not_authenticated")


def test_an_expired_key_is_refused() -> None:
    soon = ApiKeyFactory.create(expiry_date=timezone.now() + timedelta(minutes=1))
    over = ApiKeyFactory.create(expiry_date=timezone.now() - timedelta(seconds=1))

    assert client_with(f"Api-Key {soon.text}").get("/v1/products").status_code == 200
    refused = client_with(f"Api-Key {over.text}").get("/v1/products")
    assert_problem(refused, 401, "not_authenticated")


def test_a_deleted_key_is_refused() -> None:
    key = ApiKeyFactory.create()
    client = client_with(f"Api-Key {key.text}")

    key.delete()

    assert_problem(client.get("/v1/products"), 401, "not_authenticated")


def test_a_staff_session_does_not_authenticate_the_api() -> None:
    admin = User.objects.create_superuser("boss", password="correct horse")
    client = APIClient()
    client.force_login(admin)
    assert client.get("/admin/").status_code == 200

    for path in ("/v1/products", "/products", "/v1/reservations"):
        assert_problem(client.get(path), 401, "not_authenticated")
    made = client.post("/v1/products", {"sku": "CUP", "name": "Cup"}, format="json")
    assert_problem(made, 401, "not_authenticated")


def test_a_key_does_not_authenticate_the_admin(api: APIClient) -> None:
    response = api.get("/admin/products/product/")

    assert response.status_code == 302
    assert "/admin/login/" in response["Location"]


def test_a_key_is_stored_as_a_hash() -> None:
    text = ApiKeyFactory.create().text

    secret = text.partition(".")[2]
    row = ApiKey.objects.values().get()
    assert len(secret) >= 32
    assert not any(secret in str(value) for value in row.values())


# -------------------------------------------------------------------------------------------- roles

ACTIONS: list[tuple[Role, str, str, dict[str, Any]]] = [
    (Role.READ, "GET", "/v1/products", {}),
    (Role.READ, "GET", "/v1/products/low-stock", {}),
    (Role.READ, "GET", "/v1/products/CUP", {}),
    (Role.READ, "HEAD", "/v1/products/CUP", {}),
    (Role.READ, "GET", "/v1/products/CUP/events", {}),
    (Role.READ, "GET", "/v1/reservations", {}),
    (Role.READ, "GET", "/v1/reservations/{id}", {}),
    (Role.OPERATE, "POST", "/v1/products/CUP/add", {"amount": 1}),
    (Role.OPERATE, "PATCH", "/v1/products/CUP/add", {"amount": 1}),
    (Role.OPERATE, "POST", "/v1/products/CUP/remove", {"amount": 1}),
    (Role.OPERATE, "PATCH", "/v1/products/CUP/remove", {"amount": 1}),
    (Role.OPERATE, "POST", "/v1/products/CUP/reserve", {"amount": 1}),
    (Role.OPERATE, "POST", "/v1/products/CUP/release", {"amount": 1}),
    (Role.OPERATE, "POST", "/v1/reservations", {"lines": [{"sku": "CUP", "amount": 1}]}),
    (Role.OPERATE, "POST", "/v1/reservations/{id}/fulfill", {}),
    (Role.OPERATE, "POST", "/v1/reservations/{id}/release", {}),
    (Role.COUNT, "POST", "/v1/products/CUP/adjust", {"quantity": 9, "reason": "count"}),
    (Role.MANAGE, "POST", "/v1/products", {"sku": "NEW", "name": "New"}),
    (Role.MANAGE, "PATCH", "/v1/products/CUP", {"name": "New"}),
]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("required", "method", "path", "body"), ACTIONS)
def test_a_role_includes_the_roles_before_it(
    client_as: Callable[[Role], APIClient],
    role: Role,
    required: Role,
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    ProductFactory.create(sku="CUP")
    held = stock.reserve(sku="CUP", amount=1, by=ACTOR)
    before = stored()
    path = path.format(id=held.pk)
    send = getattr(client_as(role), method.lower())

    response = send(path) if method in ("GET", "HEAD") else send(path, body, format="json")

    ranks = ["read", "operate", "count", "manage"]
    if ranks.index(role) >= ranks.index(required):
        assert response.status_code in (200, 201)
        assert (stored() == before) == (method in ("GET", "HEAD"))
    else:
        assert required in assert_problem(response, 403, "permission_denied")["detail"]
        assert stored() == before


def test_a_refused_role_does_not_learn_which_products_exist(
    client_as: Callable[[Role], APIClient],
) -> None:
    ProductFactory.create(sku="CUP")
    reader = client_as(Role.READ)

    responses = [reader.post(f"/v1/products/{sku}/add").json() for sku in ("CUP", "NOPE", "no sku")]

    assert {response["code"] for response in responses} == {"permission_denied"}


@pytest.mark.parametrize("viewset", [ProductViewSet, ReservationViewSet])
def test_every_action_requires_a_role(viewset: type[InventoryViewSet]) -> None:
    standard = ("list", "create", "retrieve", "update", "partial_update", "destroy")
    actions = {action.__name__ for action in viewset.get_extra_actions()}
    actions |= {name for name in standard if hasattr(viewset, name)}

    assert set(viewset.required_roles) == actions


def test_an_action_without_a_role_is_refused() -> None:
    class WithNewAction(ProductViewSet):
        def brand_new(self, request: Any) -> Response:
            raise AssertionError("not reached")

    view = WithNewAction.as_view({"get": "brand_new"}, basename="product")
    key = ApiKeyFactory.create(role=Role.MANAGE)

    response = view(
        APIRequestFactory().get("/v1/brand-new", HTTP_AUTHORIZATION=f"Api-Key {key.text}")
    )

    assert response.status_code == 403


# ----------------------------------------------------------------------------------- create_api_key


@pytest.mark.parametrize("role", Role)
def test_create_api_key_prints_a_working_key_and_nothing_else(role: Role) -> None:
    out, err = StringIO(), StringIO()

    call_command("create_api_key", "storefront", role=role.value, stdout=out, stderr=err)

    key = out.getvalue().removesuffix("\n")
    assert key.split() == [key]
    assert err.getvalue() == ""
    assert client_with(f"Api-Key {key}").get("/v1/products").status_code == 200
    assert ApiKey.objects.values_list("name", "role").get() == ("storefront", role.value)


@pytest.mark.parametrize("name", ["", " ", "x" * 51, "a\nb", "a\0b", "\ud800", "\u202e"])
def test_create_api_key_refuses_a_name_that_the_ledger_cannot_store(name: str) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", name, role="read")

    assert not ApiKey.objects.exists()


def test_create_api_key_refuses_the_name_of_another_key() -> None:
    other = ApiKeyFactory.create(name="storefront")
    with pytest.raises(CommandError, match="looks the same"):
        call_command("create_api_key", "storefront", role="read")

    ApiKey.objects.filter(pk=other.pk).update(revoked=True)
    call_command("create_api_key", "storefront", role="read", stdout=StringIO())

    assert ApiKey.objects.filter(name="storefront").count() == 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_create_api_key_leaves_no_key_that_it_could_not_print(closed_pipe: int) -> None:
    ended = manage("create_api_key", "storefront", "--role=read", stdout=closed_pipe)

    assert ended.returncode == 141
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("role", ["--role=", "--role=admin", "--role=Read", "--role=operate,count"])
def test_create_api_key_refuses_an_unknown_role(role: str) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", "storefront", role)

    assert not ApiKey.objects.exists()


def test_create_api_key_requires_a_role() -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", "storefront")
