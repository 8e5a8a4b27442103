"""The back office's list and page of reservations: which are overdue."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products import stock
from products.db.clock import Now, SecondsFromNow
from products.models import Reservation
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:products_reservation_changelist")
FRONT_PAGE = reverse("admin:index")


@pytest.fixture
def viewer() -> Client:
    return browser_of("Ada", "view_reservation")


def reserve_until(expires_at: Now | SecondsFromNow | None) -> Reservation:
    held = stock.reserve(sku="CUP", amount=1, by=ACTOR)
    Reservation.objects.filter(pk=held.pk).update(expires_at=expires_at)
    return held


def listed(client: Client, url: str) -> list[int]:
    return [held.pk for held in client.get(url).context["cl"].result_list]


@pytest.mark.parametrize("hours", [-2, 0, 2])
def test_overdue_is_asked_of_the_databases_clock(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Of a server whose own clock is wrong, too."""
    ProductFactory.create(sku="CUP")
    over, soon, later = map(
        reserve_until, [SecondsFromNow(-60), SecondsFromNow(1800), SecondsFromNow(5400)]
    )
    wrong = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: wrong)

    cards = {card.title: card for card in viewer.get(FRONT_PAGE).context["cards"]}

    assert (cards["Overdue"].number, cards["Expiring soon"].number) == ("1", "1")
    assert listed(viewer, cards["Overdue"].url) == listed(viewer, f"{LIST}?expiry=overdue")
    assert listed(viewer, cards["Overdue"].url) == [over.pk]
    assert listed(viewer, cards["Expiring soon"].url) == [soon.pk]
    pages = {
        held.pk: viewer.get(reverse("admin:products_reservation_change", args=[held.pk]))
        for held in (over, soon, later)
    }
    overdue = [pk for pk, page in pages.items() if "no longer be fulfilled" in str(page.content)]
    assert overdue == [over.pk]


def test_the_list_of_those_overdue_grows_with_time(viewer: Client) -> None:
    """The address contains no time: a bookmark shows what is overdue whenever it is opened."""
    ProductFactory.create(sku="CUP")
    held = reserve_until(SecondsFromNow(3600))
    [card] = [c for c in viewer.get(FRONT_PAGE).context["cards"] if c.title == "Overdue"]
    before = listed(viewer, card.url)
    Reservation.objects.update(expires_at=Now())

    assert (before, listed(viewer, card.url)) == ([], [held.pk])


def test_an_unknown_expiry_filters_nothing(viewer: Client) -> None:
    ProductFactory.create(sku="CUP")
    held = reserve_until(None)

    assert listed(viewer, f"{LIST}?expiry=yesterday") == [held.pk]
