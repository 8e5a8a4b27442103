"""The querysets for overdue reservations and their lines."""

from typing import Any

import pytest
from django.db.models import F

from products import stock
from products.db.clock import Now, SecondsFromNow
from products.models import Reservation, ReservationLine
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def reservations() -> dict[str, int]:
    """The ids of reservations by the name of their case."""
    ProductFactory.create(sku="CUP")
    expiries: dict[str, Any] = {
        "over": SecondsFromNow(-1),
        "over now": Now(),
        "soon": SecondsFromNow(60),
        "later": SecondsFromNow(3660),
        "never": None,
        "released": SecondsFromNow(-1),
    }
    ids = {}
    for name, expires_at in expiries.items():
        ids[name] = stock.reserve(sku="CUP", amount=1, by=ACTOR).pk
        if name == "released":
            stock.release(reservation_id=ids[name], by=ACTOR)
        Reservation.objects.filter(pk=ids[name]).update(expires_at=expires_at)
    return ids


def names(reservations: dict[str, int], ids: Any) -> set[str]:
    found = set(ids)
    return {name for name, pk in reservations.items() if pk in found}


def test_open_reservations_past_their_expiry_are_overdue(reservations: dict[str, int]) -> None:
    overdue = Reservation.objects.overdue().values_list("pk", flat=True)

    assert names(reservations, overdue) == {"over", "over now"}


def test_reservations_are_annotated_with_is_overdue(reservations: dict[str, int]) -> None:
    overdue = {held.pk: held.is_overdue for held in Reservation.objects.with_overdue()}

    assert set(overdue.values()) == {True, False}
    assert names(reservations, (pk for pk in overdue if overdue[pk])) == {"over", "over now"}


def test_reservations_that_expire_within_some_seconds(reservations: dict[str, int]) -> None:
    soon = Reservation.objects.expiring_within(3600).values_list("pk", flat=True)

    assert names(reservations, soon) == {"soon"}


def test_lines_are_overdue_or_hold_their_units(reservations: dict[str, int]) -> None:
    reservation_ids = F("reservation_id")
    overdue = ReservationLine.objects.overdue().values_list(reservation_ids, flat=True)
    holding = ReservationLine.objects.holding().values_list(reservation_ids, flat=True)

    assert names(reservations, overdue) == {"over", "over now"}
    assert names(reservations, holding) == {"soon", "later", "never"}


def test_a_line_without_open_units_is_not_overdue() -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku)
    lines = [stock.Line("CUP", 1), stock.Line("POT", 1)]
    held = stock.reserve_lines(lines=lines, by=ACTOR)
    stock.release(reservation_id=held.pk, lines=[stock.Line("CUP", 1)], by=ACTOR)
    holding = set(ReservationLine.objects.holding().values_list("product__sku", flat=True))
    Reservation.objects.update(expires_at=Now())

    overdue = set(ReservationLine.objects.overdue().values_list("product__sku", flat=True))

    assert holding == overdue == {"POT"}
    assert not ReservationLine.objects.holding().exists()
