"""The front page of the back office: what needs somebody, units in and out, the latest events."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from products import daily_totals, stock
from products.admin import dashboard
from products.models import DailyTotal, DailyTotalsCursor, Reservation, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.concurrency import OpenChange, at_once
from products.tests.factories import ACTOR, ProductFactory, product_with_past, record_event

# Settled events are those of transactions that have ended.
pytestmark = pytest.mark.django_db(transaction=True)

PAGE = reverse("admin:index")


@pytest.fixture
def staff() -> Client:
    return browser_of("Ada", "view_product", "view_reservation", "view_stockevent")


def cards(client: Client) -> dict[str, dashboard.Card]:
    return {card.title: card for card in client.get(PAGE).context["cards"]}


def listed(client: Client, card: dashboard.Card) -> list[str]:
    """Return what the list behind a card holds, which must be as much as the card says."""
    page = client.get(card.url)
    assert page.status_code == 200
    rows = [str(row) for row in page.context["cl"].result_list]
    assert card.number == str(len(rows))
    return rows


def test_the_cards_count_what_their_lists_hold(staff: Client) -> None:
    ProductFactory.create(sku="ENOUGH", quantity=9, minimum_stock_level=9)
    ProductFactory.create(sku="LOW", quantity=1, minimum_stock_level=2)
    ProductFactory.create(sku="NONE", quantity=0)
    for sku in ("ENOUGH-ARCHIVED", "LOW-ARCHIVED"):
        product = ProductFactory.create(sku=sku, quantity=0, minimum_stock_level=1)
        stock.edit(sku=product.sku, archived=True, by=ACTOR)

    found = cards(staff)

    assert listed(staff, found["Low stock"]) == ["LOW"]
    assert listed(staff, found["Out of stock"]) == ["NONE"]


def test_reservations_are_overdue_or_expire_soon(staff: Client) -> None:
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


def test_large_numbers_are_not_counted_out(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "MAX_COUNTED", 2)
    for _ in range(2):
        ProductFactory.create(quantity=0)
    assert cards(staff)["Out of stock"].number == "2"

    ProductFactory.create(quantity=0)

    assert cards(staff)["Out of stock"].number == "2+"


def test_a_product_is_found_from_here(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP-1")
    page = staff.get(PAGE).content.decode()
    form = re.search(r'<form action="([^"]*)" method="get" role="search".*?name="q"', page, re.S)

    assert form
    answer = staff.get(form[1], {"q": "cup"})
    assert list(answer.context["cl"].result_list) == [product]


def test_the_latest_events_lead_to_their_products(staff: Client) -> None:
    product = ProductFactory.create(sku="CUP", quantity=100)
    for n in range(dashboard.LATEST_EVENTS):
        stock.remove(sku="CUP", amount=1, reason=f"reason-{n}", by=ACTOR)

    page = staff.get(PAGE).content.decode()

    assert re.findall(r"reason-\d", page) == [f"reason-{n}" for n in reversed(range(10))]
    product_url = reverse("admin:products_product_change", args=[product.pk])
    assert page.count(f'href="{product_url}"') == dashboard.LATEST_EVENTS
    last = product.events.get(version=1 + dashboard.LATEST_EVENTS)
    event_url = reverse("admin:products_stockevent_change", args=[last.pk])
    assert f'href="{event_url}"' in page


def charted(client: Client) -> dict[str, tuple[int, int]]:
    """Return the units in and out of each day of the chart that had any."""
    chart = json.loads(client.get(PAGE).context["chart"])
    into, out = (bars["data"] for bars in chart["datasets"])
    days = zip(chart["labels"], into, out, strict=True)
    return {label: (up, -down) for label, up, down in days if up or down}


def label(day: datetime) -> str:
    return f"{day.day} {day:%b}"


def test_the_chart_shows_the_units_in_and_out_of_each_day_in_utc(staff: Client) -> None:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    moment = timedelta(microseconds=1)
    first = today - timedelta(days=29)
    yesterday = today - timedelta(days=1)
    product_with_past(
        "CUP",
        [
            (first - moment, 1_000),
            (first, 50),
            (yesterday, -7),
            (yesterday + timedelta(hours=5), -2),
            (today - moment, 4),
            (today, -30),
        ],
    )

    assert charted(staff) == {
        label(first): (50, 0),
        label(yesterday): (4, 9),
        label(today): (0, 30),
    }


def test_each_cause_of_a_change_counts_as_in_or_out(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    stock.add(sku="CUP", amount=20, by=ACTOR)
    stock.remove(sku="CUP", amount=3, by=ACTOR)
    held = stock.reserve(sku="CUP", amount=5, by=ACTOR)
    stock.fulfill(reservation_id=held.pk, by=ACTOR)
    stock.adjust(sku="CUP", quantity=110, reason="count", by=ACTOR)

    assert list(charted(staff).values()) == [(120, 3 + 5 + 2)]


def test_what_comes_after_a_look_is_added_to_it(staff: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    before = charted(staff)
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    after = charted(staff)

    assert [*before.values(), *after.values()] == [(100, 0), (100, 1)]
    assert charted(staff) == after


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite's second writer waits until the first has ended."
)
@pytest.mark.parametrize("fails", [False, True])
def test_what_commits_late_is_not_missed(staff: Client, fails: bool) -> None:
    for sku in ("EARLY", "LATE"):
        ProductFactory.create(sku=sku, quantity=10)
    late = OpenChange(partial(stock.add, sku="LATE", amount=1, by=ACTOR))
    stock.add(sku="EARLY", amount=5, by=ACTOR)
    charted(staff)

    late.end(fails=fails)

    assert list(charted(staff).values()) == [(25 if fails else 26, 0)]


def test_edits_are_neither_in_nor_out(staff: Client) -> None:
    product = ProductFactory.create(quantity=25)
    record_event(product, StockEvent.Type.PRODUCT_EDITED, details={"name": {"old": "", "new": "x"}})
    record_event(product, StockEvent.Type.PRODUCT_ARCHIVED)

    assert list(charted(staff).values()) == [(25, 0)]


def test_a_large_backlog_is_added_up_over_several_looks(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ProductFactory.create(quantity=0)
    daily_totals.catch_up()
    monkeypatch.setattr(daily_totals, "MAX_EVENTS_AT_ONCE", 3)
    for _ in range(5):
        ProductFactory.create(quantity=10)

    first, second = staff.get(PAGE), staff.get(PAGE)

    refresh = 'http-equiv="refresh"'
    assert (refresh in first.content.decode(), refresh in second.content.decode()) == (True, False)
    assert list(charted(staff).values()) == [(50, 0)]


def test_those_who_look_at_once_add_nothing_twice() -> None:
    for n in range(40):
        ProductFactory.create(sku=f"CUP-{n}", quantity=10)

    looks = at_once([daily_totals.catch_up] * 8)

    assert looks == [True] * 8
    assert DailyTotal.objects.get().units_in == 400


def test_looking_while_others_write_misses_nothing() -> None:
    for n in range(4):
        ProductFactory.create(sku=f"CUP-{n}", quantity=1_000)

    def write(number: int) -> None:
        for _ in range(25):
            stock.remove(sku=f"CUP-{number}", amount=1, by=ACTOR)

    def look() -> None:
        for _ in range(25):
            daily_totals.catch_up()

    done = at_once([*(partial(write, number) for number in range(4)), look, look])
    daily_totals.catch_up()

    assert done == [None] * 6
    assert DailyTotal.objects.get().units_out == 100


def test_the_page_takes_as_many_queries_for_much_as_for_little(staff: Client) -> None:
    ProductFactory.create(quantity=0)
    with CaptureQueriesContext(connection) as for_little:
        staff.get(PAGE)
    for _ in range(30):
        sku = ProductFactory.create(quantity=2, minimum_stock_level=2).sku
        stock.reserve(sku=sku, amount=1, expires_in=60, by=ACTOR)
    with CaptureQueriesContext(connection) as for_much:
        staff.get(PAGE)

    # The very first look makes the cursor's row.
    assert len(for_much) <= len(for_little)


@pytest.mark.parametrize(
    ("permission", "titles", "has_search", "has_chart"),
    [
        ("view_product", ["Low stock", "Out of stock"], True, False),
        ("view_reservation", ["Overdue", "Expiring soon"], False, False),
        ("view_stockevent", [], False, True),
    ],
)
def test_each_sees_what_they_may_look_at(
    permission: str,
    titles: list[str],
    has_search: bool,
    has_chart: bool,
) -> None:
    ProductFactory.create()

    page = browser_of("Ada", permission).get(PAGE)

    assert [card.title for card in page.context["cards"]] == titles
    assert ('name="q"' in page.content.decode()) == has_search
    assert ("Latest events" in page.content.decode()) == has_chart


def test_those_who_may_see_nothing_yet_are_welcomed() -> None:
    product = ProductFactory.create()

    page = browser_of("Ada").get(PAGE)

    assert "may not look at stock yet" in page.content.decode()
    assert product.sku not in page.content.decode()
    assert not DailyTotalsCursor.objects.exists()
