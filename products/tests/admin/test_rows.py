"""The rows of long lists are those of Unfold, with a menu of their own actions."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from unfold.templatetags import unfold_list

from products import stock
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

PRODUCTS = reverse("admin:products_product_changelist")
RESERVATIONS = reverse("admin:products_reservation_changelist")
LEDGER = reverse("admin:products_stockevent_changelist")


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.fixture
def shop() -> None:
    """Create products of each status, reservations of several states, and their events."""
    shown = {"CUP": ("<b>Cup</b>", 1_234), "PEN": ("Pen", 1), "MUG": ("ROWKEY", 0)}
    for sku, (name, quantity) in shown.items():
        ProductFactory.create(sku=sku, name=name, quantity=quantity, minimum_stock_level=5)
    stock.reserve(sku="CUP", amount=3, reference="<order>", by=ACTOR)
    shipped = stock.reserve(sku="CUP", amount=2, by=ACTOR)
    stock.fulfill(reservation_id=shipped.pk, by=ACTOR)
    added = stock.add(sku="PEN", amount=1, reason="found & counted", by=ACTOR)
    stock.undo(added.events.get(type="InventoryAdded"), by=ACTOR)


def rows_of_unfold(changelist: Any) -> Iterator[str]:
    for row in unfold_list.results(changelist):
        yield " ".join("".join(row).split())


def rows_of(page: str) -> Iterator[str]:
    """Yield the cells of each row, without the menu of its actions."""
    for row in re.findall(r'<tr class="data-row [^>]*>(.*?)</tr>', page, re.DOTALL):
        yield " ".join(re.sub(r'<td data-label="More actions".*', "", row, flags=re.DOTALL).split())


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("url", "number"),
    [
        (PRODUCTS, 3),
        (f"{PRODUCTS}?stock=low&o=-3", 2),
        (RESERVATIONS, 2),
        (f"{RESERVATIONS}?status__exact=open", 1),
        (LEDGER, 10),
        (f"{LEDGER}?q=CUP", 4),
    ],
)
def test_the_rows_are_those_of_unfold(root: Client, url: str, number: int) -> None:
    response = root.get(url)

    rows = list(rows_of(response.content.decode()))
    assert len(rows) == number
    for ours, theirs in zip(rows, rows_of_unfold(response.context["cl"]), strict=True):
        assert re.sub(r"\s+>", ">", ours) == re.sub(r"\s+>", ">", theirs)


@pytest.mark.usefixtures("shop")
def test_the_menu_of_each_row_leads_to_the_dialogs_of_its_row(root: Client) -> None:
    response = root.get(PRODUCTS)

    menus = re.findall(r'<nav id="row-actions-(\d+)"(.*?)</nav>', response.content.decode(), re.S)
    shown = [product.pk for product in response.context["cl"].result_list]
    assert [int(key) for key, _ in menus] == shown
    names = ("adjust_stock", "add_stock", "remove_stock", "reserve_stock")
    for key, menu in menus:
        urls = [reverse(f"admin:products_product_{name}", args=[key]) for name in names]
        assert re.findall(r'hx-get="([^"]*)"', menu) == urls
        assert re.findall(r'href="([^"]*)"', menu) == urls


@pytest.mark.usefixtures("shop")
def test_the_menu_of_a_closed_reservation_is_missing(root: Client) -> None:
    page = root.get(RESERVATIONS).content.decode()

    assert len(re.findall('<td data-label="More actions"', page)) == 2
    assert len(re.findall('<nav id="row-actions-', page)) == 1
