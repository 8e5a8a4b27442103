"""A late count: the difference at an earlier moment is applied to the level of now."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from products import stock
from products.db.clock import Now
from products.models import Product, StockEvent
from products.tests.checks import ledger_of, levels_of
from products.tests.factories import ACTOR, ProductFactory, at

pytestmark = pytest.mark.django_db

EVENING = datetime(2026, 11, 20, 18, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


def product_at(time: datetime, sku: str = "CUP", quantity: int = 9) -> Product:
    """Create a product a day before, with `quantity` on hand at a time."""
    stock.create(sku=sku, name=sku, quantity=quantity, by=at(time - timedelta(days=1)))
    return Product.objects.get(sku=sku)


def count_late(quantity: int, counted_at: datetime = EVENING, sku: str = "CUP") -> Any:
    return stock.adjust(
        sku=sku, quantity=quantity, counted_at=counted_at, reason="stocktake", by=ACTOR
    )


def last_details() -> Any:
    return StockEvent.objects.latest("pk").details


def database_now() -> datetime:
    now: datetime = Product.objects.annotate(now=Now()).values_list("now", flat=True)[0]
    return now


def test_what_was_sold_since_stays_sold() -> None:
    cup = product_at(EVENING)
    stock.remove(sku="CUP", amount=2, by=at(EVENING + MINUTE))

    counted = count_late(8)

    assert counted.quantity == 6
    assert ledger_of(cup)[-1] == ("InventoryAdjusted", -1, 0)
    assert last_details() == {"counted_at": "2026-11-20T18:00:00Z"}


def test_the_moment_is_kept_in_utc_to_the_microsecond() -> None:
    product_at(EVENING)

    count_late(9, datetime(2026, 11, 20, 19, 0, 0, 5, tzinfo=timezone(timedelta(hours=1))))

    assert last_details() == {"counted_at": "2026-11-20T18:00:00.000005Z"}


def test_a_count_that_was_right_changes_nothing_and_is_recorded() -> None:
    cup = product_at(EVENING)
    stock.add(sku="CUP", amount=5, by=at(EVENING + MINUTE))

    assert count_late(9).quantity == 14

    assert ledger_of(cup)[-1] == ("InventoryAdjusted", 0, 0)


@pytest.mark.parametrize("off", [-TICK, timedelta(0), TICK, MINUTE])
def test_the_level_is_the_one_that_as_of_returns(off: timedelta) -> None:
    cup = product_at(EVENING)
    stock.remove(sku="CUP", amount=2, by=at(EVENING))
    stock.add(sku="CUP", amount=4, by=at(EVENING))
    stock.remove(sku="CUP", amount=1, by=at(EVENING + MINUTE))
    then = cup.events.as_of(EVENING + off)
    assert then

    counted = count_late(20, EVENING + off)

    assert counted.quantity - 10 == 20 - then.quantity


@pytest.mark.parametrize("seconds", [0, 0.001, 3600])
def test_a_count_at_or_before_the_moment_does_not_matter(seconds: float) -> None:
    product_at(EVENING - timedelta(hours=2))
    stock.adjust(
        sku="CUP", quantity=5, reason="stocktake", by=at(EVENING - timedelta(seconds=seconds))
    )

    assert count_late(4).quantity == 4


def test_a_count_after_the_moment_refuses_a_late_one() -> None:
    cup = product_at(EVENING)
    stock.adjust(sku="CUP", quantity=5, reason="stocktake", by=at(EVENING + TICK))
    stock.add(sku="CUP", amount=1, by=ACTOR)

    with pytest.raises(stock.CountedAgain) as refused:
        count_late(8)

    assert (refused.value.code, refused.value.available) == ("quantity_changed", 6)
    assert refused.value.detail == (
        "CUP was counted again at 2026-11-20T18:00:00.000001Z, or an earlier change was undone "
        "then. Leave this count out, or count the product again."
    )
    assert levels_of(cup) == (6, 0)


def test_a_late_count_cannot_be_applied_twice() -> None:
    cup = product_at(EVENING)

    count_late(8)
    with pytest.raises(stock.CountedAgain):
        count_late(8)

    assert levels_of(cup) == (8, 0)


def test_late_counts_can_be_entered_in_the_order_of_their_moments() -> None:
    """The second one is of a moment after the first one was entered."""
    product_at(EVENING)
    stock.adjust(
        sku="CUP", quantity=8, counted_at=EVENING, reason="stocktake", by=at(EVENING + MINUTE)
    )
    stock.remove(sku="CUP", amount=1, by=at(EVENING + 3 * MINUTE))

    assert count_late(7, EVENING + 2 * MINUTE).quantity == 6


def undo_of(event: StockEvent) -> stock.Undo:
    change = -event.quantity_change
    return stock.Undo(
        sku=event.sku,
        event_id=event.pk,
        type_of_event=StockEvent.Type(event.type),
        change=change,
        total_change=change,
    )


def test_an_undone_count_does_not_matter() -> None:
    cup = product_at(EVENING)
    stock.adjust(sku="CUP", quantity=3, reason="wrong file", by=at(EVENING + MINUTE))
    stock.apply([undo_of(cup.events.latest("version"))], by=at(EVENING + 2 * MINUTE))
    stock.remove(sku="CUP", amount=2, by=ACTOR)

    assert count_late(8).quantity == 6


WRONG = [
    stock.Adjust(sku="CUP", quantity=3, reason="wrong file"),
    stock.Add(sku="CUP", amount=40),
    stock.Remove(sku="CUP", amount=4),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
def test_an_undo_of_a_change_before_the_moment_refuses_a_late_count(wrong: stock.Operation) -> None:
    """The level at the moment was wrong, and the undo has corrected it."""
    cup = product_at(EVENING)
    stock.apply([wrong], by=at(EVENING + MINUTE))
    stock.apply([undo_of(cup.events.latest("version"))], by=at(EVENING + 3 * MINUTE))

    with pytest.raises(stock.CountedAgain, match="2026-11-20T18:03:00Z"):
        count_late(8, EVENING + 2 * MINUTE)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
def test_a_change_after_the_moment_may_be_undone(wrong: stock.Operation) -> None:
    cup = product_at(EVENING)
    stock.apply([wrong], by=at(EVENING + MINUTE))
    stock.apply([undo_of(cup.events.latest("version"))], by=at(EVENING + 2 * MINUTE))

    assert count_late(8).quantity == 8


def test_a_late_count_that_was_undone_can_be_entered_again() -> None:
    cup = product_at(EVENING)
    count_late(3)
    stock.apply([undo_of(cup.events.latest("version"))], by=ACTOR)

    assert count_late(8).quantity == 8
    with pytest.raises(stock.CountedAgain):
        count_late(8)


@pytest.mark.parametrize(
    ("sold", "reserved", "counted", "result"), [(2, 7, 8, 6), (0, 1, 0, 0), (9, 0, 8, -1)]
)
def test_a_result_below_the_reserved_quantity_is_refused(
    sold: int, reserved: int, counted: int, result: int
) -> None:
    cup = product_at(EVENING)
    if sold:
        stock.remove(sku="CUP", amount=sold, by=ACTOR)
    if reserved:
        stock.reserve(sku="CUP", amount=reserved, by=ACTOR)

    with pytest.raises(stock.BelowReserved) as refused:
        count_late(counted)

    assert refused.value.requested == result
    reason = f"{reserved} are reserved." if result >= 0 else "more units have left since"
    assert f"CUP cannot be set to {result}: {reason}" in refused.value.detail
    assert levels_of(cup) == (9 - sold, reserved)


def test_a_result_equal_to_the_reserved_quantity_is_accepted() -> None:
    product_at(EVENING)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)

    assert count_late(4).quantity == 4


def test_an_overdue_reservation_gives_way_to_a_late_count() -> None:
    cup = product_at(EVENING)
    reserved_at = EVENING + MINUTE
    stock.reserve(sku="CUP", amount=4, expires_in=60, by=at(reserved_at))
    counts: list[Any] = [
        stock.Adjust(sku="CUP", quantity=2, counted_at=EVENING, reason="stocktake")
    ]

    assert stock.preview(counts, by=ACTOR) == [((9, 0, 0), (2, 0, 0))]
    count_late(2)

    assert levels_of(cup) == (2, 0)
    assert [kind for kind, _, _ in ledger_of(cup)][-2:] == [
        "InventoryReleased",
        "InventoryAdjusted",
    ]


def test_a_result_past_the_limit_is_refused() -> None:
    cup = product_at(EVENING)
    stock.add(sku="CUP", amount=1, by=ACTOR)

    with pytest.raises(stock.StockLimitExceeded) as refused:
        count_late(1_000_000_000)

    assert refused.value.requested == 999_999_991
    assert levels_of(cup) == (10, 0)


def test_a_moment_in_the_future_is_refused_by_the_clock_of_the_database() -> None:
    ProductFactory.create(sku="CUP")
    now = database_now()

    with pytest.raises(stock.Invalid) as refused:
        count_late(8, now + MINUTE)

    assert refused.value.field == "counted_at"
    assert "is in the future." in refused.value.detail
    assert count_late(8, now).quantity == 8


def test_a_moment_before_the_product_is_refused() -> None:
    cup = product_at(EVENING)
    [created] = cup.events.all()

    with pytest.raises(stock.Invalid) as refused:
        count_late(8, created.occurred_at - TICK)

    assert refused.value.field == "counted_at"
    assert refused.value.detail == (
        "CUP did not exist at 2026-11-19T17:59:59.999999Z. Correct the time."
    )
    assert count_late(8, created.occurred_at).quantity == 8


@pytest.mark.parametrize("year", [1, 9999])
def test_any_year_is_handled(year: int) -> None:
    product_at(EVENING)

    with pytest.raises(stock.Invalid, match=r"did not exist|in the future"):
        count_late(8, datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-20T18:00:00Z",
        datetime(2026, 11, 20, 18),
        5,
        EVENING.date(),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_moment_is_a_time_with_an_offset(moment: Any) -> None:
    with pytest.raises(stock.Invalid, match="A time with a UTC offset is required") as refused:
        stock.Adjust(sku="CUP", quantity=1, counted_at=moment, reason="stocktake")

    assert refused.value.field == "counted_at"


def test_a_late_count_has_no_expected_quantity() -> None:
    with pytest.raises(stock.Invalid) as refused:
        stock.Adjust(
            sku="CUP", quantity=1, counted_at=EVENING, expected_quantity=9, reason="stocktake"
        )

    assert refused.value.field == "counted_at"


def test_an_unknown_product_is_refused() -> None:
    with pytest.raises(stock.ProductNotFound):
        count_late(8)


# ------------------------------------------------------------------------------------------ batches


def late(sku: str, quantity: int, counted_at: datetime = EVENING) -> stock.Adjust:
    return stock.Adjust(sku=sku, quantity=quantity, counted_at=counted_at, reason="stocktake")


def test_operations_before_and_after_a_late_count_are_kept() -> None:
    cup = product_at(EVENING)
    operations = [
        stock.Add(sku="CUP", amount=5),
        late("CUP", 8),
        stock.Remove(sku="CUP", amount=2),
    ]

    previewed = stock.preview(operations, by=ACTOR)
    stock.apply(operations, by=ACTOR)

    assert previewed == [
        ((9, 0, 0), (14, 0, 0)),
        ((14, 0, 0), (13, 0, 0)),
        ((13, 0, 0), (11, 0, 0)),
    ]
    assert levels_of(cup) == (11, 0)


@pytest.mark.parametrize(
    "second",
    [
        late("CUP", 8),
        late("CUP", 8, EVENING + MINUTE),
        stock.Adjust(sku="CUP", quantity=8, reason="x"),
    ],
)
@pytest.mark.parametrize("is_first_late", [True, False])
def test_a_second_count_is_refused(second: stock.Adjust, is_first_late: bool) -> None:
    product_at(EVENING)
    counts = [late("CUP", 7), second]

    with pytest.raises(stock.RepeatedCount) as refused:
        stock.apply(counts if is_first_late else counts[::-1], by=ACTOR)

    assert [index for index, _ in refused.value.lines] == [1]


def test_every_refused_late_count_of_a_batch_is_named() -> None:
    for sku in ["CUP", "MUG", "POT", "PAN"]:
        product_at(EVENING, sku)
    stock.adjust(sku="MUG", quantity=9, reason="stocktake", by=at(EVENING + MINUTE))
    stock.remove(sku="PAN", amount=9, by=ACTOR)

    with pytest.raises(stock.CountedAgain) as refused:
        stock.apply(
            [
                late("CUP", 5),
                late("MUG", 5),
                late("POT", 5, EVENING - timedelta(days=2)),
                late("PAN", 5),
                late("UNKNOWN", 5),
            ],
            by=ACTOR,
        )

    assert [(index, error.code, error.sku) for index, error in refused.value.lines] == [
        (1, "quantity_changed", "MUG"),
        (2, "invalid", "POT"),
        (3, "below_reserved", "PAN"),
        (4, "product_not_found", "UNKNOWN"),
    ]


def test_moments_of_a_batch_differ() -> None:
    for sku, minutes in [("CUP", 1), ("MUG", 2), ("POT", 3)]:
        product_at(EVENING, sku)
        stock.remove(sku=sku, amount=minutes, by=at(EVENING + minutes * MINUTE))

    counted: Any = stock.apply(
        [
            late("CUP", 8, EVENING),  # 9 then
            late("MUG", 8, EVENING + 2 * MINUTE),  # 7 then
            stock.Adjust(sku="POT", quantity=3, reason="stocktake"),
        ],
        by=ACTOR,
    )

    assert [product.quantity for product in counted] == [7, 8, 3]


@pytest.mark.parametrize("number", [1, 2, 40])
def test_one_more_statement_reads_all_moments(number: int) -> None:
    skus = [f"CUP-{n}" for n in range(number)]
    for sku in skus:
        product_at(EVENING, sku)

    def statements(change: Callable[[], object]) -> int:
        with CaptureQueriesContext(connection) as sent:
            change()
        return len(sent)

    def apply(counted_at: datetime | None) -> Callable[[], object]:
        counts = [
            stock.Adjust(sku=sku, quantity=8, counted_at=counted_at, reason="stocktake")
            for sku in skus
        ]
        return lambda: stock.apply(counts, by=ACTOR)

    late_count = statements(apply(EVENING))
    assert late_count == statements(apply(None)) + 1
