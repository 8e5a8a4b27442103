"""The effect of add, remove and adjust on levels and ledger, and their preview."""

import pytest

from products import stock
from products.models import Product, StockEvent
from products.tests.checks import ledger_of, levels_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


def test_add_and_remove_change_the_quantity() -> None:
    product = ProductFactory.create(quantity=25)

    stock.add(sku=product.sku, amount=5, by=ACTOR)
    after = stock.remove(sku=product.sku, amount=3, by=ACTOR)

    assert (after.quantity, after.version) == (27, 3)
    assert levels_of(product) == (27, 0)
    assert ledger_of(product)[1:] == [(Type.ADDED, 5, 0), (Type.REMOVED, -3, 0)]


def test_the_returned_product_equals_the_stored_one() -> None:
    product = ProductFactory.create()

    returned = stock.remove(sku=product.sku, amount=3, by=ACTOR)

    stored = Product.objects.get(pk=product.pk)
    assert returned.levels == stored.levels
    assert (returned.version, returned.updated_at) == (stored.version, stored.updated_at)


def test_remove_refuses_more_than_is_available() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=20, by=ACTOR)

    with pytest.raises(stock.InsufficientStock) as refused:
        stock.remove(sku=product.sku, amount=6, by=ACTOR)

    assert (refused.value.requested, refused.value.available) == (6, 5)
    assert refused.value.lines == []
    assert levels_of(product) == (25, 20)


def test_add_past_the_limit_is_refused() -> None:
    product = ProductFactory.create(quantity=999_999_999)

    with pytest.raises(stock.StockLimitExceeded):
        stock.add(sku=product.sku, amount=2, by=ACTOR)

    assert levels_of(product) == (999_999_999, 0)
    stock.add(sku=product.sku, amount=1, by=ACTOR)
    assert levels_of(product) == (1_000_000_000, 0)


def test_adjust_sets_the_counted_quantity() -> None:
    product = ProductFactory.create(quantity=25)

    stock.adjust(sku=product.sku, quantity=21, reason="stocktake", by=ACTOR)

    assert ledger_of(product)[-1] == (Type.ADJUSTED, -4, 0)


def test_adjust_to_the_same_quantity_is_recorded() -> None:
    product = ProductFactory.create(quantity=25)

    stock.adjust(sku=product.sku, quantity=25, reason="stocktake", by=ACTOR)

    assert ledger_of(product)[-1] == (Type.ADJUSTED, 0, 0)


def test_adjust_below_the_reserved_quantity_is_refused() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=20, by=ACTOR)

    with pytest.raises(stock.BelowReserved) as refused:
        stock.adjust(sku=product.sku, quantity=19, reason="stocktake", by=ACTOR)

    assert "are reserved." in refused.value.detail
    assert levels_of(product) == (25, 20)


def test_adjust_with_an_outdated_expectation_is_refused() -> None:
    product = ProductFactory.create(quantity=25)

    with pytest.raises(stock.QuantityChanged):
        stock.adjust(
            sku=product.sku, quantity=20, expected_quantity=24, reason="stocktake", by=ACTOR
        )

    assert levels_of(product) == (25, 0)


def test_apply_applies_each_operation_after_the_one_before() -> None:
    product = ProductFactory.create(quantity=0)

    stock.apply(
        [
            stock.Add(sku=product.sku, amount=10),
            stock.Remove(sku=product.sku, amount=4),
            stock.Adjust(sku=product.sku, quantity=5, reason="stocktake"),
        ],
        by=ACTOR,
    )

    assert [change for _, change, _ in ledger_of(product)] == [0, 10, -4, -1]


def test_apply_names_every_refused_operation_and_applies_none() -> None:
    product = ProductFactory.create(quantity=5)

    with pytest.raises(stock.InsufficientStock) as refused:
        stock.apply(
            [
                stock.Add(sku=product.sku, amount=1),
                stock.Remove(sku=product.sku, amount=7),
                stock.Remove(sku="UNKNOWN", amount=1),
            ],
            by=ACTOR,
        )

    assert [(index, error.code) for index, error in refused.value.lines] == [
        (1, "insufficient_stock"),
        (2, "product_not_found"),
    ]
    assert levels_of(product) == (5, 0)


def test_a_preview_returns_the_outcomes_and_changes_nothing() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    operations = [
        stock.Remove(sku="CUP", amount=5),
        stock.Remove(sku="CUP", amount=2),
        stock.Add(sku="MUG", amount=1),
        stock.Adjust(sku="CUP", quantity=4, reason="count"),
    ]

    removed, short, unknown, counted = stock.preview(operations, by=ACTOR)

    assert removed == ((10, 4, 0), (5, 4, 0))
    assert isinstance(short, stock.InsufficientStock)
    assert (short.requested, short.available) == (2, 1)
    assert isinstance(unknown, stock.ProductNotFound)
    assert counted == ((5, 4, 0), (4, 4, 0))
    assert levels_of(cup) == (10, 4)
    assert len(ledger_of(cup)) == 2


def test_low_stock_is_recorded_on_crossing_only() -> None:
    product = ProductFactory.create(quantity=10, minimum_stock_level=8)

    stock.remove(sku=product.sku, amount=2, by=ACTOR)  # 8 available: not below 8
    stock.reserve(sku=product.sku, amount=1, by=ACTOR)  # 7: low
    stock.remove(sku=product.sku, amount=1, by=ACTOR)  # 6: still low
    stock.add(sku=product.sku, amount=2, by=ACTOR)  # 8: no longer

    assert [event_type for event_type, _, _ in ledger_of(product)] == [
        Type.PRODUCT_CREATED,
        Type.REMOVED,
        Type.RESERVED,
        Type.LOW_STOCK_DETECTED,
        Type.REMOVED,
        Type.ADDED,
        Type.LOW_STOCK_RESOLVED,
    ]


def test_low_stock_is_recorded_for_a_changed_minimum() -> None:
    product = ProductFactory.create(quantity=10)

    raised = stock.edit(sku=product.sku, minimum_stock_level=11, by=ACTOR)
    lowered = stock.edit(sku=product.sku, minimum_stock_level=10, by=ACTOR)
    stock.edit(sku=product.sku, minimum_stock_level=9, by=ACTOR)

    assert (raised.is_low_stock, lowered.is_low_stock) == (True, False)
    assert [event_type for event_type, _, _ in ledger_of(product)] == [
        Type.PRODUCT_CREATED,
        Type.PRODUCT_EDITED,
        Type.LOW_STOCK_DETECTED,
        Type.PRODUCT_EDITED,
        Type.LOW_STOCK_RESOLVED,
        Type.PRODUCT_EDITED,
    ]
    assert Product.objects.get(pk=product.pk).minimum_stock_level == 9


def test_low_stock_query_agrees_with_the_levels() -> None:
    low = ProductFactory.create(quantity=4, minimum_stock_level=5)
    ProductFactory.create(quantity=5, minimum_stock_level=5)

    assert list(Product.objects.low_stock()) == [low]
