"""`GET /v1/events`: a follower misses no event, and sees those of each product in order."""

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from products import feed, stock, triggers
from products.models import Product, Role, StockEvent
from products.stock import Add, Line, Remove
from products.tests.checks import assert_problem
from products.tests.concurrency import OpenChange, at_once, in_another_thread
from products.tests.factories import ACTOR, ProductFactory, record_event

# Real commits, because the feed contains committed events only.
pytestmark = pytest.mark.django_db(transaction=True)


def read(api: APIClient, **query: Any) -> Any:
    response = api.get("/v1/events", query)
    assert response.status_code == 200, response.content
    return response.json()


def seen(page: Any) -> list[tuple[str, int]]:
    return [(event["sku"], event["version"]) for event in page["results"]]


def test_the_feed_is_read_from_the_start_page_by_page(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="POT", quantity=5)
    stock.reserve(sku="CUP", amount=2, reference="order-1", by=ACTOR)

    first = read(api, page_size=2)
    second = read(api, page_size=2, after=first["cursor"])
    third = read(api, page_size=2, after=second["cursor"])

    assert (seen(first), first["more"]) == ([("CUP", 1), ("POT", 1)], True)
    assert (seen(second), second["more"]) == ([("CUP", 2)], False)
    assert (seen(third), third["more"]) == ([], False)
    assert third["cursor"] == second["cursor"]
    ledger = api.get("/v1/products/CUP/events").json()["results"]
    assert second["results"][0] == ledger[0]


def test_an_empty_feed_has_a_cursor(api: APIClient) -> None:
    start, latest = read(api), read(api, after="latest")
    ProductFactory.create(sku="CUP")

    assert start == {"results": [], "cursor": "start", "more": False} == latest
    assert seen(read(api, after=start["cursor"])) == [("CUP", 1)]


def test_latest_returns_the_cursor_for_future_events(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")

    latest = read(api, after="latest")
    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert (latest["results"], latest["more"]) == ([], False)
    assert seen(read(api, after=latest["cursor"])) == [("CUP", 2)]


def test_a_page_has_100_events_by_default_and_1000_at_most(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    stock.apply([Add(sku="CUP", amount=1)] * 1000, by=ACTOR)

    assert [len(read(api)["results"]), len(read(api, page_size=1000)["results"])] == [100, 1000]
    assert seen(read(api, page_size=1000)) == [("CUP", n) for n in range(1, 1001)]


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_the_feed_needs_a_key_with_the_role_read(
    client_as: Callable[[Role], APIClient], prefix: str
) -> None:
    assert client_as(Role.READ).get(f"{prefix}/events").status_code == 200
    assert_problem(APIClient().get(f"{prefix}/events"), 401, "not_authenticated")


MANY_DIGITS = "9" * 5000
BAD_AFTER = [
    *("", "x", "-1", "1.0", "%2B1", "LATEST", "latest%20", "START", "start%00", "1%00"),
    *("1&after=2", "0", "1", "9" * 18, "9" * 19, "\u0663", "\u0663-1", "\uff11-1"),
    *("-", "1-", "-1-1", "1--1", "%2B1-1", "1-%2B1", "1-1-1", "1-1%00", "%001-1", "1-1%0A"),
    *("0-0", "0-1", "1-0", "01-1", "1.0-1", f"{'9' * 18}-{'9' * 18}"),
    *(f"{'9' * 19}-1", f"1-{'9' * 19}", f"{MANY_DIGITS}-1", f"1-{MANY_DIGITS}"),
]
BAD_PAGE_SIZE = ["", "0", "-1", "1001", "x", "1e2", "٣", "1&page_size=1"]


@pytest.mark.parametrize(
    "query",
    [
        *(f"after={value}" for value in BAD_AFTER),
        *(f"page_size={value}" for value in BAD_PAGE_SIZE),
        *("cursor=1", "type=InventoryAdded", "sku=CUP"),
    ],
)
def test_a_bad_query_is_refused(api: APIClient, query: str) -> None:
    ProductFactory.create(sku="CUP")

    problem = assert_problem(api.get(f"/v1/events?{query}"), 400, "invalid")

    assert [error["field"] for error in problem["errors"]] == [query.partition("=")[0]]


def assert_cursor_is_refused(api: APIClient, cursor: str) -> None:
    """Assert that a cursor is refused, and that the error says how to start again."""
    problem = assert_problem(api.get("/v1/events", {"after": cursor}), 400, "invalid")

    [error] = problem["errors"]
    assert (error["field"], error["code"]) == ("after", "unknown")
    assert "Start again without `after`, or with `after=latest`." in error["detail"]


def test_a_cursor_of_another_ledger_is_refused(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    event_id, microseconds = map(int, read(api)["cursor"].split("-"))

    for unknown in (
        f"{event_id + 1}-{microseconds}",
        f"{event_id}-{microseconds + 1}",
        str(event_id),
    ):
        assert_cursor_is_refused(api, unknown)


def restore_to(event: StockEvent) -> None:
    """Restore the ledger to the state in which `event` was the last one, as from a backup."""
    triggers.remove(connection)
    StockEvent.objects.filter(pk__gt=event.pk).delete()
    triggers.install(connection)
    Product.objects.update(quantity=event.quantity, version=event.version)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            sql = "UPDATE sqlite_sequence SET seq = %s WHERE name = 'products_stockevent'"
        else:
            sql = "SELECT setval('products_stockevent_id_seq', %s)"
        cursor.execute(sql, [event.pk])


def test_a_cursor_is_refused_if_a_restore_has_lost_its_event(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    stock.add(sku="CUP", amount=1, by=ACTOR)
    kept = read(api)["cursor"]
    stock.add(sku="CUP", amount=2, by=ACTOR)
    lost = read(api)
    last_kept, last_lost = StockEvent.objects.order_by("pk")[1:]

    restore_to(last_kept)
    assert_cursor_is_refused(api, lost["cursor"])
    for _ in range(2):
        stock.remove(sku="CUP", amount=1, by=ACTOR)

    # Another event now has the id of the lost one, and more events follow.
    assert StockEvent.objects.get(pk=last_lost.pk).type == StockEvent.Type.REMOVED
    assert_cursor_is_refused(api, lost["cursor"])
    assert seen(read(api, after=kept)) == [("CUP", 3), ("CUP", 4)]


def test_the_feed_shows_edited_fields_and_undone_events(api: APIClient) -> None:
    product = ProductFactory.create(sku="CUP")
    edit = {"name": {"old": "Cup", "new": "Mug"}, "minimum_stock_level": {"old": 0, "new": 7}}
    edited = record_event(product, StockEvent.Type.PRODUCT_EDITED, details=edit)
    record_event(product, StockEvent.Type.PRODUCT_ARCHIVED, undoes=edited)

    created, edited_row, archived = read(api)["results"]

    assert (created["details"], "undoes" in created) == ({}, False)
    assert (edited_row["type"], edited_row["details"]) == ("ProductEdited", edit)
    assert "undoes" not in edited_row
    assert (archived["type"], archived["undoes"]) == ("ProductArchived", edited.pk)


def test_latest_is_the_last_event_even_if_a_failed_change_drew_ids(api: APIClient) -> None:
    ProductFactory.create(sku="CUP")
    with transaction.atomic():
        stock.add(sku="CUP", amount=1, by=ACTOR)
        transaction.set_rollback(True)

    latest = read(api, after="latest")["cursor"]
    stock.add(sku="CUP", amount=1, by=ACTOR)

    assert seen(read(api, after=latest)) == [("CUP", 2)]


def skip_on_sqlite() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("On SQLite a second writer waits until the first has committed.")


@pytest.mark.parametrize("fails", [False, True])
def test_an_event_that_commits_late_is_not_missed(api: APIClient, fails: bool) -> None:
    """One transaction draws its id first and ends last."""
    skip_on_sqlite()
    for sku in ("EARLY", "LATE", "NEXT"):
        ProductFactory.create(sku=sku)
    start = read(api, after="latest")["cursor"]

    late = OpenChange(partial(stock.add, sku="LATE", amount=1, by=ACTOR))
    stock.add(sku="EARLY", amount=1, by=ACTOR)
    visible = [event.sku for event in StockEvent.objects.filter(version=2)]
    before, latest = read(api, after=start), read(api, after="latest")
    late.end(fails=fails)
    stock.add(sku="NEXT", amount=1, by=ACTOR)
    after = read(api, after=before["cursor"])

    assert visible == ["EARLY"]
    assert (before["results"], before["cursor"], latest["cursor"]) == ([], start, start)
    assert seen(after) == [*([] if fails else [("LATE", 2)]), ("EARLY", 2), ("NEXT", 2)]


# The reader sends three statements. A change may happen before each of them, or after the last.
STEPS = range(4)


@pytest.mark.parametrize(
    ("starts", "overtaken", "ends"), [*combinations_with_replacement(STEPS, 3)]
)
def test_a_reader_misses_nothing_at_any_interleaving(
    starts: int, overtaken: int, ends: int
) -> None:
    """One change starts, another commits, then the first commits, each between any statements."""
    skip_on_sqlite()
    for sku in ("EARLY", "LATE"):
        ProductFactory.create(sku=sku)
    start = feed.latest().cursor
    step = 0
    late: list[OpenChange] = []

    def happen() -> None:
        nonlocal step
        if step == starts:
            late.append(OpenChange(partial(stock.add, sku="LATE", amount=1, by=ACTOR)))
        if step == overtaken:
            in_another_thread(partial(stock.add, sku="EARLY", amount=1, by=ACTOR))
        if step == ends:
            late[0].end()
        step += 1

    def happen_and_execute(execute: Callable[..., object], *statement: Any) -> object:
        happen()
        return execute(*statement)

    with connection.execute_wrapper(happen_and_execute):
        first = feed.read(after=start, limit=10)
    happen()
    second = feed.read(after=first.cursor, limit=10)

    assert step == len(STEPS)
    assert [event.product.sku for event in [*first.events, *second.events]] == ["LATE", "EARLY"]


class RollBack(Exception):
    pass


def test_an_event_after_a_rollback_to_a_savepoint_is_not_missed(api: APIClient) -> None:
    """The rollback ends the lock of the first event. The second one needs a lock of its own."""
    skip_on_sqlite()
    for sku in ("EARLY", "LATE"):
        ProductFactory.create(sku=sku)
    start = read(api, after="latest")["cursor"]

    def change() -> None:
        with suppress(RollBack), transaction.atomic():
            stock.add(sku="LATE", amount=1, by=ACTOR)
            raise RollBack
        stock.add(sku="LATE", amount=2, by=ACTOR)

    late = OpenChange(change)
    stock.add(sku="EARLY", amount=1, by=ACTOR)
    before = read(api, after=start)
    late.end()

    assert before["results"] == []
    assert seen(read(api, after=start)) == [("LATE", 2), ("EARLY", 2)]


def test_an_unrelated_advisory_lock_does_not_hold_the_feed_back(api: APIClient) -> None:
    skip_on_sqlite()
    ProductFactory.create(sku="CUP")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock_shared(1, 2)")

        assert seen(read(api)) == [("CUP", 1)]


def test_a_cursor_stays_valid_while_a_slow_writer_locks_its_id(api: APIClient) -> None:
    """A slow writer locks an id only after another writer has drawn it and committed."""
    skip_on_sqlite()
    ProductFactory.create(sku="CUP")
    page = read(api)
    lock = (triggers.ANNOUNCEMENT_TAG << 48) | page["results"][0]["id"]

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock])

        assert read(api) == {"results": [], "cursor": "start", "more": False}
        assert read(api, after=page["cursor"]) == {**page, "results": []}


WRITERS = 8
CHANGES = 60


@pytest.mark.slow
def test_a_follower_under_eight_writers_sees_every_event_once_and_in_order(api: APIClient) -> None:
    skus = [ProductFactory.create(sku=f"CUP-{n}", quantity=1000).sku for n in range(5)]
    writing = threading.Semaphore(0)

    def write(number: int) -> None:
        try:
            for turn in range(CHANGES):
                sku, other = skus[(number + turn) % 5], skus[(number * turn) % 5]
                if turn % 3 == 0:
                    stock.apply([Remove(sku=other, amount=1), Add(sku=sku, amount=1)], by=ACTOR)
                elif turn % 3 == 1:
                    order = [Line(sku, 1), Line(other, 1)]
                    held = stock.reserve_lines(lines=order, by=ACTOR)
                    stock.release(reservation_id=held.pk, by=ACTOR)
                else:
                    stock.add(sku=sku, amount=1, by=ACTOR)
        finally:
            writing.release()

    def follow() -> list[Any]:
        events: list[Any] = []
        cursor, ended = feed.START, 0
        while True:
            ended += writing.acquire(blocking=False)
            page = read(api, after=cursor, page_size=50)
            events += page["results"]
            cursor = page["cursor"]
            if ended == WRITERS and not page["results"]:
                return events

    followed, *rest = at_once([follow, *(partial(write, number) for number in range(WRITERS))])

    assert rest == [None] * WRITERS
    assert isinstance(followed, list)
    assert [event["id"] for event in followed] == list(
        StockEvent.objects.order_by("pk").values_list("pk", flat=True)
    )
    versions = defaultdict(list)
    for event in followed:
        versions[event["sku"]].append(event["version"])
    assert all(seen == list(range(1, len(seen) + 1)) for seen in versions.values())
