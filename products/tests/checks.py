"""Assertions and look-ups that many tests share."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

from django.db.models import Sum

from products.models import Product, Reservation, ReservationLine, StockEvent


def assert_sound() -> None:
    """Assert that the ledger and the reservations of each product explain its levels.

    Levels are in range and equal the sums of the events. Versions have no gap. The levels of each
    event follow from the event before.
    """
    ledgers: dict[int, list[StockEvent]] = defaultdict(list)
    for event in StockEvent.objects.order_by("product", "version"):
        ledgers[event.product_id].append(event)
    lines = ReservationLine.objects.order_by("product").values("product")
    held = dict(lines.annotate(held=Sum("open")).values_list("product", "held"))

    for product in Product.objects.all():
        events = ledgers[product.pk]

        assert 0 <= product.reserved_quantity <= product.quantity <= 1_000_000_000, product.sku
        assert sum(event.quantity_change for event in events) == product.quantity, product.sku
        assert sum(event.reserved_change for event in events) == product.reserved_quantity
        assert held.get(product.pk, 0) == product.reserved_quantity, product.sku
        assert [event.version for event in events] == list(range(1, product.version + 1))
        assert events[0].type == StockEvent.Type.PRODUCT_CREATED
        assert {event.sku for event in events} == {product.sku}
        for before, after in pairwise(events):
            assert after.quantity == before.quantity + after.quantity_change
            assert after.reserved_quantity == before.reserved_quantity + after.reserved_change
            assert after.occurred_at >= before.occurred_at
            assert after.pk > before.pk


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is a problem with this status and code, and return its body."""
    assert response["Content-Type"] == "application/problem+json", response.content[:300]
    body: dict[str, Any] = response.json()
    assert response.get("Content-Length") in (None, str(len(response.content)))
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert {"type", "title", "detail", "instance"} <= body.keys()
    assert body["request_id"] == response["X-Request-ID"]
    return body


def stored() -> dict[str, list[tuple[Any, ...]]]:
    """Return all stored rows of products, events and reservations."""
    models = (Product, StockEvent, Reservation, ReservationLine)
    return {
        model.__name__: list(model._default_manager.order_by("pk").values_list())
        for model in models
    }


def ledger_of(product: Product) -> list[tuple[str, int, int]]:
    """Return type, quantity change and reserved change of each event, oldest first."""
    events = StockEvent.objects.filter(product=product).order_by("version")
    return [(event.type, event.quantity_change, event.reserved_change) for event in events]


def levels_of(product: Product) -> tuple[int, int]:
    """Return the stored quantity and reserved quantity."""
    return Product.objects.values_list("quantity", "reserved_quantity").get(pk=product.pk)


def line_of(reservation: Reservation, product: Product) -> ReservationLine:
    return ReservationLine.objects.get(reservation=reservation, product=product)
