"""The examples of the OpenAPI document: resources, requests and errors."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from rest_framework.exceptions import Throttled, UnsupportedMediaType
from rest_framework.serializers import BaseSerializer

from products import stock
from products.api.access import key_required, require_role
from products.api.parsers import StrictJSONParser
from products.api.problems import (
    Problem,
    body_of,
    busy,
    database_unavailable,
    length_required,
    request_too_large,
    subscription_problem,
)
from products.models import ApiKey, Levels, Product, Reservation, Role
from products.publishing import subscriptions
from products.validators import MAX_UNITS

SKU = "TSHIRT-RED-L"
OTHER_SKU = "MUG-BLUE"
REQUEST_ID = "5f0c7a52e4c94b1c8f3f6f4f0d1f0a11"
RESERVATION_ID = 42
WEBHOOK_ID = 7
_NOW = "2026-11-20T09:30:00.125000Z"
CURSOR = "1234-1795167000125000"
"""The cursor of the feed after `EVENT`."""


def product(**fields: Any) -> dict[str, Any]:
    """Return a product with 25 units on hand, or as `fields` say."""
    example: dict[str, Any] = {
        "sku": SKU,
        "name": "Red T-Shirt (Large)",
        "description": "",
        "quantity": 25,
        "reserved_quantity": 3,
        "available_quantity": 0,
        "minimum_stock_level": 5,
        "low_stock": False,
        "archived": False,
        "version": 7,
        "created_at": "2026-11-01T08:00:00.000000Z",
        "updated_at": _NOW,
        **fields,
    }
    available = example["quantity"] - example["reserved_quantity"]
    example["available_quantity"] = available
    example["low_stock"] = available < example["minimum_stock_level"]
    return example


def line(sku: str = SKU, amount: int = 2, **ended: int) -> dict[str, Any]:
    """Return a line of a reservation. `ended` are the units that are no longer open."""
    parts = {"fulfilled": 0, "released": 0, "expired": 0, **ended}
    return {"sku": sku, "amount": amount, **parts, "open": amount - sum(parts.values())}


def reservation(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a reservation with these lines."""
    return {
        "id": RESERVATION_ID,
        "reference": "order-1001",
        "status": "open",
        "expires_at": None,
        "created_at": _NOW,
        "lines": list(lines),
        **fields,
    }


EVENT = {
    "id": 1234,
    "sku": SKU,
    "version": 7,
    "type": "InventoryReserved",
    "quantity_change": 0,
    "reserved_change": 2,
    "quantity": 25,
    "reserved_quantity": 3,
    "available_quantity": 22,
    "reservation": RESERVATION_ID,
    "reason": "",
    "reference": "order-1001",
    "actor": "webshop",
    "source": "api",
    "request_id": REQUEST_ID,
    "occurred_at": _NOW,
    "details": {},
}

WEBHOOK = {
    "id": WEBHOOK_ID,
    "url": "https://shop.example.com/stock-events",
    "types": [],
    "sku_prefix": "",
    "batch": False,
    "format_version": 1,
    "state": "active",
    "parked_because": "",
    "cursor": CURSOR,
    "waiting": 0,
    "waiting_is_exact": True,
    "waiting_since": None,
    "failing_since": None,
    "next_attempt_at": None,
    "delivered": 1_226,
    "failed": 3,
    "delivered_at": _NOW,
    "created_at": "2026-11-01T08:00:00.000000Z",
    "created_by": "webshop",
}
NEW_WEBHOOK = {
    **WEBHOOK,
    "delivered": 0,
    "failed": 0,
    "delivered_at": None,
    "created_at": _NOW,
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwZz2ZDkGjGZk=",
}
ATTEMPT = {
    "id": 1_230,
    "event": CURSOR,
    "event_count": 1,
    "started_at": _NOW,
    "milliseconds": 34,
    "delivered": True,
    "status": 204,
    "error": "",
}
FAILED_ATTEMPT = {
    **ATTEMPT,
    "milliseconds": 5_001,
    "delivered": False,
    "status": None,
    "error": "The receiver did not answer within 5 seconds.",
}

_LEVELS = Levels(quantity=25, reserved_quantity=3, minimum_stock_level=5)


def known_product(**fields: Any) -> Product:
    """Return the model of the product in the examples."""
    return Product(**{"sku": SKU, "version": 7, **_LEVELS._asdict(), **fields})


PRODUCT_NOT_FOUND = stock.ProductNotFound(SKU)
PRODUCT_ARCHIVED = stock.ProductArchived(known_product(), 10)
INSUFFICIENT_STOCK = stock.InsufficientStock(SKU, 50, 22)
INSUFFICIENT_RESERVED = stock.InsufficientReserved(
    SKU, 5, 2, where=f"in reservation {RESERVATION_ID}"
)
BELOW_RESERVED = stock.BelowReserved(SKU, 1, _LEVELS)
QUANTITY_CHANGED = stock.QuantityChanged(SKU, 24, _LEVELS)
REPEATED_COUNT = stock.RepeatedCount(SKU, "by operation 0")
STOCK_LIMIT_EXCEEDED = stock.StockLimitExceeded(SKU, MAX_UNITS, _LEVELS)
DUPLICATE_SKU = stock.DuplicateSku(SKU)
PRECONDITION_FAILED = stock.PreconditionFailed(known_product(version=8))
KEY_REUSED = stock.KeyReused("order-1001")
RESERVATION_NOT_FOUND = stock.ReservationNotFound(RESERVATION_ID)
RESERVATION_CLOSED = stock.ReservationClosed(
    Reservation(pk=RESERVATION_ID, status=Reservation.Status.FULFILLED)
)
RESERVATION_EXPIRED = stock.ReservationExpired(Reservation(pk=RESERVATION_ID))

WEBHOOK_NOT_FOUND = subscription_problem(subscriptions.SubscriptionNotFound(WEBHOOK_ID))
TOO_MANY_WEBHOOKS = subscription_problem(subscriptions.TooManySubscriptions())
EVENT_NOT_FOUND = subscription_problem(subscriptions.EventNotFound(1_235))

UNAVAILABLE: list[Exception] = [busy(), database_unavailable()]


def refused_lines(*errors: stock.StockError, first: int = 0) -> stock.StockError:
    """Return the error of a request whose lines from `first` on are refused with these errors."""
    kind = type(errors[0])
    error = kind.__new__(kind)  # A copy without `__init__`, whose arguments are not kept.
    vars(error).update(vars(errors[0]), lines=list(enumerate(errors, start=first)))
    return error


def refusal_of(call: Callable[..., Any], *arguments: Any) -> Exception:
    """Return the exception that a call raises."""
    try:
        call(*arguments)
    except Exception as error:
        return error
    raise AssertionError(f"{call} raised nothing.")


def wrong_body(serializer_class: type[BaseSerializer[Any]], body: Any) -> Exception:
    """Return the error for a request body that the serializer refuses."""
    return refusal_of(serializer_class().run_validation, body)


def wrong_bodies() -> list[Exception]:
    """Return the errors of every operation with a request body."""
    malformed = refusal_of(StrictJSONParser().parse, BytesIO(b'{"amount": 2'))
    return [
        Problem("malformed_json", str(malformed)),
        length_required(),
        request_too_large(),
        UnsupportedMediaType("text/plain"),
    ]


def access_errors(role: Role) -> list[Exception]:
    """Return the errors of an API key that is missing, is too weak, or sends too many requests."""
    errors: list[Exception] = [key_required(), Throttled(3)]
    if role != Role.READ:  # Every key may read.
        errors.insert(1, refusal_of(require_role, ApiKey(role=Role.READ), role))
    return errors


def problem_example(error: Exception, path: str) -> dict[str, Any]:
    """Return the response to a request to `path` that failed with `error`."""
    return {**body_of(error, instance=path), "request_id": REQUEST_ID}
