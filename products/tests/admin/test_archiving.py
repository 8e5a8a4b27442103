"""Archive and restore: the dialogs of a product, and the bulk actions of the list."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:products_product_changelist")


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", "view_product", "change_product")


@pytest.fixture
def cup() -> Product:
    """A product with 25 units on hand and 5 reserved."""
    product = ProductFactory.create(sku="CUP")
    stock.reserve(sku="CUP", amount=5, by=ACTOR)
    return product


def url(product: Product, name: str) -> str:
    return reverse(f"admin:products_product_{name}", args=[product.pk])


def send(client: Client, product: Product, name: str) -> Any:
    return client.post(url(product, name), {"_form_submitted": "1"}, follow=True)


def act(client: Client, name: str, *products: Product, query: str = "", **fields: str) -> Any:
    selected = {"action": name, "_selected_action": [product.pk for product in products]}
    return client.post(LIST + query, {**selected, **fields}, follow=True)


def test_archiving_warns_about_units_and_is_recorded(manager: Client, cup: Product) -> None:
    opened = manager.get(url(cup, "archive")).content.decode()
    done = send(manager, cup, "archive").content.decode()

    assert "CUP has 25 units on hand (5 reserved). They stay on hand." in opened
    assert "Archived CUP." in done
    event = cup.events.latest("version")
    assert (event.type, event.actor) == (StockEvent.Type.PRODUCT_ARCHIVED, "Ada")
    cup.refresh_from_db()
    assert (cup.archived, cup.levels) == (True, (25, 5, 0))


def test_archiving_a_product_without_units_does_not_warn(manager: Client) -> None:
    pot = ProductFactory.create(sku="POT", quantity=0)

    assert "They stay on hand" not in manager.get(url(pot, "archive")).content.decode()


def test_a_product_is_restored(manager: Client, cup: Product) -> None:
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    assert "Restored CUP." in send(manager, cup, "restore").content.decode()

    cup.refresh_from_db()
    assert not cup.archived
    assert cup.events.latest("version").type == StockEvent.Type.PRODUCT_RESTORED


def test_the_page_offers_one_of_the_two(manager: Client, cup: Product) -> None:
    active = manager.get(url(cup, "change")).content.decode()
    stock.edit(sku="CUP", archived=True, by=ACTOR)
    archived = manager.get(url(cup, "change")).content.decode()

    offered = [url(cup, name) in page for page in (active, archived) for name in NAMES]
    assert offered == [True, False, False, True]


NAMES = ("archive", "restore")


@pytest.mark.parametrize(
    ("name", "message"),
    [("archive", "CUP is already archived."), ("restore", "CUP is not archived.")],
)
def test_a_dialog_sent_again_changes_nothing(
    manager: Client, cup: Product, name: str, message: str
) -> None:
    stock.edit(sku="CUP", archived=name == "restore", by=ACTOR)
    send(manager, cup, name)
    before = stored()

    again = send(manager, cup, name)

    assert f"{message} Nothing was changed." in again.content.decode()
    assert stored() == before


def test_a_selection_is_archived_after_a_warning(manager: Client, cup: Product) -> None:
    pot = ProductFactory.create(sku="POT", quantity=0)

    asked = act(manager, "archive_products", cup, pot).content.decode()
    assert not Product.objects.filter(archived=True).exists()
    done = act(manager, "archive_products", cup, pot, apply="").content.decode()

    assert "2 products selected" in asked
    assert "CUP Product CUP: 25 on hand, 5 reserved" in asked
    assert "POT Product POT" not in asked
    assert "Archived 2 products." in done
    assert Product.objects.filter(archived=True).count() == 2


def test_the_warning_names_some_of_many_products(manager: Client) -> None:
    many = [ProductFactory.create() for _ in range(23)]

    asked = act(manager, "archive_products", *many).content.decode()

    assert asked.count("25 on hand, 0 reserved") == 20
    assert "and 3 more products" in asked


def test_archived_products_are_found_and_restored(manager: Client, cup: Product) -> None:
    act(manager, "archive_products", cup, apply="")
    query = "?archived=only"

    done = act(manager, "restore_products", cup, query=query, apply="").content.decode()

    assert "Restored 1 product." in done
    assert not Product.objects.filter(archived=True).exists()


def test_a_bulk_action_sent_again_changes_nothing(manager: Client, cup: Product) -> None:
    act(manager, "archive_products", cup, query="?archived=all", apply="")
    before = stored()

    act(manager, "archive_products", cup, query="?archived=all", apply="")

    assert stored() == before


@pytest.mark.parametrize("permissions", [(), ("view_product",), ("view_product", "operate_stock")])
def test_archiving_needs_its_permission(permissions: tuple[str, ...], cup: Product) -> None:
    browser = browser_of("Mallory", *permissions)
    before = stored()

    for name in NAMES:
        assert send(browser, cup, name).status_code == 403
        act(browser, f"{name}_products", cup, query="?archived=all", apply="")

    assert stored() == before
