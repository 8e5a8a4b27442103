"""The page that creates a product, and the links to it from an empty search."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

ADD = reverse("admin:products_product_add")
LIST = reverse("admin:products_product_changelist")


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", "view_product", "add_product", "change_product")


def form(**fields: Any) -> dict[str, Any]:
    """Return the fields that a browser sends for a new product."""
    return {"sku": "CUP", "name": "Cup", "opening": uuid4().hex, **fields}


def page_of(product: Product) -> str:
    return reverse("admin:products_product_change", args=[product.pk])


def test_a_product_is_created_with_its_opening_stock(manager: Client) -> None:
    opening = {"quantity": 12, "reason": "moved in", "reference": "note-7"}
    sent = form(description="Tall", minimum_stock_level=3, **opening)
    response = manager.post(ADD, sent, follow=True)

    product = Product.objects.get()
    event = product.events.get()
    assert response.redirect_chain == [(page_of(product), 302)]
    assert "Created CUP. On hand: 12." in response.content.decode()
    assert (product.name, product.description, product.levels) == ("Cup", "Tall", (12, 0, 3))
    assert (event.type, event.reason, event.reference) == ("ProductCreated", "moved in", "note-7")
    assert (event.actor, event.source) == ("Ada", StockEvent.Source.ADMIN)


def test_numbers_may_be_left_empty(manager: Client) -> None:
    manager.post(ADD, form(quantity="", minimum_stock_level=""))

    assert Product.objects.get().levels == (0, 0, 0)


def test_create_and_add_another_opens_an_empty_form(manager: Client) -> None:
    response = manager.post(ADD, form(_addanother=""), follow=True)

    assert response.redirect_chain == [(ADD, 302)]
    assert "Created CUP." in response.content.decode()
    assert 'value="CUP"' not in response.content.decode()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sku": ""}, "This field is required."),
        ({"sku": "a b"}, "A SKU has 1 to 50 characters"),
        ({"sku": "C" * 51}, "at most 50 characters"),
        ({"sku": "C\0P"}, "Null characters are not allowed."),
        ({"sku": "<script>"}, "A SKU has 1 to 50 characters"),
        ({"name": " "}, "This field is required."),
        ({"name": "x" * 256}, "at most 255 characters"),
        ({"description": "x" * 1001}, "at most 1000 characters"),
        ({"quantity": "-1"}, "Enter a whole number"),
        ({"quantity": "1e3"}, "Enter a whole number"),
        ({"quantity": "1000000001"}, "less than or equal to 1000000000"),
        ({"minimum_stock_level": "many"}, "Enter a whole number"),
        ({"reason": "x" * 256}, "at most 255 characters"),
        ({"opening": "x"}, "Enter a valid UUID."),
    ],
)
def test_a_wrong_value_is_refused(manager: Client, fields: dict[str, Any], message: str) -> None:
    response = manager.post(ADD, form(**fields))

    assert response.status_code == 200
    assert message in response.content.decode()
    assert "<script>" not in str(response.context["form"]["sku"])
    assert not Product.objects.exists()


def test_a_form_sent_again_creates_one_product(manager: Client) -> None:
    sent = form(quantity=5)
    manager.post(ADD, sent)
    before = stored()

    again = manager.post(ADD, {**sent, "name": "Mug"}, follow=True)

    assert again.redirect_chain == [(page_of(Product.objects.get()), 302)]
    assert "CUP was already created. Nothing was changed again." in again.content.decode()
    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_several_times_at_once_creates_one_product() -> None:
    cookies = browser_of("Ada", "view_product", "add_product").cookies
    sent = form(quantity=5)

    def create() -> int:
        browser = Client()
        browser.cookies = cookies
        status: int = browser.post(ADD, sent).status_code
        return status

    assert at_once([create] * 8) == [302] * 8
    assert StockEvent.objects.count() == 1


def test_an_existing_sku_is_refused_and_linked(manager: Client) -> None:
    product = ProductFactory.create(sku="CUP")

    page = manager.post(ADD, form()).content.decode()

    assert "Product CUP already exists." in page
    assert f'href="{page_of(product)}">Open CUP</a>' in page


def test_an_archived_sku_is_refused_and_linked(manager: Client) -> None:
    product = ProductFactory.create(sku="CUP")
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    page = manager.post(ADD, form()).content.decode()

    assert "Product CUP already exists and is archived. Restore it instead." in page
    assert f'href="{page_of(product)}">Open CUP</a>' in page


def test_a_similar_sku_is_created_only_on_request(manager: Client) -> None:
    ProductFactory.create(sku="00123")

    refused = manager.post(ADD, form(sku="123")).content.decode()
    assert "Only leading zeros distinguish it from 00123, which exists." in refused
    assert "Create it anyway" in refused
    assert "Create it anyway" not in manager.get(ADD).content.decode()
    assert Product.objects.count() == 1

    manager.post(ADD, form(sku="123", allow_similar="on"))
    assert Product.objects.filter(sku="123").exists()


@pytest.mark.parametrize("permissions", [(), ("view_product",), ("view_product", "operate_stock")])
def test_creating_needs_its_permission(permissions: tuple[str, ...]) -> None:
    browser = browser_of("Mallory", *permissions)

    assert browser.get(ADD).status_code == 403
    assert browser.post(ADD, form()).status_code == 403
    assert not Product.objects.exists()


# ------------------------------------------------------------------------------- the empty list


@pytest.mark.parametrize("text", [" LAMP-9 ", "lamp-9"])
def test_a_search_without_a_result_offers_to_create_the_sku(manager: Client, text: str) -> None:
    page = manager.get(LIST, {"q": text}).content.decode()

    assert f'href="{ADD}?sku=LAMP-9"' in page
    assert 'name="sku" value="LAMP-9"' in manager.get(f"{ADD}?sku=LAMP-9").content.decode()


@pytest.mark.parametrize("text", ["blue lamp", "<script>alert(1)</script>", "%", "ä"])
def test_a_text_that_is_no_sku_is_not_offered(manager: Client, text: str) -> None:
    page = manager.get(LIST, {"q": text}).content.decode()

    assert "No products match" in page
    assert "?sku=" not in page
    assert "<script>alert" not in page


def test_a_search_that_matches_an_archived_product_links_to_it(manager: Client) -> None:
    ProductFactory.create(sku="CUP", name="Tea cup")
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    page = manager.get(LIST, {"q": "tea cup"})

    assert "An archived product matches." in page.content.decode()
    assert "?sku=" not in page.content.decode()
    found = manager.get(LIST + page.context["archived_url"]).context["cl"].result_list
    assert [product.sku for product in found] == ["CUP"]


def test_users_who_may_not_create_are_not_told_to() -> None:
    viewer = browser_of("Vera", "view_product", "view_stockevent")

    searched = viewer.get(LIST, {"q": "LAMP-9"}).content.decode()
    empty = viewer.get(LIST).content.decode()

    for page in (searched, empty):
        assert "Create" not in page
        assert "Add product" not in page
    assert "No products match" in searched
    assert "No products" in empty
