"""Permissions in the back office: groups, pages, and forged requests to every page."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from products import feed, groups, stock
from products.admin.roles import ADMINISTRATOR
from products.models import ApiKey, Product, Reservation, StockEvent, Subscription
from products.tests.checks import stored
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

USERS = ("anonymous", "no group", "Stock viewer", "Stock clerk", "Stock manager", "superuser")


def browser_of(user_kind: str, **options: Any) -> Client:
    """Return a client in which one of `USERS` is logged in."""
    browser = Client(raise_request_exception=False, **options)
    if user_kind != "anonymous":
        user = User.objects.create_user(
            username=user_kind, is_staff=True, is_superuser=user_kind == "superuser"
        )
        user.groups.set(Group.objects.filter(name=user_kind))
        browser.force_login(user)
    return browser


# ------------------------------------------------------------------------------------- the groups


def permissions_of(group: str) -> set[str]:
    return set(Permission.objects.filter(group__name=group).values_list("codename", flat=True))


def test_the_groups_have_their_default_permissions() -> None:
    assert {name: permissions_of(name) for name in groups.PERMISSIONS} == {
        name: set(codenames) for name, codenames in groups.PERMISSIONS.items()
    }


def test_migrate_restores_missing_permissions_and_keeps_added_ones() -> None:
    viewer, clerk = (Group.objects.get(name=name) for name in ("Stock viewer", "Stock clerk"))
    clerk.delete()
    viewer.permissions.set(Permission.objects.filter(codename="view_user"))

    call_command("migrate", verbosity=0)

    assert permissions_of("Stock clerk") == set(groups.PERMISSIONS["Stock clerk"])
    assert permissions_of("Stock viewer") == {
        "view_user",
        *groups.PERMISSIONS["Stock viewer"],
    }


def test_migrate_does_not_change_other_groups() -> None:
    Group.objects.create(name="Auditors")

    call_command("migrate", verbosity=0)

    assert permissions_of("Auditors") == set()


@pytest.mark.django_db(transaction=True)
def test_migrate_creates_groups_and_permissions_in_an_empty_database() -> None:
    Group.objects.all().delete()
    Permission.objects.all().delete()

    call_command("migrate", verbosity=0)

    assert permissions_of("Stock manager") == set(groups.PERMISSIONS["Stock manager"])


# --------------------------------------------------------------------------------------- the pages

OPENED_BY = {
    # Status codes in the order of `USERS`. 302 redirects to the login.
    "index": (302, 200, 200, 200, 200, 200),
    "password_change": (302, 200, 200, 200, 200, 200),
    "products_product_changelist": (302, 403, 200, 200, 200, 200),
    "products_product_add": (302, 403, 403, 403, 200, 200),
    "products_product_change": (302, 403, 200, 200, 200, 200),
    "products_product_receive": (302, 403, 403, 200, 200, 200),
    "products_product_count": (302, 403, 403, 403, 200, 200),
    "products_reservation_changelist": (302, 403, 200, 200, 200, 200),
    "products_reservation_change": (302, 403, 200, 200, 200, 200),
    "products_stockevent_changelist": (302, 403, 200, 200, 200, 200),
    "products_stockevent_change": (302, 403, 200, 200, 200, 200),
    "products_apikey_changelist": (302, 403, 403, 403, 200, 200),
    "products_apikey_add": (302, 403, 403, 403, 200, 200),
    "products_apikey_change": (302, 403, 403, 403, 200, 200),
    "products_subscription_changelist": (302, 403, 403, 403, 200, 200),
    "products_subscription_add": (302, 403, 403, 403, 200, 200),
    "products_subscription_change": (302, 403, 403, 403, 200, 200),
    "auth_user_changelist": (302, 403, 403, 403, 403, 200),
    "auth_user_add": (302, 403, 403, 403, 403, 200),
    "auth_user_change": (302, 403, 403, 403, 403, 200),
    "auth_group_changelist": (302, 403, 403, 403, 403, 200),
    "auth_group_add": (302, 403, 403, 403, 403, 200),
    "auth_group_change": (302, 403, 403, 403, 403, 200),
}


@pytest.fixture
def rows() -> dict[type[Model], Model]:
    """One row of each model that has pages."""
    product = ProductFactory.create(sku="CUP", quantity=20)
    stock.reserve(sku="CUP", amount=5, reference="order-1", by=ACTOR)
    return {
        Product: product,
        Reservation: Reservation.objects.get(),
        StockEvent: StockEvent.objects.get(version=1),
        ApiKey: ApiKeyFactory.create(),
        # The guard refuses this address, so a test sends nothing.
        Subscription: Subscription.objects.create(
            url="https://127.0.0.1/", cursor=feed.START, created_by="tester"
        ),
        User: User.objects.create_user(username="somebody", is_staff=True),
        Group: Group.objects.get(name="Stock viewer"),
    }


@pytest.mark.parametrize("page", OPENED_BY)
def test_each_page_opens_for_users_with_its_permission(
    rows: dict[type[Model], Model], page: str
) -> None:
    of_a_row = page.endswith("_change") and page != "password_change"
    row = rows[apps.get_model(".".join(page.split("_")[:2]))] if of_a_row else None
    path = reverse(f"admin:{page}", args=[quote(row.pk)] if row else [])

    responses = [browser_of(user_kind).get(path) for user_kind in USERS]

    assert tuple(response.status_code for response in responses) == OPENED_BY[page]
    assert responses[0]["Location"] == f"{reverse('admin:login')}?next={path}"


@pytest.mark.parametrize(
    ("user_kind", "links"),
    [
        ("no group", set()),
        ("Stock viewer", {"product", "reservation", "stockevent"}),
        ("Stock clerk", {"product", "reservation", "stockevent"}),
        ("Stock manager", {"product", "reservation", "stockevent", "apikey", "subscription"}),
        (
            "superuser",
            {"product", "reservation", "stockevent", "apikey", "subscription", "user", "group"},
        ),
    ],
)
def test_the_sidebar_links_only_to_permitted_pages(user_kind: str, links: set[str]) -> None:
    page = browser_of(user_kind).get(reverse("admin:index")).content.decode()

    assert set(re.findall(r'href="/admin/(?:products|auth)/(\w+)/"', page)) == links


# ------------------------------------------------------------------------------- forged requests

REFUSED = {
    # 302 redirects to the login, or from the short URL of a row to its page.
    "anonymous": {302},
    "no group": {302, 403, 404},
    "Stock viewer": {200, 302, 403, 404},  # 200 shows a list or a row.
}

# All fields of the forms in the back office, and some others.
FORGED = {
    "post": "yes",
    "apply": "yes",
    "select_across": "0",
    "name": "Forged",
    "description": "Forged",
    "minimum_stock_level": "7",
    "archived": "on",
    "sku": "FORGED",
    "amount": "3",
    "quantity": "90",
    "reason": "correction",
    "note": "forged",
    "reference": "forged",
    "minutes": "60",
    "role": "manage",
    "revoked": "on",
    "expiry_date_0": "2000-01-01",
    "expiry_date_1": "00:00:00",
    "url": "https://forged.example.com/",
    "types": "InventoryAdded",
    "sku_prefix": "FORGED",
    "batch": "on",
    "start": "latest",
    "username": "somebody",
    "password": "x",
    "password1": "Pfiffikus-7",
    "password2": "Pfiffikus-7",
    "usable_password": "true",
    "is_active": "on",
    "is_staff": "on",
    "is_superuser": "on",
    "date_joined_0": "2026-01-01",
    "date_joined_1": "00:00:00",
    "input_format": "0",
    "format": "0",
    "confirm": "on",
    "_form_submitted": "True",
}


def patterns(found: list[Any], prefix: str = "") -> Iterator[str]:
    """Yield the route of every page below these patterns."""
    for pattern in found:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def model_of(route: str) -> type[Model] | None:
    """Return the model of an admin page, from its route."""
    match = re.match(r"(\w+)/(\w+)/", route)
    try:
        return apps.get_model(".".join(match.groups())) if match else None
    except LookupError:
        return None


def path_of(route: str, rows: dict[type[Model], Model]) -> str:
    """Return the URL of a page. For the page of a row, use the row of its model."""
    row = rows[model_of(route) or Product]
    known = {
        "content_type_id": ContentType.objects.get_for_model(row).pk,
        "app_label": "products",
        "url": "nowhere",
    }

    def value(match: re.Match[str]) -> str:
        return str(known.get(match[1], quote(row.pk)))

    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", value, route.removesuffix("$"))
    return reverse("admin:index") + re.sub(r"<(?:\w+:)?(\w+)>", value, path)


def actions_of(route: str) -> list[str]:
    """Return the names of the bulk actions of a list. Other pages have none."""
    model = model_of(route)
    if model is None or route.count("/") != 2:
        return []
    named = admin.site.get_model_admin(model).actions or ()
    return [
        "delete_selected",
        *(action if isinstance(action, str) else action.__name__ for action in named),
    ]


def forge(browser: Client, rows: dict[type[Model], Model]) -> dict[str, Any]:
    """Send a request that would change data to every admin page, and return the responses."""
    responses = {}
    for route in sorted(set(patterns(admin.site.get_urls()))):
        if "logout" in route:
            continue
        path, row = path_of(route, rows), rows[model_of(route) or Product]
        opened = {"opening": uuid4().hex, "_save": "Save"}
        sent = {**FORGED, **counts(), **files(), **opened}
        if model_of(route) is User:
            sent["role"] = ADMINISTRATOR
        if model_of(route) is Reservation:
            sent["lines"] = "CUP\t1"
        responses[path] = read(browser.post(path, sent))
        for action in actions_of(route):
            chosen = {"action": action, "_selected_action": str(row.pk), "index": "0"}
            responses[f"{path} {action}"] = browser.post(path, {**FORGED, **counts(), **chosen})
        # An archived product would refuse the requests that add or reserve units.
        Product.objects.filter(archived=True).update(archived=False)
    return responses


def counts() -> dict[str, Any]:
    """Return a count for the product, in the fields of every form that accepts one."""
    product = Product.objects.get(sku="CUP")
    return {
        "expected_quantity": product.quantity,
        "lines": f"CUP\t{product.quantity + 1}",
        "draft": uuid4().hex,
    }


def files() -> dict[str, SimpleUploadedFile]:
    """Return a file that counts a product, in the fields of every form that accepts one."""
    content = b"sku,quantity,name\nCUP,9,Forged\n"
    return {name: SimpleUploadedFile("f.csv", content) for name in ("file", "import_file")}


def open_all(browser: Client, rows: dict[type[Model], Model]) -> dict[str, Any]:
    """Open every admin page and return the responses."""
    paths = {path_of(route, rows) for route in patterns(admin.site.get_urls())}
    return {path: read(browser.get(path)) for path in sorted(paths)}


def read(response: Any) -> Any:
    """Read an export to its end, since it would block the next one. Return the response."""
    if response.streaming:
        response.getvalue()
    return response


def access_data() -> dict[str, Any]:
    """Return all users, groups and permissions in the database."""
    users, permissions = User.objects.order_by("pk"), Group.objects.order_by("pk", "permissions")
    return {
        "users": list(users.values_list()),
        "groups": list(permissions.values_list("name", "permissions")),
        "members": list(users.order_by("groups").values_list("pk", "groups")),
        "permissions": list(users.values_list("pk", "user_permissions")),
    }


def everything() -> dict[str, Any]:
    """Return all data that the back office can change."""
    return {
        **stored(),
        **access_data(),
        "keys": list(ApiKey.objects.order_by("pk").values_list()),
        "webhooks": list(Subscription.objects.order_by("pk").values_list()),
    }


def assert_no_fault(responses: dict[str, Any]) -> None:
    faults = {path: response for path, response in responses.items() if response.status_code >= 500}
    assert not faults


def test_the_list_of_pages_is_complete(rows: dict[type[Model], Model]) -> None:
    paths = {path_of(route, rows) for route in patterns(admin.site.get_urls())}

    assert {
        reverse("admin:products_product_changelist"),
        reverse("admin:products_product_change", args=[rows[Product].pk]),
        reverse("admin:auth_user_change", args=[rows[User].pk]),
    } <= paths
    assert not any(set("<>()^$") & set(path) for path in paths)


@pytest.mark.slow
@pytest.mark.parametrize("user_kind", ["anonymous", "no group", "Stock viewer"])
def test_forged_requests_without_permissions_change_nothing(
    rows: dict[type[Model], Model], user_kind: str
) -> None:
    browser = browser_of(user_kind)
    before = everything()

    responses = forge(browser, rows)

    assert everything() == before
    assert_no_fault(responses)
    for path, response in responses.items():
        if model_of(path.removeprefix("/admin/")):
            assert response.status_code in REFUSED[user_kind], path


@pytest.mark.slow
@pytest.mark.parametrize("user_kind", USERS)
def test_opening_pages_changes_nothing(rows: dict[type[Model], Model], user_kind: str) -> None:
    browser = browser_of(user_kind)
    before = everything()

    responses = open_all(browser, rows)

    assert everything() == before
    assert_no_fault(responses)


@pytest.mark.slow
def test_forged_requests_of_a_clerk_count_and_edit_nothing(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("Stock clerk")
    users, keys = access_data(), list(ApiKey.objects.values_list())

    responses = forge(browser, rows)

    assert_no_fault(responses)
    assert (access_data(), list(ApiKey.objects.values_list())) == (users, keys)
    assert Subscription.objects.get().url == "https://127.0.0.1/"
    product = Product.objects.get()
    assert (product.name, product.levels.minimum_stock_level) == ("Product CUP", 0)
    assert not product.archived
    assert not product.events.filter(type=StockEvent.Type.ADJUSTED).exists()


@pytest.mark.slow
def test_forged_requests_of_a_manager_change_no_permissions(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("Stock manager")
    before = access_data()

    responses = forge(browser, rows)

    assert_no_fault(responses)
    assert access_data() == before


@pytest.mark.slow
def test_permission_to_change_users_makes_nobody_a_superuser(
    rows: dict[type[Model], Model],
) -> None:
    """Django's own form lets a user with this permission make themselves a superuser."""
    browser = browser_of("Stock manager")
    manager = User.objects.get(username="Stock manager")
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))

    responses = forge(browser, rows)

    assert_no_fault(responses)
    assert not User.objects.filter(is_superuser=True).exists()
    assert set(manager.groups.values_list("name", flat=True)) == {"Stock manager"}


@pytest.mark.slow
def test_the_forged_requests_change_data_for_a_superuser(
    rows: dict[type[Model], Model],
) -> None:
    """Otherwise the tests above would prove nothing."""
    browser = browser_of("superuser")
    before = everything()

    responses = forge(browser, rows)

    after = everything()
    assert_no_fault(responses)
    changed = {name for name in after if after[name] != before[name]}
    assert changed >= {
        "Product",
        "StockEvent",
        "ReservationLine",
        "keys",
        "webhooks",
        "users",
        "groups",
    }
    kinds = Counter(StockEvent.objects.values_list("type", flat=True))
    assert kinds.keys() >= {"InventoryAdded", "InventoryRemoved", "InventoryFulfilled"}
    assert kinds["InventoryReserved"] == 3  # The one before, by the dialog, and by the page.
    # By the dialog, and by the preview of a count if it has the id of the product.
    assert kinds["InventoryAdjusted"] in (1, 2)


def test_requests_without_a_csrf_token_are_refused(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("superuser", enforce_csrf_checks=True)
    before = everything()

    responses = forge(browser, rows)

    assert everything() == before
    assert {response.status_code for response in responses.values()} == {403}
