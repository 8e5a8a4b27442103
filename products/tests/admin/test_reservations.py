"""Overdue reservations in the list and on the pages of the back office."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from products import stock
from products.db.clock import Now, SecondsFromNow
from products.models import Product, Reservation
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:products_reservation_changelist")
PRODUCTS = reverse("admin:products_product_changelist")
FRONT_PAGE = reverse("admin:index")


@pytest.fixture
def viewer() -> Client:
    return browser_of("Ada", "view_reservation", "view_reservationline")


def reserve_until(expires_at: Now | SecondsFromNow | None) -> Reservation:
    held = stock.reserve(sku="CUP", amount=1, by=ACTOR)
    Reservation.objects.filter(pk=held.pk).update(expires_at=expires_at)
    return held


def listed(client: Client, url: str) -> list[int]:
    return [held.pk for held in client.get(url).context["cl"].result_list]


@pytest.mark.parametrize("hours", [-2, 0, 2])
def test_overdue_uses_the_clock_of_the_database(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The clock of the web server may be wrong."""
    ProductFactory.create(sku="CUP")
    past, soon, later = map(
        reserve_until, [SecondsFromNow(-60), SecondsFromNow(1800), SecondsFromNow(5400)]
    )
    wrong = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: wrong)

    cards = {card.title: card for card in viewer.get(FRONT_PAGE).context["cards"]}

    assert (cards["Overdue"].number, cards["Expiring soon"].number) == ("1", "1")
    assert listed(viewer, cards["Overdue"].url) == listed(viewer, f"{LIST}?expiry=overdue")
    assert listed(viewer, cards["Overdue"].url) == [past.pk]
    assert listed(viewer, cards["Expiring soon"].url) == [soon.pk]
    pages = {
        held.pk: viewer.get(reverse("admin:products_reservation_change", args=[held.pk]))
        for held in (past, soon, later)
    }
    overdue = [pk for pk, page in pages.items() if "no longer be fulfilled" in str(page.content)]
    assert overdue == [past.pk]


def test_the_overdue_list_uses_the_current_time(viewer: Client) -> None:
    """The URL contains no time, so a bookmark always shows the reservations overdue now."""
    ProductFactory.create(sku="CUP")
    held = reserve_until(SecondsFromNow(3600))
    [card] = [c for c in viewer.get(FRONT_PAGE).context["cards"] if c.title == "Overdue"]
    before = listed(viewer, card.url)
    Reservation.objects.update(expires_at=Now())

    assert (before, listed(viewer, card.url)) == ([], [held.pk])


def test_an_unknown_expiry_filter_is_ignored(viewer: Client) -> None:
    ProductFactory.create(sku="CUP")
    held = reserve_until(None)

    assert listed(viewer, f"{LIST}?expiry=yesterday") == [held.pk]


def test_the_lines_of_a_reservation_come_in_pages(viewer: Client) -> None:
    for number in range(101):
        ProductFactory.create(sku=f"P-{number:03}")
    lines = [stock.Line(f"P-{number:03}", 1) for number in range(101)]
    held = stock.reserve_lines(lines=lines, by=ACTOR)
    address = reverse("admin:products_reservation_change", args=[held.pk])

    first = viewer.get(address).content.decode()
    second = viewer.get(f"{address}?lines-page=2").content.decode()

    assert [f"P-{number:03}" in first for number in range(101)] == [True] * 100 + [False]
    assert [f"P-{number:03}" in second for number in range(101)] == [False] * 100 + [True]
    assert "lines-page=2" in first


@pytest.mark.parametrize("page", ["\u00b2", "9" * 5_000, "x", "-1", "0"])
def test_an_unknown_page_of_lines_is_the_first(viewer: Client, page: str) -> None:
    ProductFactory.create(sku="CUP")
    held = reserve_until(None)
    address = reverse("admin:products_reservation_change", args=[held.pk])

    response = viewer.get(address, {"lines-page": page})

    assert (response.status_code, "CUP" in response.content.decode()) == (200, True)


def test_each_row_offers_what_can_be_done_with_its_reservation() -> None:
    clerk = browser_of("Grace", "view_reservation", "view_reservationline", "operate_stock")
    product = ProductFactory.create(sku="CUP")
    overdue, due, endless, over = map(
        reserve_until, [SecondsFromNow(-60), SecondsFromNow(1800), None, None]
    )
    stock.release(reservation_id=over.pk, by=ACTOR)

    page = clerk.get(LIST).content.decode()
    products = browser_of("Mona", "view_product", "operate_stock").get(PRODUCTS).content.decode()

    assert row_actions(page, overdue) == {"give-back", "reserve-again"}
    assert row_actions(page, due) == {"fulfill", "release", "extend"}
    assert row_actions(page, endless) == {"fulfill", "release", "set-end"}
    assert row_actions(page, over) == set()
    assert row_actions(products, product) == {"add-stock", "remove-stock", "reserve-stock"}


def row_actions(page: str, row: Reservation | Product) -> set[str]:
    """Return the actions in the menu of a row of a list."""
    path = f"/admin/products/{row._meta.model_name}/{row.pk}/"
    return set(re.findall(rf'hx-get="{path}([^/]+)/"', page))
