"""Backdated changes, which only the demo data can make."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from products import stock
from products.ledger.backdating import BackdatedActor
from products.models import Product, Reservation, StockEvent
from products.stock import Line
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)


def at(time: datetime) -> BackdatedActor:
    return BackdatedActor("past", StockEvent.Source.COMMAND, at=time)


def times_of(product: Product) -> list[datetime]:
    return list(product.events.order_by("version").values_list("occurred_at", flat=True))


def test_a_change_has_the_time_of_its_actor() -> None:
    created: Any = stock.create(sku="CUP", name="Cup", quantity=5, by=at(MONDAY))
    removed: Any = stock.remove(sku="CUP", amount=2, by=at(TUESDAY))

    product = Product.objects.get(sku="CUP")
    assert times_of(product) == [MONDAY, TUESDAY]
    assert (created.created_at, product.created_at) == (MONDAY, MONDAY)
    assert (removed.updated_at, product.updated_at) == (TUESDAY, TUESDAY)


def test_a_reservation_expires_after_the_time_at_which_it_was_made() -> None:
    stock.create(sku="CUP", name="Cup", quantity=5, by=at(MONDAY))
    line = Line("CUP", 1)

    made: Any = stock.reserve_lines(lines=[line], expires_in=3600, by=at(MONDAY))
    endless: Any = stock.reserve_lines(lines=[line], by=at(MONDAY))

    reservation = Reservation.objects.get(pk=made.pk)
    assert reservation.created_at == made.created_at == MONDAY
    assert reservation.expires_at == made.expires_at == MONDAY + timedelta(hours=1)
    assert Reservation.objects.get(pk=endless.pk).expires_at is None


def test_an_extension_counts_from_the_time_at_which_it_was_made() -> None:
    stock.create(sku="CUP", name="Cup", quantity=5, by=at(MONDAY))
    held: Any = stock.reserve(sku="CUP", amount=1, by=at(MONDAY))
    tomorrow = timezone.now() + timedelta(days=1)

    stock.extend(reservation_id=held.pk, expires_in=60, by=at(tomorrow))

    expires_at = Reservation.objects.get(pk=held.pk).expires_at
    assert expires_at == tomorrow + timedelta(minutes=1)


def test_everything_else_happens_now() -> None:
    before = timezone.now() - timedelta(minutes=1)
    stock.create(sku="CUP", name="Cup", by=at(MONDAY))

    stock.add(sku="CUP", amount=1, by=ACTOR)

    product = Product.objects.get(sku="CUP")
    assert times_of(product)[0] == MONDAY
    assert times_of(product)[1] == product.updated_at > before


def test_no_other_actor_sets_the_time() -> None:
    """`lint-imports` checks that only the demo data imports this one."""
    assert stock.Actor.__subclasses__() == [BackdatedActor]
    assert ACTOR.backdated_to is None


@pytest.mark.parametrize("field", ["occurred_at", "created_at", "updated_at", "at"])
def test_the_api_takes_no_time(api: APIClient, field: str) -> None:
    product = ProductFactory.create(quantity=5)

    response = api.post(
        f"/v1/products/{product.sku}/add",
        {"amount": 1, field: "2026-11-02T09:00:00Z"},
        format="json",
    )

    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]
