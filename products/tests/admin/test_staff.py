"""The form for a colleague: names, passwords, roles, and who may give them."""

import re
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from products.admin.roles import ADMINISTRATOR, UNCHANGED
from products.tests.concurrency import at_once
from products.tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:auth_user_changelist")
ADD = reverse("admin:auth_user_add")
PASSWORD = "correct-horse-battery"


def browser_for(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def root() -> Client:
    """A client in which a superuser is logged in."""
    return browser_for(User.objects.create_superuser(username="Root"))


@pytest.fixture
def lead() -> Client:
    """A client in which a stock clerk is logged in who may manage users."""
    user = staff("Lead", "Stock clerk")
    user.user_permissions.set(Permission.objects.filter(content_type__model="user"))
    return browser_for(user)


def staff(name: str, *groups: str) -> User:
    user = User.objects.create_user(username=name, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def role(group: str) -> str:
    return str(Group.objects.get(name=group).pk)


def add(browser: Client, **fields: str) -> Any:
    fields = {"username": "Paul", "role": role("Stock clerk"), "is_active": "on", **fields}
    return browser.post(ADD, fields)


def edit(browser: Client, user: User, **fields: Any) -> Any:
    fields = {"role": UNCHANGED, "is_active": "on", **fields}
    return browser.post(page_of(user), fields)


def page_of(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def offered(response: Any) -> list[str]:
    """Return the names of the roles that a form offers."""
    choices = response.context["adminform"].form.fields["role"].choices
    return [label.partition(":")[0] for _value, label in choices]


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return response.context["errors"] and response.context["adminform"].form.errors


def may_log_in(name: str, password: str) -> bool:
    browser = Client()
    browser.post(reverse("admin:login"), {"username": name, "password": password})
    return browser.get(reverse("admin:index")).status_code == 200


def test_a_colleague_can_log_in_at_once_with_the_password_that_is_shown(root: Client) -> None:
    page = add(root).content.decode()

    shown = re.search(r'id="password"[^>]* value="([^"]+)"', page)
    assert shown
    assert may_log_in("Paul", shown[1])
    paul = User.objects.get(username="Paul")
    assert (paul.is_staff, paul.is_superuser) == (True, False)
    assert paul.has_perm("products.operate_stock")
    assert not paul.has_perm("products.adjust_stock")
    assert shown[1] not in root.get(page_of(paul)).content.decode()


def test_a_typed_password_is_not_shown(root: Client) -> None:
    page = add(root, password1=PASSWORD, password2=PASSWORD).content.decode()

    assert PASSWORD not in page
    assert "Password: as you typed it." in page
    assert may_log_in("Paul", PASSWORD)


def test_names_and_email_are_optional(root: Client) -> None:
    add(root, first_name="Paul", last_name="Klee", email="paul@example.org")

    paul = User.objects.get(username="Paul")
    assert (paul.get_full_name(), paul.email) == ("Paul Klee", "paul@example.org")


def test_an_inactive_colleague_cannot_log_in_yet(root: Client) -> None:
    page = add(root, is_active="", password1=PASSWORD, password2=PASSWORD).content.decode()

    assert "Paul cannot log in until" in page
    assert not may_log_in("Paul", PASSWORD)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "Pa\0ul"}, "username"),
        ({"role": ""}, "role"),
        ({"role": "0"}, "role"),
        ({"role": UNCHANGED}, "role"),
        ({"password1": PASSWORD}, "password2"),
        ({"password2": PASSWORD}, "password2"),
        ({"password1": "1234", "password2": "1234"}, "password1"),
        (
            {"username": "paulina-k", "password1": "paulina-k7", "password2": "paulina-k7"},
            "password1",
        ),
        ({"password1": "x" * 1001, "password2": "x" * 1001}, "password1"),
        ({"email": "paul"}, "email"),
    ],
)
def test_bad_input_is_refused(root: Client, fields: dict[str, str], field: str) -> None:
    assert field in errors_of(add(root, **fields))
    assert User.objects.count() == 1


@pytest.mark.parametrize("name", ["shop-1", "SHOP-1", "Vera", "vera", "VERА"])  # noqa: RUF001
def test_names_that_look_like_another_are_refused(root: Client, name: str) -> None:
    ApiKeyFactory.create(name="shop-1")
    staff("Vera")

    [error] = errors_of(add(root, username=name))["username"]

    assert "Choose another name." in error or "already exists" in error
    assert User.objects.count() == 2


def test_a_form_that_is_sent_twice_adds_one_colleague(root: Client) -> None:
    add(root)

    assert "username" in errors_of(add(root))
    assert User.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_forms_at_once_add_one_colleague() -> None:
    User.objects.create_superuser(username="Root")
    browsers = [browser_for(User.objects.get()) for _ in range(2)]

    responses: list[Any] = at_once([partial(add, browser) for browser in browsers])

    assert [response.status_code for response in responses] == [200, 200]
    assert User.objects.filter(username="Paul").count() == 1


def test_the_same_form_changes_role_and_password(root: Client) -> None:
    vera = staff("Vera", "Stock viewer")
    assert root.get(page_of(vera)).context["adminform"].form.initial["role"] == role("Stock viewer")

    edit(root, vera, role=role("Stock manager"), password1=PASSWORD, password2=PASSWORD)

    vera = User.objects.get(pk=vera.pk)
    assert [group.name for group in vera.groups.all()] == ["Stock manager"]
    assert may_log_in("Vera", PASSWORD)


def test_empty_password_fields_keep_the_password(root: Client) -> None:
    vera = staff("Vera", "Stock viewer")
    vera.set_password(PASSWORD)
    vera.save()

    edit(root, vera, role=role("Stock viewer"), first_name="Vera")

    assert may_log_in("Vera", PASSWORD)


def test_the_name_of_a_colleague_stays(root: Client) -> None:
    vera = staff("Vera", "Stock viewer")

    edit(root, vera, role=role("Stock clerk"), username="Mallory")

    vera.refresh_from_db()
    assert vera.username == "Vera"


def test_an_administrator_has_all_rights_and_no_group(root: Client) -> None:
    vera = staff("Vera", "Stock viewer")

    edit(root, vera, role=ADMINISTRATOR)
    vera.refresh_from_db()
    assert (vera.is_superuser, vera.groups.count()) == (True, 0)

    edit(root, vera, role=role("Stock viewer"))
    vera.refresh_from_db()
    assert (vera.is_superuser, vera.groups.count()) == (False, 1)


def test_several_groups_are_kept_unless_a_role_is_chosen(root: Client) -> None:
    vera = staff("Vera", "Stock viewer", "Stock clerk")
    page = root.get(page_of(vera))
    assert offered(page)[-1] == "Stock clerk, Stock viewer"

    edit(root, vera, email="vera@example.org")
    assert vera.groups.count() == 2

    edit(root, vera, role=role("Stock clerk"))
    assert [group.name for group in vera.groups.all()] == ["Stock clerk"]


def test_switching_off_ends_the_access_at_once(root: Client) -> None:
    vera = staff("Vera", "Stock viewer")
    browser = browser_for(vera)
    assert browser.get(reverse("admin:index")).status_code == 200

    edit(root, vera, role=role("Stock viewer"), is_active="")

    assert browser.get(reverse("admin:index")).status_code == 302


def test_only_superusers_see_and_set_single_permissions(root: Client, lead: Client) -> None:
    vera = staff("Vera", "Stock viewer")
    count = Permission.objects.get(codename="adjust_stock")

    assert "Single permissions" not in lead.get(page_of(vera)).content.decode()
    edit(lead, vera, role=role("Stock viewer"), user_permissions=[count.pk])
    assert vera.user_permissions.count() == 0

    assert "Single permissions" in root.get(page_of(vera)).content.decode()
    edit(root, vera, role=role("Stock viewer"), user_permissions=[count.pk])
    assert vera.user_permissions.get() == count


# ------------------------------------------------------------------------------- own rights only


def test_each_user_gives_only_roles_within_their_own_rights(root: Client, lead: Client) -> None:
    everyone = ["Stock viewer", "Stock clerk", "Stock manager", "Administrator"]

    assert offered(root.get(ADD)) == everyone
    assert offered(lead.get(ADD)) == everyone[:2]


def test_a_custom_group_is_offered_to_those_with_its_rights(root: Client, lead: Client) -> None:
    counters = Group.objects.create(name="Counters")
    counters.permissions.set(Permission.objects.filter(codename="adjust_stock"))

    assert "Counters" in offered(root.get(ADD))
    assert "Counters" not in offered(lead.get(ADD))


@pytest.mark.parametrize("wanted", ["Stock manager", ADMINISTRATOR])
def test_a_forged_role_is_refused(lead: Client, wanted: str) -> None:
    vera = staff("Vera", "Stock viewer")
    value = wanted if wanted == ADMINISTRATOR else role(wanted)
    forged = {"is_superuser": "on", "is_staff": "on", "groups": role("Stock manager")}

    assert "role" in errors_of(add(lead, role=value, **forged))
    assert "role" in errors_of(edit(lead, vera, role=value, **forged))

    assert not User.objects.filter(username="Paul").exists()
    assert [group.name for group in vera.groups.all()] == ["Stock viewer"]


def test_hidden_fields_of_a_permitted_role_give_nothing(lead: Client) -> None:
    add(lead, is_superuser="on", groups=role("Stock manager"), user_permissions="1")

    paul = User.objects.get(username="Paul")
    assert not paul.is_superuser
    assert [group.name for group in paul.groups.all()] == ["Stock clerk"]
    assert not paul.user_permissions.exists()


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("kind", ["superuser", "Stock manager", "single permission"])
def test_users_with_more_rights_cannot_be_edited(lead: Client, kind: str, is_active: bool) -> None:
    boss = staff("Boss", kind)
    if kind == "single permission":
        boss.user_permissions.set(Permission.objects.filter(codename="adjust_stock"))
    User.objects.filter(pk=boss.pk).update(is_superuser=kind == "superuser", is_active=is_active)
    before = User.objects.values().get(pk=boss.pk)

    response = edit(lead, boss, role=role("Stock viewer"), password1=PASSWORD, password2=PASSWORD)

    assert response.status_code == 403
    assert User.objects.values().get(pk=boss.pk) == before


@pytest.mark.parametrize("user_kind", ["Lead", "Root"])
def test_nobody_changes_their_own_role_password_or_activity(
    root: Client, lead: Client, user_kind: str
) -> None:
    browser = {"Lead": lead, "Root": root}[user_kind]
    own = User.objects.get(username=user_kind)
    before = User.objects.values().get(pk=own.pk)

    edit(
        browser,
        own,
        role=role("Stock viewer"),
        is_active="",
        password1=PASSWORD,
        password2=PASSWORD,
        email="me@example.org",
    )

    after = User.objects.values().get(pk=own.pk)
    assert after == {**before, "email": "me@example.org", "last_login": after["last_login"]}
    assert own.groups.count() == (user_kind == "Lead")


def test_only_superusers_delete_and_nobody_deletes_themselves(root: Client, lead: Client) -> None:
    vera = staff("Vera")
    own = User.objects.get(username="Root")

    def delete(browser: Client, user: User) -> int:
        path = reverse("admin:auth_user_delete", args=[user.pk])
        return browser.post(path, {"post": "yes"}).status_code

    assert delete(lead, vera) == 403
    assert delete(root, own) == 403
    assert delete(root, vera) == 302
    assert set(User.objects.values_list("username", flat=True)) == {"Root", "Lead"}


def test_permission_to_view_users_shows_their_roles_without_a_form(root: Client) -> None:
    looker = staff("Looker")
    looker.user_permissions.set(Permission.objects.filter(codename="view_user"))
    vera = staff("Vera", "Stock viewer")
    browser = browser_for(looker)

    assert "Stock viewer" in browser.get(LIST).content.decode()
    page = browser.get(page_of(vera)).content.decode()
    assert "Stock viewer" in page
    assert 'name="role"' not in page
    assert edit(browser, vera, role=role("Stock clerk")).status_code == 403
    assert add(browser).status_code == 403
