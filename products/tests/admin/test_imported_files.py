"""The back office remembers the files that it imported."""

import re
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from openpyxl import Workbook

from products import stock
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

DELIVERY = b"sku,add,reason\nCUP,4,delivery\n"
PERMISSIONS = (
    *("view_product", "add_product", "change_product", "operate_stock", "adjust_stock"),
    "view_stockevent",
)


@pytest.fixture(autouse=True)
def _cup() -> None:
    ProductFactory.create(sku="CUP", quantity=10)


@pytest.fixture
def ada() -> Client:
    return browser_of("Ada", *PERMISSIONS)


def preview(browser: Client, content: bytes, kind: str = "adjustments", **fields: str) -> Any:
    url = reverse("admin:products_product_import", args=[kind])
    return browser.post(url, {"file": SimpleUploadedFile("rows", content), **fields})


def confirm(browser: Client, page: Any) -> Any:
    pending = page.context["pending"]
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    return browser.post(url)


def workbook(*rows: list[Any]) -> bytes:
    book, file = Workbook(), BytesIO()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(file)
    return file.getvalue()


def warning(page: Any) -> str:
    found = re.search(r"\w+ already imported the same rows on [^<]*", page.content.decode())
    return found[0] if found else ""


SAME = [
    DELIVERY,
    b"\xef\xbb\xbfSKU;Add;Reason\r\nCUP;4;delivery\r\n",
    workbook(["reason", "sku", "add"], ["delivery", "CUP", 4]),
]


@pytest.mark.parametrize("again", SAME)
def test_the_same_rows_are_pointed_out_with_who_and_when(ada: Client, again: bytes) -> None:
    first = preview(ada, DELIVERY)
    assert warning(first) == ""
    confirm(ada, first)

    page = preview(browser_of("Bob", *PERMISSIONS), again, reason="once more")

    event = StockEvent.objects.latest("pk")
    assert warning(page) == (
        f"Ada already imported the same rows on {event.occurred_at:%Y-%m-%d %H:%M} UTC. "
    )
    link = re.search(r'href="([^"]*\?q=[^"]*)"', page.content.decode())
    assert link
    assert [row.pk for row in ada.get(link[1]).context["cl"].result_list] == [event.pk]


def test_a_remembered_file_can_be_imported_again(ada: Client) -> None:
    for _ in range(2):
        confirm(ada, preview(ada, DELIVERY))

    assert Product.objects.get(sku="CUP").quantity == 18


@pytest.mark.parametrize(
    "other", [b"sku,add,reason\nCUP,5,delivery\n", b"sku,remove,reason\nCUP,4,delivery\n"]
)
def test_other_rows_are_not_pointed_out(ada: Client, other: bytes) -> None:
    confirm(ada, preview(ada, DELIVERY))

    assert warning(preview(ada, other)) == ""


def test_a_file_that_was_not_applied_is_not_pointed_out(ada: Client) -> None:
    removal = b"sku,remove,reason\nCUP,10,breakage\n"
    preview(ada, removal)
    assert warning(preview(ada, removal)) == ""

    page = preview(ada, removal)
    stock.remove(sku="CUP", amount=1, by=ACTOR)
    assert confirm(ada, page).context["wrong"] == 1
    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert warning(preview(ada, removal)) == ""


def test_a_file_of_products_is_remembered_too(ada: Client) -> None:
    names = b"sku,name\nCUP,Enamel cup\nMUG,Mug\n"
    confirm(ada, preview(ada, names, "products"))
    Product.objects.filter(sku="CUP").update(name="Cup")

    assert warning(preview(ada, names, "products")).startswith("Ada already imported")


def test_a_preview_that_is_shown_again_still_names_its_sheet(ada: Client) -> None:
    page = preview(ada, workbook(["sku", "quantity", "reason"], ["CUP", 9, "count"]))
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    again = confirm(ada, page)

    assert again.context["moved"] == [2]
    assert "Sheet: &#x27;Sheet&#x27;." in again.content.decode()
    confirm(ada, again)
    assert warning(preview(ada, b"sku,quantity,reason\nCUP,9,count\n")) != ""
