"""Events in words."""

from datetime import UTC, datetime

import pytest

from products import stock
from products.admin.wording import explanation, in_words, linked_words
from products.models import Product
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db


def history(product: Product) -> list[str]:
    """Return the events of a product in words, oldest first."""
    return [in_words(event) for event in product.events.order_by("version")]


def test_every_event_has_words() -> None:
    cup = ProductFactory.create(sku="CUP", name="Cup", quantity=25)
    stock.add(sku="CUP", amount=1_500, by=ACTOR)
    stock.remove(sku="CUP", amount=3, by=ACTOR)
    stock.adjust(sku="CUP", quantity=10, reason="stocktake", by=ACTOR)
    stock.adjust(sku="CUP", quantity=10, reason="stocktake", by=ACTOR)
    order = stock.reserve(sku="CUP", amount=4, reference="order-1", by=ACTOR)
    stock.fulfill(reservation_id=order.pk, lines=[stock.Line("CUP", 3)], by=ACTOR)
    stock.release(reservation_id=order.pk, by=ACTOR)
    unnamed = stock.reserve(sku="CUP", amount=2, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", minimum_stock_level=6, by=ACTOR)
    stock.edit(sku="CUP", minimum_stock_level=0, by=ACTOR)
    stock.edit(sku="CUP", archived=True, by=ACTOR)
    stock.edit(sku="CUP", archived=False, by=ACTOR)

    assert history(cup) == [
        "Created with 25 on hand",
        "Added 1,500",
        "Removed 3",
        "Counted: 1,522 → 10",
        "Counted: 10, no change",
        "Reserved 4 for order-1",
        "Fulfilled 3 for order-1",
        "Released 1 for order-1",
        f"Reserved 2 for reservation {unnamed.pk}",
        "Renamed from “Cup” to “Mug”, Minimum: 0 → 6",
        "Low stock: 5 available",
        "Minimum: 6 → 0",
        "No longer low: 5 available",
        "Archived",
        "Restored",
    ]


def test_an_undo_says_what_it_undid() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=0)
    stock.add(sku="CUP", amount=5, by=ACTOR)
    stock.remove(sku="CUP", amount=2, by=ACTOR)
    stock.adjust(sku="CUP", quantity=9, reason="stocktake", by=ACTOR)
    for version in (4, 3, 2):
        stock.undo(cup.events.get(version=version), by=ACTOR)

    assert history(cup)[-3:] == [
        "Undid a count: 9 → 3",
        "Undid the removal of 2",
        "Undid the addition of 5",
    ]
    assert history(cup)[0] == "Created"


def test_a_late_count_names_its_time() -> None:
    evening = datetime(2026, 11, 20, 18, tzinfo=UTC)
    stock.create(sku="CUP", name="Cup", quantity=9, by=at(evening))
    stock.adjust(sku="CUP", quantity=8, counted_at=evening, reason="stocktake", by=ACTOR)

    assert history(Product.objects.get())[-1] == "Counted at 2026-11-20 18:00:00: 9 → 8"


def test_the_words_link_to_the_event_and_to_its_reservation() -> None:
    cup = ProductFactory.create(sku="CUP")
    order = stock.reserve(sku="CUP", amount=1, reference="<b>", by=ACTOR)
    event = cup.events.get(version=2)

    words = linked_words(event)

    assert f'href="/admin/products/stockevent/{event.pk}/change/">Reserved 1</a>' in words
    assert f'href="/admin/products/reservation/{order.pk}/change/">&lt;b&gt;</a>' in words
    assert explanation(event) == ""
