"""`MomentField`: times compare correctly on both databases."""

import operator
import re
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import Model, functions
from django.db.models.expressions import RawSQL

from products import stock, triggers
from products.db.clock import Now, SecondsFromNow
from products.models import BulkRun, IdempotencyKey, PendingImport, Product, Reservation, StockEvent
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

only_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="PostgreSQL does not store times as text"
)

MICROSECONDS = [0, 1, 499_999, 500_000, 999_999]
LOOKUPS: dict[str, Callable[[Any, Any], bool]] = {
    "exact": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def at(microsecond: int) -> datetime:
    return datetime(2026, 11, 22, 10, 30, 0, microsecond, tzinfo=UTC)


# ------------------------------------------------------------------------------------- the field


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("asked", MICROSECONDS)
def test_times_are_compared_to_the_microsecond(lookup: str, asked: int) -> None:
    for stored in MICROSECONDS:
        BulkRun.objects.create(reference=stored, applied=stored, ended_at=at(stored))

    found = BulkRun.objects.filter(**{f"ended_at__{lookup}": at(asked)})

    compare = LOOKUPS[lookup]
    assert {run.applied for run in found} == {
        stored for stored in MICROSECONDS if compare(stored, asked)
    }


@pytest.mark.parametrize("microsecond", MICROSECONDS)
def test_a_time_is_returned_as_it_was_stored(microsecond: int) -> None:
    run = BulkRun.objects.create(reference="order", ended_at=at(microsecond))

    run.refresh_from_db()

    assert run.ended_at == at(microsecond)
    assert BulkRun.objects.filter(ended_at__in=[at(microsecond)]).exists()
    assert BulkRun.objects.filter(ended_at__range=[at(microsecond)] * 2).exists()


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_times_of_the_database_are_compared_with_times_of_python(lookup: str, off: int) -> None:
    run = BulkRun.objects.create(reference="order")
    asked = run.started_at + timedelta(microseconds=off)

    is_found = BulkRun.objects.filter(**{f"started_at__{lookup}": asked}).exists()

    assert is_found == LOOKUPS[lookup](0, off)


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_times_of_the_database_are_compared_with_each_other(lookup: str, off: int) -> None:
    run = BulkRun.objects.create(reference="order")
    BulkRun.objects.update(started_at=Now(), ended_at=SecondsFromNow(off))

    is_found = BulkRun.objects.filter(**{f"started_at__{lookup}": RawSQL("ended_at", [])})

    assert is_found.filter(pk=run.pk).exists() == LOOKUPS[lookup](0, off)


@only_sqlite
@pytest.mark.parametrize("value", [at(0), at(1), at(500_000), Now(), SecondsFromNow(60), None])
def test_the_text_has_six_digits_on_sqlite(value: Any) -> None:
    BulkRun.objects.create(reference="order", ended_at=value)

    with connection.cursor() as cursor:
        cursor.execute("SELECT started_at || '', ended_at || '' FROM products_bulkrun")
        [texts] = cursor.fetchall()

    written = [text for text in texts if text is not None]
    assert len(written) == 1 + (value is not None)
    assert all(re.fullmatch(r"[0-9]{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", text) for text in written)


@only_sqlite
@pytest.mark.parametrize(
    "value",
    [
        RawSQL("'2026-11-22 10:30:00'", []),
        RawSQL("'2026-11-22 10:30:00.500'", []),
        RawSQL("'2026-11-22T10:30:00.500000'", []),
        RawSQL("'2026-11-22 10:30:00.500000+00:00'", []),
        functions.Now(),  # noqa: TID251 (must be refused)
    ],
)
def test_sqlite_refuses_every_other_text(value: Any) -> None:
    with pytest.raises(IntegrityError, match="CHECK"), transaction.atomic():
        BulkRun.objects.create(reference="order", ended_at=value)


@pytest.fixture
def at_a_full_second() -> Iterator[None]:
    """Stop SQLite's clock at a full second, which Django would write without microseconds."""

    def strftime(_format: str, _now: str, seconds: str = "0 seconds") -> str:
        now = datetime(2999, 1, 1) + timedelta(seconds=int(seconds.split()[0]))
        return f"{now:%Y-%m-%d %H:%M:%S.%f}"

    connection.ensure_connection()
    connection.connection.create_function("strftime", -1, strftime)
    yield
    connection.close()


@only_sqlite
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("at_a_full_second")
def test_stock_can_be_changed_at_a_full_second() -> None:
    product = ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)
    held = stock.reserve(sku="CUP", amount=1, expires_in=60, by=ACTOR)
    stock.extend(reservation_id=held.pk, expires_in=120, by=ACTOR)
    stock.release(reservation_id=held.pk, by=ACTOR)

    full_second = datetime(2999, 1, 1, tzinfo=UTC)
    assert Product.objects.get(updated_at=full_second) == product
    assert StockEvent.objects.filter(occurred_at=full_second).count() == product.events.count()
    [held] = Reservation.objects.filter(created_at=full_second)
    assert held.expires_at == full_second + timedelta(seconds=120)


# --------------------------------------------------------------------------------- the migration

MIGRATION = import_module("products.migrations.0014_moments")
[(_, BEFORE)] = MIGRATION.Migration.dependencies

# As Django and SQLite's clock wrote times before the migration. PostgreSQL reads both forms.
WRITTEN = {
    "2026-11-22 10:30:00": at(0),
    "2026-11-22 10:30:00.000": at(0),
    "2026-11-22 10:30:00.000001": at(1),
    "2026-11-22 10:30:00.499999": at(499_999),
    "2026-11-22 10:30:00.500": at(500_000),
    "2026-11-22 10:30:00.500000": at(500_000),
    "2026-11-22 10:30:00.999": at(999_000),
}


def make_rows() -> None:
    """Create at least as many rows of each model as there are forms of a time."""
    ProductFactory.create(sku="CUP")
    user = get_user_model().objects.create_user(username="Ada")
    api_key = ApiKeyFactory.create()
    for n in range(len(WRITTEN)):
        ProductFactory.create()
        stock.reserve(sku="CUP", amount=1, expires_in=60, by=ACTOR)
        BulkRun.objects.create(reference=n)
        IdempotencyKey.objects.create(source="api", caller=api_key.name, key=n, fingerprint="")
        PendingImport.objects.create(user=user, kind="products", changes=[])


def spread(values: Collection[Any], count: int) -> list[Any]:
    """Return `count` values: each of the given ones in order, about equally often."""
    return [list(values)[index * len(values) // count] for index in range(count)]


def write_old_times() -> None:
    """Write the times of each column in all forms, in ascending order."""
    triggers.remove(connection)
    with connection.cursor() as cursor:
        for name, column, _ in MIGRATION.MOMENTS:
            cursor.execute(f"SELECT id FROM products_{name} ORDER BY id")
            ids = [pk for (pk,) in cursor.fetchall()]
            for pk, text in zip(ids, spread(WRITTEN, len(ids)), strict=True):
                cursor.execute(
                    f"UPDATE products_{name} SET {column} = %s WHERE id = %s", [text, pk]
                )
    triggers.install(connection)


@pytest.mark.django_db(transaction=True)
def test_older_times_are_found_after_the_migration() -> None:
    make_rows()
    call_command("migrate", "products", BEFORE, verbosity=0)
    write_old_times()

    call_command("migrate", verbosity=0)

    for name, column, _ in MIGRATION.MOMENTS:
        model: type[Model] = apps.get_model("products", name)
        rows = model._default_manager.order_by("pk")
        stored = list(rows.values_list(column, flat=True))
        assert stored == spread(WRITTEN.values(), len(rows))
        for asked in WRITTEN.values():
            for lookup, compare in LOOKUPS.items():
                found = rows.filter(**{f"{column}__{lookup}": asked}).count()
                assert found == sum(compare(each, asked) for each in stored)

    events = Product.objects.get(sku="CUP").events
    versions = dict(events.values_list("version", "occurred_at"))
    for asked in WRITTEN.values():
        last = events.as_of(asked)
        assert last is not None
        assert last.version == max(n for n, occurred_at in versions.items() if occurred_at <= asked)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        StockEvent.objects.update(reason="rewritten")


def test_the_migration_recreates_the_triggers() -> None:
    ProductFactory.create()

    MIGRATION.write_six_digits(apps, connection.schema_editor())

    for change in (
        lambda: StockEvent.objects.update(reason="rewritten"),
        StockEvent.objects.all().delete,
    ):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()
