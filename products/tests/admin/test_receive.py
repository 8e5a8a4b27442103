"""The page on which a delivery is entered."""

from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from products import stock
from products.models import PendingImport, Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.admin.entry import check, confirm, enter, form_errors, page_of, problems
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CLERK = ("view_product", "operate_stock")


@pytest.fixture
def clerk() -> Client:
    return browser_of("Ada", *CLERK)


@pytest.fixture
def cup() -> Product:
    return ProductFactory.create(sku="CUP", name="Cup", quantity=10)


def added() -> list[tuple[str, int, str, str]]:
    events = StockEvent.objects.filter(type=StockEvent.Type.ADDED).order_by("pk")
    return list(events.values_list("sku", "quantity_change", "reason", "reference"))


def test_a_delivery_is_previewed_and_then_added(clerk: Client, cup: Product) -> None:
    ProductFactory.create(sku="MUG", name="Mug", quantity=0)
    before = stored()

    preview = enter(clerk, "receive", "CUP\t5\nMUG\t12\n", reference="po-7", note="two boxes")

    assert stored() == before
    assert [(row.line.number, row.line.sku, row.name) for row in preview.context["rows"]] == [
        (1, "CUP", "Cup"),
        (2, "MUG", "Mug"),
    ]
    assert preview.context["rows"][0].differences[0] == ("On hand", 10, 15)
    assert "Reason: delivery: two boxes. Reference: po-7." in preview.content.decode()

    done = confirm(clerk, preview)

    assert "Received 17 units of 2 products." in done.content.decode()
    assert done.redirect_chain[0][0].startswith(page_of("receive"))
    assert added() == [
        ("CUP", 5, "delivery: two boxes", "po-7"),
        ("MUG", 12, "delivery: two boxes", "po-7"),
    ]
    assert not PendingImport.objects.exists()


@pytest.mark.parametrize(
    "lines",
    [
        "CUP\t5",
        "CUP,5",
        "CUP;5",
        "CUP 5",
        "  CUP   5  ",
        "cup\t5",
        "\n\nCUP\t5\n\n",
        "SKU\tAmount\nCUP\t5",
        "sku,qty\nCUP,5",
        "Name\tReceived\tArticle\nA cup\t5\tCUP",
        '="CUP"\t5',
        '"CUP"\t"5"',
        "CUP\t5.00",
        "sku\tadd\treason\nCUP\t5\tanother one",
    ],
)
def test_lines_are_read_as_a_spreadsheet_or_a_user_writes_them(
    clerk: Client, cup: Product, lines: str
) -> None:
    confirm(clerk, enter(clerk, "receive", lines))

    assert added() == [("CUP", 5, "delivery", "")]


def test_lines_are_numbered_below_the_names_of_the_columns(clerk: Client, cup: Product) -> None:
    named = enter(clerk, "receive", "sku\tadd\nCUP\t1\n\t\nNOPE\t2")
    unnamed = enter(clerk, "receive", "CUP\t1\n\nNOPE\t2")

    assert problems(named) == problems(unnamed) == [(3, "Product NOPE does not exist.")]


def test_a_preview_names_each_wrong_line_and_writes_nothing(clerk: Client, cup: Product) -> None:
    ProductFactory.create(sku="00123")
    archived = ProductFactory.create(sku="OLD")
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    before = stored()
    lines = (
        "NOPE\t1\nCUP\t\nCUP\tx\nCUP\t-3\n\t4\nOLD\t1\n123\t1\nCUP\t1000000000\nCUP\t0\nCUP\t1,000"
    )

    preview = enter(clerk, "receive", lines)

    found = problems(preview)
    assert [number for number, _ in found] == list(range(1, 11))
    texts = [detail for _, detail in found]
    assert texts[0] == "Product NOPE does not exist."
    assert texts[1] == "Enter the number of units, or delete the line."
    assert "'x' is not a whole number" in texts[2]
    assert "-3 is a negative amount" in texts[3]
    assert texts[4] == "The SKU is missing."
    assert texts[5] == "OLD is archived. Restore it to add or reserve units."
    assert texts[6] == "Product 123 does not exist. Did you mean 00123?"
    assert "would exceed the limit" in texts[7]
    assert texts[8] == "At least 1 unit is required."
    assert "may be a number with thousands" in texts[9]
    assert "Nothing was saved: 10 lines must be corrected" in preview.content.decode()
    assert stored() == before
    archived.refresh_from_db()
    assert archived.version == 2


def test_nothing_typed_is_lost_by_an_error(clerk: Client, cup: Product) -> None:
    wrong = enter(clerk, "receive", "CUP\t5\nNOPE\t3", reference="po-7", note="box 2")
    posted = dict(wrong.context["posted"])

    again = clerk.post(page_of("receive"), {**posted, "change": "1"})

    page = again.content.decode()
    assert "CUP\t5\nNOPE\t3" in page.replace("\r\n", "\n")
    for value in ("po-7", "box 2", posted["draft"]):
        assert f'value="{value}"' in page


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("", "Enter at least one line."),
        (" \n\t\n", "Enter at least one line."),
        ("sku\tadd\n", "Enter at least one line."),
        ("CUP\x005", "Null characters are not allowed."),
        ("CUP\t1\n" * 1_001, "1,001 lines are too many"),
        ("CUP\t1\n" * 90_000, "Ensure this value has at most 500000 characters"),
        ("CUP\t5\tA cup", "Line 1 has more than a SKU and a number."),
        ("SKU\tColour\nCUP\tred", "no column with the number of units"),
        ("sku,available_quantity,quantity\nCUP,3,3", "no column with the number of units"),
        ("\ufeff", "Enter at least one line."),
        ("CUP 5\x1aMUG 6", "Ctrl-Z"),
    ],
)
def test_text_that_cannot_be_read_is_refused_and_stays(
    clerk: Client, cup: Product, lines: str, error: str
) -> None:
    before = stored()

    response = enter(clerk, "receive", lines)

    [message] = form_errors(response)["lines"]
    assert error in message
    assert (stored(), PendingImport.objects.count()) == (before, 0)
    assert error in check(clerk, "receive", lines)["error"]


def test_a_body_that_is_too_large_is_refused(clerk: Client, cup: Product) -> None:
    before = stored()

    response = enter(clerk, "receive", "CUP\t1\n" * 200_000)

    assert response.status_code == 413
    assert stored() == before


@pytest.mark.parametrize(
    "lines",
    [
        "=CUP()\t5",
        '=HYPERLINK("http://x")\t1',
        "CUP\t" + "9" * 400,
        "CUP\t1e9",
        "<script>alert(1)</script>\t1",
        "CUP\t\u0665",
        "\u0421UP\t5",
        "C" * 1_000 + "\t1",
        '{"sku": "CUP"}',
        "<html>",
    ],
)
def test_hostile_lines_are_refused(clerk: Client, cup: Product, lines: str) -> None:
    before = stored()

    preview = enter(clerk, "receive", lines)
    known = check(clerk, "receive", lines)

    page = preview.content.decode()
    assert "<script>alert" not in page
    assert preview.context.get("pending") is None
    assert preview.context.get("wrong") or form_errors(preview)
    assert known["error"] or known["lines"][0]["problems"]
    assert stored() == before


def test_the_same_sku_on_two_lines_is_added_twice(clerk: Client, cup: Product) -> None:
    confirm(clerk, enter(clerk, "receive", "CUP\t5\nCUP\t2"))

    cup.refresh_from_db()
    assert (cup.quantity, cup.version) == (17, 3)


def test_reason_and_note_together_fit_into_the_ledger(clerk: Client, cup: Product) -> None:
    response = enter(clerk, "receive", "CUP\t5", note="x" * 250)

    assert form_errors(response) == {"note": ["Reason and note have at most 255 characters."]}


@pytest.mark.parametrize("reason", ["", "forged"])
def test_the_reason_is_one_of_the_list(clerk: Client, cup: Product, reason: str) -> None:
    response = enter(clerk, "receive", "CUP\t5", reason=reason)

    assert list(form_errors(response)) == ["reason"]


# ---------------------------------------------------------------------------------------- only once


def test_confirming_a_preview_twice_adds_once(clerk: Client, cup: Product) -> None:
    preview = enter(clerk, "receive", "CUP\t5")

    confirm(clerk, preview)
    again = confirm(clerk, preview)

    assert "These lines were already saved" in again.content.decode()
    cup.refresh_from_db()
    assert cup.quantity == 15


def test_two_previews_of_one_page_are_saved_once(clerk: Client, cup: Product) -> None:
    draft = "0" * 31 + "1"
    first = enter(clerk, "receive", "CUP\t5", draft=draft)
    second = enter(clerk, "receive", "CUP\t5\n", draft=draft)

    confirm(clerk, second)
    confirm(clerk, first)

    cup.refresh_from_db()
    assert cup.quantity == 15


@pytest.mark.django_db(transaction=True)
def test_concurrent_confirmations_add_once() -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    clerk = browser_of("Ada", *CLERK)
    url = enter(clerk, "receive", "CUP\t5").context["confirm_url"]
    windows = [Client() for _ in range(4)]
    for window in windows:
        window.force_login(get_user_model().objects.get(username="Ada"))

    at_once([partial(window.post, url) for window in windows])

    assert Product.objects.get().quantity == 15


def test_lines_that_are_entered_after_going_back_can_be_saved_after_a_warning(
    clerk: Client, cup: Product
) -> None:
    draft = "0" * 31 + "1"
    confirm(clerk, enter(clerk, "receive", "CUP\t5", draft=draft))

    again = enter(clerk, "receive", "CUP\t7", draft=draft)

    assert "This page has already saved lines." in again.content.decode()
    cup.refresh_from_db()
    assert cup.quantity == 15

    done = confirm(clerk, again)

    # The browser forgets the draft by the id that it knows.
    assert done.redirect_chain[0][0].endswith(f"?done={draft}")
    cup.refresh_from_db()
    assert cup.quantity == 22


def test_a_delivery_that_was_entered_before_is_pointed_out(clerk: Client, cup: Product) -> None:
    confirm(clerk, enter(clerk, "receive", "CUP\t5", reference="po-7"))

    same = enter(clerk, "receive", "CUP\t5", reference="po-7")
    other = enter(clerk, "receive", "CUP\t5", reference="po-8")

    assert "Ada already saved the same lines" in same.content.decode()
    assert "already saved" not in other.content.decode()


def test_a_delivery_is_refused_if_a_product_was_archived_since_the_preview(
    clerk: Client, cup: Product
) -> None:
    ProductFactory.create(sku="MUG", quantity=0)
    preview = enter(clerk, "receive", "MUG\t1\nCUP\t5", reference="po-7")
    stock.edit(sku="CUP", archived=True, by=ACTOR)
    before = stored()

    refused = confirm(clerk, preview)

    assert problems(refused) == [(2, "CUP is archived. Restore it to add or reserve units.")]
    assert dict(refused.context["posted"])["reference"] == "po-7"
    assert stored() == before


# ------------------------------------------------------------------------------------ while typing


def test_a_line_is_checked_as_it_is_typed(clerk: Client, cup: Product) -> None:
    stock.reserve(sku="CUP", amount=4, by=ACTOR)

    [line] = check(clerk, "receive", "sku\tadd\ncup\t")["lines"]

    assert (line["sku"], line["problems"], line["wrong"]) == ("CUP", [], [])
    assert line["product"] == {
        "name": "Cup",
        "url": f"/admin/products/product/{cup.pk}/change/",
        "quantity": 10,
        "reserved": 4,
        "archived": False,
    }


@pytest.mark.parametrize(
    ("lines", "problem", "wrong"),
    [
        ("NOPE\t", "Product NOPE does not exist.", "sku"),
        ("NOPE\t5", "Product NOPE does not exist.", "sku"),
        ("123\t", "Product 123 does not exist. Did you mean 00123?", "sku"),
        ("CUP\tx", "'x' is not a whole number. Write digits only, such as 1000.", "amount"),
        ("OLD\t", "OLD is archived. Restore it to add or reserve units.", "sku"),
        ("/\t", "A SKU can never have a slash.", "sku"),
    ],
)
def test_a_problem_is_said_at_its_line(
    clerk: Client, cup: Product, lines: str, problem: str, wrong: str
) -> None:
    ProductFactory.create(sku="00123")
    ProductFactory.create(sku="OLD")
    stock.edit(sku="OLD", archived=True, by=ACTOR)

    [line] = check(clerk, "receive", lines)["lines"]

    assert problem in " ".join(line["problems"])
    assert line["wrong"] == wrong


def test_a_sku_in_place_of_an_amount_is_pointed_out(clerk: Client, cup: Product) -> None:
    """A scanner types into the field that has the focus."""
    ProductFactory.create(sku="22197")

    [line] = check(clerk, "receive", "CUP\t22197")["lines"]

    assert line["warning"] == "22197 is also a SKU. Check the number of units."


def test_a_check_reads_a_fixed_number_of_queries(
    clerk: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        ProductFactory.create(sku=f"CUP-{number}")

    with django_assert_max_num_queries(9):
        known = check(clerk, "receive", "\n".join(f"CUP-{number}\t1" for number in range(30)))

    assert len(known["lines"]) == 30


# ------------------------------------------------------------------------------------------ rights


@pytest.mark.parametrize("user_kind", ["Stock viewer", "no group"])
def test_users_who_may_not_add_stock_get_no_page(user_kind: str, cup: Product) -> None:
    preview = enter(browser_of("Ada", *CLERK), "receive", "CUP\t5")
    browser = browser_of(user_kind)
    before = stored()

    responses = [
        browser.get(page_of("receive")),
        enter(browser, "receive", "CUP\t5"),
        browser.post(f"{page_of('receive')}check/", {"lines": "CUP\t5"}),
        browser.post(preview.context["confirm_url"]),
    ]

    assert [response.status_code for response in responses] == [403] * 4
    assert (stored(), PendingImport.objects.count()) == (before, 1)


def test_the_preview_of_another_user_cannot_be_confirmed(clerk: Client, cup: Product) -> None:
    preview = enter(clerk, "receive", "CUP\t5")
    before = stored()

    confirm(browser_of("Eve", *CLERK), preview)

    assert stored() == before


def test_a_preview_of_counts_cannot_be_confirmed_as_a_delivery(cup: Product) -> None:
    both = browser_of("Ada", *CLERK, "adjust_stock")
    pending = enter(both, "count", "CUP\t5").context["pending"]
    before = stored()

    both.post(f"{page_of('receive')}{pending.pk}/")

    assert stored() == before


def test_a_clerk_without_the_right_to_view_products_gets_no_page(cup: Product) -> None:
    assert browser_of("Ada", "operate_stock").get(page_of("receive")).status_code == 403
