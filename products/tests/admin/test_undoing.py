"""Undo in the back office: in success messages, in the ledger, and on the page of an event."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.admin.entry import confirm, enter
from products.tests.admin.test_dialogs import send, url
from products.tests.admin.test_import import confirm_url, upload
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

LEDGER = reverse("admin:products_stockevent_changelist")
VIEW = ("view_product", "view_stockevent", "view_reservation")


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *VIEW, "operate_stock", "adjust_stock")


@pytest.fixture
def clerk() -> Client:
    return browser_of("Grace", *VIEW, "operate_stock")


@pytest.fixture
def cup() -> Product:
    """A product with 25 units on hand."""
    return ProductFactory.create(sku="CUP", quantity=25)


def last_event() -> StockEvent:
    return StockEvent.objects.latest("pk")


def add(amount: int = 5) -> StockEvent:
    stock.add(sku="CUP", amount=amount, reason="delivery", by=ACTOR)
    return last_event()


def count(quantity: int) -> StockEvent:
    stock.adjust(sku="CUP", quantity=quantity, reason="stocktake", by=ACTOR)
    return last_event()


def press_undo(client: Client, page: str, product: Product) -> Any:
    """Send the form of the success message on this page."""
    [form] = re.findall(r'<form method="post" action="([^"]+/undo/)".*?</form>', page, re.DOTALL)
    sent = {"_form_submitted": "True", "next": url(product, "change")}
    return client.post(form, sent, follow=True)


@pytest.mark.parametrize(
    ("name", "fields", "done", "undone"),
    [
        (
            "add_stock",
            {"amount": 5, "reason": "delivery"},
            "Added 5 units of CUP. On hand: 30.",
            "Undone: Added 5. On hand of CUP: 25.",
        ),
        (
            "remove_stock",
            {"amount": 5, "reason": "loss"},
            "Removed 5 units of CUP. On hand: 20.",
            "Undone: Removed 5. On hand of CUP: 25.",
        ),
        (
            "adjust_stock",
            {"quantity": 20, "reason": "stocktake", "expected_quantity": 25},
            "Counted CUP: 25 → 20 (\N{MINUS SIGN}5).",
            "Undone: Counted: 25 → 20. On hand of CUP: 25.",
        ),
    ],
)
def test_the_success_message_undoes_the_change(
    manager: Client, cup: Product, name: str, fields: dict[str, Any], done: str, undone: str
) -> None:
    send(manager, cup, name, **fields)
    page = manager.get(url(cup, "change")).content.decode()
    event = cup.events.get(version=2)

    response = press_undo(manager, page, cup)

    assert done in page
    assert response.redirect_chain == [(url(cup, "change"), 302)]
    assert undone in response.content.decode()
    undo = last_event()
    assert (undo.undoes, undo.quantity, undo.actor, undo.reason) == (event, 25, "Ada", "undo")


def test_a_message_without_a_change_offers_no_undo(manager: Client, cup: Product) -> None:
    counted: dict[str, Any] = {"quantity": 25, "reason": "stocktake", "expected_quantity": 25}
    send(manager, cup, "adjust_stock", **counted)

    page = manager.get(url(cup, "change")).content.decode()

    assert "Counted CUP: 25, no change." in page
    assert "/undo/" not in page


def test_a_repeated_dialog_offers_no_undo(manager: Client, cup: Product) -> None:
    first = send(manager, cup, "add_stock", amount=5, reason="delivery")
    manager.get(url(cup, "change"))

    again = manager.post(first.wsgi_request.path, first.wsgi_request.POST, follow=True)

    page = again.content.decode()
    assert "This change was already saved" in page
    assert not re.findall(r'<form method="post" action="[^"]+/undo/"', page)


def test_an_undo_sent_again_is_applied_once(manager: Client, cup: Product) -> None:
    send(manager, cup, "add_stock", amount=5, reason="delivery")
    page = manager.get(url(cup, "change")).content.decode()
    press_undo(manager, page, cup)
    before = stored()

    again = press_undo(manager, page, cup)

    assert "This change of CUP was already undone. Nothing was changed." in again.content.decode()
    assert stored() == before


def test_an_undo_is_refused_when_the_units_are_gone(manager: Client, cup: Product) -> None:
    event = add()
    stock.reserve(sku="CUP", amount=28, by=ACTOR)
    before = stored()

    dialog = send(manager, event, "undo").content.decode()
    button = manager.post(url(event, "undo"), {"_form_submitted": "1", "next": LEDGER}, follow=True)

    for page in (dialog, button.content.decode()):
        assert "Cannot undo “Added 5”. 5 of CUP requested, 2 available." in page
    assert stored() == before


@pytest.mark.parametrize("page", ["https://elsewhere.example/", "//elsewhere.example", "\0"])
def test_an_undo_returns_to_pages_of_this_service_only(
    manager: Client, cup: Product, page: str
) -> None:
    event = add()

    response = manager.post(url(event, "undo"), {"_form_submitted": "1", "next": page})

    assert response["Location"] == url(event, "change")


def test_the_ledger_offers_undo_where_it_is_possible(clerk: Client, cup: Product) -> None:
    added, counted = add(), count(20)
    order = stock.reserve(sku="CUP", amount=1, by=ACTOR)
    stock.fulfill(reservation_id=order.pk, by=ACTOR)
    undone = add()
    stock.undo(undone, by=ACTOR)
    undo = last_event()

    for path in (LEDGER, url(cup, "change")):
        page = clerk.get(path).content.decode()
        assert re.findall(r'href="/admin/products/stockevent/(\d+)/undo/"', page) == [str(added.pk)]
        assert f'href="{url(undo, "change")}">Undone by {ACTOR.name}</a>' in page
    assert url(added, "undo") in clerk.get(url(added, "change")).content.decode()
    for event in (counted, undone, undo):
        assert url(event, "undo") not in clerk.get(url(event, "change")).content.decode()


def test_an_event_is_undone_from_the_ledger_with_a_note(manager: Client, cup: Product) -> None:
    event = count(20)

    opened = manager.get(url(event, "undo")).content.decode()
    send(manager, event, "undo", note="wrong shelf")

    assert "Counted: 25 → 20" in opened
    undo = last_event()
    assert (undo.undoes, undo.reason, undo.quantity) == (event, "undo: wrong shelf", 25)


def test_an_undo_needs_the_permission_of_the_opposite_change(clerk: Client, cup: Product) -> None:
    viewer, nobody = browser_of("Vera", *VIEW), browser_of("Mallory")
    added, counted = add(), count(20)
    before = stored()

    for browser, event in [
        (viewer, added),
        (viewer, counted),
        (nobody, added),
        (nobody, counted),
        (clerk, counted),
    ]:
        assert browser.get(url(event, "undo")).status_code == 403
        assert send(browser, event, "undo").status_code == 403
    assert stored() == before

    assert send(clerk, added, "undo").status_code == 302
    assert last_event().undoes == added


def test_the_dialog_warns_of_a_later_count(manager: Client, cup: Product) -> None:
    added, warning = add(), "was counted after this change"
    before = manager.get(url(added, "undo")).content.decode()
    counted = count(25)
    after = manager.get(url(added, "undo")).content.decode()
    stock.undo(counted, by=ACTOR)
    undone = manager.get(url(added, "undo")).content.decode()

    assert [warning in page for page in (before, after, undone)] == [False, True, False]


@pytest.mark.parametrize("number", ["0", "x", "9" * 18, "9" * 400])
def test_the_undo_of_an_unknown_event_is_not_found(manager: Client, number: str) -> None:
    path = f"/admin/products/stockevent/{number}/undo/"

    assert manager.post(path, {"_form_submitted": "1"}).status_code == 404


def test_the_number_of_queries_does_not_depend_on_the_number_of_undos(
    manager: Client, cup: Product
) -> None:
    stock.undo(add(), by=ACTOR)
    with CaptureQueriesContext(connection) as for_one:
        manager.get(LEDGER)
    for _ in range(10):
        stock.undo(add(), by=ACTOR)
    with CaptureQueriesContext(connection) as for_many:
        manager.get(LEDGER)

    assert len(for_many) == len(for_one)


# ---------------------------------------------------------------------------------- odd counts


@pytest.mark.parametrize(("on_hand", "counted"), [(595, 5950), (595, 59), (600, 0)])
def test_an_unlikely_count_is_asked_about_once(manager: Client, on_hand: int, counted: int) -> None:
    product = ProductFactory.create(sku="POT", quantity=on_hand)
    fields: Any = {"quantity": counted, "reason": "stocktake", "expected_quantity": on_hand}

    asked = send(manager, product, "adjust_stock", **fields).content.decode()
    assert f"{counted:,} counted, {on_hand:,} on hand." in asked
    assert f'name="asked" value="{counted}"' in asked
    assert product.events.count() == 1

    other: Any = {**fields, "asked": counted + 10_000}
    assert send(manager, product, "adjust_stock", **other).status_code == 200
    assert send(manager, product, "adjust_stock", **fields, asked=counted).status_code == 302
    assert last_event().quantity == counted


@pytest.mark.parametrize(("on_hand", "counted"), [(595, 590), (0, 900), (3, 40), (100, 450)])
def test_a_likely_count_is_not_asked_about(manager: Client, on_hand: int, counted: int) -> None:
    product = ProductFactory.create(sku="POT", quantity=on_hand)
    fields: Any = {"quantity": counted, "reason": "stocktake", "expected_quantity": on_hand}

    assert send(manager, product, "adjust_stock", **fields).status_code == 302


def test_the_history_page_of_a_product_is_its_ledger(manager: Client, cup: Product) -> None:
    response = manager.get(url(cup, "history"))

    assert response["Location"] == f"{LEDGER}?q=CUP"


# ------------------------------------------------------------------------- changes saved together


@pytest.fixture
def mug() -> Product:
    """A product with no units on hand."""
    return ProductFactory.create(sku="MUG", quantity=0)


def receive(client: Client) -> Any:
    """Receive 5 units of CUP and 7 of MUG, and return the next page."""
    return confirm(client, enter(client, "receive", "CUP\t5\nMUG\t7\n", reference="po-7"))


def press_undo_all(client: Client, page: Any) -> Any:
    """Send the form of the success message on this page."""
    forms = re.findall(
        r'<form method="post" action="([^"]+/undo/)".*?</form>', page.content.decode(), re.DOTALL
    )
    [form] = forms
    assert 'name="together" value="on"' in page.content.decode()
    sent = {"_form_submitted": "True", "together": "on", "next": LEDGER}
    return client.post(form, sent, follow=True)


@pytest.mark.usefixtures("cup", "mug")
def test_the_message_undoes_all_lines_once(clerk: Client) -> None:
    page = receive(clerk)

    undone = press_undo_all(clerk, page)

    assert "Undone: 2 changes of 2 products." in undone.content.decode()
    assert quantities() == {"CUP": 25, "MUG": 0}
    undos = StockEvent.objects.exclude(undoes=None)
    assert {(event.reason, event.reference) for event in undos} == {("undo", "po-7")}
    before = stored()
    again = press_undo_all(clerk, page)
    assert "was already undone. Nothing was changed." in again.content.decode()
    assert stored() == before


def quantities() -> dict[str, int]:
    return dict(Product.objects.order_by("sku").values_list("sku", "quantity"))


@pytest.mark.usefixtures("cup", "mug")
def test_no_line_is_undone_if_units_of_one_are_gone(clerk: Client) -> None:
    page = receive(clerk)
    stock.remove(sku="MUG", amount=3, by=ACTOR)
    before = stored()

    refused = press_undo_all(clerk, page)

    assert "Nothing was undone. 7 of MUG requested, 4 available." in refused.content.decode()
    assert stored() == before


@pytest.mark.usefixtures("cup", "mug")
def test_a_dialog_offers_to_undo_all_that_was_saved_together(clerk: Client) -> None:
    receive(clerk)
    event = StockEvent.objects.get(sku="MUG", type=StockEvent.Type.ADDED)

    dialog = send(clerk, event, "undo", _form_submitted="").content.decode()
    send(clerk, event, "undo", note="wrong shelf")

    assert "Undo all 2 changes that were saved together" in dialog
    assert quantities() == {"CUP": 30, "MUG": 0}
    other = StockEvent.objects.get(sku="CUP", type=StockEvent.Type.ADDED)
    assert "saved together" not in clerk.get(url(other, "undo")).content.decode()


@pytest.mark.usefixtures("cup", "mug")
def test_all_is_undone_only_by_those_who_may_undo_each(manager: Client, clerk: Client) -> None:
    preview = upload(
        manager, "adjustments", "sku,add,quantity\nCUP,5,\nMUG,,7\n", reason="stocktake"
    )
    page = manager.post(confirm_url(preview), follow=True)
    event = StockEvent.objects.get(sku="CUP", type=StockEvent.Type.ADDED)

    assert "saved together" not in clerk.get(url(event, "undo")).content.decode()
    clerk.post(url(event, "undo"), {"_form_submitted": "True", "together": "on"})
    assert quantities() == {"CUP": 25, "MUG": 7}
    assert "Imported 2 rows." in page.content.decode()


@pytest.mark.usefixtures("cup", "mug")
def test_requests_of_others_with_the_same_id_are_not_undone(clerk: Client) -> None:
    receive(clerk)
    event = StockEvent.objects.get(sku="CUP", type=StockEvent.Type.ADDED)
    stock.add(
        sku="CUP", amount=9, by=stock.Actor("webshop", StockEvent.Source.API, event.request_id)
    )

    send(clerk, event, "undo", together="on")

    assert quantities() == {"CUP": 34, "MUG": 0}


@pytest.mark.usefixtures("cup", "mug")
def test_a_viewer_and_nobody_cannot_undo_all(clerk: Client) -> None:
    receive(clerk)
    event = StockEvent.objects.get(sku="CUP", type=StockEvent.Type.ADDED)
    viewer = browser_of("Vera", *VIEW)
    before = stored()

    for client, status in ((viewer, 403), (Client(), 302)):
        forged = client.post(url(event, "undo"), {"_form_submitted": "True", "together": "on"})
        assert (forged.status_code, stored()) == (status, before)
