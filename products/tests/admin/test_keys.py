"""API keys in the back office: issue, show once, set an expiry, revoke."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products.models import ApiKey, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:products_apikey_changelist")
ADD = reverse("admin:products_apikey_add")


@pytest.fixture
def manager(db: None) -> Client:
    """A client in which a stock manager is logged in."""
    user = User.objects.create_user(username="Mia", is_staff=True)
    user.groups.add(Group.objects.get(name="Stock manager"))
    browser = Client()
    browser.force_login(user)
    return browser


def issue(browser: Client, **fields: str) -> Any:
    return browser.post(ADD, {"name": "shop", "role": "operate", **fields})


def key_shown(response: Any) -> str:
    found = re.search(r'id="key"[^>]* value="([^"]+)"', response.content.decode())
    assert found
    return found[1]


def errors_of(response: Any) -> Any:
    assert response.status_code == 200
    return response.context["adminform"].form.errors


def page_of(api_key: ApiKey) -> str:
    return reverse("admin:products_apikey_change", args=[api_key.prefix])


def revoke(browser: Client, api_key: ApiKey) -> Any:
    path = reverse("admin:products_apikey_revoke", args=[api_key.prefix])
    return browser.post(path, {"_form_submitted": "True"})


def status_with(key: str) -> int:
    """Return the status of an API request with this key."""
    headers = {"Authorization": f"Api-Key {key}"}
    return Client().get("/v1/products", headers=headers).status_code


def expiry(when: Any) -> dict[str, str]:
    """Return the form fields for this expiry."""
    return {"expiry_date_0": f"{when:%Y-%m-%d}", "expiry_date_1": f"{when:%H:%M:%S}"}


# ------------------------------------------------------------------------------------------- issue


def test_an_issued_key_works_and_the_ledger_records_its_name(manager: Client) -> None:
    product = ProductFactory.create()

    key = key_shown(issue(manager))
    headers = {"Authorization": f"Api-Key {key}"}
    path = f"/v1/products/{product.sku}/add"
    Client().post(path, {"amount": 1}, content_type="application/json", headers=headers)

    assert ApiKey.objects.get().role == "operate"
    assert StockEvent.objects.get(version=2).actor == "shop"


def test_the_page_of_a_new_key_shows_a_working_curl_command(manager: Client) -> None:
    response = issue(manager)

    line = re.search(r'id="curl"[^>]* value="([^"]+)"', response.content.decode())
    assert line
    assert line[1].replace("&quot;", '"') == (
        f'curl -H "Authorization: Bearer {key_shown(response)}" http://testserver/v1/products'
    )


def test_a_key_is_shown_once_and_stored_nowhere(
    manager: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    response = issue(manager)
    _, _, secret = key_shown(response).partition(".")

    pages = [manager.get(path) for path in (LIST, page_of(ApiKey.objects.get()), "/admin/")]
    stored = [
        *ApiKey.objects.values_list(),
        *LogEntry.objects.values_list(),
        *(session.get_decoded() for session in Session.objects.all()),
    ]
    cookies = [cookie.OutputString() for cookie in manager.cookies.values()]

    assert "no-store" in response["Cache-Control"]
    assert all(secret not in page.content.decode() for page in pages)
    assert stored
    assert secret not in repr(stored) + repr(cookies) + repr(list(response.items()))
    assert secret not in "".join(capfd.readouterr())


def test_resending_the_form_issues_no_second_key(manager: Client) -> None:
    issue(manager)

    again = issue(manager)

    assert errors_of(again)["name"]
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("name", ["", " ", "a\tb", "x" * 51, "a\0b"])
def test_an_invalid_name_is_refused(manager: Client, name: str) -> None:
    response = issue(manager, name=name)

    assert errors_of(response)["name"]
    assert not ApiKey.objects.exists()


def test_the_name_of_a_revoked_key_can_be_used_again(manager: Client) -> None:
    ApiKeyFactory.create(name="shop", revoked=True)

    assert status_with(key_shown(issue(manager))) == 200


def test_an_unknown_role_is_refused(manager: Client) -> None:
    assert errors_of(issue(manager, role="root"))["role"]


def test_the_expiry_of_a_new_key_must_be_in_the_future(manager: Client) -> None:
    now = timezone.now()

    past = issue(manager, **expiry(now - timedelta(hours=1)))
    key = key_shown(issue(manager, **expiry(now + timedelta(hours=1))))

    assert errors_of(past)["expiry_date"]
    assert status_with(key) == 200
    assert ApiKey.objects.get().expiry_date


# --------------------------------------------------------------------------------- expiry and list


def test_the_form_of_a_key_changes_only_its_expiry(manager: Client) -> None:
    api_key = ApiKeyFactory.create(name="shop", role="read")
    form = {**expiry(timezone.now() + timedelta(days=1)), "name": "other", "role": "manage"}

    response = manager.post(page_of(api_key), {**form, "revoked": "on"})

    assert response.status_code == 302
    api_key.refresh_from_db()
    assert (api_key.name, api_key.role, api_key.revoked) == ("shop", "read", False)
    assert api_key.expiry_date


def test_an_expired_key_works_again_after_its_expiry_is_extended(manager: Client) -> None:
    expired = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    api_key = ApiKeyFactory.create(expiry_date=expired)

    same = manager.post(page_of(api_key), expiry(expired))
    assert (same.status_code, status_with(api_key.text)) == (302, 401)
    manager.post(page_of(api_key), expiry(expired + timedelta(days=1)))

    assert status_with(api_key.text) == 200


def test_setting_an_expiry_does_not_restore_a_revoked_key(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    revoke(manager, api_key)

    manager.post(page_of(api_key), expiry(timezone.now() + timedelta(days=1)))

    api_key.refresh_from_db()
    assert (api_key.revoked, api_key.expiry_date) == (True, None)


def test_the_list_shows_and_filters_by_status(manager: Client) -> None:
    ApiKeyFactory.create(name="working", expiry_date=timezone.now() + timedelta(days=1))
    ApiKeyFactory.create(name="timeless")
    ApiKeyFactory.create(name="over", expiry_date=timezone.now() - timedelta(days=1))
    ApiKeyFactory.create(name="ended", revoked=True)

    def listed(status: str) -> set[str]:
        response = manager.get(LIST, {"state": status})
        return {api_key.name for api_key in response.context["cl"].result_list}

    assert listed("active") == {"working", "timeless"}
    assert listed("expired") == {"over"}
    assert listed("revoked") == {"ended"}
    page = manager.get(LIST).content.decode()
    assert all(status in page for status in ("Active", "Expired", "Revoked"))


def test_no_url_contains_the_hash_of_a_key(manager: Client) -> None:
    api_key = ApiKeyFactory.create()

    page = manager.get(LIST).content.decode()

    assert f'href="{page_of(api_key)}' in page
    assert not re.search(r'(href|hx-get)="[^"]*sha512', page)


# ------------------------------------------------------------------------------------------ revoke


def test_a_revoked_key_never_works_again(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    assert status_with(api_key.text) == 200

    response = revoke(manager, api_key)
    assert (response.status_code, status_with(api_key.text)) == (302, 401)
    manager.post(page_of(api_key), {"revoked": ""})
    revoke(manager, api_key)

    assert status_with(api_key.text) == 401


def test_revoking_asks_for_confirmation(manager: Client) -> None:
    api_key = ApiKeyFactory.create(name="shop")

    asked = manager.get(reverse("admin:products_apikey_revoke", args=[api_key.prefix]))

    assert "shop" in asked.content.decode()
    assert status_with(api_key.text) == 200


def test_a_revoked_key_has_no_actions(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    path = reverse("admin:products_apikey_revoke", args=[api_key.prefix])
    assert path in manager.get(page_of(api_key)).content.decode()

    revoke(manager, api_key)
    page = manager.get(page_of(api_key)).content.decode()

    assert path not in page
    assert 'name="_save"' not in page


def test_who_issued_and_revoked_a_key_stays_known_after_the_user_is_gone(manager: Client) -> None:
    issue(manager, name="till")
    api_key = ApiKey.objects.get()
    revoke(manager, api_key)
    User.objects.get(username="Mia").delete()

    boss = Client()
    boss.force_login(User.objects.create_superuser("Boss"))
    page = boss.get(page_of(api_key)).content.decode()

    api_key.refresh_from_db()
    assert (api_key.issued_by, api_key.revoked_by) == ("Mia", "Mia")
    assert api_key.revoked_at
    assert page.count("Mia") == 2
    assert f"{api_key.revoked_at:%Y}" in page


def test_the_admin_log_names_a_key_by_its_prefix(manager: Client) -> None:
    issue(manager, name="till")
    api_key = ApiKey.objects.get()
    manager.post(page_of(api_key), expiry(timezone.now() + timedelta(days=1)))
    revoke(manager, api_key)

    entries = LogEntry.objects.order_by("pk")
    assert [entry.object_id for entry in entries] == [api_key.prefix] * 3
    assert [entry.user.get_username() for entry in entries] == ["Mia"] * 3
    assert [entry.get_change_message() for entry in entries] == [
        "Added.",
        "Changed Expires.",
        "Revoked.",
    ]


@pytest.mark.parametrize(
    "name",
    ["TWICE", " twice", "tw\u0456ce", "\uff54\uff57\uff49\uff43\uff45", "Mia", "m\u0456a", "ti11"],
)
def test_a_name_that_looks_like_another_one_is_refused(manager: Client, name: str) -> None:
    for taken in ("twice", "till"):
        issue(manager, name=taken)

    assert "looks the same" in errors_of(issue(manager, name=name))["name"][0]
    with pytest.raises(CommandError, match="looks the same"):
        call_command("create_api_key", name, "--role", "read")
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize(
    "name", ["twice-2", "tills", "B\u00fcro", "\u5546\u5e97", "\u041a\u0430\u0441\u0441\u0430"]
)
def test_another_name_is_accepted(manager: Client, name: str) -> None:
    for taken in ("twice", "till", "Buro"):
        issue(manager, name=taken)

    assert key_shown(issue(manager, name=name))


RIGHTS = {
    "read": ("view_product", "view_reservation", "view_stockevent"),
    "operate": ("operate_stock",),
    "count": ("adjust_stock",),
    "manage": (
        *("add_product", "change_product"),
        *("view_subscription", "add_subscription", "change_subscription", "delete_subscription"),
    ),
}


@pytest.mark.parametrize("own", RIGHTS)
def test_a_key_gives_no_more_rights_than_its_issuer_has(own: str) -> None:
    roles = list(RIGHTS)
    allowed = roles[: roles.index(own) + 1]
    rights = [right for role in allowed for right in RIGHTS[role]]
    browser = browser_of("Ben", "view_apikey", "add_apikey", "change_apikey", *rights)

    for role in roles:
        answer = issue(browser, name=f"{role}-client", role=role)
        if role in allowed:
            assert key_shown(answer)
        else:
            assert "not one of the available choices" in errors_of(answer)["role"][0]


def test_a_key_with_more_rights_can_be_revoked_but_not_extended() -> None:
    clerk = browser_of("Ben", "view_apikey", "change_apikey", *RIGHTS["read"])
    api_key = ApiKeyFactory.create(role="manage")
    later = timezone.now() + timedelta(days=300)

    assert clerk.post(page_of(api_key), expiry(later)).status_code == 403

    api_key.refresh_from_db()
    assert api_key.expiry_date is None
    revoke(clerk, api_key)
    api_key.refresh_from_db()
    assert api_key.revoked_by == "Ben"


def test_the_pages_say_when_a_change_takes_effect(manager: Client) -> None:
    api_key = ApiKeyFactory.create(name="till")

    assert "takes effect within 30 seconds" in manager.get(page_of(api_key)).content.decode()
    path = reverse("admin:products_apikey_revoke", args=[api_key.prefix])
    assert "lose access within 30 seconds" in manager.get(path).content.decode()
    answer = manager.post(path, {"_form_submitted": "True"}, follow=True)
    assert "stops working within 30 seconds" in answer.content.decode()


def test_an_unknown_key_is_not_found(manager: Client) -> None:
    assert manager.get(reverse("admin:products_apikey_revoke", args=["nobody"])).status_code == 404
