"""The page that takes back fulfilled units of a reservation."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from products import stock
from products.models import Product, Reservation, StockEvent
from products.stock import Line
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def clerk() -> Client:
    return browser_of("Grace", "view_product", "view_reservation", "operate_stock")


@pytest.fixture
def order(db: None) -> Reservation:
    """An order of 4 CUP, of which 3 were fulfilled, and of 2 POT, which are open."""
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=10)
    lines = [Line("CUP", 4), Line("POT", 2)]
    made = stock.reserve_lines(lines=lines, reference="order-1", by=ACTOR)
    stock.fulfill(reservation_id=made.pk, lines=[Line("CUP", 3)], by=ACTOR)
    return made


def page_of(order: Reservation) -> str:
    return reverse("admin:products_reservation_return_units", args=[order.pk])


def form_of(order: Reservation, cup: Any, **fields: Any) -> dict[str, Any]:
    line = order.lines.get(product__sku="CUP")
    return {
        "_form_submitted": "True",
        "opening": uuid4().hex,
        f"amount-{line.pk}": cup,
        "note": "",
        **fields,
    }


def give_back(client: Client, order: Reservation, cup: Any, **fields: Any) -> Any:
    return client.post(page_of(order), form_of(order, cup, **fields), follow=True)


def test_units_come_back_under_the_order(clerk: Client, order: Reservation) -> None:
    opened = clerk.get(page_of(order)).content.decode()
    done = give_back(clerk, order, 2, note="wrong colour").content.decode()

    assert "CUP Product CUP" in opened
    assert "POT Product POT" not in opened
    assert f"Returned 2 units of reservation {order}." in done
    event = StockEvent.objects.latest("pk")
    assert (event.sku, event.quantity_change, event.reservation) == ("CUP", 2, order)
    assert (event.reason, event.reference, event.actor) == (
        "return: wrong colour",
        "order-1",
        "Grace",
    )


def test_no_more_comes_back_than_was_fulfilled(clerk: Client, order: Reservation) -> None:
    give_back(clerk, order, 2)
    before = stored()

    refused = give_back(clerk, order, 2).content.decode()

    assert "2 of CUP requested, 1 fulfilled in reservation" in refused
    assert stored() == before


@pytest.mark.parametrize("amount", ["", "0", "x", "-1", "1.5", "9" * 5000, "\0"])
def test_a_wrong_amount_is_refused(clerk: Client, order: Reservation, amount: str) -> None:
    before = stored()

    assert give_back(clerk, order, amount).status_code == 200
    assert stored() == before


def test_a_page_sent_again_is_applied_once(clerk: Client, order: Reservation) -> None:
    sent = form_of(order, 1)
    clerk.post(page_of(order), sent)
    before = stored()

    again = clerk.post(page_of(order), sent, follow=True).content.decode()

    assert "This change was already saved. Nothing was changed again." in again
    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_a_page_sent_several_times_at_once_is_applied_once(order: Reservation) -> None:
    cookies = browser_of("Grace", "view_reservation", "operate_stock").cookies
    sent = form_of(order, 1)

    def give_one_back() -> int:
        browser = Client()
        browser.cookies = cookies
        status: int = browser.post(page_of(order), sent).status_code
        return status

    assert at_once([give_one_back] * 8) == [302] * 8
    assert Product.objects.get(sku="CUP").quantity == 8


def test_a_return_is_offered_where_units_were_fulfilled(clerk: Client, order: Reservation) -> None:
    waiting = stock.reserve(sku="POT", amount=1, by=ACTOR)
    pages = {
        each.pk: clerk.get(reverse("admin:products_reservation_change", args=[each.pk]))
        for each in (order, waiting)
    }

    assert page_of(order) in pages[order.pk].content.decode()
    assert page_of(waiting) not in pages[waiting.pk].content.decode()
    empty = clerk.get(page_of(waiting)).content.decode()
    assert "No units of this reservation were fulfilled." in empty
    forged = {"_form_submitted": "True", "opening": uuid4().hex, "note": ""}
    assert clerk.post(page_of(waiting), forged).status_code == 200


def test_a_return_needs_its_permission(order: Reservation) -> None:
    before = stored()

    for permissions in ((), ("view_reservation",), ("view_reservation", "adjust_stock")):
        browser = browser_of(f"user {len(permissions)} {permissions[-1:]}", *permissions)
        assert browser.get(page_of(order)).status_code == 403
        assert give_back(browser, order, 1).status_code == 403
    assert stored() == before


@pytest.mark.parametrize("number", ["0", "x", "9" * 18, "9" * 400])
def test_the_return_of_an_unknown_reservation_is_not_found(clerk: Client, number: str) -> None:
    assert clerk.get(f"/admin/products/reservation/{number}/return-units/").status_code == 404


def test_the_ledger_tells_a_return_in_words(order: Reservation) -> None:
    stock.return_lines(reservation_id=order.pk, lines=[Line("CUP", 2)], by=ACTOR)
    viewer = browser_of("Vera", "view_stockevent", "view_product", "view_reservation")

    page = viewer.get(reverse("admin:products_stockevent_changelist")).content.decode()

    assert re.search(r">Returned 2</a> for <a [^>]+>order-1</a>", page)
