"""Factories for test data. They use `products.stock`, unless they say otherwise."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import F
from factory.base import Factory
from factory.declarations import LazyAttribute, Sequence
from factory.django import DjangoModelFactory

from products import stock
from products.ledger.backdating import BackdatedActor
from products.models import ApiKey, Product, Role, StockEvent

ACTOR = stock.Actor("tester", StockEvent.Source.COMMAND, "request-1")


def at(time: datetime) -> stock.Actor:
    """Return an actor whose changes happen at a time in the past.

    The caller makes the changes of each product in the order of their times.
    """
    return BackdatedActor("past", StockEvent.Source.COMMAND, at=time)


class ProductFactory(Factory[Product]):
    """A product with 25 units on hand, created by an event."""

    class Meta:
        model = Product

    sku = Sequence(lambda n: f"SKU-{n}")
    name = LazyAttribute(lambda product: f"Product {product.sku}")
    quantity = 25

    @classmethod
    def _create(cls, model_class: type[Product], *args: Any, **kwargs: Any) -> Product:
        return stock.create(**kwargs, by=ACTOR)


def product_with_past(sku: str, changes: Collection[tuple[datetime, int]]) -> Product:
    """Create a product by dated changes of its quantity. The first change is its creation.

    Writes to the tables directly, because `products.stock` uses the database's clock for events.
    """
    total = sum(change for _, change in changes)
    product = Product.objects.create(sku=sku, name=sku, quantity=total, version=len(changes))
    level = 0
    for version, (occurred_at, change) in enumerate(changes, start=1):
        level += change
        created, other = StockEvent.Type.PRODUCT_CREATED, StockEvent.Type.ADJUSTED
        StockEvent.objects.create(
            product=product,
            sku=sku,
            version=version,
            type=created if version == 1 else other,
            quantity_change=change,
            quantity=level,
            reserved_quantity=0,
            actor=ACTOR.name,
            source=ACTOR.source,
            occurred_at=occurred_at,
        )
    return product


def record_event(product: Product, event_type: StockEvent.Type, **fields: Any) -> StockEvent:
    """Write an event without a change of levels directly to the tables."""
    Product.objects.filter(pk=product.pk).update(version=F("version") + 1)
    product.refresh_from_db(fields=["quantity", "reserved_quantity", "version"])
    event = StockEvent.objects.create(
        product=product,
        sku=product.sku,
        version=product.version,
        type=event_type,
        quantity=product.quantity,
        reserved_quantity=product.reserved_quantity,
        actor=ACTOR.name,
        source=ACTOR.source,
        **fields,
    )
    event.refresh_from_db()
    return event


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A key with the role `manage`. The key itself is `ApiKeyFactory.create().text`."""

    class Meta:
        model = ApiKey

    name = Sequence(lambda n: f"client-{n}")
    role = Role.MANAGE

    @classmethod
    def _create(cls, model_class: type[ApiKey], *args: Any, **kwargs: Any) -> ApiKey:
        return ApiKey.issue(**kwargs)
