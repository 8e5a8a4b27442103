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


def read_clocks(**clocks: Func) -> list[datetime]:
    """Return the times of the clocks, read in one statement."""
    BulkRun.objects.get_or_create(reference="one row")
    return list(BulkRun.objects.values_list(*clocks.values()).get())


@pytest.mark.parametrize("seconds", [-1_000_000_000, -3600, -1, 0, 1, 3600, 1_000_000_000])
def test_seconds_are_counted_from_now(seconds: int) -> None:
    now, other = read_clocks(now=Now(), other=SecondsFromNow(seconds))

    assert other - now == timedelta(seconds=seconds)


def test_now_is_the_current_time() -> None:
    before = datetime.now(UTC)
    [now] = read_clocks(now=Now())

    # SQLite's clock may round to the millisecond, and both run on this machine.
    assert abs(now - before) < timedelta(seconds=60)


@only_postgresql
def test_now_is_the_start_of_the_statement_not_of_the_transaction() -> None:
    with transaction.atomic():
        [first] = read_clocks(now=Now())
        [second] = read_clocks(now=Now())

    assert first < second
