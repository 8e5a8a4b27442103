"""The signal of stock events: sent once, after the commit."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from products import stock
from products.events import stock_event
from products.models import Product, StockEvent
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[[Callable[..., None]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect receivers, and disconnect them after the test."""
    receivers: list[Callable[..., None]] = []

    def connect_until_the_end(receiver: Callable[..., None]) -> None:
        stock_event.connect(receiver, weak=False)
        receivers.append(receiver)

    yield connect_until_the_end
    for receiver in receivers:
        stock_event.disconnect(receiver)


@pytest.fixture
def received(connect: Connect) -> list[StockEvent]:
    """The events that a receiver has received so far."""
    events: list[StockEvent] = []
    connect(lambda event, **_: events.append(event))
    return events


def test_receivers_get_the_values_of_the_row(received: list[StockEvent]) -> None:
    product = ProductFactory.create(quantity=10, minimum_stock_level=5)
    received.clear()

    stock.remove(sku=product.sku, amount=6, reason="sold", reference="order-1", by=ACTOR)

    rows = list(StockEvent.objects.filter(version__gt=1).order_by("version"))
    assert [event.type for event in rows] == ["InventoryRemoved", "LowStockDetected"]
    columns = [field.attname for field in StockEvent._meta.concrete_fields]
    for event, row in zip(received, rows, strict=True):
        assert event.product.sku == product.sku
        assert {name: getattr(event, name) for name in columns} == {
            name: getattr(row, name) for name in columns
        }


def test_receivers_get_an_event_only_after_the_commit(received: list[StockEvent]) -> None:
    product = ProductFactory.create()
    received.clear()

    with transaction.atomic():
        stock.remove(sku=product.sku, amount=1, by=ACTOR)
        assert received == []

    assert [event.version for event in received] == [2]


def test_receivers_get_no_event_of_a_rolled_back_change(received: list[StockEvent]) -> None:
    product = ProductFactory.create()
    received.clear()

    with transaction.atomic():
        stock.remove(sku=product.sku, amount=1, by=ACTOR)
        transaction.set_rollback(True)

    assert received == []
    assert Product.objects.get(pk=product.pk).quantity == product.quantity


def test_a_failing_receiver_does_not_affect_the_change_or_other_receivers(
    connect: Connect, received: list[StockEvent], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**_: Any) -> None:
        raise RuntimeError("receiver is broken")

    connect(fails)
    product = ProductFactory.create(quantity=10)
    after = stock.remove(sku=product.sku, amount=1, by=ACTOR)

    assert after.quantity == 9
    assert [event.version for event in received] == [1, 2]
    assert "a receiver of stock_event failed" in caplog.text
