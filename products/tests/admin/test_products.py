"""The pages of the back office. No form can change stock."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse, reverse_lazy
from django.utils.html import escape

from products import stock
from products.admin.products import ProductAdmin
from products.models import Product, Reservation, StockEvent
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

pytestmark = pytest.mark.django_db

LIST = reverse_lazy("admin:products_product_changelist")


@pytest.fixture
def staff() -> Client:
    """A client in which a superuser is logged in."""
    user = get_user_model().objects.create_superuser(username="Ada", password="x")
    client = Client()
    client.force_login(user)
    return client


def form_of(product: Product, **changes: object) -> dict[str, object]:
    """Return the fields that a browser sends when the form of `product` is saved."""
    fields = {
        "name": product.name,
        "description": product.description,
        "minimum_stock_level": product.minimum_stock_level,
    }
    return {**fields, **changes}


def change_url(product: Product) -> str:
    return reverse("admin:products_product_change", args=[product.pk])


@pytest.mark.parametrize("model", ["product", "reservation", "stockevent", "apikey"])
def test_every_list_and_page_opens(staff: Client, model: str) -> None:
    product = ProductFactory.create(sku="CUP")
    stock.reserve(sku=product.sku, amount=1, reference="order-1", by=ACTOR)
    ApiKeyFactory.create()

    listed = staff.get(reverse(f"admin:products_{model}_changelist"), {"q": "C"})
    row = {
        "product": product.pk,
        "reservation": product.reservation_lines.get().reservation_id,
        "stockevent": product.events.get(version=1).pk,
        "apikey": ApiKeyFactory.create().pk,
    }[model]
    page = staff.get(reverse(f"admin:products_{model}_change", args=[row]))

    assert (listed.status_code, page.status_code) == (200, 200)


def test_a_rename_from_a_form_opened_before_a_reserve_leaves_stock_alone(staff: Client) -> None:
    product = ProductFactory.create(quantity=10)
    form = form_of(product, name="Renamed")
    stock.reserve(sku=product.sku, amount=7, by=ACTOR)

    response = staff.post(change_url(product), form)

    assert response.status_code == 302
    product.refresh_from_db()
    assert (product.name, product.levels) == ("Renamed", (10, 7, 0))


def test_forged_stock_fields_are_ignored(staff: Client) -> None:
    product = ProductFactory.create(quantity=10)

    staff.post(change_url(product), form_of(product, quantity=99, reserved_quantity=5, version=9))

    product.refresh_from_db()
    assert (product.levels, product.version) == ((10, 0, 0), 1)


def test_the_ledger_records_the_user_who_changed_a_minimum(staff: Client) -> None:
    product = ProductFactory.create(quantity=10)

    staff.post(change_url(product), form_of(product, minimum_stock_level=11))

    event = StockEvent.objects.get(product=product, type=StockEvent.Type.LOW_STOCK_DETECTED)
    assert (event.actor, event.source) == ("Ada", "admin")


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": " "}, {"name": "a\0b"}, {"minimum_stock_level": -1}]
)
def test_an_invalid_value_is_refused(staff: Client, changes: dict[str, object]) -> None:
    product = ProductFactory.create()

    response = staff.post(change_url(product), form_of(product, **changes))

    assert response.status_code == 200
    assert response.context["adminform"].form.errors
    product.refresh_from_db()
    assert (product.name, product.minimum_stock_level) == (f"Product {product.sku}", 0)


def test_the_product_page_links_to_all_events_and_open_reservations(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP", quantity=50)
    other = stock.reserve(sku=ProductFactory.create().sku, amount=1, by=ACTOR)
    for _ in range(20):
        stock.reserve(sku="CUP", amount=1, by=ACTOR)
    reservations = f"{reverse('admin:products_reservation_changelist')}?q=CUP&status__exact=open"
    ledger = f"{reverse('admin:products_stockevent_changelist')}?q=CUP"

    few = staff.get(change_url(product)).content.decode()
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    many = staff.get(change_url(product)).content.decode()

    assert escape(reservations) not in few
    assert ledger in few
    assert escape(reservations) in many
    shown = staff.get(reservations).context["cl"]
    assert shown.result_count == 21
    assert other not in shown.result_list


def test_after_an_error_the_product_page_shows_only_the_form(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP")

    page = staff.post(change_url(product), form_of(product, name=" ")).content.decode()

    assert "This field is required." in page
    assert "Ledger, newest first" not in page


def test_an_overdue_reservation_explains_how_it_ends(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP")
    held = stock.reserve(sku="CUP", amount=1, reference="order-1", expires_in=60, by=ACTOR)
    url = reverse("admin:products_reservation_change", args=[held.pk])
    before = staff.get(url).content.decode()
    Reservation.objects.update(expires_at="2026-01-01T00:00:00Z")

    page = staff.get(url).content.decode()

    fulfill = reverse("admin:products_reservation_fulfill", args=[held.pk])
    assert fulfill in before
    assert fulfill not in page
    assert "can no longer be fulfilled" in page
    assert "Overdue" in page
    assert "2026-01-01 00:00:00" in page
    assert f"product {product.pk}" not in page


@pytest.mark.parametrize("model", ["reservation", "stockevent"])
def test_no_reservation_or_event_can_be_added(staff: Client, model: str) -> None:
    assert staff.get(reverse(f"admin:products_{model}_add")).status_code == 403


@pytest.mark.parametrize("model", ["product", "reservation", "stockevent"])
def test_no_row_can_be_deleted(staff: Client, model: str) -> None:
    product = ProductFactory.create()

    deleted = staff.post(reverse(f"admin:products_{model}_delete", args=[product.pk]))

    assert deleted.status_code in (302, 403)
    assert Product.objects.filter(pk=product.pk).exists()


def test_staff_without_permissions_see_no_products() -> None:
    user = get_user_model().objects.create_user(username="new", password="x", is_staff=True)
    client = Client()
    client.force_login(user)

    assert client.get(reverse("admin:products_product_changelist")).status_code == 403


def test_a_nul_character_in_a_filter_is_refused(staff: Client) -> None:
    staff.raise_request_exception = False

    response = staff.get(reverse("admin:products_product_changelist"), {"sku": "a\0"})

    assert response.status_code == 400


def test_an_unreachable_database_gives_503(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(ProductAdmin, "get_queryset", fail)
    staff.raise_request_exception = False
    page = staff.get(reverse("admin:products_product_changelist"))
    to_script = staff.get(reverse("admin:products_product_changelist"), headers={"HX-Request": "1"})

    assert [page.status_code, to_script.status_code] == [503, 503]
    assert page["Retry-After"] == to_script["Retry-After"]
    assert "The database does not respond." in page.content.decode()
    assert to_script.json()["code"] == "database_unavailable"


@pytest.mark.parametrize("query", ["?s=a&page=x", "?s=a&page=99", "?s=%00", ""])
def test_the_global_search_is_disabled(staff: Client, query: str) -> None:
    assert staff.get(f"/admin/search/{query}")["Location"] == "/admin/"


@pytest.mark.django_db(transaction=True)
def test_the_product_form_opens_no_transaction_around_the_stock_call(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP")
    depths: list[int] = []

    def record(execute: Any, sql: str, *arguments: Any) -> Any:
        if "INSERT INTO products_stockevent" in sql:
            depths.append(len(connection.savepoint_ids))
        return execute(sql, *arguments)

    with connection.execute_wrapper(record):
        staff.post(change_url(product), form_of(product, name="Mug"))

    assert depths == [0]
    assert Product.objects.get().name == "Mug"


# ------------------------------------------------------------------------------------ stale forms


def shown_by(client: Client, product: Product) -> dict[str, str]:
    """Return the fields of the form, with the values that the page shows."""
    page = client.get(change_url(product)).content.decode()
    fields = ("name", "description", "minimum_stock_level")
    [*values] = [re.search(rf'name="initial-{name}" value="([^"]*)"', page) for name in fields]
    shown = {name: match[1] if match else "" for name, match in zip(fields, values, strict=True)}
    return {**shown, **{f"initial-{name}": value for name, value in shown.items()}}


def test_a_stale_form_keeps_the_rename_of_another_user(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP", name="Cup")
    form = shown_by(staff, product)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)

    response = staff.post(change_url(product), {**form, "minimum_stock_level": "7"})

    assert response.status_code == 302
    product.refresh_from_db()
    assert (product.name, product.minimum_stock_level) == ("Mug", 7)


def test_a_rename_that_crosses_another_is_refused_once(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP", name="Cup")
    form = {**shown_by(staff, product), "name": "Beaker"}
    stock.edit(sku="CUP", name="Mug", by=ACTOR)

    refused = staff.post(change_url(product), form)

    page = refused.content.decode()
    assert "Name was changed to “Mug” after you opened this page. Nothing was saved." in page
    assert 'value="Beaker"' in page
    assert 'name="initial-name" value="Mug"' in page
    assert Product.objects.get().name == "Mug"

    staff.post(change_url(product), {**form, "initial-name": "Mug"})
    assert Product.objects.get().name == "Beaker"


def test_a_rename_that_wins_the_lock_is_not_undone(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = ProductFactory.create(sku="CUP", name="Cup")
    form = {**shown_by(staff, product), "name": "Beaker"}
    edit = stock.edit

    def edit_second(**arguments: Any) -> Product:
        edit(sku="CUP", name="Mug", by=ACTOR)
        return edit(**arguments)

    monkeypatch.setattr(stock, "edit", edit_second)
    page = staff.post(change_url(product), form, follow=True).content.decode()

    assert "Nothing was saved. CUP was edited: name is now" in page
    assert Product.objects.get().name == "Mug"


@pytest.mark.parametrize("seen", ["x", "9" * 5000, "-1", "1.5"])
def test_a_forged_value_that_the_page_showed_is_refused(staff: Client, seen: str) -> None:
    product = ProductFactory.create(sku="CUP")

    form = form_of(product, minimum_stock_level=7, **{"initial-minimum_stock_level": seen})
    response = staff.post(change_url(product), form)

    assert response.status_code == 200
    assert Product.objects.get().minimum_stock_level == 0


LEVELS = {
    "A-1": ("Émile", 5, 2),
    "A-2": ("anna", 9, 20),
    "A-3": ("Berta", 0, 1),
    "A-4": ("ANNA blue", 7, 10),
}
"""The name, the quantity and the minimum of each product."""


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("sku", ["A-1", "A-2", "A-3", "A-4"]),
        ("sorted_name", ["A-2", "A-4", "A-3", "A-1"]),
        ("quantity", ["A-3", "A-1", "A-4", "A-2"]),
        ("available", ["A-3", "A-1", "A-4", "A-2"]),
        ("status", ["A-2", "A-4", "A-3", "A-1"]),  # By shortage.
    ],
)
@pytest.mark.parametrize("search", ["", "a-"])
def test_the_list_sorts_by_name_level_and_shortage(
    staff: Client, column: str, expected: list[str], search: str
) -> None:
    for sku, (name, quantity, minimum) in LEVELS.items():
        ProductFactory.create(sku=sku, name=name, quantity=quantity, minimum_stock_level=minimum)
    number = staff.get(LIST).context["cl"].list_display.index(column)

    def sorted_by(order: str) -> list[str]:
        listed = staff.get(LIST, {"o": order, **({"q": search} if search else {})})
        return [product.sku for product in listed.context["cl"].result_list]

    assert sorted_by(f"{number}") == expected
    assert sorted_by(f"-{number}") == expected[::-1]


def test_an_exact_sku_opens_its_product(staff: Client) -> None:
    product = ProductFactory.create(sku="MUG", name="Mug")
    stock.edit(sku="MUG", archived=True, by=ACTOR)

    for text in ("MUG", " mug\t", "Mug"):
        opened = staff.get(LIST, {"q": text, "stock": "low"})
        assert opened["Location"] == change_url(product)
    for query in ({"q": "MU"}, {"q": "MUG", "o": "1"}, {"q": "MUG", "list": "1"}, {"q": "\0"}):
        assert staff.get(LIST, query).status_code == 200


def test_an_exact_sku_opens_no_product_for_users_who_may_not_view_it(client: Client) -> None:
    ProductFactory.create(sku="MUG")
    client.force_login(get_user_model().objects.create_user("Nobody", is_staff=True))

    assert client.get(LIST, {"q": "MUG"}).status_code == 403
