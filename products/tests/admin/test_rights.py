"""Who may see and do what in the back office: groups, pages, and forged requests to all of them."""

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

from products import groups, stock
from products.models import ApiKey, Product, Reservation, StockEvent
from products.tests.checks import stored
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

PEOPLE = ("anonymous", "no group", "Stock viewer", "Stock clerk", "Stock manager", "superuser")


def browser_of(person: str, **options: Any) -> Client:
    """Return a browser in which one of `PEOPLE` is logged in."""
    browser = Client(raise_request_exception=False, **options)
    if person != "anonymous":
        user = User.objects.create_user(
            username=person, is_staff=True, is_superuser=person == "superuser"
        )
        user.groups.set(Group.objects.filter(name=person))
        browser.force_login(user)
    return browser


# ------------------------------------------------------------------------------------- the groups


def permissions_of(group: str) -> set[str]:
    return set(Permission.objects.filter(group__name=group).values_list("codename", flat=True))


def test_the_groups_have_the_permissions_that_are_named() -> None:
    assert {name: permissions_of(name) for name in groups.PERMISSIONS} == {
        name: set(codenames) for name, codenames in groups.PERMISSIONS.items()
    }


def test_migrate_makes_what_is_missing_and_keeps_what_was_added() -> None:
    viewer, clerk = (Group.objects.get(name=name) for name in ("Stock viewer", "Stock clerk"))
    clerk.delete()
    viewer.permissions.set(Permission.objects.filter(codename="view_user"))

    call_command("migrate", verbosity=0)

    assert permissions_of("Stock clerk") == set(groups.PERMISSIONS["Stock clerk"])
    assert permissions_of("Stock viewer") == {
        "view_user",
        *groups.PERMISSIONS["Stock viewer"],
    }


def test_groups_that_others_made_are_left_alone() -> None:
    Group.objects.create(name="Auditors")

    call_command("migrate", verbosity=0)

    assert permissions_of("Auditors") == set()


@pytest.mark.django_db(transaction=True)
def test_groups_are_made_on_a_database_without_permissions() -> None:
    Group.objects.all().delete()
    Permission.objects.all().delete()

    call_command("migrate", verbosity=0)

    assert permissions_of("Stock manager") == set(groups.PERMISSIONS["Stock manager"])


# --------------------------------------------------------------------------------------- the pages

OPENED_BY = {
    # Named in the order of `PEOPLE`: 302 leads to the login.
    "index": (302, 200, 200, 200, 200, 200),
    "password_change": (302, 200, 200, 200, 200, 200),
    "products_product_changelist": (302, 403, 200, 200, 200, 200),
    "products_product_change": (302, 403, 200, 200, 200, 200),
    "products_reservation_changelist": (302, 403, 200, 200, 200, 200),
    "products_reservation_change": (302, 403, 200, 200, 200, 200),
    "products_stockevent_changelist": (302, 403, 200, 200, 200, 200),
    "products_stockevent_change": (302, 403, 200, 200, 200, 200),
    "products_apikey_changelist": (302, 403, 403, 403, 200, 200),
    "products_apikey_add": (302, 403, 403, 403, 200, 200),
    "products_apikey_change": (302, 403, 403, 403, 200, 200),
    "auth_user_changelist": (302, 403, 403, 403, 403, 200),
    "auth_user_add": (302, 403, 403, 403, 403, 200),
    "auth_user_change": (302, 403, 403, 403, 403, 200),
    "auth_user_password_change": (302, 403, 403, 403, 403, 200),
    "auth_group_changelist": (302, 403, 403, 403, 403, 200),
    "auth_group_add": (302, 403, 403, 403, 403, 200),
    "auth_group_change": (302, 403, 403, 403, 403, 200),
}


@pytest.fixture
def rows() -> dict[type[Model], Model]:
    """One row of each model that has pages, each with something to lose."""
    product = ProductFactory.create(sku="CUP", quantity=20)
    stock.reserve(sku="CUP", amount=5, reference="order-1", by=ACTOR)
    return {
        Product: product,
        Reservation: Reservation.objects.get(),
        StockEvent: StockEvent.objects.get(version=1),
        ApiKey: ApiKeyFactory.create(),
        User: User.objects.create_user(username="somebody", is_staff=True),
        Group: Group.objects.get(name="Stock viewer"),
    }


@pytest.mark.parametrize("page", OPENED_BY)
def test_each_page_opens_for_whom_it_should(rows: dict[type[Model], Model], page: str) -> None:
    of_a_row = page.endswith("_change") and page != "password_change"
    row = rows[apps.get_model(".".join(page.split("_")[:2]))] if of_a_row else None
    path = reverse(f"admin:{page}", args=[quote(row.pk)] if row else [])

    answers = [browser_of(person).get(path) for person in PEOPLE]

    assert tuple(answer.status_code for answer in answers) == OPENED_BY[page]
    assert answers[0]["Location"] == f"{reverse('admin:login')}?next={path}"


@pytest.mark.parametrize(
    ("person", "links"),
    [
        ("no group", set()),
        ("Stock viewer", {"product", "reservation", "stockevent"}),
        ("Stock clerk", {"product", "reservation", "stockevent"}),
        ("Stock manager", {"product", "reservation", "stockevent", "apikey"}),
        ("superuser", {"product", "reservation", "stockevent", "apikey", "user", "group"}),
    ],
)
def test_the_front_page_leads_to_what_one_may_see(person: str, links: set[str]) -> None:
    page = browser_of(person).get(reverse("admin:index")).content.decode()

    assert set(re.findall(r'href="/admin/(?:products|auth)/(\w+)/"', page)) == links


# ------------------------------------------------------------------------------- forged requests

REFUSED = {
    # 302 leads to the login, or from the address of a row to that of its page.
    "anonymous": {302},
    "no group": {302, 403, 404},
    "Stock viewer": {200, 302, 403, 404},  # 200 is a list or a row, shown.
}

# What the forms of the back office ask for, and more.
FORGED = {
    "post": "yes",
    "carry_out": "yes",
    "select_across": "0",
    "name": "Forged",
    "description": "Forged",
    "minimum_stock_level": "7",
    "archived": "on",
    "sku": "FORGED",
    "amount": "3",
    "quantity": "9",
    "reason": "correction",
    "note": "forged",
    "reference": "forged",
    "minutes": "60",
    "role": "manage",
    "revoked": "on",
    "expiry_date_0": "2000-01-01",
    "expiry_date_1": "00:00:00",
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
    """Yield the route of every page below `found`."""
    for pattern in found:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def model_of(route: str) -> type[Model] | None:
    """Return the model whose page a route of the admin is."""
    match = re.match(r"(\w+)/(\w+)/", route)
    try:
        return apps.get_model(".".join(match.groups())) if match else None
    except LookupError:
        return None


def path_of(route: str, rows: dict[type[Model], Model]) -> str:
    """Return the address of a page, of the row of its model if it is the page of a row."""
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
    """Return the names of the actions that can be chosen on a list, and none for other pages."""
    model = model_of(route)
    if model is None or route.count("/") != 2:
        return []
    named = admin.site.get_model_admin(model).actions or ()
    return [
        "delete_selected",
        *(action if isinstance(action, str) else action.__name__ for action in named),
    ]


def forge(browser: Client, rows: dict[type[Model], Model]) -> dict[str, Any]:
    """Send what would change something to every page of the admin, and return the answers."""
    answers = {}
    for route in sorted(set(patterns(admin.site.get_urls()))):
        if "logout" in route:
            continue
        path, row = path_of(route, rows), rows[model_of(route) or Product]
        opened = {"opening": uuid4().hex, "_save": "Save"}
        answers[path] = browser.post(path, {**FORGED, **counts(), **files(), **opened})
        for action in actions_of(route):
            chosen = {"action": action, "_selected_action": str(row.pk), "index": "0"}
            answers[f"{path} {action}"] = browser.post(path, {**FORGED, **counts(), **chosen})
    return answers


def counts() -> dict[str, Any]:
    """Return a count for the product, under the names that a form may ask for it."""
    product = Product.objects.get(sku="CUP")
    return {
        "expected_quantity": product.quantity,
        f"seen-{product.pk}": product.quantity,
        f"count-{product.pk}": product.quantity + 1,
    }


def files() -> dict[str, SimpleUploadedFile]:
    """Return a file that would count a product, under the names that a form may ask for it."""
    content = b"sku,quantity,name\nCUP,9,Forged\n"
    return {name: SimpleUploadedFile("f.csv", content) for name in ("file", "import_file")}


def look(browser: Client, rows: dict[type[Model], Model]) -> dict[str, Any]:
    """Open every page of the admin, and return the answers."""
    paths = {path_of(route, rows) for route in patterns(admin.site.get_urls())}
    return {path: browser.get(path) for path in sorted(paths)}


def rights() -> dict[str, Any]:
    """Return all that the database holds of people and what they may do."""
    users, given = User.objects.order_by("pk"), Group.objects.order_by("pk", "permissions")
    return {
        "users": list(users.values_list()),
        "groups": list(given.values_list("name", "permissions")),
        "members": list(users.order_by("groups").values_list("pk", "groups")),
        "permissions": list(users.values_list("pk", "user_permissions")),
    }


def everything() -> dict[str, Any]:
    """Return all that the back office could change."""
    return {**stored(), **rights(), "keys": list(ApiKey.objects.order_by("pk").values_list())}


def assert_no_fault(answers: dict[str, Any]) -> None:
    faults = {path: answer for path, answer in answers.items() if answer.status_code >= 500}
    assert not faults


def test_every_page_is_found(rows: dict[type[Model], Model]) -> None:
    paths = {path_of(route, rows) for route in patterns(admin.site.get_urls())}

    assert {
        reverse("admin:products_product_changelist"),
        reverse("admin:products_product_change", args=[rows[Product].pk]),
        reverse("admin:auth_user_password_change", args=[rows[User].pk]),
    } <= paths
    assert not any(set("<>()^$") & set(path) for path in paths)


@pytest.mark.slow
@pytest.mark.parametrize("person", ["anonymous", "no group", "Stock viewer"])
def test_forged_requests_of_who_may_change_nothing_change_nothing(
    rows: dict[type[Model], Model], person: str
) -> None:
    browser = browser_of(person)
    before = everything()

    answers = forge(browser, rows)

    assert everything() == before
    assert_no_fault(answers)
    for path, answer in answers.items():
        if model_of(path.removeprefix("/admin/")):
            assert answer.status_code in REFUSED[person], path


@pytest.mark.slow
@pytest.mark.parametrize("person", PEOPLE)
def test_looking_changes_nothing(rows: dict[type[Model], Model], person: str) -> None:
    browser = browser_of(person)
    before = everything()

    answers = look(browser, rows)

    assert everything() == before
    assert_no_fault(answers)


@pytest.mark.slow
def test_forged_requests_of_a_clerk_adjust_and_edit_nothing(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("Stock clerk")
    users, keys = rights(), list(ApiKey.objects.values_list())

    answers = forge(browser, rows)

    assert_no_fault(answers)
    assert (rights(), list(ApiKey.objects.values_list())) == (users, keys)
    product = Product.objects.get()
    assert (product.name, product.levels.minimum_stock_level) == ("Product CUP", 0)
    assert not product.archived
    assert not product.events.filter(type=StockEvent.Type.ADJUSTED).exists()


@pytest.mark.slow
def test_forged_requests_of_a_manager_give_nobody_a_right(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("Stock manager")
    before = rights()

    answers = forge(browser, rows)

    assert_no_fault(answers)
    assert rights() == before


def test_a_right_to_change_users_makes_nobody_a_superuser(rows: dict[type[Model], Model]) -> None:
    """Django itself would let its holder tick the box of a superuser, their own too."""
    browser = browser_of("Stock manager")
    manager = User.objects.get(username="Stock manager")
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))

    answer = browser.post(reverse("admin:auth_user_change", args=[manager.pk]), FORGED)

    assert answer.status_code == 403
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.slow
def test_what_is_forged_would_change_something_for_a_superuser(
    rows: dict[type[Model], Model],
) -> None:
    """Else the tests above would prove nothing."""
    browser = browser_of("superuser")
    before = everything()

    answers = forge(browser, rows)

    after = everything()
    assert_no_fault(answers)
    changed = {name for name in after if after[name] != before[name]}
    assert changed >= {"Product", "StockEvent", "ReservationLine", "keys", "users", "groups"}
    kinds = Counter(StockEvent.objects.values_list("type", flat=True))
    assert kinds.keys() >= {"InventoryAdded", "InventoryRemoved", "InventoryFulfilled"}
    assert kinds["InventoryAdjusted"] == 2  # By the dialog, and by the action on the list.


def test_no_form_is_taken_from_another_site(rows: dict[type[Model], Model]) -> None:
    browser = browser_of("superuser", enforce_csrf_checks=True)
    before = everything()

    answers = forge(browser, rows)

    assert everything() == before
    assert {answer.status_code for answer in answers.values()} == {403}
