"""Makes what tests start from, through `products.stock` like everybody else."""

from typing import Any

from factory.base import Factory
from factory.declarations import LazyAttribute, Sequence
from factory.django import DjangoModelFactory

from products import stock
from products.models import ApiKey, Product, Role, StockEvent

ACTOR = stock.Actor("tester", StockEvent.Source.COMMAND, "request-1")


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


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A key that may do everything; its text is `ApiKeyFactory.create().text`."""

    class Meta:
        model = ApiKey

    name = Sequence(lambda n: f"client-{n}")
    role = Role.MANAGE

    @classmethod
    def _create(cls, model_class: type[ApiKey], *args: Any, **kwargs: Any) -> ApiKey:
        return ApiKey.issue(**kwargs)
