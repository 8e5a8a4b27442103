"""The front page of the back office: cards, the chart of units in and out, the latest events."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from html import unescape
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from products import daily_totals, stock
from products.admin import activity, dashboard
from products.models import DailyTotal, DailyTotalsCursor, Reservation, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.concurrency import OpenChange, at_once
from products.tests.factories import ACTOR, ProductFactory, at, product_with_past, record_event

# The daily totals add up only events of committed transactions.
pytestmark = pytest.mark.django_db(transaction=True)

PAGE = reverse("admin:index")


@pytest.fixture
def staff() -> Client:
    return browser_of("Ada", "view_product", "view_reservation", "view_stockevent")


def cards(client: Client) -> dict[str, dashboard.Card]:
    return {card.title: card for card in client.get(PAGE).context["cards"]}


def listed(client: Client, card: dashboard.Card) -> list[str]:
    """Return the rows of the list that a card links to. The card must show their number."""
    page = client.get(card.url)
    assert page.status_code == 200
    rows = [str(row) for row in page.context["cl"].result_list]
    assert card.number == str(len(rows))
    return rows


def test_each_product_card_shows_the_number_of_rows_in_its_list(staff: Client) -> None:
    ProductFactory.create(sku="ENOUGH", quantity=9, minimum_stock_level=9)
    ProductFactory.create(sku="LOW", quantity=1, minimum_stock_level=2)
    ProductFactory.create(sku="NONE", quantity=0)
    for sku in ("ENOUGH-ARCHIVED", "LOW-ARCHIVED"):
        product = ProductFactory.create(sku=sku, quantity=0, minimum_stock_level=1)
        stock.edit(sku=product.sku, archived=True, by=ACTOR)

    found = cards(staff)

    assert listed(staff, found["Low stock"]) == ["LOW"]
    assert listed(staff, found["Out of stock"]) == ["NONE"]


def test_reservation_cards_count_overdue_and_soon_expiring_reservations(staff: Client) -> None:
    ProductFactory.create(sku="CUP")
    overdue, soon, *_ = (
        stock.reserve(sku="CUP", amount=1, expires_in=seconds, by=ACTOR)
        for seconds in (1, 3500, 3700, None)
    )
    ended = stock.reserve(sku="CUP", amount=1, expires_in=3500, by=ACTOR)
    stock.release(reservation_id=ended.pk, by=ACTOR)
    Reservation.objects.filter(pk=overdue.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )

    found = cards(staff)

    assert listed(staff, found["Overdue"]) == [str(overdue.pk)]
    assert listed(staff, found["Expiring soon"]) == [str(soon.pk)]


def test_a_card_counts_up_to_a_limit(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "MAX_COUNTED", 2)
    for _ in range(2):
        ProductFactory.create(quantity=0)
    assert cards(staff)["Out of stock"].number == "2"

    ProductFactory.create(quantity=0)

    assert cards(staff)["Out of stock"].number == "2+"


def test_the_search_field_finds_a_product(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP-1")
    page = staff.get(PAGE).content.decode()
    form = re.search(r'<form action="([^"]*)" method="get" role="search".*?name="q"', page, re.S)

    assert form
    response = staff.get(form[1], {"q": "cup"})
    assert list(response.context["cl"].result_list) == [product]


def section(client: Client, title: str) -> list[list[str]]:
    """Return the rows of a short list as texts. Its link must lead to a page."""
    [found] = [each for each in client.get(PAGE).context["sections"] if each.title == title]
    link = re.search('href="([^"]+)"', found.more)
    assert link
    assert client.get(unescape(link[1])).status_code == 200
    return [[text_of(cell) for cell in row] for row in found.table["rows"]]


def text_of(cell: Any) -> str:
    return " ".join(unescape(strip_tags(str(cell).replace("<span", " <span"))).split())


def test_products_to_order_are_listed(staff: Client) -> None:
    ProductFactory.create(sku="ENOUGH", quantity=9, minimum_stock_level=9)
    ProductFactory.create(sku="LOW", name="Low <b>cup", quantity=1, minimum_stock_level=20)
    ProductFactory.create(sku="GONE", quantity=1, minimum_stock_level=20)
    stock.edit(sku="GONE", archived=True, by=ACTOR)

    assert section(staff, "To order") == [["LOW Low <b>cup", "1", "20", "39"]]


def test_overdue_reservations_and_those_about_to_expire_are_listed(staff: Client) -> None:
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, quantity=100)
    lines = [stock.Line(sku="CUP", amount=2), stock.Line(sku="MUG", amount=3)]
    for reference, expires_in in (("soon", 1_800), ("", 1_900), ("later", 7_200)):
        stock.reserve_lines(lines=lines, reference=reference, expires_in=expires_in, by=ACTOR)
    stock.reserve(sku="CUP", amount=1, reference="overdue", expires_in=60, by=ACTOR)
    stock.reserve(sku="CUP", amount=1, reference="endless", by=ACTOR)
    passed = timezone.now() - timedelta(hours=3)
    Reservation.objects.filter(reference="overdue").update(expires_at=passed)
    unnamed = Reservation.objects.get(reference="")

    rows = section(staff, "Reservations to settle")

    assert rows[0] == ["overdue", "3 hours overdue", "1 unit of 1 product"]
    assert [row[0] for row in rows[1:]] == ["soon", f"Reservation {unnamed.pk}"]
    assert rows[1][2] == "5 units of 2 products"
    assert rows[1][1].startswith("in 29 minutes")


def test_products_that_were_counted_longest_ago_are_listed() -> None:
    manager = browser_of("Mia", "view_product", "adjust_stock")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for sku in ("CUP", "MUG", "POT", "OLD"):
        stock.create(sku=sku, name=sku.title(), quantity=7, by=at(start))
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    for sku, days in (("CUP", 20), ("MUG", 10)):
        moment = at(start + timedelta(days=days))
        stock.adjust(sku=sku, quantity=7, reason="stocktake", by=moment)

    rows = section(manager, "To count")

    assert [(row[0], row[2][:10]) for row in rows] == [
        ("POT Pot", "never"),
        ("MUG Mug", "2026-01-11"),
        ("CUP Cup", "2026-01-21"),
    ]


def changes(client: Client) -> list[tuple[str, str]]:
    """Return what the latest changes were, and their products."""
    rows = client.get(PAGE).context["changes"]["rows"]
    return [(text_of(what), text_of(products)) for _date, what, products, _who in rows]


def by(request_id: str) -> stock.Actor:
    return stock.Actor("shop", StockEvent.Source.API, request_id)


def test_the_events_of_an_order_are_one_row(staff: Client) -> None:
    for n in range(5):
        ProductFactory.create(sku=f"CUP-{n}", name="Cup", quantity=10, minimum_stock_level=10)
    lines = [stock.Line(sku=f"CUP-{n}", amount=1) for n in range(5)]
    stock.reserve_lines(lines=lines, reference="order-1", by=by("request-9"))

    what, products = changes(staff)[0]

    assert what == "order-1: 5 products reserved"
    assert products == "CUP-4 Cup, CUP-3 Cup, CUP-2 Cup and 2 more"
    page = staff.get(PAGE).content.decode()
    assert "?q=request-9" in page


def test_single_changes_link_to_their_event_and_product(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP", name="Cup", quantity=10)
    for n in range(3):
        stock.remove(sku="CUP", amount=1, reason=f"reason-{n}", by=by(""))

    assert changes(staff)[:3] == [(f"Removed 1 · reason-{n}", "CUP Cup") for n in (2, 1, 0)]
    page = staff.get(PAGE).content.decode()
    for row in (product, product.events.latest("version")):
        url = reverse(f"admin:products_{row._meta.model_name}_change", args=[row.pk])
        assert f'href="{url}"' in page


def test_different_changes_of_one_request_are_named(staff: Client) -> None:
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, name=sku, quantity=10)
    operations = [stock.Add(sku="CUP", amount=1), stock.Remove(sku="MUG", amount=1)]
    stock.apply(operations, by=by("request-9"))

    assert changes(staff)[0][0] == "2 products received and taken out"


def test_the_changes_of_an_order_are_named(staff: Client) -> None:
    for sku in ("CUP", "MUG"):
        ProductFactory.create(sku=sku, name=sku, quantity=10)
    lines = [stock.Line(sku=sku, amount=2) for sku in ("CUP", "MUG")]
    order = stock.reserve_lines(lines=lines, reference="order-1", by=by("request-7"))
    stock.fulfill(reservation_id=order.pk, by=by("request-8"))
    stock.return_lines(reservation_id=order.pk, lines=lines, by=by("request-9"))

    assert [what for what, _ in changes(staff)[:3]] == [
        "order-1: 2 products returned",
        "order-1: 2 products shipped",
        "order-1: 2 products reserved",
    ]


def test_a_bounded_number_of_events_is_read(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MAX_READ", 4)
    for n in range(6):
        ProductFactory.create(sku=f"CUP-{n}", quantity=10)
    operations = [stock.Add(sku=f"CUP-{n}", amount=1, reason="delivery") for n in range(6)]
    stock.apply(operations, by=by("request-9"))

    assert [what for what, _ in changes(staff)] == ["delivery: 4 or more products received"]


def charted(client: Client) -> dict[str, tuple[int, int]]:
    """Return the units in and out of each day in the chart. Days without any are left out."""
    chart = json.loads(client.get(PAGE).context["chart"])
    into, out = (bars["data"] for bars in chart["datasets"])
    days = zip(chart["labels"], into, out, strict=True)
    return {label: (up, -down) for label, up, down in days if up or down}


def label(day: datetime) -> str:
    return f"{day.day} {day:%b}"


def test_the_chart_shows_units_in_and_out_per_utc_day(staff: Client) -> None:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    microsecond = timedelta(microseconds=1)
    first = today - timedelta(days=29)
    yesterday = today - timedelta(days=1)
    product_with_past(
        "CUP",
        [
            (first - timedelta(days=1), 500),
            (first - microsecond, 1_000),
            (first, 50),
            (yesterday, -7),
            (yesterday + timedelta(hours=5), -2),
            (today - microsecond, 4),
            (today, -30),
        ],
    )

    assert charted(staff) == {
        label(first): (50, 0),
        label(yesterday): (4, 9),
        label(today): (0, 30),
    }


def test_the_chart_counts_every_operation_as_in_or_out(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    stock.add(sku="CUP", amount=20, by=ACTOR)
    stock.remove(sku="CUP", amount=3, by=ACTOR)
    held = stock.reserve(sku="CUP", amount=5, by=ACTOR)
    stock.fulfill(reservation_id=held.pk, by=ACTOR)
    stock.adjust(sku="CUP", quantity=110, reason="count", by=ACTOR)

    assert list(charted(staff).values()) == [(20, 3 + 5 + 2)]


def test_the_chart_includes_events_after_the_last_view(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    stock.add(sku="CUP", amount=5, by=ACTOR)
    before = charted(staff)
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    after = charted(staff)

    assert [*before.values(), *after.values()] == [(5, 0), (5, 1)]
    assert charted(staff) == after


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="On SQLite the second writer waits until the first has finished.",
)
@pytest.mark.parametrize("fails", [False, True])
def test_the_chart_includes_a_transaction_that_commits_late(staff: Client, fails: bool) -> None:
    for sku in ("EARLY", "LATE"):
        ProductFactory.create(sku=sku, quantity=10)
    late = OpenChange(partial(stock.add, sku="LATE", amount=1, by=ACTOR))
    stock.add(sku="EARLY", amount=5, by=ACTOR)
    charted(staff)

    late.end(fails=fails)

    assert list(charted(staff).values()) == [(5 if fails else 6, 0)]


def test_the_chart_ignores_edits(staff: Client) -> None:
    product = ProductFactory.create(quantity=25)
    record_event(product, StockEvent.Type.PRODUCT_EDITED, details={"name": {"old": "", "new": "x"}})
    record_event(product, StockEvent.Type.PRODUCT_ARCHIVED)

    assert charted(staff) == {}


def test_the_chart_leaves_opening_stock_out(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10_000)
    stock.add(sku="CUP", amount=3, by=ACTOR)

    assert list(charted(staff).values()) == [(3, 0)]


def test_the_migration_adds_totals_up_again_without_opening_stock(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10_000)
    stock.add(sku="CUP", amount=3, by=ACTOR)
    charted(staff)
    DailyTotal.objects.update(units_in=10_003)

    migration = import_module("products.migrations.0025_totals_without_openings")
    migration.forget_totals(apps, None)

    assert list(charted(staff).values()) == [(3, 0)]


def test_a_large_backlog_is_added_up_over_several_views(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ProductFactory.create(quantity=0)
    daily_totals.catch_up()
    monkeypatch.setattr(daily_totals, "MAX_EVENTS_AT_ONCE", 3)
    sku = ProductFactory.create(quantity=0).sku
    for _ in range(5):
        stock.add(sku=sku, amount=10, by=ACTOR)

    first, second = staff.get(PAGE), staff.get(PAGE)

    refresh = 'http-equiv="refresh"'
    assert (refresh in first.content.decode(), refresh in second.content.decode()) == (True, False)
    assert list(charted(staff).values()) == [(50, 0)]


def test_concurrent_views_count_each_event_once() -> None:
    sku = ProductFactory.create().sku
    for _ in range(40):
        stock.add(sku=sku, amount=10, by=ACTOR)

    results = at_once([daily_totals.catch_up] * 8)

    assert results == [True] * 8
    assert DailyTotal.objects.get().units_in == 400


def test_views_during_writes_miss_no_event() -> None:
    for n in range(4):
        ProductFactory.create(sku=f"CUP-{n}", quantity=1_000)

    def write(number: int) -> None:
        for _ in range(25):
            stock.remove(sku=f"CUP-{number}", amount=1, by=ACTOR)

    def view() -> None:
        for _ in range(25):
            daily_totals.catch_up()

    done = at_once([*(partial(write, number) for number in range(4)), view, view])
    daily_totals.catch_up()

    assert done == [None] * 6
    assert DailyTotal.objects.get().units_out == 100


def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(staff: Client) -> None:
    ProductFactory.create(quantity=0)
    stock.reserve(sku=ProductFactory.create().sku, amount=1, expires_in=60, by=ACTOR)
    with CaptureQueriesContext(connection) as for_few:
        staff.get(PAGE)
    for _ in range(30):
        sku = ProductFactory.create(quantity=2, minimum_stock_level=2).sku
        stock.reserve(sku=sku, amount=1, expires_in=60, by=ACTOR)
    with CaptureQueriesContext(connection) as for_many:
        staff.get(PAGE)

    # The first view also creates the row of the cursor.
    assert len(for_many) <= len(for_few)


@pytest.mark.parametrize(
    ("permission", "titles", "sections", "has_search", "has_chart"),
    [
        ("view_product", ["Low stock", "Out of stock"], ["To order"], True, False),
        (
            *("view_reservation", ["Overdue", "Expiring soon"], ["Reservations to settle"]),
            *(False, False),
        ),
        ("view_stockevent", [], [], False, True),
        ("adjust_stock", [], [], False, False),
    ],
)
def test_each_part_of_the_page_needs_its_permission(
    permission: str,
    titles: list[str],
    sections: list[str],
    has_search: bool,
    has_chart: bool,
) -> None:
    ProductFactory.create()

    page = browser_of("Ada", permission).get(PAGE)

    assert [card.title for card in page.context["cards"]] == titles
    assert ('name="q"' in page.content.decode()) == has_search
    assert [section.title for section in page.context["sections"]] == sections
    assert ("Latest changes" in page.content.decode()) == has_chart


def test_a_user_without_permissions_sees_how_to_get_access() -> None:
    product = ProductFactory.create()

    page = browser_of("Ada").get(PAGE)

    assert "has no access to stock yet" in page.content.decode()
    assert product.sku not in page.content.decode()
    assert not DailyTotalsCursor.objects.exists()
