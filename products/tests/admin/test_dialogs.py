"""Changes of stock by hand: dialogs of one product or reservation, and actions on many."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse

from products import stock
from products.models import Product, Reservation, StockEvent
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CLERK = ("view_product", "view_reservation", "operate_stock")
MANAGER = (*CLERK, "change_product", "adjust_stock")


def log_in(name: str, permissions: tuple[str, ...]) -> Client:
    """Return the browser of somebody who has these permissions."""
    user = get_user_model().objects.create_user(username=name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(db: None) -> Client:
    return log_in("Ada", MANAGER)


@pytest.fixture
def cup(db: None) -> Product:
    """25 cups, 5 of them reserved."""
    product = ProductFactory.create(sku="CUP", quantity=25)
    stock.reserve(sku="CUP", amount=5, reference="order-1", by=ACTOR)
    return product


@pytest.fixture
def order(cup: Product) -> Reservation:
    return Reservation.objects.get()


def url(row: Any, name: str) -> str:
    return reverse(f"admin:products_{row._meta.model_name}_{name}", args=[row.pk])


def send(
    client: Client, row: Any, name: str, *, headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    """Send a dialog that was opened for this."""
    sent = {"_form_submitted": "1", "note": "", "opening": uuid4().hex, **fields}
    return client.post(url(row, name), sent, headers=headers)


def test_a_clerk_adds_and_removes_with_a_reason_and_a_note(cup: Product) -> None:
    clerk = log_in("Grace", CLERK)

    added = send(clerk, cup, "add_stock", amount=10, reason="delivery", reference="po-7")
    removed = send(clerk, cup, "remove_stock", amount=3, reason="breakage", note="shelf 4")

    assert [answer["Location"] for answer in (added, removed)] == [url(cup, "change")] * 2
    first, second = StockEvent.objects.filter(source="admin").order_by("pk")
    assert (first.type, first.quantity_change, first.reason) == ("InventoryAdded", 10, "delivery")
    assert (first.reference, first.actor) == ("po-7", "Grace")
    assert (second.type, second.quantity_change) == ("InventoryRemoved", -3)
    assert second.reason == "breakage: shelf 4"


def test_an_adjust_sets_the_count(manager: Client, cup: Product) -> None:
    opened = manager.get(url(cup, "adjust_stock"))

    send(manager, cup, "adjust_stock", quantity=7, reason="stocktake", expected_quantity=25)

    assert 'name="expected_quantity" value="25"' in opened.content.decode()
    event = StockEvent.objects.get(type=StockEvent.Type.ADJUSTED)
    assert (event.quantity, event.reason, event.actor) == (7, "stocktake", "Ada")


def test_an_adjust_from_a_stale_dialog_is_refused_and_shows_the_new_level(
    manager: Client, cup: Product
) -> None:
    stock.remove(sku="CUP", amount=4, by=ACTOR)
    before = stored()

    answer = send(
        manager, cup, "adjust_stock", quantity=7, reason="stocktake", expected_quantity=25
    )

    page = answer.content.decode()
    assert "21 are on hand now, 25 were when you opened this" in page
    assert 'name="expected_quantity" value="21"' in page
    assert 'name="quantity" value="7"' in page
    assert stored() == before


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("remove_stock", {"amount": 21, "reason": "loss"}, "21 of CUP requested, 20 available."),
        ("adjust_stock", {"quantity": 4, "reason": "stocktake"}, "5 are reserved"),
        (
            "add_stock",
            {"amount": 1_000_000_000, "reason": "found"},
            "would exceed the limit",
        ),
        ("add_stock", {"amount": 0, "reason": "found"}, "greater than or equal to 1"),
        ("add_stock", {"amount": "1_000", "reason": "found"}, "Enter a whole number"),
        ("add_stock", {"amount": "5.0", "reason": "found"}, "Enter a whole number"),
        ("add_stock", {"amount": "\u0665", "reason": "found"}, "Enter a whole number"),
        ("add_stock", {"amount": "9" * 5000, "reason": "found"}, "Enter a whole number"),
        ("add_stock", {"amount": 1, "reason": "because"}, "because is not one of"),
        ("add_stock", {"amount": 1, "reason": "found", "note": "x" * 256}, "at most 255"),
        ("add_stock", {"amount": 1, "reason": "found", "note": "x" * 250}, "255 characters"),
        ("add_stock", {"amount": 1, "reason": "found", "note": "a\0b"}, "Null characters"),
        ("add_stock", {}, "This field is required"),
    ],
)
def test_what_cannot_be_done_is_said_in_the_dialog(
    manager: Client, cup: Product, name: str, fields: dict[str, Any], told: str
) -> None:
    before = stored()

    answer = send(manager, cup, name, expected_quantity=25, **fields)

    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert stored() == before


@pytest.mark.parametrize(
    ("name", "reason", "left"), [("add_stock", "found", 28), ("remove_stock", "loss", 22)]
)
def test_a_dialog_whose_answer_was_lost_is_carried_out_once(
    manager: Client, cup: Product, name: str, reason: str, left: int
) -> None:
    page = manager.get(url(cup, name)).content.decode()
    [opening] = re.findall(r'name="opening" value="([0-9a-f-]{36})"', page)
    first = send(manager, cup, name, opening=opening, amount=3, reason=reason)
    before = stored()

    again = manager.post(first.wsgi_request.path, first.wsgi_request.POST, follow=True)
    other = send(manager, cup, name, opening=opening, amount=4, reason=reason)

    assert "this was sent before, and done then" in again.content.decode()
    assert other["Location"] == url(cup, "change")
    assert stored() == before
    assert Product.objects.get().quantity == left


@pytest.mark.django_db(transaction=True)
def test_a_dialog_that_is_sent_several_times_at_once_is_carried_out_once() -> None:
    product = ProductFactory.create(sku="CUP", quantity=25)
    cookies = log_in("Ada", MANAGER).cookies
    opening = uuid4().hex

    def add() -> int:
        browser = Client()
        browser.cookies = cookies
        answer = send(browser, product, "add_stock", opening=opening, amount=3, reason="found")
        status: int = answer.status_code
        return status

    assert at_once([add] * 8) == [302] * 8
    assert Product.objects.get().quantity == 28
    assert StockEvent.objects.count() == 2


def test_a_dialog_that_was_refused_may_be_sent_again(manager: Client, cup: Product) -> None:
    opening = uuid4().hex
    refused = send(manager, cup, "remove_stock", opening=opening, amount=21, reason="loss")

    answer = send(manager, cup, "remove_stock", opening=opening, amount=20, reason="loss")

    assert f'name="opening" value="{opening}"' in refused.content.decode()
    assert answer.status_code == 302
    assert Product.objects.get().quantity == 5


def test_two_people_and_two_products_have_openings_of_their_own(
    manager: Client, cup: Product
) -> None:
    pot = ProductFactory.create(sku="POT", quantity=25)
    clerk = log_in("Grace", CLERK)
    opening = uuid4().hex

    for client, product in [(manager, cup), (manager, pot), (clerk, cup)]:
        send(client, product, "add_stock", opening=opening, amount=3, reason="found")

    assert list(Product.objects.order_by("sku").values_list("quantity", flat=True)) == [31, 28]


@pytest.mark.parametrize("opening", ["", "x", "0" * 33, "a\0b"])
def test_a_dialog_that_nobody_opened_is_not_carried_out(
    manager: Client, cup: Product, opening: str
) -> None:
    before = stored()

    answer = send(manager, cup, "add_stock", opening=opening, amount=3, reason="found")

    assert answer.status_code == 200
    assert stored() == before


def test_after_htmx_the_page_is_shown_anew_from_which_the_dialog_was_opened(
    manager: Client, cup: Product
) -> None:
    listed = "http://testserver/admin/products/product/?q=cup"

    for page, shown in [(listed, listed), ("https://elsewhere.example/", url(cup, "change"))]:
        headers = {"HX-Request": "true", "HX-Current-URL": page}
        answer = send(manager, cup, "add_stock", amount=1, reason="found", headers=headers)

        assert (answer.status_code, answer["HX-Redirect"]) == (200, shown)


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 18, "9" * 400, "%00"])
def test_a_dialog_of_nothing_is_not_found(manager: Client, number: str) -> None:
    for name in ("add-stock", "adjust-stock"):
        path = f"/admin/products/product/{number}/{name}/"
        assert manager.get(path).status_code == 404
        assert manager.post(path, {"_form_submitted": "1"}).status_code == 404


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("fulfill", {}, Reservation.Status.FULFILLED),
        ("release", {"reason": "cancelled"}, Reservation.Status.RELEASED),
    ],
)
def test_a_reservation_is_ended_by_hand(
    order: Reservation, name: str, fields: dict[str, Any], status: str
) -> None:
    answer = send(log_in("Grace", CLERK), order, name, note="by phone", **fields)

    order.refresh_from_db()
    event = StockEvent.objects.latest("pk")
    assert (answer.status_code, order.status) == (302, status)
    assert (event.actor, event.reservation_id) == ("Grace", order.pk)
    assert event.reason.endswith("by phone")


def test_a_reservation_is_extended_by_minutes(manager: Client, order: Reservation) -> None:
    answer = send(manager, order, "extend", minutes=30)

    order.refresh_from_db()
    assert answer.status_code == 302
    assert order.expires_at is not None


def test_a_closed_reservation_offers_nothing_and_says_why(
    manager: Client, order: Reservation
) -> None:
    fulfill = url(order, "fulfill")
    offered = manager.get(url(order, "change"))
    stock.release(reservation_id=order.pk, by=ACTOR)

    closed = manager.get(url(order, "change"))
    answer = send(manager, order, "fulfill")

    assert fulfill in offered.content.decode()
    assert fulfill not in closed.content.decode()
    assert f"Reservation {order.pk} is already released." in answer.content.decode()


def test_a_product_page_shows_how_its_stock_came_to_be(manager: Client, cup: Product) -> None:
    stock.remove(sku="CUP", amount=3, reason="breakage", by=ACTOR)

    page = manager.get(url(cup, "change")).content.decode()

    for shown in ("Level over time", "breakage", "order-1", "tester", "Removed", "IN STOCK"):
        assert shown.lower() in page.lower()


def test_a_hostile_reason_is_shown_as_text(manager: Client, cup: Product) -> None:
    stock.add(sku="CUP", amount=1, reason="<script>alert(1)</script>", by=ACTOR)

    assert "<script>alert" not in manager.get(url(cup, "change")).content.decode()


def test_the_list_is_searched_like_the_api(manager: Client, cup: Product) -> None:
    ProductFactory.create(sku="POT", name="Big pot")
    found = {}

    for words in ("cu", "big", "ig", "pot big"):
        page = manager.get(reverse("admin:products_product_changelist"), {"q": words})
        found[words] = [row.sku for row in page.context["cl"].result_list]

    assert found == {"cu": ["CUP"], "big": ["POT"], "ig": [], "pot big": ["POT"]}


def test_the_list_is_filtered_and_leaves_archived_products_out(
    manager: Client, cup: Product
) -> None:
    ProductFactory.create(sku="LOW", quantity=3, minimum_stock_level=5)
    ProductFactory.create(sku="OUT", quantity=0)
    ProductFactory.create(sku="OLD")
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    found = {}

    for query in ("", "stock=low", "stock=out", "stock=reserved", "archived=only", "updated=1"):
        page = manager.get(f"{reverse('admin:products_product_changelist')}?{query}")
        found[query] = [row.sku for row in page.context["cl"].result_list]

    assert found == {
        "": ["CUP", "LOW", "OUT"],
        "stock=low": ["LOW"],
        "stock=out": ["OUT"],
        "stock=reserved": ["CUP"],
        "archived=only": ["OLD"],
        "updated=1": ["CUP", "LOW", "OUT"],
    }


# ------------------------------------------------------------------------------------------- many


def act(client: Client, name: str, products: list[Product], **fields: Any) -> Any:
    selected = {"action": name, "_selected_action": [product.pk for product in products]}
    return client.post(reverse("admin:products_product_changelist"), {**selected, **fields})


def test_the_minimum_of_many_products_is_set_at_once(manager: Client, cup: Product) -> None:
    pot = ProductFactory.create(sku="POT", quantity=3)

    asked = act(manager, "set_minimum", [cup, pot])
    done = act(manager, "set_minimum", [cup, pot], minimum_stock_level=10, carry_out="")

    assert "2 selected products" in asked.content.decode()
    assert done.status_code == 302
    assert set(Product.objects.values_list("minimum_stock_level", flat=True)) == {10}
    low = StockEvent.objects.get(type=StockEvent.Type.LOW_STOCK_DETECTED)
    assert (low.sku, low.actor) == ("POT", "Ada")


def counts_of(*counts: tuple[Product, Any, int]) -> dict[str, Any]:
    fields: dict[str, Any] = {"reason": "stocktake", "note": "", "carry_out": ""}
    for product, count, seen in counts:
        fields |= {f"count-{product.pk}": count, f"seen-{product.pk}": seen}
    return fields


def test_counts_are_entered_for_those_that_were_counted(manager: Client, cup: Product) -> None:
    pot = ProductFactory.create(sku="POT", quantity=3)

    done = act(manager, "enter_counts", [cup, pot], **counts_of((cup, 30, 25), (pot, "", 3)))

    assert done.status_code == 302
    event = StockEvent.objects.get(type=StockEvent.Type.ADJUSTED)
    assert (event.sku, event.quantity, event.reason, event.actor) == ("CUP", 30, "stocktake", "Ada")


def test_counts_are_all_refused_if_one_is_and_each_refusal_is_shown(
    manager: Client, cup: Product
) -> None:
    pot, mug = ProductFactory.create(sku="POT"), ProductFactory.create(sku="MUG")
    stock.add(sku="POT", amount=1, by=ACTOR)
    before = stored()

    counts = counts_of((cup, 4, 25), (pot, 7, 25), (mug, 9, 25))
    answer = act(manager, "enter_counts", [cup, pot, mug], **counts)

    page = answer.content.decode()
    assert "CUP cannot be set to 4: 5 are reserved" in page
    assert "POT has 26 on hand, not 25. Check the count and try again." in page
    assert f'name="seen-{pot.pk}" value="26"' in page
    assert "Nothing was adjusted." in page
    assert stored() == before


@pytest.mark.parametrize("count", ["x", "-1", "5.0", "1000000001", ""])
def test_a_count_is_a_whole_number_of_units(manager: Client, cup: Product, count: str) -> None:
    before = stored()

    answer = act(manager, "enter_counts", [cup], **counts_of((cup, count, 25)))

    assert answer.status_code == 200
    assert stored() == before


def test_who_may_not_is_not_let(cup: Product, order: Reservation) -> None:
    viewer = log_in("Mallory", ("view_product", "view_reservation"))
    clerk = log_in("Grace", CLERK)
    before = stored()

    for name in ("add_stock", "remove_stock", "adjust_stock"):
        assert send(viewer, cup, name, amount=1, quantity=1, reason="found").status_code == 403
    for name in ("fulfill", "release", "extend"):
        assert send(viewer, order, name, minutes=1, reason="cancelled").status_code == 403
    adjust: dict[str, Any] = {"quantity": 1, "reason": "stocktake", "expected_quantity": 25}
    assert send(clerk, cup, "adjust_stock", **adjust).status_code == 403
    act(viewer, "set_minimum", [cup], minimum_stock_level=10, carry_out="")
    act(clerk, "enter_counts", [cup], **counts_of((cup, 1, 25)))

    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_a_dialog_leaves_the_transaction_to_stock(manager: Client, cup: Product) -> None:
    """Only the outermost call can run a transaction again that the database broke off."""
    around: list[list[Any]] = []

    def note(execute: Any, *statement: Any) -> Any:
        if "UPDATE products_product" in statement[0]:
            around.append([*connection.savepoint_ids])
        return execute(*statement)

    with connection.execute_wrapper(note):
        send(manager, cup, "add_stock", amount=1, reason="found")

    assert around == [[]]


def test_a_reservation_is_found_by_its_reference_or_its_number(
    manager: Client, order: Reservation
) -> None:
    stock.reserve(sku="CUP", amount=1, reference="order-12", by=ACTOR)
    found = {}

    for words in ("order-1", str(order.pk), "order", "9" * 30):
        page = manager.get(reverse("admin:products_reservation_changelist"), {"q": words})
        found[words] = [row.pk for row in page.context["cl"].result_list]

    expected = {"order-1": [order.pk], str(order.pk): [order.pk], "order": [], "9" * 30: []}
    assert found == expected
