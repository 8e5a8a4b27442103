"""The last use of an API key: recorded now and then, and never at the cost of a request."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from products.api import access
from products.models import USE_RECORDED_SECONDS, ApiKey
from products.tests.concurrency import OpenChange, at_once
from products.tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db


def use(api_key: ApiKey, *, after_trust: bool = True) -> int:
    """Send a request with a key, by default after a process has forgotten it. Return the status."""
    if after_trust:
        access.forget_keys()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {api_key.text}")
    return client.get("/v1/products").status_code


def last_use(api_key: ApiKey) -> float | None:
    """Return how many seconds ago the recorded last use was."""
    recorded = ApiKey.objects.get(pk=api_key.pk).last_used_at
    return None if recorded is None else (timezone.now() - recorded).total_seconds()


def set_last_use(api_key: ApiKey, *, seconds_ago: int) -> None:
    when = timezone.now() - timedelta(seconds=seconds_ago)
    ApiKey.objects.filter(pk=api_key.pk).update(last_used_at=when)


def test_a_new_key_was_never_used() -> None:
    assert last_use(ApiKeyFactory.create()) is None


def test_a_request_records_the_use() -> None:
    api_key = ApiKeyFactory.create()

    assert use(api_key) == 200

    seconds = last_use(api_key)
    assert seconds is not None
    assert abs(seconds) < 60


@pytest.mark.parametrize(("age", "is_kept"), [(-10, True), (10, False)])
def test_a_recent_use_is_not_recorded_again(age: int, is_kept: bool) -> None:
    api_key = ApiKeyFactory.create()
    set_last_use(api_key, seconds_ago=USE_RECORDED_SECONDS + age)

    use(api_key)

    seconds = last_use(api_key)
    assert seconds is not None
    assert (seconds > 60) == is_kept


def test_a_request_with_a_trusted_key_costs_no_query() -> None:
    api_key = ApiKeyFactory.create()
    use(api_key)
    with CaptureQueriesContext(connection) as queries:
        use(api_key, after_trust=False)

    assert not any("products_apikey" in query["sql"] for query in queries)


def test_refused_keys_record_no_use() -> None:
    expired = ApiKeyFactory.create(expiry_date=timezone.now() - timedelta(seconds=1))
    revoked = ApiKeyFactory.create()
    revoked.revoke(by="Mia")

    assert (use(expired), use(revoked)) == (401, 401)
    assert (last_use(expired), last_use(revoked)) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_a_request_does_not_wait_for_a_writer() -> None:
    api_key = ApiKeyFactory.create()
    writer = OpenChange(lambda: ApiKey.objects.filter(pk=api_key.pk).update(name="renamed"))

    assert use(api_key) == 200
    assert last_use(api_key) is None

    writer.end()
    use(api_key)
    assert last_use(api_key) is not None


@pytest.mark.django_db(transaction=True)
def test_processes_at_once_record_one_use() -> None:
    api_key = ApiKeyFactory.create()

    assert at_once([lambda: use(api_key)] * 4) == [200] * 4

    assert last_use(api_key) is not None


@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_still_answers() -> None:
    api_key = ApiKeyFactory.create()
    is_sqlite = connection.vendor == "sqlite"
    read_only = "PRAGMA query_only" if is_sqlite else "SET default_transaction_read_only"
    with connection.cursor() as cursor:
        cursor.execute(f"{read_only} = on")
    try:
        assert use(api_key) == 200
        assert last_use(api_key) is None
    finally:
        with connection.cursor() as cursor:  # The connection goes back to the pool.
            cursor.execute(f"{read_only} = off")
