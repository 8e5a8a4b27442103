"""The page on which counts are entered, and the ways to begin a count."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from products import stock
from products.models import PendingImport, Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.admin.entry import check, confirm, enter, form_errors, page_of, problems
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db

COUNTER = ("view_product", "adjust_stock")
LIST = "/admin/products/product/"


@pytest.fixture
def counter() -> Client:
    return browser_of("Ada", *COUNTER)


@pytest.fixture
def cup() -> Product:
    return ProductFactory.create(sku="CUP", name="Cup", quantity=10)


def counted() -> list[tuple[str, int, int, str]]:
    events = StockEvent.objects.filter(type=StockEvent.Type.ADJUSTED).order_by("pk")
    return list(events.values_list("sku", "quantity", "quantity_change", "reason"))


def lines_of(page: Any) -> str:
    """Return the lines with which the page Count begins."""
    assert page.status_code == 200
    lines: str = page.context["form"].initial.get("lines", "")
    return lines


def test_counts_are_previewed_and_then_saved(counter: Client, cup: Product) -> None:
    ProductFactory.create(sku="MUG", quantity=3)
    ProductFactory.create(sku="POT", quantity=4)
    before = stored()
    lines = "sku\tquantity\texpected_quantity\nCUP\t8\t10\nMUG\t\t3\nPOT\t4\t4"

    preview = enter(counter, "count", lines, note="shelf 2")

    assert stored() == before
    assert "1 line passed over: not counted." in preview.content.decode()
    assert "2 lines will be saved" in preview.content.decode()

    done = confirm(counter, preview)

    assert "Counted 2 products." in done.content.decode()
    # A count that changes nothing is recorded, too.
    assert counted() == [
        ("CUP", 8, -2, "stocktake: shelf 2"),
        ("POT", 4, 0, "stocktake: shelf 2"),
    ]


def test_a_level_that_has_changed_since_is_shown_and_can_be_confirmed(
    counter: Client, cup: Product
) -> None:
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    preview = enter(counter, "count", "sku\tquantity\texpected_quantity\nCUP\t9\t10")

    page = preview.content.decode()
    assert "Nothing was saved: the stock has changed while you counted. Check line 1." in page
    assert "8 on hand now, 10 when you saw it." in page
    assert preview.context["rows"][0].differences[0] == ("On hand", 8, 9)

    stock.remove(sku="CUP", amount=1, by=ACTOR)
    before = stored()
    again = confirm(counter, preview)

    assert "CUP has 7 on hand, not 8. Check the count and try again." in again.content.decode()
    assert stored() == before

    confirm(counter, again)

    assert counted() == [("CUP", 9, 2, "stocktake")]


def test_a_late_count_keeps_later_sales(counter: Client) -> None:
    evening = datetime(2026, 11, 20, 18, tzinfo=UTC)
    stock.create(sku="CUP", name="Cup", quantity=9, by=at(evening))
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    lines = "sku\tquantity\texpected_quantity\nCUP\t8\t7"
    preview = enter(counter, "count", lines, counted_at="2026-11-20T18:00")
    confirm(counter, preview)

    assert counted() == [("CUP", 6, -1, "stocktake")]


def test_a_time_of_the_count_in_the_future_is_refused(counter: Client, cup: Product) -> None:
    tomorrow = timezone.now() + timedelta(days=1)

    preview = enter(counter, "count", "CUP\t8", counted_at=f"{tomorrow:%Y-%m-%dT%H:%M}")

    [(line, detail)] = problems(preview)
    assert (line, "future" in detail) == (1, True)


def test_each_wrong_count_is_named(counter: Client, cup: Product) -> None:
    ProductFactory.create(sku="MUG", quantity=10)
    stock.reserve(sku="MUG", amount=4, by=ACTOR)
    for sku in ("A", "B", "C"):
        ProductFactory.create(sku=sku)
    before = stored()
    lines = "CUP\t1\nCUP\t2\nMUG\t3\nNOPE\t1\nA\t-1\nB\t5.5\nC\t1000000001"

    found = problems(enter(counter, "count", lines))

    assert found[0] == (2, "CUP is already counted on line 1. Delete one of the counts.")
    assert found[1][1].startswith("MUG cannot be set to 3: 4 are reserved.")
    assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7]
    assert stored() == before


@pytest.mark.parametrize("lines", ["CUP", "CUP\t\n", "sku\tquantity\nCUP\t"])
def test_lines_without_any_count_are_refused(counter: Client, cup: Product, lines: str) -> None:
    response = enter(counter, "count", lines)

    assert form_errors(response) == {"lines": ["Enter a number of units on at least one line."]}


def test_the_levels_of_a_typed_line_are_known_at_once(counter: Client, cup: Product) -> None:
    [line] = check(counter, "count", "sku\tquantity\texpected_quantity\ncup\t\t")["lines"]

    assert (line["sku"], line["problems"], line["product"]["quantity"]) == ("CUP", [], 10)

    [line] = check(counter, "count", "sku\tquantity\texpected_quantity\nCUP\t3\t12")["lines"]

    assert line["moved"] == "10 on hand now, 12 when you saw it."


@pytest.mark.parametrize(("counted", "asks"), [(5_950, True), (59, True), (590, False)])
def test_an_unlikely_count_is_pointed_out(counter: Client, counted: int, asks: bool) -> None:
    ProductFactory.create(sku="POT", quantity=595)

    preview = enter(counter, "count", f"POT\t{counted}")
    [line] = check(counter, "count", f"POT\t{counted}")["lines"]

    warning = f"{counted:,} counted, 595 on hand. Check the count."
    assert (line["warning"] == warning) is asks
    assert (warning in preview.content.decode()) is asks
    assert ("Unlikely count on line 1" in preview.content.decode()) is asks
    assert preview.context["pending"]


# ------------------------------------------------------------------------------------------- begin


def test_selected_products_are_counted(counter: Client, cup: Product) -> None:
    mug = ProductFactory.create(sku="MUG", quantity=3)
    ProductFactory.create(sku="POT")

    page = counter.post(LIST, {"action": "enter_counts", "_selected_action": [mug.pk, cup.pk]})

    assert lines_of(page) == "sku\tquantity\texpected_quantity\nCUP\t\t10\nMUG\t\t3"


@pytest.mark.parametrize(
    ("query", "skus"),
    [
        ("", ["CUP", "MUG"]),
        ("q=mug", ["MUG"]),
        ("stock=out", ["MUG"]),
        ("archived=only", ["OLD"]),
        ("q=nothing", []),
    ],
)
def test_the_products_of_a_filtered_list_are_counted(
    counter: Client, cup: Product, query: str, skus: list[str]
) -> None:
    ProductFactory.create(sku="MUG", name="Mug", quantity=0)
    ProductFactory.create(sku="OLD", quantity=0)
    stock.edit(sku="OLD", archived=True, by=ACTOR)

    page = counter.get(f"{page_of('count')}list/?{query}")

    assert [line.split("\t")[0] for line in lines_of(page).splitlines()[1:]] == skus


def test_the_same_products_find_their_draft_again(counter: Client, cup: Product) -> None:
    def start(query: str) -> str:
        page = counter.get(f"{page_of('count')}list/?{query}")
        return str(page.context["form"].initial["start"])

    first = start("")
    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert start("") == first
    ProductFactory.create(sku="MUG")
    assert start("") != first


def test_a_page_takes_the_first_thousand_products_of_a_list(counter: Client) -> None:
    Product.objects.bulk_create(
        Product(sku=f"P-{number:05}", name="P", search_terms="") for number in range(1_002)
    )
    page = counter.get(f"{page_of('count')}list/")
    lines = lines_of(page)
    Product.objects.all().delete()

    assert len(lines.splitlines()) == 1_001
    assert "These are the first 1,000 products." in page.content.decode()


# ----------------------------------------------------------------------------------- print, file


def test_a_sheet_is_printed_without_levels_unless_asked(counter: Client, cup: Product) -> None:
    ProductFactory.create(sku="MUG", name="<b>Mug</b>", quantity=3)

    lines = "sku\tquantity\texpected_quantity\nMUG\t\t3\nNOPE\t\t\nCUP\t\t10"
    sheet = counter.post(f"{page_of('count')}print/", {"lines": lines})

    page = sheet.content.decode()
    assert page.index("MUG") < page.index("CUP")
    assert "&lt;b&gt;Mug&lt;/b&gt;" in page
    assert "1 line without a known product is left out" in page
    assert "Print the levels on hand" in page


@pytest.mark.parametrize("lines", ["", "CUP\t5\tA cup\tx", "CUP\t1\n" * 1_001])
def test_a_sheet_of_unreadable_lines_says_why(counter: Client, cup: Product, lines: str) -> None:
    sheet = counter.post(f"{page_of('count')}print/", {"lines": lines})

    assert sheet.status_code == 200
    assert '<p role="alert">' in sheet.content.decode()


def test_a_downloaded_sheet_is_filled_in_and_imported(cup: Product) -> None:
    both = browser_of("Ada", *COUNTER, "operate_stock")
    ProductFactory.create(sku="MUG", name="=Mug", quantity=3)
    sheet = both.get(f"{page_of('count')}sheet/")
    text = sheet.getvalue().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [
        ["sku", "name", "quantity", "expected_quantity"],
        ["CUP", "Cup", "", "10"],
        ["MUG", "'=Mug", "", "3"],
    ]
    rows[1][2] = "8"
    file = io.StringIO()
    csv.writer(file).writerows(rows)

    url = reverse("admin:products_product_import", args=["adjustments"])
    upload = SimpleUploadedFile("sheet.csv", file.getvalue().encode())
    preview = both.post(url, {"file": upload, "reason": "stocktake"})
    both.post(preview.context["confirm_url"])

    assert counted() == [("CUP", 8, -2, "stocktake")]


def test_a_sheet_of_a_filtered_list_is_an_xlsx_file(counter: Client, cup: Product) -> None:
    ProductFactory.create(sku="MUG", quantity=0)

    sheet = counter.get(f"{page_of('count')}sheet/?stock=out&format=xlsx")

    rows = load_workbook(io.BytesIO(sheet.content)).worksheets[0].values
    assert [row[0] for row in rows] == ["sku", "MUG"]


# ------------------------------------------------------------------------------------------ rights


@pytest.mark.parametrize("user_kind", ["Stock clerk", "Stock viewer", "no group"])
def test_users_who_may_not_count_get_no_page(user_kind: str, cup: Product) -> None:
    granted = {"Stock clerk": ("view_product", "operate_stock"), "Stock viewer": ("view_product",)}
    preview = enter(browser_of("Ada", *COUNTER), "count", "CUP\t5")
    browser = browser_of("Eve", *granted.get(user_kind, ()))
    url, before = page_of("count"), stored()

    responses = [
        browser.get(url),
        enter(browser, "count", "CUP\t5"),
        browser.post(f"{url}check/", {"lines": "CUP\t5"}),
        browser.post(f"{url}print/", {"lines": "CUP"}),
        browser.get(f"{url}list/"),
        browser.get(f"{url}sheet/"),
        browser.post(preview.context["confirm_url"]),
    ]
    acted = browser.post(LIST, {"action": "enter_counts", "_selected_action": [cup.pk]})

    assert [response.status_code for response in responses] == [403] * 7
    # The list shows that it has no such action.
    assert "form" not in (acted.context or {})
    assert (stored(), PendingImport.objects.count()) == (before, 1)


def test_a_preview_is_saved_once(counter: Client, cup: Product) -> None:
    preview = enter(counter, "count", "CUP\t5")
    confirm(counter, preview)
    stock.add(sku="CUP", amount=1, by=ACTOR)

    confirm(counter, preview)

    cup.refresh_from_db()
    assert cup.quantity == 6
