"""Place, retry, ship and refuse orders, and follow the change feed, with the generated client.

    python order_service.py URL KEY

The API key needs the role `manage`, because the example creates its products.
"""

import sys
from collections.abc import Iterator
from uuid import uuid4

from inventory_client import AuthenticatedClient
from inventory_client.api.events import events_follow
from inventory_client.api.products import products_create
from inventory_client.api.reservations import reservations_create, reservations_fulfill
from inventory_client.models import (
    ErrorCode,
    LineRequest,
    Problem,
    ProductCreateRequest,
    Reservation,
    ReservationCreateRequest,
    ReservationFulfillRequest,
    StockEvent,
)


class Refused(Exception):
    """The service refused a request."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.code.value}: {problem.detail}")
        self.problem = problem


def create_product(client: AuthenticatedClient, sku: str, name: str, quantity: int) -> None:
    """Create a product, unless it exists."""
    body = ProductCreateRequest(sku=sku, name=name, quantity=quantity)
    result = products_create.sync(client=client, body=body, idempotency_key=f"create-{sku}")
    if isinstance(result, Problem) and result.code != ErrorCode.DUPLICATE_SKU:
        raise Refused(result)


def reserve(client: AuthenticatedClient, order: str, amounts: dict[str, int]) -> Reservation:
    """Reserve the units of an order, or raise `Refused`. The same order is reserved once."""
    lines = [LineRequest(sku=sku, amount=amount) for sku, amount in amounts.items()]
    response = reservations_create.sync_detailed(
        client=client,
        body=ReservationCreateRequest(reference=order, lines=lines),
        idempotency_key=order,
    )
    if isinstance(response.parsed, Problem):
        raise Refused(response.parsed)
    assert response.parsed is not None, response
    is_replay = "Idempotent-Replayed" in response.headers
    print(f"{order}: reservation {response.parsed.id}{', replayed' if is_replay else ''}")
    return response.parsed


def ship(client: AuthenticatedClient, reservation: Reservation) -> None:
    """Fulfill all open units of a reservation."""
    result = reservations_fulfill.sync(
        reservation.id,
        client=client,
        body=ReservationFulfillRequest(),
        idempotency_key=f"ship-{reservation.id}",
    )
    if isinstance(result, Problem):
        raise Refused(result)
    assert result is not None
    print(f"{result.reference}: {result.status.value}")


def events_after(client: AuthenticatedClient, cursor: str) -> Iterator[StockEvent]:
    """Yield the stock events after a cursor. A real consumer stores the cursor of each page."""
    more = True
    while more:
        page = events_follow.sync(client=client, after=cursor)
        if isinstance(page, Problem):
            raise Refused(page)
        assert page is not None
        yield from page.results
        cursor, more = page.cursor, page.more


def latest_cursor(client: AuthenticatedClient) -> str:
    """Return the cursor after the last stock event."""
    page = events_follow.sync(client=client, after="latest")
    if isinstance(page, Problem):
        raise Refused(page)
    assert page is not None
    return page.cursor


def main(url: str, key: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)
    create_product(client, "EXAMPLE-SHIRT", "Example shirt", quantity=100_000)
    create_product(client, "EXAMPLE-MUG", "Example mug", quantity=1)
    cursor = latest_cursor(client)
    order = f"order-{uuid4()}"

    reservation = reserve(client, order, {"EXAMPLE-SHIRT": 2})
    again = reserve(client, order, {"EXAMPLE-SHIRT": 2})
    assert again.id == reservation.id
    ship(client, reservation)

    try:
        reserve(client, f"{order}-2", {"EXAMPLE-SHIRT": 1, "EXAMPLE-MUG": 2})
    except Refused as error:
        print(error)
        for line in error.problem.lines or []:
            print(
                f"  line {line.index}: {line.requested} of {line.sku}, {line.available} available"
            )

    for event in events_after(client, cursor):
        print(f"{event.type_.value} {event.sku}, version {event.version}: {event.quantity} on hand")


if __name__ == "__main__":
    main(*sys.argv[1:])
