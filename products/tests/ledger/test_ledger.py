"""Guards in the database: the append-only ledger and the constraints."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import (
    IntegrityError,
    connection,
    transaction,
)
from django.db.models import F, ProtectedError

from products import stock, triggers
from products.models import Product, ReservationLine, StockEvent
from products.tests.factories import ACTOR, ProductFactory, record_event

pytestmark = pytest.mark.django_db


# -------------------------------------------------------------------------------------- append-only


@pytest.mark.parametrize(
    "change",
    [
        lambda: StockEvent.objects.update(reason="rewritten"),
        lambda: StockEvent.objects.all().delete(),
        lambda: connection.cursor().execute("DELETE FROM products_stockevent"),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_event(change: Callable[[], object]) -> None:
    product = ProductFactory.create()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        change()

    assert StockEvent.objects.get(product=product).reason == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no TRUNCATE")
def test_the_database_refuses_to_truncate_the_ledger() -> None:
    ProductFactory.create()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        connection.cursor().execute("TRUNCATE products_stockevent")


def test_migrate_recreates_the_triggers() -> None:
    """A migration that rebuilds the table on SQLite drops them."""
    ProductFactory.create()
    triggers.remove(connection)

    call_command("migrate", verbosity=0)

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        StockEvent.objects.update(reason="rewritten")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_older_events_get_the_sku_of_their_product() -> None:
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="POT")

    call_command("migrate", "products", "0003", verbosity=0)
    call_command("migrate", verbosity=0)

    assert list(StockEvent.objects.values_list("sku", flat=True)) == ["CUP", "POT"]
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        StockEvent.objects.update(sku="MUG")


@pytest.mark.django_db(transaction=True)
def test_older_events_get_empty_details_and_stay_append_only() -> None:
    """On SQLite the migration rebuilds the table."""
    ProductFactory.create(sku="CUP")

    call_command("migrate", "products", "0012", verbosity=0)
    call_command("migrate", verbosity=0)
    stock.add(sku="CUP", amount=1, by=ACTOR)

    events = StockEvent.objects.order_by("pk")
    assert list(events.values_list("details", "undoes")) == [({}, None)] * 2
    for change in (lambda: events.update(details={"a": 1}), lambda: events.order_by().delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()


def test_a_product_with_events_cannot_be_deleted() -> None:
    product = ProductFactory.create()

    with pytest.raises(ProtectedError):
        product.delete()
    with transaction.atomic():
        connection.cursor().execute("DELETE FROM products_product WHERE id = %s", [product.pk])
        # Foreign keys are checked at the commit. Check them now.
        with pytest.raises(IntegrityError):
            connection.check_constraints()
        transaction.set_rollback(True)

    assert Product.objects.filter(pk=product.pk).exists()


# -------------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", -1),
        ("quantity", 1_000_000_001),
        ("reserved_quantity", -1),
        ("reserved_quantity", F("quantity") + 1),
        ("minimum_stock_level", -1),
        ("minimum_stock_level", 1_000_000_001),
        ("version", 0),
        ("sku", "OTHER"),
    ],
)
def test_the_database_refuses_an_invalid_product(field: str, value: object) -> None:
    ProductFactory.create(sku="OTHER")
    product = ProductFactory.create()

    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.filter(pk=product.pk).update(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", 4),
        ("fulfilled", 1),
        ("open", 2),
        ("released", -1),
    ],
)
def test_the_database_refuses_a_line_whose_parts_do_not_sum(field: str, value: int) -> None:
    stock.reserve(sku=ProductFactory.create().sku, amount=3, by=ACTOR)

    with pytest.raises(IntegrityError), transaction.atomic():
        ReservationLine.objects.update(**{field: value})


def test_the_database_refuses_a_version_twice() -> None:
    event = StockEvent.objects.get(product=ProductFactory.create())
    event.pk = None

    with pytest.raises(IntegrityError), transaction.atomic():
        StockEvent.objects.bulk_create([event])


def test_the_database_refuses_to_undo_an_event_twice() -> None:
    product = ProductFactory.create()
    event = StockEvent.objects.get(product=product)
    edit = StockEvent.Type.PRODUCT_EDITED
    record_event(product, edit, undoes=event)
    record_event(product, edit)

    with pytest.raises(IntegrityError), transaction.atomic():
        record_event(product, edit, undoes=event)
