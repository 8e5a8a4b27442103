"""The ledger page in the back office: filters, search and CSV export."""

import csv
import io
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import escape

from products import stock
from products.admin import base, days, ledger
from products.api.serializers import StockEventSerializer
from products.files import formats
from products.models import StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory, product_with_past, record_event

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:products_stockevent_changelist")
EXPORT = reverse("admin:products_stockevent_export")
ANN = stock.Actor("Ann", StockEvent.Source.ADMIN, "request-ann")


@pytest.fixture
def staff() -> Client:
    return browser_of("Ada", "view_stockevent", "view_product", "view_reservation")


def listed(client: Client, **parameters: str) -> list[tuple[str, int]]:
    """Return the SKU and version of each event on the page, in order."""
    response = client.get(PAGE, parameters)
    assert response.status_code == 200
    return [(event.sku, event.version) for event in response.context["cl"].result_list]


def exported(client: Client, **parameters: str) -> list[dict[str, str]]:
    response = client.get(EXPORT, parameters)
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.getvalue().decode("utf-8-sig"), newline="")))


def test_the_newest_event_comes_first(staff: Client) -> None:
    cup = ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="MUG")
    stock.add(sku=cup.sku, amount=1, by=ACTOR)

    assert listed(staff) == [("CUP", 2), ("MUG", 1), ("CUP", 1)]


def test_a_row_shows_the_change_and_links_to_product_and_reservation(
    staff: Client,
) -> None:
    cup = ProductFactory.create(sku="CUP", quantity=1025)
    stock.remove(sku="CUP", amount=5, reason="broken", reference="note-7", by=ANN)
    held = stock.reserve(sku="CUP", amount=3, by=ACTOR)

    page = staff.get(PAGE).content.decode()

    for text in (
        "Product CUP",
        "\N{MINUS SIGN}5",
        "1,020",
        "+3",
        "broken · note-7",
        "Ann (Back office)",
    ):
        assert text in page
    assert reverse("admin:products_product_change", args=[cup.pk]) in page
    assert reverse("admin:products_reservation_change", args=[held.pk]) in page


def test_an_edit_shows_old_and_new_values(staff: Client) -> None:
    cup = ProductFactory.create(sku="CUP")
    text = "<b>" + "x" * 1000
    details = {
        "name": {"old": "Cup", "new": "Mug"},
        "description": {"old": "", "new": text},
        "minimum_stock_level": {"old": 0, "new": 1500},
    }
    event = record_event(cup, StockEvent.Type.PRODUCT_EDITED, details=details, reason="relaunch")
    short = f"<b>{'x' * (base.MAX_QUOTED - 4)}…"
    edited = f"Renamed from “Cup” to “Mug”, Description: “” → “{short}”, Minimum: 0 → 1,500"

    pages = [
        staff.get(PAGE, {"type__exact": "ProductEdited"}),
        staff.get(reverse("admin:products_stockevent_change", args=[event.pk])),
        staff.get(reverse("admin:products_product_change", args=[cup.pk])),
    ]

    assert listed(staff, type__exact="ProductEdited") == [("CUP", 2)]
    for page in pages:
        assert escape(edited) in page.content.decode()
    assert "relaunch" in pages[0].content.decode()


def test_an_event_and_its_undo_link_to_each_other(staff: Client) -> None:
    cup = ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=5, by=ANN)
    event = cup.events.get(version=2)
    stock.undo(event, by=ANN)
    undo = cup.events.get(version=3)
    urls = {
        row.pk: reverse("admin:products_stockevent_change", args=[row.pk]) for row in (event, undo)
    }

    of_event = staff.get(urls[event.pk]).content.decode()
    of_undo = staff.get(urls[undo.pk]).content.decode()

    assert f'href="{urls[undo.pk]}">Undone by Ann' in of_event
    assert f'href="{urls[event.pk]}">Added 5</a>' in of_undo


def test_search_finds_exact_values_only(staff: Client) -> None:
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="CUP-2")
    stock.add(sku="CUP", amount=1, reference="order-1", by=ACTOR)
    stock.add(sku="CUP-2", amount=1, reference="CUP", by=ANN)

    assert listed(staff, q="CUP") == [("CUP-2", 2), ("CUP", 2), ("CUP", 1)]
    assert listed(staff, q=" cup ") == [("CUP", 2), ("CUP", 1)]
    assert listed(staff, q="order-1") == [("CUP", 2)]
    assert listed(staff, q="request-ann") == [("CUP-2", 2)]
    assert listed(staff, q="order") == []
    assert listed(staff, q="ORDER-1") == []


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"type__exact": "InventoryAdded"}, [("CUP", 2)]),
        ({"source__exact": "command"}, [("CUP", 1)]),
        ({"actor": "Ann"}, [("CUP", 2)]),
        ({"type__exact": "", "source__exact": "", "actor": ""}, [("CUP", 2), ("CUP", 1)]),
        ({"type__exact": "Nonsense"}, []),
        ({"actor": "An"}, []),
        ({"actor": "a\0b"}, []),
        ({"type__exact": "InventoryAdded", "source__exact": "command"}, []),
        ({"type__exact": "InventoryAdded", "actor": "Ann", "q": "CUP"}, [("CUP", 2)]),
    ],
)
def test_filters_can_be_combined(
    staff: Client, parameters: dict[str, str], found: list[tuple[str, int]]
) -> None:
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ANN)

    assert listed(staff, **parameters) == found


def test_the_date_filter_covers_whole_utc_days(staff: Client) -> None:
    times = [
        datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 3, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 4, tzinfo=UTC),
    ]
    product_with_past("CUP", [(time, 1) for time in times])

    both = listed(staff, occurred_at_from="2026-03-02", occurred_at_to="2026-03-03")

    assert both == [("CUP", 3), ("CUP", 2)]
    assert listed(staff, occurred_at_from="2026-03-04") == [("CUP", 4)]
    assert listed(staff, occurred_at_to="2026-03-01") == [("CUP", 1)]
    assert len(listed(staff, occurred_at_from="1900-01-01", occurred_at_to="2999-12-31")) == 4


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-02", "2026-03-02"),
        (" 2026-3-2 ", "2026-03-02"),
        ("29.11.2026", "2026-11-29"),
        ("02.03.2026", "2026-03-02"),
        ("29/11/2026", "2026-11-29"),
        ("11/29/2026", "2026-11-29"),
        ("03/03/2026", "2026-03-03"),
    ],
)
def test_a_day_may_be_written_in_several_ways(text: str, day: str) -> None:
    assert str(days.day_of(text)) == day


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("31.31.2026", "'31.31.2026' is not a date. Enter one such as 2026-11-29."),
        ("05/04/2026", "05/04/2026 could be 2026-04-05 or 2026-05-04. Enter one of these."),
        ("0206-03-02", "Enter a year from 1900 to 2999."),
        ("29.11.26", "is not a date"),
        ("yesterday", "is not a date"),
        ("\0" * 5000, "is not a date"),
        ("2026-03-02" * 1000, "is not a date"),
        ("<b>", "is not a date"),
    ],
)
def test_a_text_that_is_no_day_stays_in_its_field_and_finds_nothing(
    staff: Client, text: str, problem: str
) -> None:
    ProductFactory.create(sku="CUP")

    response = staff.get(PAGE, {"actor": ACTOR.name, "occurred_at_from": text})
    page = response.content.decode()

    assert page.count(escape(problem)) == 2  # Above the list and at the field.
    assert f'value="{escape(text)}"' in page
    assert list(response.context["cl"].result_list) == []
    assert listed(staff, actor=ACTOR.name) == [("CUP", 1)]


def test_days_in_the_wrong_order_are_reported(staff: Client) -> None:
    page = staff.get(PAGE, {"occurred_at_from": "2026-03-02", "occurred_at_to": "2026-03-01"})

    assert "2026-03-01 is before 2026-03-02. Swap the two days." in page.content.decode()


def test_an_export_with_a_text_that_is_no_day_is_refused(staff: Client) -> None:
    ProductFactory.create(sku="CUP")

    response = staff.get(EXPORT, {"actor": "Ann", "occurred_at_to": "soon"}, follow=True)

    assert response.redirect_chain == [(f"{PAGE}?actor=Ann&occurred_at_to=soon", 302)]
    assert escape("'soon' is not a date") in response.content.decode()


def test_a_lookup_without_an_index_is_refused(staff: Client) -> None:
    assert staff.get(PAGE, {"reason__icontains": "x"}).status_code == 400
    assert staff.get(EXPORT, {"reason__icontains": "x"}).status_code == 400


def test_the_number_of_queries_does_not_depend_on_the_number_of_events(staff: Client) -> None:
    ProductFactory.create(sku="CUP")
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    with CaptureQueriesContext(connection) as for_one:
        listed(staff)
    for _ in range(20):
        stock.reserve(sku="CUP", amount=1, by=ACTOR)
    with CaptureQueriesContext(connection) as for_many:
        listed(staff)

    assert len(for_many) == len(for_one)


def test_a_limited_list_says_that_it_is_limited(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.BoundedPaginator, "max_listed", 2)
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ACTOR)
    assert "first 2 ledger entries shown" not in staff.get(PAGE).content.decode()

    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert "first 2 ledger entries shown" in staff.get(PAGE).content.decode()


def test_the_export_has_the_filtered_events_in_the_order_of_the_page(staff: Client) -> None:
    ProductFactory.create(sku="MUG")
    ProductFactory.create(sku="CUP", quantity=10)
    held = stock.reserve(sku="CUP", amount=4, reference="order-1", by=ANN)
    stock.remove(sku="CUP", amount=2, reason="broken", by=ACTOR)

    rows = exported(staff, q="CUP")

    assert [row["version"] for row in rows] == ["3", "2", "1"]
    removed, reserved, _ = rows
    event = StockEvent.objects.get(sku="CUP", version=2)
    assert list(reserved) == list(StockEventSerializer().fields)
    assert reserved == {
        "id": str(event.pk),
        "sku": "CUP",
        "version": "2",
        "type": "InventoryReserved",
        "quantity_change": "0",
        "reserved_change": "4",
        "quantity": "10",
        "reserved_quantity": "4",
        "available_quantity": "6",
        "reservation": str(held.pk),
        "reason": "",
        "reference": "order-1",
        "actor": "Ann",
        "source": "admin",
        "request_id": "request-ann",
        "occurred_at": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "details": "{}",
        "undoes": "",
    }
    assert (removed["quantity_change"], removed["reservation"]) == ("-2", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_the_export_escapes_formulas(start: str) -> None:
    line = "".join(formats.to_csv(["a", "b"], [(f'{start}1,"2', -3)]))

    assert list(csv.reader(io.StringIO(line, newline=""))) == [
        ["a", "b"],
        [f"'{start}1,\"2", "-3"],
    ]


def test_the_export_escapes_a_formula_in_a_reason(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=1)
    stock.add(sku="CUP", amount=1, reason='=HYPERLINK("http://x")', by=ACTOR)

    assert exported(staff)[0]["reason"] == '\'=HYPERLINK("http://x")'


def test_an_export_of_too_many_events_is_refused(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_EXPORTED", 1)
    ProductFactory.create(sku="CUP")
    assert len(exported(staff)) == 1
    stock.add(sku="CUP", amount=1, by=ANN)

    response = staff.get(EXPORT, {"q": "CUP"}, follow=True)

    assert "by a shorter range of dates" in response.content.decode()
    assert response.redirect_chain == [(f"{PAGE}?q=CUP", 302)]
    assert len(exported(staff, actor="Ann")) == 1


def test_the_export_link_keeps_the_filters(staff: Client) -> None:
    ProductFactory.create(sku="CUP")

    page = staff.get(PAGE, {"q": "CUP", "actor": ACTOR.name}).content.decode()

    assert f'href="{EXPORT}?actor={ACTOR.name}&amp;q=CUP"' in page


def test_the_ledger_needs_its_permission() -> None:
    client = browser_of("Ada", "view_product")

    assert client.get(PAGE).status_code == 403
    assert client.get(EXPORT).status_code == 403


def test_an_event_cannot_be_changed(staff: Client) -> None:
    event = ProductFactory.create().events.get()

    response = staff.post(
        reverse("admin:products_stockevent_change", args=[event.pk]), {"reason": "x"}
    )

    assert response.status_code == 403
