"""API keys in the back office: issued and shown once, given an expiry, revoked for good."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products.models import ApiKey, StockEvent
from products.tests.factories import ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:products_apikey_changelist")
ADD = reverse("admin:products_apikey_add")


@pytest.fixture
def manager(db: None) -> Client:
    """A browser of a stock manager."""
    user = User.objects.create_user(username="Mia", is_staff=True)
    user.groups.add(Group.objects.get(name="Stock manager"))
    browser = Client()
    browser.force_login(user)
    return browser


def issue(browser: Client, **fields: str) -> Any:
    return browser.post(ADD, {"name": "shop", "role": "operate", **fields})


def key_shown(answer: Any) -> str:
    found = re.search(r'id="key"[^>]* value="([^"]+)"', answer.content.decode())
    assert found
    return found[1]


def errors_of(answer: Any) -> Any:
    assert answer.status_code == 200
    return answer.context["adminform"].form.errors


def page_of(api_key: ApiKey) -> str:
    return reverse("admin:products_apikey_change", args=[api_key.prefix])


def revoke(browser: Client, api_key: ApiKey) -> Any:
    path = reverse("admin:products_apikey_revoke", args=[api_key.prefix])
    return browser.post(path, {"_form_submitted": "True"})


def status_with(key: str) -> int:
    """Return how the API answers to a key."""
    headers = {"Authorization": f"Api-Key {key}"}
    return Client().get("/v1/products", headers=headers).status_code


def moment(when: Any) -> dict[str, str]:
    """Return a time as the form sends it."""
    return {"expiry_date_0": f"{when:%Y-%m-%d}", "expiry_date_1": f"{when:%H:%M:%S}"}


# ----------------------------------------------------------------------------------------- issuing


def test_an_issued_key_works_and_its_name_stands_in_the_ledger(manager: Client) -> None:
    product = ProductFactory.create()

    key = key_shown(issue(manager))
    headers = {"Authorization": f"Api-Key {key}"}
    path = f"/v1/products/{product.sku}/add"
    Client().post(path, {"amount": 1}, content_type="application/json", headers=headers)

    assert ApiKey.objects.get().role == "operate"
    assert StockEvent.objects.get(version=2).actor == "shop"


def test_the_curl_line_is_ready_to_be_run(manager: Client) -> None:
    answer = issue(manager)

    line = re.search(r'id="curl"[^>]* value="([^"]+)"', answer.content.decode())
    assert line
    assert line[1].replace("&quot;", '"') == (
        f'curl -H "Authorization: Api-Key {key_shown(answer)}" http://testserver/v1/products'
    )


def test_a_key_is_shown_once_and_kept_nowhere(
    manager: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = issue(manager)
    _, _, secret = key_shown(answer).partition(".")

    pages = [manager.get(path) for path in (LIST, page_of(ApiKey.objects.get()), "/admin/")]
    stored = [
        *ApiKey.objects.values_list(),
        *LogEntry.objects.values_list(),
        *(session.get_decoded() for session in Session.objects.all()),
    ]
    cookies = [cookie.OutputString() for cookie in manager.cookies.values()]

    assert "no-store" in answer["Cache-Control"]
    assert all(secret not in page.content.decode() for page in pages)
    assert stored
    assert secret not in repr(stored) + repr(cookies) + repr(list(answer.items()))
    assert secret not in "".join(capfd.readouterr())


def test_the_page_sent_again_by_the_browser_issues_no_second_key(manager: Client) -> None:
    issue(manager)

    again = issue(manager)

    assert errors_of(again)["name"]
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("name", ["", " ", "a\tb", "x" * 51, "a\0b"])
def test_a_name_that_would_say_nothing_in_the_ledger_is_refused(manager: Client, name: str) -> None:
    answer = issue(manager, name=name)

    assert errors_of(answer)["name"]
    assert not ApiKey.objects.exists()


def test_the_name_of_a_revoked_key_can_be_given_again(manager: Client) -> None:
    ApiKeyFactory.create(name="shop", revoked=True)

    assert status_with(key_shown(issue(manager))) == 200


def test_an_unknown_role_is_refused(manager: Client) -> None:
    assert errors_of(issue(manager, role="root"))["role"]


def test_a_key_may_be_issued_with_an_expiry_to_come_alone(manager: Client) -> None:
    now = timezone.now()

    past = issue(manager, **moment(now - timedelta(hours=1)))
    key = key_shown(issue(manager, **moment(now + timedelta(hours=1))))

    assert errors_of(past)["expiry_date"]
    assert status_with(key) == 200
    assert ApiKey.objects.get().expiry_date


# ------------------------------------------------------------------------------ expiry and the list


def test_an_expiry_is_set_and_nothing_else(manager: Client) -> None:
    api_key = ApiKeyFactory.create(name="shop", role="read")
    form = {**moment(timezone.now() + timedelta(days=1)), "name": "other", "role": "manage"}

    answer = manager.post(page_of(api_key), {**form, "revoked": "on"})

    assert answer.status_code == 302
    api_key.refresh_from_db()
    assert (api_key.name, api_key.role, api_key.revoked) == ("shop", "read", False)
    assert api_key.expiry_date


def test_an_expired_key_stays_as_it_is_until_it_is_given_more_time(manager: Client) -> None:
    expired = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    api_key = ApiKeyFactory.create(expiry_date=expired)

    same = manager.post(page_of(api_key), moment(expired))
    assert (same.status_code, status_with(api_key.text)) == (302, 401)
    manager.post(page_of(api_key), moment(expired + timedelta(days=1)))

    assert status_with(api_key.text) == 200


def test_an_expiry_from_a_form_opened_before_leaves_a_key_revoked(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    revoke(manager, api_key)

    manager.post(page_of(api_key), moment(timezone.now() + timedelta(days=1)))

    api_key.refresh_from_db()
    assert (api_key.revoked, api_key.expiry_date) == (True, None)


def test_the_list_tells_and_finds_the_state_of_each_key(manager: Client) -> None:
    ApiKeyFactory.create(name="working", expiry_date=timezone.now() + timedelta(days=1))
    ApiKeyFactory.create(name="timeless")
    ApiKeyFactory.create(name="over", expiry_date=timezone.now() - timedelta(days=1))
    ApiKeyFactory.create(name="ended", revoked=True)

    def listed(state: str) -> set[str]:
        answer = manager.get(LIST, {"state": state})
        return {api_key.name for api_key in answer.context["cl"].result_list}

    assert listed("active") == {"working", "timeless"}
    assert listed("expired") == {"over"}
    assert listed("revoked") == {"ended"}
    page = manager.get(LIST).content.decode()
    assert all(state in page for state in ("Active", "Expired", "Revoked"))


def test_the_hash_of_a_key_is_in_no_address(manager: Client) -> None:
    api_key = ApiKeyFactory.create()

    page = manager.get(LIST).content.decode()

    assert f'href="{page_of(api_key)}' in page
    assert not re.search(r'(href|hx-get)="[^"]*sha512', page)


# ---------------------------------------------------------------------------------------- revoking


def test_a_revoked_key_is_refused_for_good(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    assert status_with(api_key.text) == 200

    answer = revoke(manager, api_key)
    assert (answer.status_code, status_with(api_key.text)) == (302, 401)
    manager.post(page_of(api_key), {"revoked": ""})
    revoke(manager, api_key)

    assert status_with(api_key.text) == 401


def test_revoking_is_confirmed_first(manager: Client) -> None:
    api_key = ApiKeyFactory.create(name="shop")

    asked = manager.get(reverse("admin:products_apikey_revoke", args=[api_key.prefix]))

    assert "shop" in asked.content.decode()
    assert status_with(api_key.text) == 200


def test_a_revoked_key_offers_nothing_to_do(manager: Client) -> None:
    api_key = ApiKeyFactory.create()
    path = reverse("admin:products_apikey_revoke", args=[api_key.prefix])
    assert path in manager.get(page_of(api_key)).content.decode()

    revoke(manager, api_key)
    page = manager.get(page_of(api_key)).content.decode()

    assert path not in page
    assert 'name="_save"' not in page


def test_it_is_kept_who_revoked_a_key(manager: Client) -> None:
    revoke(manager, ApiKeyFactory.create(name="shop"))

    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_repr) == ("Mia", "shop")
    assert "Revoked" in entry.get_change_message()


def test_a_key_that_is_not_there_is_not_found(manager: Client) -> None:
    assert manager.get(reverse("admin:products_apikey_revoke", args=["nobody"])).status_code == 404
