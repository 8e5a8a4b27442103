"""The production server behind a proxy that publishes it under a path."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from django.contrib.auth import get_user_model
from pytest_django import Settings

from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import Server, running_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PREFIX = "/stock/inventory"


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    with running_server(workers=1, PATH_PREFIX=PREFIX) as running:
        running.wait_for_workers()
        yield running


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    return {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}


def fetch(server: Server, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    client = HTTPConnection("127.0.0.1", server.port, timeout=60)
    client.request("GET", path, headers=headers)
    response = client.getresponse()
    text = response.read().decode()
    client.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, text


# Some proxies strip the prefix, and some do not.
@pytest.mark.parametrize("sent", ["", PREFIX])
def test_the_links_of_the_api_have_the_prefix(
    server: Server, key: dict[str, str], sent: str
) -> None:
    for sku in ("A", "B"):
        ProductFactory.create(sku=sku, quantity=9)

    page = server.request("GET", f"{sent}/v1/products?page_size=1", headers=key)
    body = {"lines": [{"sku": "A", "amount": 1}]}
    held = server.request("POST", f"{sent}/v1/reservations", body, key)
    product = server.request("POST", f"{sent}/v1/products", {"sku": "C", "name": "c"}, key)
    count = {"quantity": 0, "reason": "stocktake"}
    refused = server.request("POST", f"{sent}/v1/products/A/adjust", count, key)
    unknown = server.request("GET", f"{sent}/v1/products/", headers=key)

    assert page.body["next"].startswith(f"http://127.0.0.1:{server.port}{PREFIX}/v1/products?")
    following = page.body["next"].partition(str(server.port))[2]
    assert server.request("GET", following, headers=key).body["results"][0]["sku"] == "B"
    assert held.headers["location"] == f"{PREFIX}/v1/reservations/{held.body['id']}"
    assert product.headers["location"] == f"{PREFIX}/v1/products/C"
    assert f" {PREFIX}/v1/reservations?sku=A" in refused.body["detail"]
    assert unknown.body["detail"].endswith(f"use {PREFIX}/v1/products.")


@pytest.mark.parametrize("sent", ["", PREFIX])
def test_the_docs_work_under_the_prefix(server: Server, sent: str) -> None:
    root = fetch(server, f"{sent}/")
    page = fetch(server, f"{sent}/docs")
    document = server.request("GET", f"{sent}/openapi.json").body

    assert (root[0], root[1]["location"]) == (302, f"{PREFIX}/docs")
    assert f'"{PREFIX}/openapi.json"' in page[2]
    assert document["servers"][0]["url"] == PREFIX
    assert all(path.startswith(("/v1/", "/health")) for path in document["paths"])
    assert_assets_load(server, page[2])


@pytest.mark.parametrize("sent", ["", PREFIX])
def test_the_back_office_works_under_the_prefix(
    server: Server, settings: Settings, sent: str
) -> None:
    # The server does not know the fast hasher of the tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    get_user_model().objects.create_superuser("ada", password="swordfish")
    start = fetch(server, f"{sent}/admin/")
    status, headers, page = fetch(server, f"{sent}/admin/login/")
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    cookie = headers["set-cookie"].partition(";")[0]
    form = f"csrfmiddlewaretoken={token}&username=ada&password=swordfish"
    client = HTTPConnection("127.0.0.1", server.port, timeout=60)
    type_ = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    client.request("POST", f"{sent}/admin/login/", form, type_)
    welcome = client.getresponse()
    cookies = welcome.headers.get_all("Set-Cookie") or []
    [session] = [cookie for cookie in cookies if cookie.startswith("sessionid=")]
    client.close()
    front = fetch(server, f"{sent}/admin/", Cookie=session.partition(";")[0])

    assert (start[0], start[1]["location"]) == (302, f"{PREFIX}/admin/login/?next={PREFIX}/admin/")
    assert status == 200
    assert_assets_load(server, page)
    assert (welcome.status, welcome.headers["Location"]) == (302, f"{PREFIX}/admin/")
    assert f"Path={PREFIX}/" in session
    assert front[0] == 200
    links = re.findall(r'(?:href|action|src)="(/[^"]*)"', front[2])
    assert f"{PREFIX}/admin/products/product/" in links
    assert [link for link in links if not link.startswith(f"{PREFIX}/")] == []
    for link in {link.partition("?")[0] for link in links if "logout" not in link}:
        answer = fetch(server, link, Cookie=session.partition(";")[0])
        assert answer[0] in (200, 302), link


def assert_assets_load(server: Server, page: str) -> None:
    assets = re.findall(r'(?:href|src)="([^"]*\.(?:css|js|svg))"', page)
    assert assets
    for asset in assets:
        assert asset.startswith(f"{PREFIX}/static/")
        assert fetch(server, asset)[0] == 200
        assert fetch(server, asset.removeprefix(PREFIX))[0] == 200


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_health_checks_need_neither_the_prefix_nor_https(server: Server, path: str) -> None:
    with running_server(workers=1, PATH_PREFIX=PREFIX, SECURE_SSL_REDIRECT="on") as secure:
        secure.wait_for_workers()
        answers = [fetch(secure, path)[0], fetch(secure, PREFIX + path)[0]]
        page = fetch(secure, "/docs")

    assert answers == [200, 200]
    assert (page[0], page[1]["location"]) == (301, f"https://127.0.0.1:{secure.port}{PREFIX}/docs")


@pytest.mark.parametrize("name", ["X-Forwarded-Prefix", "X-Script-Name", "Script-Name"])
def test_no_header_changes_the_prefix(server: Server, key: dict[str, str], name: str) -> None:
    for sku in ("A", "B"):
        ProductFactory.create(sku=sku)

    page = server.request("GET", "/v1/products?page_size=1", headers={**key, name: "/evil"})

    assert page.body["next"].startswith(f"http://127.0.0.1:{server.port}{PREFIX}/v1/products?")


def test_a_304_has_no_body_and_keeps_the_connection(server: Server, key: dict[str, str]) -> None:
    ProductFactory.create(sku="A")
    client = HTTPConnection("127.0.0.1", server.port, timeout=60)
    seen = []
    for tag in ('"1"', 'W/"1"', '"9"'):
        client.request("GET", "/v1/products/A", headers={**key, "If-None-Match": tag})
        response = client.getresponse()
        seen.append((response.status, len(response.read()) > 0, response.headers["ETag"]))
    client.close()

    assert seen == [(304, False, '"1"'), (304, False, '"1"'), (200, True, '"1"')]
