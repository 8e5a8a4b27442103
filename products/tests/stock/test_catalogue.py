"""Create and edit products."""

from datetime import timedelta

import pytest

from products import stock
from products.models import Product, StockEvent
from products.tests.checks import ledger_of, levels_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


def test_create_records_the_opening_stock() -> None:
    product = stock.create(sku="A-1", name="Cup", quantity=25, by=ACTOR)

    assert levels_of(product) == (25, 0)
    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 25, 0)]
    assert product.version == 1


def test_create_without_stock_records_an_opening_of_zero() -> None:
    product = stock.create(sku="A-1", name="Cup", by=ACTOR)

    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 0, 0)]


def test_create_below_the_minimum_records_low_stock() -> None:
    product = stock.create(sku="A-1", name="Cup", quantity=2, minimum_stock_level=5, by=ACTOR)

    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 2, 0), (Type.LOW_STOCK_DETECTED, 0, 0)]
    assert product.version == 2


def test_create_many_refuses_every_taken_or_repeated_sku_and_creates_none() -> None:
    ProductFactory.create(sku="TAKEN")
    wanted = [stock.NewProduct(sku=sku, name=sku) for sku in ("NEW", "TAKEN", "NEW")]

    with pytest.raises(stock.DuplicateSku) as refused:
        stock.save_products(wanted, by=ACTOR)

    assert [(index, error.sku) for index, error in refused.value.lines] == [
        (1, "TAKEN"),
        (2, "NEW"),
    ]
    assert not Product.objects.filter(sku="NEW").exists()


def test_an_event_has_actor_source_reason_and_reference() -> None:
    product = ProductFactory.create()

    stock.add(sku=product.sku, amount=1, reason="delivery", reference="po-7", by=ACTOR)

    event = StockEvent.objects.get(product=product, version=2)
    assert (event.reason, event.reference) == ("delivery", "po-7")
    assert (event.actor, event.source, event.request_id) == ("tester", "command", "request-1")


def test_edit_changes_the_given_fields_and_no_stock() -> None:
    product = ProductFactory.create(name="Red cup", quantity=25)
    # SQLite's clock has milliseconds, so both changes could have the same time.
    before = product.updated_at - timedelta(seconds=1)
    Product.objects.filter(pk=product.pk).update(updated_at=before)

    edited = stock.edit(sku=product.sku, name="Blue cup", description="big", by=ACTOR)

    stored = Product.objects.get(pk=product.pk)
    assert (stored.name, stored.description, stored.levels) == ("Blue cup", "big", product.levels)
    assert stored.updated_at == edited.updated_at > before
    assert list(Product.objects.search("blue")) == [product]


def test_edit_of_an_unknown_product_is_refused() -> None:
    with pytest.raises(stock.ProductNotFound):
        stock.edit(sku="UNKNOWN", name="x", by=ACTOR)


def test_products_are_created_and_edited_together() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)

    saved = stock.save_products(
        [
            stock.NewProduct(sku="MUG", name="Mug", quantity=3),
            stock.Edit(sku="CUP", name="Big cup", minimum_stock_level=11),
        ],
        by=ACTOR,
    )

    assert [product.sku for product in saved] == ["MUG", "CUP"]
    cup.refresh_from_db()
    assert (cup.name, cup.levels) == ("Big cup", (10, 0, 11))
    assert ledger_of(cup)[1:] == [(Type.PRODUCT_EDITED, 0, 0), (Type.LOW_STOCK_DETECTED, 0, 0)]
    assert ledger_of(saved[0]) == [(Type.PRODUCT_CREATED, 3, 0)]


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (stock.NewProduct(sku="CUP", name="Cup"), stock.DuplicateSku),
        (stock.Edit(sku="UNKNOWN", name="x"), stock.ProductNotFound),
    ],
)
def test_one_refused_product_refuses_all(
    refused: stock.NewProduct | stock.Edit, error: type[stock.StockError]
) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    new, edited = stock.NewProduct(sku="MUG", name="Mug"), stock.Edit(sku="CUP", name="Big cup")

    with pytest.raises(error) as refusal:
        stock.save_products([new, edited, refused], by=ACTOR)

    assert [index for index, _ in refusal.value.lines] == [2]
    assert list(Product.objects.values_list("sku", "name")) == [("CUP", "Cup")]
