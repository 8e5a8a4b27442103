"""Relays are killed, receivers restart and fail: every event arrives, in order for each product."""

import pytest

from products.tests.publishing import drill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_killed_relays_lose_no_event() -> None:
    """The drill of `benchmarks.webhooks`, with fewer operations."""
    for result in drill.run(operations=800, kills=2):
        assert result.events >= 800
        assert result.failed > 0
        assert (result.missing, result.inversions, result.wrong_signatures) == (0, 0, 0), result
