"""Returns: fulfilled units come back, at most once each."""

from collections import Counter
from functools import partial

import pytest

from products import stock
from products.models import Product, Reservation, StockEvent
from products.stock import Line
from products.tests.checks import ledger_of, stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


def fulfilled_order(reference: str = "order-1") -> Reservation:
    """Return an order of 4 CUP, of which 3 were fulfilled, and of 2 POT, all fulfilled."""
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=10)
    lines = [Line("CUP", 4), Line("POT", 2)]
    order = stock.reserve_lines(lines=lines, reference=reference, by=ACTOR)
    shipped = [Line("CUP", 3), Line("POT", 2)]
    stock.fulfill(reservation_id=order.pk, lines=shipped, by=ACTOR)
    return order


def give_back(order: Reservation, *lines: Line) -> None:
    stock.return_lines(reservation_id=order.pk, lines=lines, by=ACTOR)


def on_hand() -> dict[str, int]:
    return dict(Product.objects.values_list("sku", "quantity"))


@pytest.mark.parametrize("reference", ["order-1", ""])
def test_a_return_adds_units_under_the_order(reference: str) -> None:
    order = fulfilled_order(reference)

    give_back(order, Line("CUP", 2), Line("POT", 1))

    assert on_hand() == {"CUP": 9, "POT": 9}
    event = StockEvent.objects.get(sku="CUP", type=StockEvent.Type.ADDED)
    assert (event.reservation, event.reason) == (order, "return")
    assert event.reference == (reference or f"reservation {order.pk}")
    assert ledger_of(event.product)[-1] == ("InventoryAdded", 2, 0)
    order.refresh_from_db()
    assert order.status == "open"


def test_no_more_comes_back_than_was_fulfilled() -> None:
    order = fulfilled_order()
    give_back(order, Line("CUP", 2))
    before = stored()

    with pytest.raises(stock.InsufficientFulfilled, match="2 of CUP requested, 1 fulfilled") as e:
        give_back(order, Line("POT", 2), Line("CUP", 2))
    assert [index for index, _ in e.value.lines] == [1]
    with pytest.raises(stock.InsufficientFulfilled):
        give_back(order, Line("CUP", 1), Line("CUP", 1))
    assert stored() == before

    give_back(order, Line("POT", 2), Line("CUP", 1))
    assert on_hand() == {"CUP": 10, "POT": 10}


def test_other_deliveries_under_the_reference_are_no_returns() -> None:
    order = fulfilled_order()
    stock.add(sku="CUP", amount=3, reference="order-1", by=ACTOR)

    give_back(order, Line("CUP", 3))

    assert stock.returned_units(order) == {Product.objects.get(sku="CUP").pk: 3}


def test_an_undone_return_can_be_made_again() -> None:
    order = fulfilled_order()
    give_back(order, Line("CUP", 3))
    stock.undo(StockEvent.objects.latest("pk"), by=ACTOR)

    give_back(order, Line("CUP", 3))

    assert on_hand()["CUP"] == 10


def test_returns_that_are_not_possible_are_refused() -> None:
    order = fulfilled_order()
    ProductFactory.create(sku="JUG")
    stock.edit(sku="POT", archived=True, by=ACTOR)
    before = stored()

    with pytest.raises(stock.ReservationNotFound):
        stock.return_lines(reservation_id=order.pk + 1, lines=[Line("CUP", 1)], by=ACTOR)
    for line, error in [
        (Line("NONE", 1), stock.ProductNotFound),
        (Line("JUG", 1), stock.InsufficientFulfilled),
        (Line("POT", 1), stock.ProductArchived),
    ]:
        with pytest.raises(error):
            give_back(order, line)
    with pytest.raises(stock.Invalid):
        give_back(order)

    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_of_several_returns_at_once_only_the_fulfilled_units_come_back() -> None:
    """On PostgreSQL, `--plant no-lock` fails it."""
    order = fulfilled_order()

    outcomes = at_once([partial(give_back, order, Line("CUP", 1))] * 8)

    kinds = Counter(type(outcome).__name__ for outcome in outcomes)
    assert kinds == {"NoneType": 3, "InsufficientFulfilled": 5}
    assert on_hand()["CUP"] == 10
