"""Reserve, fulfill and release."""

import pytest

from products import stock
from products.models import Product, Reservation, StockEvent
from products.stock import Line
from products.tests.checks import ledger_of, levels_of, line_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


def test_reserve_holds_units_without_moving_them() -> None:
    product = ProductFactory.create(quantity=25)

    reservation = stock.reserve(sku=product.sku, amount=4, reference="order-1", by=ACTOR)

    assert levels_of(product) == (25, 4)
    assert ledger_of(product)[-1] == (Type.RESERVED, 0, 4)
    assert (reservation.status, reservation.reference) == ("open", "order-1")
    event = StockEvent.objects.get(product=product, type=Type.RESERVED)
    assert (event.reservation_id, event.reference) == (reservation.pk, "order-1")


def test_an_order_with_repeated_skus_reserves_their_sum() -> None:
    first, second = ProductFactory.create(quantity=5), ProductFactory.create(quantity=5)

    reservation = stock.reserve_lines(
        lines=[Line(second.sku, 1), Line(first.sku, 2), Line(second.sku, 3)], by=ACTOR
    )

    assert [(line.product.sku, line.amount) for line in reservation.loaded_lines] == [
        (second.sku, 4),
        (first.sku, 2),
    ]
    assert levels_of(first) == (5, 2)
    assert levels_of(second) == (5, 4)


def test_an_order_that_is_short_of_one_product_reserves_nothing() -> None:
    enough, short = ProductFactory.create(quantity=5), ProductFactory.create(quantity=1)

    with pytest.raises(stock.InsufficientStock):
        stock.reserve_lines(lines=[Line(enough.sku, 5), Line(short.sku, 2)], by=ACTOR)

    assert Product.objects.get(pk=enough.pk).reserved_quantity == 0
    assert not Reservation.objects.exists()


def test_a_refused_order_names_every_refused_line() -> None:
    enough, short = ProductFactory.create(quantity=5), ProductFactory.create(quantity=1)

    with pytest.raises(stock.ProductNotFound) as refused:
        stock.reserve_lines(
            lines=[Line("UNKNOWN", 1), Line(enough.sku, 5), Line(short.sku, 2)], by=ACTOR
        )

    assert [(index, error.code, error.available) for index, error in refused.value.lines] == [
        (0, "product_not_found", None),
        (2, "insufficient_stock", 1),
    ]
    assert levels_of(enough) == (5, 0)
    assert not Reservation.objects.exists()


def test_fulfill_removes_the_reserved_units() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    fulfilled = stock.fulfill(reservation_id=reservation.pk, by=ACTOR)

    assert fulfilled.status == "fulfilled"
    assert levels_of(product) == (21, 0)
    assert ledger_of(product)[-1] == (Type.FULFILLED, -4, -4)


def test_release_returns_the_reserved_units() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    released = stock.release(reservation_id=reservation.pk, by=ACTOR)

    assert released.status == "released"
    assert levels_of(product) == (25, 0)
    assert ledger_of(product)[-1] == (Type.RELEASED, 0, -4)


def test_a_reservation_may_end_in_parts() -> None:
    product = ProductFactory.create(quantity=25)
    other = ProductFactory.create(quantity=25)
    reservation = stock.reserve_lines(
        lines=[Line(product.sku, 5), Line(other.sku, 1)], reference="order-1", by=ACTOR
    )

    partly = stock.fulfill(reservation_id=reservation.pk, lines=[Line(product.sku, 2)], by=ACTOR)
    assert partly.status == "open"
    stock.release(reservation_id=reservation.pk, lines=[Line(product.sku, 1)], by=ACTOR)
    ended = stock.release(reservation_id=reservation.pk, by=ACTOR)

    line = line_of(reservation, product)
    assert (line.fulfilled, line.released, line.open) == (2, 3, 0)
    assert ended.status == Reservation.objects.get(pk=reservation.pk).status == "fulfilled"
    assert levels_of(product) == (23, 0)


def test_a_unit_of_a_reservation_ends_once() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)
    stock.fulfill(reservation_id=reservation.pk, by=ACTOR)

    with pytest.raises(stock.ReservationClosed):
        stock.fulfill(reservation_id=reservation.pk, by=ACTOR)
    with pytest.raises(stock.ReservationClosed):
        stock.release(reservation_id=reservation.pk, lines=[Line(product.sku, 1)], by=ACTOR)

    assert levels_of(product) == (21, 0)


def test_fulfill_of_more_than_is_open_names_every_refused_line() -> None:
    product, other = ProductFactory.create(), ProductFactory.create()
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    with pytest.raises(stock.InsufficientReserved) as refused:
        stock.fulfill(
            reservation_id=reservation.pk,
            lines=[Line(product.sku, 5), Line(other.sku, 1), Line("UNKNOWN", 1)],
            by=ACTOR,
        )

    assert [(index, error.code, error.available) for index, error in refused.value.lines] == [
        (0, "insufficient_reserved", 4),
        (1, "insufficient_reserved", 0),
        (2, "product_not_found", None),
    ]
    assert levels_of(product) == (25, 4)


def test_an_unknown_reservation_is_refused() -> None:
    with pytest.raises(stock.ReservationNotFound):
        stock.fulfill(reservation_id=12345, by=ACTOR)


def test_release_of_a_product_takes_the_oldest_reservations_without_a_reference() -> None:
    product = ProductFactory.create(quantity=25)
    order = stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)
    oldest = stock.reserve(sku=product.sku, amount=2, by=ACTOR)
    newer = stock.reserve(sku=product.sku, amount=3, by=ACTOR)

    after = stock.release_product(sku=product.sku, amount=4, by=ACTOR)

    assert after.reserved_quantity == 6
    assert line_of(order, product).open == 5
    assert line_of(oldest, product).open == 0
    assert line_of(newer, product).open == 1
    assert Reservation.objects.get(pk=oldest.pk).status == "released"
    assert Reservation.objects.get(pk=newer.pk).status == "open"


def test_release_of_a_product_leaves_reservations_with_a_reference() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)
    stock.reserve(sku=product.sku, amount=2, by=ACTOR)

    with pytest.raises(stock.InsufficientReserved) as refused:
        stock.release_product(sku=product.sku, amount=3, by=ACTOR)

    assert (refused.value.requested, refused.value.available) == (3, 2)
    assert levels_of(product) == (25, 7)


def test_release_of_a_product_from_a_given_reservation() -> None:
    product = ProductFactory.create(quantity=25)
    order = stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)

    after = stock.release_product(sku=product.sku, amount=3, reservation_id=order.pk, by=ACTOR)

    assert after.levels == Product.objects.get(pk=product.pk).levels
    assert line_of(order, product).open == 2
