"""The moment of a product's last count, which the front page sorts by."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from products import stock
from products.models import Product, StockEvent
from products.stock import Add, Adjust
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db

EVENING = datetime(2026, 11, 20, 18, tzinfo=UTC)


def count(sku: str, quantity: int, **fields: object) -> None:
    stock.adjust(sku=sku, quantity=quantity, reason="stocktake", by=ACTOR, **fields)  # type: ignore[arg-type]


def last_count(sku: str) -> datetime | None:
    return Product.objects.get(sku=sku).last_counted_at


def last_event(sku: str) -> StockEvent:
    return StockEvent.objects.filter(sku=sku).latest("version")


def test_a_new_product_was_never_counted() -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    assert last_count("CUP") is None


@pytest.mark.parametrize("quantity", [3, 5])
def test_a_count_sets_the_time_of_its_event(quantity: int) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    count("CUP", quantity)

    assert last_count("CUP") == last_event("CUP").occurred_at


def test_other_changes_keep_it() -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    count("CUP", 5)
    counted = last_count("CUP")

    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)

    assert last_count("CUP") == counted


def test_a_late_count_sets_its_own_moment() -> None:
    stock.create(sku="CUP", name="Cup", quantity=5, by=at(EVENING - timedelta(days=1)))

    count("CUP", 4, counted_at=EVENING)
    assert last_count("CUP") == EVENING

    count("CUP", 4)
    assert last_count("CUP") == last_event("CUP").occurred_at


def test_of_many_changes_at_once_only_the_counted_products_have_it() -> None:
    for sku in ("CUP", "MUG", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    count("MUG", 5)
    before = last_count("MUG")

    stock.apply(
        [
            Adjust(sku="CUP", quantity=7, reason="stocktake"),
            Add(sku="MUG", amount=1),
            Add(sku="POT", amount=1),
        ],
        by=ACTOR,
    )

    assert last_count("CUP") == last_event("CUP").occurred_at
    assert (last_count("MUG"), last_count("POT")) == (before, None)


def test_a_backdated_count_has_its_own_time() -> None:
    stock.create(sku="CUP", name="Cup", quantity=5, by=at(EVENING))
    later = EVENING + timedelta(hours=1)

    stock.adjust(sku="CUP", quantity=4, reason="stocktake", by=at(later))

    assert last_count("CUP") == later


def test_never_counted_products_and_the_oldest_counts_come_first() -> None:
    for sku in ("CUP", "MUG", "POT", "TUB"):
        stock.create(sku=sku, name=sku, quantity=5, by=at(EVENING))
    count("CUP", 5)
    stock.adjust(sku="POT", quantity=5, reason="stocktake", by=at(EVENING + timedelta(days=1)))

    assert [each.sku for each in Product.objects.never_counted()] == ["MUG", "TUB"]
    assert [each.sku for each in Product.objects.counted()] == ["POT", "CUP"]


@pytest.mark.django_db(transaction=True)
def test_the_migration_reads_the_ledger() -> None:
    start = EVENING - timedelta(days=2)
    for sku in ("NONE", "ONCE", "LATE", "AGAIN"):
        stock.create(sku=sku, name=sku, quantity=5, by=at(start))
    count("ONCE", 4)
    count("LATE", 4, counted_at=EVENING)
    count("AGAIN", 4, counted_at=EVENING)
    count("AGAIN", 3)
    stock.add(sku="ONCE", amount=1, by=ACTOR)
    wanted = dict(Product.objects.values_list("sku", "last_counted_at"))
    assert wanted["LATE"] == EVENING
    Product.objects.update(last_counted_at=None)

    migration = import_module("products.migrations.0029_fill_last_counted")
    with connection.schema_editor(atomic=False) as editor:
        migration.fill(apps, editor)

    assert dict(Product.objects.values_list("sku", "last_counted_at")) == wanted
    assert all(moment is None or moment <= timezone.now() for moment in wanted.values())
