"""Manual stock changes: dialogs for a product or a reservation, and bulk actions."""

import re
from datetime import UTC, datetime
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
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db

CLERK = ("view_product", "view_reservation", "operate_stock")
MANAGER = (*CLERK, "change_product", "adjust_stock")


def log_in(name: str, permissions: tuple[str, ...]) -> Client:
    """Create a staff user with these permissions, and return a logged-in client."""
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
    """A product with 25 units on hand and 5 reserved."""
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
    """Open a dialog and submit it."""
    sent = {"_form_submitted": "1", "note": "", "opening": uuid4().hex, **fields}
    return client.post(url(row, name), sent, headers=headers)


def test_a_clerk_adds_and_removes_stock_with_reason_and_note(cup: Product) -> None:
    clerk = log_in("Grace", CLERK)

    added = send(clerk, cup, "add_stock", amount=10, reason="delivery", reference="po-7")
    removed = send(clerk, cup, "remove_stock", amount=3, reason="breakage", note="shelf 4")

    assert [response["Location"] for response in (added, removed)] == [url(cup, "change")] * 2
    first, second = StockEvent.objects.filter(source="admin").order_by("pk")
    assert (first.type, first.quantity_change, first.reason) == ("InventoryAdded", 10, "delivery")
    assert (first.reference, first.actor) == ("po-7", "Grace")
    assert (second.type, second.quantity_change) == ("InventoryRemoved", -3)
    assert second.reason == "breakage: shelf 4"


def test_a_count_sets_the_level(manager: Client, cup: Product) -> None:
    opened = manager.get(url(cup, "adjust_stock"))

    send(manager, cup, "adjust_stock", quantity=7, reason="stocktake", expected_quantity=25)

    assert 'name="expected_quantity" value="25"' in opened.content.decode()
    event = StockEvent.objects.get(type=StockEvent.Type.ADJUSTED)
    assert (event.quantity, event.reason, event.actor) == (7, "stocktake", "Ada")


def test_a_count_from_a_stale_dialog_is_refused_and_shows_the_new_level(
    manager: Client, cup: Product
) -> None:
    stock.remove(sku="CUP", amount=4, by=ACTOR)
    before = stored()

    response = send(
        manager, cup, "adjust_stock", quantity=7, reason="stocktake", expected_quantity=25
    )

    page = response.content.decode()
    assert "21 on hand now, 25 when you opened this dialog" in page
    assert 'name="expected_quantity" value="21"' in page
    assert 'name="quantity" value="7"' in page
    assert stored() == before


@pytest.mark.parametrize(
    ("name", "fields", "message"),
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
def test_a_dialog_shows_why_a_change_is_refused(
    manager: Client, cup: Product, name: str, fields: dict[str, Any], message: str
) -> None:
    before = stored()

    response = send(manager, cup, name, expected_quantity=25, **fields)

    assert response.status_code == 200
    assert message in response.content.decode()
    assert stored() == before


def test_a_late_count_keeps_what_was_sold_since(manager: Client) -> None:
    evening = datetime(2026, 11, 20, 18, tzinfo=UTC)
    stock.create(sku="MUG", name="Mug", quantity=9, by=at(evening))
    mug = Product.objects.get(sku="MUG")
    page = manager.get(url(mug, "adjust_stock")).content.decode()
    stock.remove(sku="MUG", amount=2, by=ACTOR)
    count: Any = {
        "quantity": 8,
        "reason": "stocktake",
        "counted_at": "2026-11-20T18:00",
        "expected_quantity": 9,
    }

    response = send(manager, mug, "adjust_stock", **count)
    again = send(manager, mug, "adjust_stock", **count)

    assert "Time of the count (UTC)" in page
    assert response.status_code == 302
    mug.refresh_from_db()
    assert mug.quantity == 6
    assert mug.events.latest("version").details == {"counted_at": "2026-11-20T18:00:00Z"}
    assert "MUG was counted again at" in again.content.decode()
    assert 'value="2026-11-20T18:00"' in again.content.decode()


@pytest.mark.parametrize(
    ("counted_at", "message"),
    [
        ("2026-11-20", "Enter a date and a time, such as"),
        ("20.11.2026 18:00", "Enter a date and a time, such as"),
        ("11/20/2026", "Enter a date and a time, such as"),
        ("2026-11-31T18:00", "Enter a date and a time, such as"),
        ("\0", "Enter a date and a time, such as"),
        ("9999-12-31T23:59", "9999-12-31T23:59:00Z is in the future."),
        ("0001-01-01T00:00+14:00", "A time with a UTC offset is required"),
        ("2000-01-01T00:00", "CUP did not exist at 2000-01-01T00:00:00Z."),
    ],
)
def test_a_wrong_time_of_a_count_is_refused(
    manager: Client, cup: Product, counted_at: str, message: str
) -> None:
    before = stored()

    count: Any = {"quantity": 8, "reason": "stocktake", "expected_quantity": 25}
    response = send(manager, cup, "adjust_stock", **count, counted_at=counted_at)

    assert response.status_code == 200
    assert message in response.content.decode()
    assert stored() == before


@pytest.mark.parametrize(
    ("name", "reason", "left"), [("add_stock", "found", 28), ("remove_stock", "loss", 22)]
)
def test_a_dialog_sent_again_after_a_lost_response_is_applied_once(
    manager: Client, cup: Product, name: str, reason: str, left: int
) -> None:
    page = manager.get(url(cup, name)).content.decode()
    [opening] = re.findall(r'name="opening" value="([0-9a-f-]{36})"', page)
    first = send(manager, cup, name, opening=opening, amount=3, reason=reason)
    before = stored()

    again = manager.post(first.wsgi_request.path, first.wsgi_request.POST, follow=True)
    other = send(manager, cup, name, opening=opening, amount=4, reason=reason)

    assert "This change was already saved" in again.content.decode()
    assert other["Location"] == url(cup, "change")
    assert stored() == before
    assert Product.objects.get().quantity == left


@pytest.mark.django_db(transaction=True)
def test_a_dialog_sent_several_times_at_once_is_applied_once() -> None:
    product = ProductFactory.create(sku="CUP", quantity=25)
    cookies = log_in("Ada", MANAGER).cookies
    opening = uuid4().hex

    def add() -> int:
        browser = Client()
        browser.cookies = cookies
        response = send(browser, product, "add_stock", opening=opening, amount=3, reason="found")
        status: int = response.status_code
        return status

    assert at_once([add] * 8) == [302] * 8
    assert Product.objects.get().quantity == 28
    assert StockEvent.objects.count() == 2


def test_a_refused_dialog_can_be_sent_again(manager: Client, cup: Product) -> None:
    opening = uuid4().hex
    refused = send(manager, cup, "remove_stock", opening=opening, amount=21, reason="loss")

    response = send(manager, cup, "remove_stock", opening=opening, amount=20, reason="loss")

    assert f'name="opening" value="{opening}"' in refused.content.decode()
    assert response.status_code == 302
    assert Product.objects.get().quantity == 5


def test_the_same_opening_id_is_separate_for_each_user_and_product(
    manager: Client, cup: Product
) -> None:
    pot = ProductFactory.create(sku="POT", quantity=25)
    clerk = log_in("Grace", CLERK)
    opening = uuid4().hex

    for client, product in [(manager, cup), (manager, pot), (clerk, cup)]:
        send(client, product, "add_stock", opening=opening, amount=3, reason="found")

    assert list(Product.objects.order_by("sku").values_list("quantity", flat=True)) == [31, 28]


@pytest.mark.parametrize("opening", ["", "x", "0" * 33, "a\0b"])
def test_a_dialog_with_an_invalid_opening_id_is_not_applied(
    manager: Client, cup: Product, opening: str
) -> None:
    before = stored()

    response = send(manager, cup, "add_stock", opening=opening, amount=3, reason="found")

    assert response.status_code == 200
    assert stored() == before


def test_a_dialog_sent_by_htmx_reloads_the_page_it_was_opened_from(
    manager: Client, cup: Product
) -> None:
    listed = "http://testserver/admin/products/product/?q=cup"

    pages = [
        (listed, listed),
        (f"{listed}#content-start", listed),
        ("https://elsewhere.example/", url(cup, "change")),
    ]
    for page, shown in pages:
        headers = {"HX-Request": "true", "HX-Current-URL": page}
        response = send(manager, cup, "add_stock", amount=1, reason="found", headers=headers)

        assert (response.status_code, response["HX-Redirect"]) == (200, shown)


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 18, "9" * 400, "%00"])
def test_a_dialog_for_an_unknown_product_is_not_found(manager: Client, number: str) -> None:
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
def test_a_dialog_fulfills_or_releases_a_reservation(
    order: Reservation, name: str, fields: dict[str, Any], status: str
) -> None:
    response = send(log_in("Grace", CLERK), order, name, note="by phone", **fields)

    order.refresh_from_db()
    event = StockEvent.objects.latest("pk")
    assert (response.status_code, order.status) == (302, status)
    assert (event.actor, event.reservation_id) == ("Grace", order.pk)
    assert event.reason.endswith("by phone")


def test_a_dialog_extends_a_reservation(manager: Client, order: Reservation) -> None:
    response = send(manager, order, "extend", minutes=30)

    order.refresh_from_db()
    assert response.status_code == 302
    assert order.expires_at is not None


def test_a_closed_reservation_offers_no_dialog_and_refuses_one(
    manager: Client, order: Reservation
) -> None:
    fulfill = url(order, "fulfill")
    offered = manager.get(url(order, "change"))
    stock.release(reservation_id=order.pk, by=ACTOR)

    closed = manager.get(url(order, "change"))
    response = send(manager, order, "fulfill")

    assert fulfill in offered.content.decode()
    assert fulfill not in closed.content.decode()
    assert f"Reservation {order.pk} is already released." in response.content.decode()


def test_the_product_page_shows_ledger_chart_and_reservations(
    manager: Client, cup: Product
) -> None:
    stock.remove(sku="CUP", amount=3, reason="breakage", by=ACTOR)

    page = manager.get(url(cup, "change")).content.decode()

    for shown in ("Stock over time", "breakage", "order-1", "tester", "Removed", "IN STOCK"):
        assert shown.lower() in page.lower()


def test_html_in_a_reason_is_escaped(manager: Client, cup: Product) -> None:
    stock.add(sku="CUP", amount=1, reason="<script>alert(1)</script>", by=ACTOR)

    assert "<script>alert" not in manager.get(url(cup, "change")).content.decode()


def test_the_product_list_searches_like_the_api(manager: Client, cup: Product) -> None:
    ProductFactory.create(sku="POT", name="Big pot")
    found = {}

    for words in ("cu", "bi", "ig", "pot big", "po b"):
        page = manager.get(reverse("admin:products_product_changelist"), {"q": words})
        found[words] = [row.sku for row in page.context["cl"].result_list]

    assert found == {"cu": ["CUP"], "bi": ["POT"], "ig": [], "pot big": ["POT"], "po b": ["POT"]}


def test_the_product_list_filters_and_hides_archived_products(
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


# ----------------------------------------------------------------------------------- bulk actions


def act(client: Client, name: str, products: list[Product], **fields: Any) -> Any:
    selected = {"action": name, "_selected_action": [product.pk for product in products]}
    return client.post(reverse("admin:products_product_changelist"), {**selected, **fields})


def test_a_bulk_action_sets_the_minimum_of_several_products(manager: Client, cup: Product) -> None:
    pot = ProductFactory.create(sku="POT", quantity=3)

    asked = act(manager, "set_minimum", [cup, pot])
    done = act(manager, "set_minimum", [cup, pot], minimum_stock_level=10, apply="")

    assert "2 products selected" in asked.content.decode()
    assert done.status_code == 302
    assert set(Product.objects.values_list("minimum_stock_level", flat=True)) == {10}
    low = StockEvent.objects.get(type=StockEvent.Type.LOW_STOCK_DETECTED)
    assert (low.sku, low.actor) == ("POT", "Ada")


def test_users_without_the_permission_change_nothing(cup: Product, order: Reservation) -> None:
    viewer = log_in("Mallory", ("view_product", "view_reservation"))
    clerk = log_in("Grace", CLERK)
    before = stored()

    for name in ("add_stock", "remove_stock", "adjust_stock"):
        assert send(viewer, cup, name, amount=1, quantity=1, reason="found").status_code == 403
    for name in ("fulfill", "release", "extend"):
        assert send(viewer, order, name, minutes=1, reason="cancelled").status_code == 403
    adjust: dict[str, Any] = {"quantity": 1, "reason": "stocktake", "expected_quantity": 25}
    assert send(clerk, cup, "adjust_stock", **adjust).status_code == 403
    act(viewer, "set_minimum", [cup], minimum_stock_level=10, apply="")
    act(clerk, "enter_counts", [cup])

    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_a_dialog_opens_no_transaction_around_the_stock_call(manager: Client, cup: Product) -> None:
    """A transaction can be retried only by the code that opened it."""
    around: list[list[Any]] = []

    def note(execute: Any, *statement: Any) -> Any:
        if "UPDATE products_product" in statement[0]:
            around.append([*connection.savepoint_ids])
        return execute(*statement)

    with connection.execute_wrapper(note):
        send(manager, cup, "add_stock", amount=1, reason="found")

    assert around == [[]]


def test_a_reservation_is_found_by_reference_or_id(manager: Client, order: Reservation) -> None:
    stock.reserve(sku="CUP", amount=1, reference="order-12", by=ACTOR)
    found = {}

    for words in ("order-1", str(order.pk), "order", "9" * 30):
        page = manager.get(reverse("admin:products_reservation_changelist"), {"q": words})
        found[words] = [row.pk for row in page.context["cl"].result_list]

    expected = {"order-1": [order.pk], str(order.pk): [order.pk], "order": [], "9" * 30: []}
    assert found == expected
