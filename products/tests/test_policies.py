"""The policy for low-stock events."""

import pytest

from products.models import Levels, StockEvent
from products.policies import low_stock_event

DETECTED = StockEvent.Type.LOW_STOCK_DETECTED
RESOLVED = StockEvent.Type.LOW_STOCK_RESOLVED


def levels(available: int, minimum: int = 5) -> Levels:
    return Levels(quantity=available + 3, reserved_quantity=3, minimum_stock_level=minimum)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (levels(5), levels(4), DETECTED),
        (levels(4), levels(3), None),
        (levels(4), levels(5), RESOLVED),
        (levels(6), levels(5), None),
        (levels(5), levels(5, minimum=6), DETECTED),
        (levels(5, minimum=6), levels(5), RESOLVED),
        (None, levels(4), DETECTED),
        (None, levels(5), None),
        (levels(0, minimum=0), levels(0, minimum=0), None),
    ],
)
def test_an_event_on_crossing_the_minimum_only(
    before: Levels | None, after: Levels, expected: StockEvent.Type | None
) -> None:
    assert low_stock_event(before, after) == expected
