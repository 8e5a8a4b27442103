"""The shop of a measurement, and the cases: the requests that each service receives."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

PRODUCTS = 1_000
SKUS = [f"SKU-{number}" for number in range(1, PRODUCTS + 1)]
HOT_SKU = SKUS[0]
OPENING_QUANTITY = 1_000_000_000

LINES_OF_AN_ORDER = 5
LINES_OF_OPERATIONS = 1_000
PAGE_SIZE = 100

# Enough for random SKUs. Every contestant receives the same ones.
REQUESTS = 5_000
LARGE_REQUESTS = 20


class Request(NamedTuple):
    """A request for any service, without the prefix of the path and the headers."""

    method: str
    path: str
    body: Any = None

    def rendered(self, prefix: str, headers: Mapping[str, str]) -> bytes:
        """Return the bytes to send."""
        body = b"" if self.body is None else json.dumps(self.body).encode()
        head = [f"{self.method} {prefix}{self.path} HTTP/1.1", "Host: 127.0.0.1"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join((*head, "", "")).encode() + body


class Units(NamedTuple):
    """The total change of the stock levels by one request."""

    quantity: int = 0
    reserved_quantity: int = 0

    def times(self, count: int) -> "Units":
        return Units(self.quantity * count, self.reserved_quantity * count)

    def plus(self, other: "Units") -> "Units":
        return Units(
            self.quantity + other.quantity, self.reserved_quantity + other.reserved_quantity
        )


NOTHING = Units()


@dataclass(frozen=True)
class Case:
    """A kind of request, measured with each number of connections."""

    name: str
    connections: tuple[int, ...]
    requests: Callable[[], Iterable[Request]]
    units: Units = NOTHING
    only_ours: bool = False
    is_slow: bool = False
    """A turn completes few requests, so the last one must not be cut off."""


def opening() -> Iterator[Request]:
    """Yield the requests that fill our service. The reference fills its own table."""
    for sku in SKUS:
        body = {"sku": sku, "name": sku.title(), "quantity": OPENING_QUANTITY}
        yield Request("POST", "/products", body)


def _at_random(request_for: Callable[[str], Request]) -> Iterator[Request]:
    return map(request_for, random.Random(1).choices(SKUS, k=REQUESTS))


def _remove(sku: str) -> Request:
    return Request("POST", f"/products/{sku}/remove", {"amount": 1})


def _reserve(sku: str) -> Request:
    return Request("POST", f"/products/{sku}/reserve", {"amount": 1})


def _retrieve(sku: str) -> Request:
    return Request("GET", f"/products/{sku}")


def _orders() -> Iterator[Request]:
    chance = random.Random(2)
    for _ in range(REQUESTS):
        skus = chance.sample(SKUS, LINES_OF_AN_ORDER)
        yield Request(
            "POST", "/reservations", {"lines": [{"sku": sku, "amount": 1} for sku in skus]}
        )


def _operations() -> Iterator[Request]:
    chance = random.Random(3)
    for _ in range(LARGE_REQUESTS):
        skus = chance.choices(SKUS, k=LINES_OF_OPERATIONS)
        lines = [{"operation": "remove", "sku": sku, "amount": 1} for sku in skus]
        yield Request("POST", "/operations", {"operations": lines})


REMOVED = Units(quantity=-1)
RESERVED = Units(reserved_quantity=1)

CASES = {
    case.name: case
    for case in (
        Case("remove-uniform", (1, 8, 32), lambda: _at_random(_remove), REMOVED),
        Case("remove-hot", (1, 8, 32), lambda: [_remove(HOT_SKU)], REMOVED),
        Case("reserve-uniform", (1, 8, 32), lambda: _at_random(_reserve), RESERVED),
        Case("reserve-hot", (8, 32), lambda: [_reserve(HOT_SKU)], RESERVED),
        Case("order", (1, 8), _orders, RESERVED.times(LINES_OF_AN_ORDER)),
        Case(
            "operations",
            (1,),
            _operations,
            REMOVED.times(LINES_OF_OPERATIONS),
            only_ours=True,
            is_slow=True,
        ),
        Case("get", (8,), lambda: _at_random(_retrieve)),
        Case("list", (8,), lambda: [Request("GET", f"/products?page_size={PAGE_SIZE}")]),
    )
}
