"""Run the server of the previous release beside this one, on the schema of this one."""

from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from products.models import ApiKey, Role, StockEvent
from products.tests.live import database_url_of_test, running_server
from products.tests.moving.databases import assert_verified
from products.tests.moving.previous import NoHistory, migrations_of, unpack_previous_release

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The folder of the previous release's files."""
    try:
        unpack_previous_release(tmp_path / "previous")
    except NoHistory as reason:
        pytest.skip(str(reason))
    return tmp_path / "previous"


def test_the_previous_release_works_on_the_new_schema_beside_this_one(previous: Path) -> None:
    missing = set(migrations_of(settings.BASE_DIR)) - set(migrations_of(previous))
    assert missing, "The previous release must lack a migration."
    key = ApiKey.issue(name="shop", role=Role.MANAGE).text
    headers = {"Authorization": f"Api-Key {key}"}

    with running_server(folder=previous, workers=1) as old, running_server(workers=1) as new:
        old.wait_for_workers()
        new.wait_for_workers()
        servers = cycle([old, new])

        def request(method: str, path: str, body: Any = None, **more: str) -> Any:
            """Send a request to each of the two servers in turn."""
            reply = next(servers).request(method, path, body, headers | more)
            assert reply.status in (200, 201), reply
            return reply.body

        for sku in ("CUP", "POT", "JAR"):
            request("POST", "/v1/products", {"sku": sku, "name": f"Blue {sku}", "quantity": 9})
        for path in ("add", "remove", "add", "reserve", "add", "release"):
            for sku in ("CUP", "POT", "JAR"):
                request("POST", f"/v1/products/{sku}/{path}", {"amount": 2})
        for _ in range(3):
            count = {"quantity": 7, "reason": "count"}
            request("POST", "/v1/products/CUP/adjust", count)
            request("PATCH", "/v1/products/POT", {"name": "Red pot"})
            order = {"lines": [{"sku": "JAR", "amount": 1}, {"sku": "POT", "amount": 1}]}
            held = request("POST", "/v1/reservations", order)
            request("POST", f"/v1/reservations/{held['id']}/fulfill", {})
            assert request("GET", "/v1/products?search=blue")["results"]
        retried = {"Idempotency-Key": "order-1"}
        twice = [
            request("POST", "/v1/products/JAR/remove", {"amount": 1}, **retried) for _ in range(2)
        ]
        feeds = [request("GET", "/v1/events?page_size=1000") for _ in range(2)]

    assert twice[0] == twice[1]
    assert feeds[0]["results"] == feeds[1]["results"]
    assert [event["id"] for event in feeds[0]["results"]] == list(
        StockEvent.objects.order_by("pk").values_list("pk", flat=True)
    )
    assert_verified(database_url_of_test())
