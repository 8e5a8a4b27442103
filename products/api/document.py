"""The OpenAPI document as a whole: its guide, headers and component names."""

from base64 import b64encode
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from drf_spectacular.openapi import AutoSchema

from products.api import receiving
from products.api.examples import SKU, WEBHOOK_ID
from products.api.problems import ERROR_KINDS
from products.validators import SKU_DESCRIPTION

Endpoint = tuple[str, str, str, Any]

GUIDE = Path(__file__).with_name("guide.md")

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The version of the product, for `If-Match`.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": (
            "`true` if this is the response to an earlier request with the same "
            "`Idempotency-Key`. Left out otherwise."
        ),
        "schema": {"type": "string", "const": "true"},
    },
    "Location": {
        "description": "The path of the new resource.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "How many seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "The scheme of authentication.",
        "schema": {"type": "string"},
    },
    "X-Request-ID": {
        "description": (
            "The id of the request: the `X-Request-ID` that was sent, or a new one. Logs and stock "
            "events carry it."
        ),
        "schema": {"type": "string"},
    },
}

DESCRIPTIONS = {
    "ErrorCode": "The reason for an error, for programs. The guide explains each code.",
    "EventSource": "Where a change came from: the API, the back office or a command.",
    "EventType": (
        "The kind of change. `InventoryReleased` includes units of expired reservations. "
        "`LowStockDetected` follows the event that made a product low on stock. "
        "`LowStockResolved` follows the event after which it is no longer low."
    ),
    "OperationRequest": "An add, a remove or an adjust. `operation` names its kind.",
    "ProductOrLevels": "A product, or its stock levels at a time in the past.",
    "ReservationStatus": (
        "`open` while the reservation holds any unit. After that, `fulfilled` if any unit was "
        "fulfilled, else `expired` if any unit expired, else `released`. A reservation that was "
        "partly shipped and partly released ends as `fulfilled`."
    ),
    "SettableWebhookState": "`active` delivers events. `paused` waits.",
    "WebhookState": (
        "`active`: events are delivered. `paused`: a user has stopped the delivery. `parked`: the "
        "service has stopped it, because the receiver has failed for five days or has answered "
        "410. Nothing is lost: set it to `active` again."
    ),
}

_PAGE_ORDERS = {
    "/v1/products": "sku",
    "/v1/products/low-stock": "sku",
    "/v1/products/{sku}/events": "-version",
    "/v1/reservations": "-id",
    "/v1/webhooks": "-id",
    "/v1/webhooks/{id}/attempts": "-id",
}


class OperationSchema(AutoSchema):
    """The description of one operation."""

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}Page"

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        operation = cast(dict[str, Any], super().get_operation(*args, **kwargs))
        operation.setdefault("security", [])  # Says that an operation needs no key.
        for response in operation["responses"].values():
            response["description"] = response["description"] or "A page of the list."
            response["headers"] = {
                name: {"$ref": f"#/components/headers/{name}"} for name in response["headers"]
            }
        if self.path in _PAGE_ORDERS and self.method == "GET":
            for example in operation["responses"]["200"]["content"]["application/json"][
                "examples"
            ].values():
                example["value"]["next"] = _next_page(self.path, example["value"]["results"])
        return operation


def _next_page(path: str, results: list[dict[str, Any]]) -> str:
    """Return the URL of the page after these results."""
    order = _PAGE_ORDERS[path]
    position = f"{order} {results[-1][order.lstrip('-')]}"
    cursor = b64encode(urlencode({"p": position}).encode()).decode()
    path = path.format(sku=SKU, id=WEBHOOK_ID)
    return f"https://inventory.example.com{path}?{urlencode({'cursor': cursor})}"


def only_canonical(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Leave out the routes without `/v1`, which repeat the others."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(("/v1/", "/health"))]


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the guide, the headers, what receivers get, and the parts that have no class."""
    rows = [f"| {kind.status} | `{code}` | {kind.meaning} |" for code, kind in ERROR_KINDS.items()]
    guide = GUIDE.read_text().replace("{sku}", SKU_DESCRIPTION)
    result["info"]["description"] = guide.replace("{errors}", "\n".join(rows))
    result["components"]["headers"] = HEADERS
    result["components"]["schemas"] |= receiving.SCHEMAS
    result["webhooks"] = receiving.WEBHOOKS
    for name, description in DESCRIPTIONS.items():
        result["components"]["schemas"][name]["description"] = description
    return result
