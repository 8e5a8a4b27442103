"""Throttling: API keys by `API_THROTTLE_RATE`, and addresses that send invalid keys.

The tests let time pass by moving the stored usage into the past. Rates are per hour, so that the
duration of a test does not matter.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from io import StringIO
from itertools import count
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient
from rest_framework.throttling import SimpleRateThrottle

from products.models import IdempotencyKey, Role, ThrottleBucket
from products.tests.checks import assert_problem, stored
from products.tests.concurrency import at_once
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import Reply, running_server

pytestmark = pytest.mark.django_db

SetRate = Callable[[str], None]


def _setter(monkeypatch: pytest.MonkeyPatch, scope: str) -> SetRate:
    return partial(monkeypatch.setitem, SimpleRateThrottle.THROTTLE_RATES, scope)


@pytest.fixture
def key_rate(monkeypatch: pytest.MonkeyPatch) -> SetRate:
    """Set the rate of each key."""
    return _setter(monkeypatch, "key")


@pytest.fixture
def failure_rate(monkeypatch: pytest.MonkeyPatch) -> SetRate:
    """Set the rate of invalid keys from each address."""
    return _setter(monkeypatch, "failed_authentication")


@pytest.fixture
def behind_a_proxy(settings: Settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}


def ask(api: APIClient, times: int = 1) -> list[int]:
    return [api.get("/v1/products").status_code for _ in range(times)]


def ask_wrongly(times: int = 1, authorization: str = "Api-Key wrong.key", **meta: Any) -> list[int]:
    """Send requests with an invalid key, from the address in `meta`, and return the statuses."""
    return ask(APIClient(HTTP_AUTHORIZATION=authorization, **meta), times)


def count_each(responses: Sequence[object]) -> Counter[object]:
    """Count the statuses in lists of statuses. Other results are exceptions."""
    return Counter(
        status
        for response in responses
        for status in (response if isinstance(response, list) else [repr(response)])
    )


def pass_seconds(seconds: float) -> None:
    ThrottleBucket.objects.update(used_until=F("used_until") - int(seconds * 1_000_000))


# ----------------------------------------------------------------------------------------- each key


def test_a_key_is_throttled_at_its_rate(api: APIClient, key_rate: SetRate) -> None:
    key_rate("3/h")

    assert ask(api, 3) == [200] * 3
    refused = api.get("/v1/products")

    problem = assert_problem(refused, 429, "throttled")
    assert f" {refused['Retry-After']} seconds" in problem["detail"]


def test_retry_after_is_the_exact_time_rounded_up(api: APIClient, key_rate: SetRate) -> None:
    key_rate("2/h")
    ask(api, 2)
    # The third request is allowed when only one of the two half hours is in use.
    opens = ThrottleBucket.objects.get().used_until / 1_000_000 - 1800

    before = time.time()
    retry_after = int(api.get("/v1/products")["Retry-After"])
    after = time.time()

    assert math.ceil(opens - after) <= retry_after <= math.ceil(opens - before) <= 1800
    pass_seconds(retry_after)
    assert ask(api) == [200]


def test_after_a_burst_one_request_is_allowed_per_part_of_the_period(
    api: APIClient, key_rate: SetRate
) -> None:
    key_rate("4/h")
    assert ask(api, 5) == [200] * 4 + [429]

    for _ in range(3):
        pass_seconds(900)
        assert ask(api, 2) == [200, 429]


def test_unused_requests_are_not_saved_up(api: APIClient, key_rate: SetRate) -> None:
    key_rate("3/h")
    ask(api, 4)

    pass_seconds(24 * 3600)

    assert ask(api, 4) == [200] * 3 + [429]


def test_a_new_rate_applies_immediately(api: APIClient, key_rate: SetRate) -> None:
    key_rate("1/day")
    assert ask(api, 2) == [200, 429]

    key_rate("2/h")

    assert ask(api, 3) == [200, 200, 429]


def test_a_clock_that_was_wrong_blocks_no_key(api: APIClient, key_rate: SetRate) -> None:
    key_rate("10/min")
    ask(api)
    pass_seconds(-3600)

    assert ask(api) == [429]
    pass_seconds(6)
    assert ask(api, 2) == [200, 429]


def test_a_throttled_request_uses_nothing(api: APIClient, key_rate: SetRate) -> None:
    key_rate("1/h")
    ask(api)
    used = ThrottleBucket.objects.get().used_until

    assert ask(api, 10) == [429] * 10

    assert ThrottleBucket.objects.get().used_until == used


def test_keys_are_throttled_independently(
    client_as: Callable[[Role], APIClient], key_rate: SetRate
) -> None:
    key_rate("1/h")
    one, other = client_as(Role.READ), client_as(Role.READ)

    assert ask(one, 2) == [200, 429]
    assert ask(other, 2) == [200, 429]


def test_a_throttled_request_has_no_effect_and_keeps_no_idempotency_key(
    api: APIClient, key_rate: SetRate
) -> None:
    path = f"/v1/products/{ProductFactory.create(quantity=5).sku}/add"
    key_rate("1/h")
    ask(api)
    before = stored()
    send = partial(api.post, path, {"amount": 1}, format="json", headers={"Idempotency-Key": "k"})

    assert_problem(send(), 429, "throttled")
    assert stored() == before
    assert not IdempotencyKey.objects.exists()
    pass_seconds(3600)
    again = send()

    assert (again.status_code, again.json()["quantity"]) == (200, 6)
    assert "Idempotent-Replayed" not in again


def test_the_role_is_checked_before_the_throttle_and_the_body_after(
    client_as: Callable[[Role], APIClient], key_rate: SetRate
) -> None:
    key_rate("1/h")
    reader, operator = client_as(Role.READ), client_as(Role.OPERATE)

    def post(api: APIClient) -> Any:
        return api.post("/v1/operations", "{no json", content_type="application/json")

    for _ in range(2):
        assert_problem(post(reader), 403, "permission_denied")
    assert_problem(post(operator), 400, "malformed_json")
    assert_problem(post(operator), 429, "throttled")


def test_without_a_rate_no_query_is_made(api: APIClient, key_rate: SetRate) -> None:
    path = f"/v1/products/{ProductFactory.create().sku}"

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(path).status_code == 200
            return [query["sql"] for query in captured]

    ask(api)  # Caches the API key.
    unlimited, counted = queries(), ThrottleBucket.objects.count()
    key_rate("9/h")
    ask(api)
    limited = queries()

    assert not any(ThrottleBucket._meta.db_table in sql for sql in unlimited)
    assert counted == 0
    assert len(limited) == len(unlimited) + 1


@pytest.mark.parametrize("path", ["/health", "/health/live", "/openapi.json", "/docs", "/redoc"])
def test_open_routes_are_never_throttled(
    api: APIClient, key_rate: SetRate, failure_rate: SetRate, path: str
) -> None:
    key_rate("1/h")
    failure_rate("1/h")
    assert ask(api, 2) == [200, 429]
    assert ask_wrongly(2) == [401, 429]

    for client in (api, APIClient(HTTP_AUTHORIZATION="Api-Key wrong.key")):
        assert client.get(path).status_code == 200


# ------------------------------------------------------------------------------------------ at once


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_requests_exactly_the_allowed_number_succeeds(key_rate: SetRate) -> None:
    key_rate("20/h")
    credentials = f"Api-Key {ApiKeyFactory.create().text}"

    responses = at_once([lambda: ask(APIClient(HTTP_AUTHORIZATION=credentials), 2)] * 32)

    assert count_each(responses) == {200: 20, 429: 44}


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_invalid_keys_exactly_the_allowed_number_gets_401(
    failure_rate: SetRate,
) -> None:
    failure_rate("5/h")

    responses = at_once([lambda: ask_wrongly(2)] * 16)

    assert count_each(responses) == {401: 5, 429: 27}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_server_processes_count_together() -> None:
    key = {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}

    with running_server(API_THROTTLE_RATE="20/h") as server:
        server.wait_for_workers()
        responses = at_once([partial(server.request, "GET", "/v1/products", headers=key)] * 64)

    outcomes = Counter(
        (response.status, response.body.get("code"), "retry-after" in response.headers)
        if isinstance(response, Reply)
        else repr(response)
        for response in responses
    )
    assert outcomes == {(200, None, False): 20, (429, "throttled", True): 44}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_behind_a_proxy_that_adds_a_second_header_the_last_address_counts() -> None:
    """Some proxies keep the client's header and add a second one."""
    with running_server(NUM_PROXIES="1") as server:
        server.wait_for_workers()
        for number in range(2):
            headers = {
                "Authorization": "Api-Key wrong.key",
                "X-Forwarded-For": f"198.51.100.{number}",
                "x-forwarded-for": "203.0.113.7",
            }
            assert server.request("GET", "/v1/products", headers=headers).status == 401

    assert ThrottleBucket.objects.get().name == "address:203.0.113.7 30/min"


# --------------------------------------------------------------------------------------- wrong keys


@pytest.fixture
def wrong_keys() -> list[str]:
    """Return one invalid key of each kind."""
    revoked = ApiKeyFactory.create(revoked=True)
    expired = ApiKeyFactory.create(expiry_date=timezone.now() - timedelta(seconds=1))
    return [
        "Api-Key unknown.key",
        "Bearer malformed",
        f"Api-Key {revoked.text}",
        f"Api-Key {expired.text}",
    ]


def test_an_address_may_send_30_invalid_keys_and_then_one_every_two_seconds() -> None:
    assert ask_wrongly(30) == [401] * 30

    # While this runs, one more is allowed every two seconds.
    refused = next(response for response in _wrong_responses() if response.status_code == 429)

    assert_problem(refused, 429, "throttled")
    assert refused["Retry-After"] in ("1", "2")


def _wrong_responses() -> Iterator[Any]:
    api = APIClient(HTTP_AUTHORIZATION="Api-Key wrong.key")
    return (api.get("/v1/products") for _ in count())


def test_every_kind_of_wrong_key_counts(wrong_keys: list[str], failure_rate: SetRate) -> None:
    failure_rate("4/h")

    assert [ask_wrongly(1, key) for key in wrong_keys] == [[401]] * 4
    assert [ask_wrongly(1, key) for key in wrong_keys] == [[429]] * 4


def test_an_address_may_send_invalid_keys_again_after_a_while(failure_rate: SetRate) -> None:
    failure_rate("2/h")
    assert ask_wrongly(3) == [401, 401, 429]

    pass_seconds(1800)

    assert ask_wrongly(2) == [401, 429]


def test_a_valid_key_works_from_a_throttled_address(api: APIClient, failure_rate: SetRate) -> None:
    failure_rate("1/h")
    assert ask_wrongly(2) == [401, 429]

    assert ask(api, 3) == [200] * 3


def test_a_missing_key_does_not_count(failure_rate: SetRate) -> None:
    failure_rate("1/h")

    assert ask(APIClient(), 5) == [401] * 5
    assert not ThrottleBucket.objects.exists()
    assert ask_wrongly(2) == [401, 429]


# ---------------------------------------------------------------------------------------- addresses


def test_addresses_are_throttled_independently(failure_rate: SetRate) -> None:
    failure_rate("1/h")

    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
        assert ask_wrongly(2, REMOTE_ADDR=address) == [401, 429]


@pytest.mark.parametrize(
    ("address", "same"),
    [("2001:db8::1", "2001:DB8:0:0:ffff::2"), ("192.0.2.1", "::ffff:192.0.2.1")],
)
def test_all_addresses_of_one_host_count_as_one(
    failure_rate: SetRate, address: str, same: str
) -> None:
    failure_rate("1/h")

    assert ask_wrongly(REMOTE_ADDR=address) == [401]
    assert ask_wrongly(REMOTE_ADDR=same) == [429]


def test_without_a_proxy_forwarded_addresses_are_ignored(failure_rate: SetRate) -> None:
    failure_rate("1/h")

    assert ask_wrongly(HTTP_X_FORWARDED_FOR="198.51.100.1") == [401]
    assert ask_wrongly(HTTP_X_FORWARDED_FOR="198.51.100.2") == [429]


@pytest.mark.usefixtures("behind_a_proxy")
def test_behind_a_proxy_the_address_that_it_added_counts(failure_rate: SetRate) -> None:
    failure_rate("1/h")

    assert ask_wrongly(HTTP_X_FORWARDED_FOR="198.51.100.1, 203.0.113.7") == [401]
    assert ask_wrongly(HTTP_X_FORWARDED_FOR="198.51.100.2,203.0.113.7") == [429]
    assert ask_wrongly(HTTP_X_FORWARDED_FOR="203.0.113.7") == [429]
    assert ask_wrongly(HTTP_X_FORWARDED_FOR="203.0.113.7, 203.0.113.8") == [401]


@pytest.mark.usefixtures("behind_a_proxy")
@pytest.mark.parametrize(
    "hostile",
    [
        *("", " ", ",", ",,,", "unknown", "_hidden", "999.1.1.1", "127.1", "0x7f.0.0.1", "-1"),
        *("192.0.2.1:443", "[2001:db8::1]:443", "::1%", "fe80::1%\0", "fe80::1%" + "x" * 5_000),
        *("\0", "\x1b[2J", "é", "\udcff", "🫖", "\u0661.1.1.1", "%s", "' OR 1=1 --", "x" * 10_000),
        *("1," * 5_000, "for=192.0.2.60;proto=http"),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_an_invalid_forwarded_address_is_throttled_too(failure_rate: SetRate, hostile: str) -> None:
    failure_rate("2/h")

    assert ask_wrongly(3, HTTP_X_FORWARDED_FOR=hostile) == [401, 401, 429]


# ------------------------------------------------------------------------------------- housekeeping


def test_prune_deletes_unused_buckets(
    client_as: Callable[[Role], APIClient], key_rate: SetRate
) -> None:
    key_rate("1/h")
    idle, busy = client_as(Role.READ), client_as(Role.READ)
    ask(idle)
    pass_seconds(3600)
    ask(busy)
    output = StringIO()

    call_command("prune", stdout=output)

    assert "1 throttle bucket deleted" in output.getvalue()
    assert (ask(busy), ask(idle, 2)) == ([429], [200, 429])


def test_every_operation_documents_429() -> None:
    paths = APIClient().get("/openapi.json").json()["paths"]

    for path, operations in paths.items():
        for method, operation in operations.items():
            if method in ("get", "post", "patch"):
                assert ("429" in operation["responses"]) == path.startswith("/v1/"), path
