"""Makes what tests start from, through `products.stock` like everybody else."""

from typing import Any

import factory

from products import stock
from products.models import ApiKey, Product, Role, StockEvent

ACTOR = stock.Actor("tester", StockEvent.Source.COMMAND, "request-1")


class ProductFactory(factory.Factory):
    """A product with 25 units on hand, created by an event."""

    class Meta:
        model = Product

    sku = factory.Sequence(lambda n: f"SKU-{n}")
    name = factory.LazyAttribute(lambda product: f"Product {product.sku}")
    quantity = 25

    @classmethod
    def _create(cls, model_class: type[Product], *args: Any, **kwargs: Any) -> Product:
        return stock.create(**kwargs, by=ACTOR)


class ApiKeyFactory(factory.django.DjangoModelFactory):
    """A key that may do everything; its text is `ApiKeyFactory().text`."""

    class Meta:
        model = ApiKey

    name = factory.Sequence(lambda n: f"client-{n}")
    role = Role.MANAGE

    @classmethod
    def _create(cls, model_class: type[ApiKey], *args: Any, **kwargs: Any) -> ApiKey:
        api_key, api_key.text = ApiKey.objects.create_key(**kwargs)
        return api_key
