"""The limit on wrong passwords, for each user name and for each address.

Tests let time pass by moving the stored usage into the past. The limits are per hour, so that the
duration of a test does not matter.
"""

import re
from collections import Counter
from itertools import count

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from products.models import ThrottleBucket
from products.tests.concurrency import at_once

pytestmark = pytest.mark.django_db

LOGIN = reverse("admin:login")
RIGHT = "long-enough-7"
NEW = "another-long-one-8"


@pytest.fixture
def limits(settings: Settings) -> Settings:
    """Allow 3 failures per hour for a name and 5 for an address."""
    settings.LOGIN_FAILURES_PER_NAME = (3, 3600)
    settings.LOGIN_FAILURES_PER_ADDRESS = (5, 3600)
    return settings


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="Ada", password=RIGHT, is_staff=True)


def log_in(name: str = "Ada", password: str = "wrong", address: str = "192.0.2.1") -> str:
    """Try to log in. Return `in`, `wrong` or `wait`."""
    form = {"username": name, "password": password}
    response = Client(REMOTE_ADDR=address).post(LOGIN, form)
    if response.status_code == 302:
        return "in"
    text = response.content.decode()
    if re.search(r"Too many wrong passwords\. Try again in [1-9][0-9]* seconds\.", text):
        return "wait"
    assert "Please enter the correct username and password" in text
    return "wrong"


def pass_seconds(seconds: int) -> None:
    ThrottleBucket.objects.update(used_until=F("used_until") - seconds * 1_000_000)


@pytest.mark.usefixtures("ada", "limits")
def test_after_too_many_wrong_passwords_the_right_one_is_refused_too() -> None:
    assert [log_in() for _ in range(4)] == ["wrong", "wrong", "wrong", "wait"]

    assert log_in(password=RIGHT) == "wait"
    pass_seconds(1200)
    assert log_in(password=RIGHT) == "in"


@pytest.mark.usefixtures("ada", "limits")
def test_the_message_says_how_long_to_wait() -> None:
    for _ in range(3):
        log_in()

    response = Client().post(LOGIN, {"username": "Ada", "password": "wrong"})
    wait = re.search(r"Try again in (\d+) seconds", response.content.decode())

    assert wait
    assert 0 < int(wait[1]) <= 1200
    pass_seconds(int(wait[1]))
    assert log_in() == "wrong"


@pytest.mark.usefixtures("ada", "limits")
def test_a_name_is_limited_from_all_addresses_together() -> None:
    responses = [log_in(address=f"192.0.2.{number}") for number in range(4)]

    assert responses == ["wrong", "wrong", "wrong", "wait"]


@pytest.mark.usefixtures("ada", "limits")
def test_an_address_is_limited_for_all_names_together() -> None:
    responses = [log_in(name=f"name-{number}") for number in range(6)]

    assert responses == [*["wrong"] * 5, "wait"]
    assert log_in(password=RIGHT) == "wait"
    assert log_in(password=RIGHT, address="192.0.2.2") == "in"


@pytest.mark.usefixtures("ada", "limits")
def test_successful_logins_do_not_count() -> None:
    assert [log_in(password=RIGHT) for _ in range(10)] == ["in"] * 10
    assert [log_in() for _ in range(4)] == ["wrong", "wrong", "wrong", "wait"]


@pytest.mark.usefixtures("ada", "limits")
def test_a_successful_login_does_not_reset_the_limits() -> None:
    """Otherwise a user could guess the passwords of others between their own logins."""
    User.objects.create_user(username="Eve", password=RIGHT, is_staff=True)

    responses = [log_in(), log_in(), log_in("Eve", RIGHT), log_in("Bob"), log_in("Bob")]
    assert responses == ["wrong", "wrong", "in", "wrong", "wrong"]

    assert [log_in("Eve", RIGHT), log_in(), log_in("Eve", RIGHT)] == ["in", "wrong", "wait"]


@pytest.mark.usefixtures("ada", "limits")
def test_attempts_beyond_the_limit_do_not_count() -> None:
    for _ in range(3):
        log_in()

    # If they counted for the address, the other name would have to wait.
    assert [log_in() for _ in range(10)] == ["wait"] * 10
    assert [log_in("Bob"), log_in("Bob"), log_in("Bob")] == ["wrong", "wrong", "wait"]


@pytest.mark.usefixtures("ada", "limits")
def test_responses_do_not_reveal_which_names_exist() -> None:
    User.objects.create_user(username="customer", password=RIGHT)
    User.objects.create_user(username="gone", password=RIGHT, is_staff=True, is_active=False)

    def responses(name: str, password: str, address: str) -> list[str]:
        return [log_in(name, password, address) for _ in range(4)]

    expected = ["wrong", "wrong", "wrong", "wait"]
    assert responses("Ada", "wrong", "192.0.2.1") == expected
    assert responses("nobody", "wrong", "192.0.2.2") == expected
    assert responses("customer", RIGHT, "192.0.2.3") == expected
    assert responses("gone", RIGHT, "192.0.2.4") == expected


@pytest.mark.usefixtures("ada", "limits")
def test_an_empty_form_does_not_count() -> None:
    for _ in range(10):
        Client(REMOTE_ADDR="192.0.2.1").post(LOGIN, {"username": "Ada", "password": ""})

    assert log_in(password=RIGHT) == "in"


@pytest.mark.usefixtures("limits")
def test_the_submitted_user_name_is_not_stored() -> None:
    log_in("my-password-by-mistake")

    assert "mistake" not in repr(list(ThrottleBucket.objects.values_list()))


@pytest.mark.usefixtures("ada", "limits")
def test_strangers_cannot_keep_a_user_out() -> None:
    assert log_in(password=RIGHT, address="198.51.100.7") == "in"
    assert [log_in() for _ in range(4)] == ["wrong", "wrong", "wrong", "wait"]

    assert log_in(password=RIGHT) == "wait"
    assert log_in(password=RIGHT, address="198.51.100.8") == "wait"
    assert log_in(password=RIGHT, address="198.51.100.7") == "in"


@pytest.mark.usefixtures("ada", "limits")
def test_an_address_that_the_user_has_used_is_limited_too() -> None:
    assert log_in(password=RIGHT) == "in"

    assert [log_in() for _ in range(4)] == ["wrong", "wrong", "wrong", "wait"]
    assert log_in(password=RIGHT) == "wait"
    assert log_in(name="Bob") == "wrong"


@pytest.mark.usefixtures("ada", "limits")
def test_an_address_is_known_for_90_days() -> None:
    log_in(password=RIGHT, address="198.51.100.7")
    pass_seconds(90 * 24 * 60 * 60)
    for _ in range(3):
        log_in()

    assert log_in(password=RIGHT, address="198.51.100.7") == "wait"


@pytest.mark.usefixtures("limits")
def test_refused_attempts_leave_no_rows() -> None:
    for number in range(5):
        log_in(f"name-{number}")
    before = ThrottleBucket.objects.count()

    assert {log_in(f"other-{number}") for number in range(10)} == {"wait"}

    assert ThrottleBucket.objects.count() == before == 6


@pytest.mark.usefixtures("ada", "limits")
def test_a_login_leaves_only_its_address() -> None:
    log_in(password=RIGHT)

    [row] = ThrottleBucket.objects.all()
    assert row.name.startswith("known:")
    assert "192.0.2.1" not in row.name


@pytest.mark.usefixtures("limits")
def test_wrong_old_passwords_are_limited(ada: User) -> None:
    browser = Client()
    browser.force_login(ada)

    def change(old: str) -> str:
        form = {"old_password": old, "new_password1": NEW, "new_password2": NEW}
        answer = browser.post(reverse("admin:password_change"), form)
        if answer.status_code == 302:
            return "changed"
        return "wait" if "Too many wrong passwords" in answer.content.decode() else "wrong"

    assert [change("guess") for _ in range(4)] == ["wrong", "wrong", "wrong", "wait"]
    assert change(RIGHT) == "wait"
    assert log_in(password=RIGHT) == "in"
    pass_seconds(1200)
    assert change(RIGHT) == "changed"
    assert log_in(password=NEW) == "in"


@pytest.mark.usefixtures("ada")
def test_the_default_limit_is_ten_wrong_passwords_a_minute() -> None:
    assert [log_in() for _ in range(10)] == ["wrong"] * 10

    # During this test, another attempt is allowed every six seconds.
    assert any(log_in() == "wait" for _ in count())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("ada", "limits")
def test_concurrent_attempts_do_not_exceed_the_limit() -> None:
    responses = at_once([log_in] * 16)

    assert Counter(responses) == {"wrong": 3, "wait": 13}
