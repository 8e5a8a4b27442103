"""The database's clock in queries."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models import Func

from products.db.clock import Now, SecondsFromNow
from products.models import BulkRun

pytestmark = pytest.mark.django_db

only_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite's clock has milliseconds"
)


def told(**clocks: Func) -> list[datetime]:
    """Return what the clocks tell in one statement."""
    BulkRun.objects.get_or_create(reference="one row")
    return list(BulkRun.objects.values_list(*clocks.values()).get())


@pytest.mark.parametrize("seconds", [-1_000_000_000, -3600, -1, 0, 1, 3600, 1_000_000_000])
def test_seconds_are_counted_from_now(seconds: int) -> None:
    now, other = told(now=Now(), other=SecondsFromNow(seconds))

    assert other - now == timedelta(seconds=seconds)


def test_it_is_now() -> None:
    before = datetime.now(UTC)
    [now] = told(now=Now())

    # SQLite's clock may round to the millisecond, and both run on this machine.
    assert abs(now - before) < timedelta(seconds=60)


@only_postgresql
def test_now_is_when_the_statement_starts_not_the_transaction() -> None:
    with transaction.atomic():
        [first] = told(now=Now())
        [second] = told(now=Now())

    assert first < second
