"""The product list on paper, and the units to order."""

import re
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from products import stock
from products.admin import printing
from products.models import TO_ORDER, Levels, Product
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:products_product_print")
LIST = reverse("admin:products_product_changelist")


@pytest.fixture
def viewer() -> Client:
    return browser_of("Vera", "view_product")


def printed(client: Client, **parameters: str) -> list[list[str]]:
    """Return the cells of each row of the table."""
    page = client.get(PAGE, parameters).content.decode()
    rows = re.findall("<tr>(.*?)</tr>", page[page.index("<tbody>") :])
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows]


def test_the_low_products_are_printed_with_the_units_to_order(viewer: Client) -> None:
    ProductFactory.create(sku="CUP", name="<b>Cup", quantity=1_500, minimum_stock_level=2_000)
    ProductFactory.create(sku="MUG", quantity=5, minimum_stock_level=5)
    ProductFactory.create(sku="OLD", quantity=0, minimum_stock_level=5)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    stock.reserve(sku="CUP", amount=10, by=ACTOR)

    cup = ["CUP", "&lt;b&gt;Cup", "1,500", "10", "1,490", "2,000", "2,510"]
    mug = ["MUG", "Product MUG", "5", "0", "5", "5", "0"]
    assert printed(viewer, stock="low") == [cup]
    assert printed(viewer) == [cup, mug]
    assert printed(viewer, q="MUG", o="-1") == [mug]
    assert "Products · Low stock" in viewer.get(PAGE, {"stock": "low"}).content.decode()


def test_all_pages_of_the_list_are_printed_up_to_a_limit(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    for _ in range(60):
        ProductFactory.create()

    # Session, user, two for permissions, and the rows.
    with django_assert_num_queries(5):
        assert len(printed(viewer)) == 60
    assert "only" not in viewer.get(PAGE).content.decode()

    monkeypatch.setattr(printing, "MAX_PRINTED", 50)
    assert len(printed(viewer)) == 50
    assert "the first 50 only" in viewer.get(PAGE).content.decode()


def test_printing_needs_the_right_to_view_products(client: Client) -> None:
    assert client.get(PAGE).status_code == 302
    assert browser_of("Ada", "view_stockevent").get(PAGE).status_code == 403


@pytest.mark.parametrize("parameters", [{"name__regex": "(.*)*x"}, {"quantity__gt": "1"}])
def test_an_invalid_filter_is_refused(viewer: Client, parameters: dict[str, str]) -> None:
    assert viewer.get(PAGE, parameters).status_code == 400


def test_the_list_links_to_its_print_view_and_shows_the_units_to_order(viewer: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=1, minimum_stock_level=5)
    ProductFactory.create(sku="MUG", quantity=5, minimum_stock_level=5)

    page = viewer.get(LIST, {"stock": "low", "q": "cu"}).content.decode()

    assert f'href="{PAGE}?q=cu&amp;stock=low"' in page
    assert re.search(r'data-label="To order"[^>]*>\s*9\s*<', page)


@pytest.mark.parametrize(
    ("levels", "factor", "expected"),
    [
        (Levels(4, 0, 5), 2, 6),
        (Levels(5, 0, 5), 2, 0),
        (Levels(9, 9, 5), 2, 10),
        (Levels(0, 0, 0), 2, 0),
        (Levels(4, 0, 5), 1, 1),
        (Levels(4, 0, 5), 3, 11),
    ],
)
def test_what_to_order_fills_a_low_product_up_to_a_multiple_of_its_minimum(
    levels: Levels, factor: int, expected: int
) -> None:
    with override_settings(REORDER_FACTOR=factor):
        assert levels.to_order == expected


def test_what_to_order_is_the_same_in_a_query() -> None:
    for quantity, minimum in ((4, 5), (5, 5), (6, 5), (0, 0), (0, 1_000_000_000)):
        ProductFactory.create(quantity=quantity, minimum_stock_level=minimum)

    for product in Product.objects.annotate(wanted=TO_ORDER):
        assert product.wanted == product.levels.to_order
