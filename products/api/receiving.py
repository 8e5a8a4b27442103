"""The `webhooks` of the OpenAPI document: the requests that receivers of stock events get."""

from typing import Any

from products.api.examples import CURSOR, EVENT, SKU
from products.publishing.envelopes import (
    BATCH_CONTENT_TYPE,
    CONTENT_TYPE,
    RESTORED,
    SOURCE,
    TEST,
    TYPES,
)

_COMMON: dict[str, dict[str, Any]] = {
    "specversion": {"type": "string", "const": "1.0", "description": "The version of CloudEvents."},
    "id": {
        "type": "string",
        "description": "The id. Each attempt has the same. Drop an event whose id is known.",
    },
    "source": {"type": "string", "const": SOURCE, "description": "Where the event comes from."},
    "datacontenttype": {
        "type": "string",
        "const": "application/json",
        "description": "The media type of `data`.",
    },
}


def _text(description: str, **schema: Any) -> dict[str, Any]:
    return {"type": "string", **schema, "description": description}


def _component(name: str, description: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "description": description}


def _cloud_event(description: str, **members: dict[str, Any]) -> dict[str, Any]:
    properties = {**_COMMON, **members}
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }


_TIME_OF_SENDING = _text("When the event was made.", format="date-time")
_CURSOR = _text(
    "The position in the change feed after this event. Continue there with "
    "`GET /v1/events?after=`, or let the webhook start there with `after`."
)

SCHEMAS: dict[str, dict[str, Any]] = {
    "PublishedStockEvent": {
        "description": "A stock event, with its position in the change feed.",
        "allOf": [
            {"$ref": "#/components/schemas/StockEvent"},
            {"type": "object", "properties": {"cursor": _CURSOR}, "required": ["cursor"]},
        ],
    },
    "StockCloudEvent": _cloud_event(
        "A stock event as a CloudEvent (1.0, JSON).",
        type=_text("The kind of change.", enum=list(TYPES.values())),
        subject=_text("The SKU of the product."),
        time=_text("The time of the change.", format="date-time"),
        sequence=_text(
            "The version of the product after the event, in 19 digits. Ignore an event whose "
            "sequence is not above the last one of the same subject.",
            pattern="^[0-9]{19}$",
        ),
        data=_component("PublishedStockEvent", "The event, as in the change feed."),
    ),
    "LedgerRestore": {
        "type": "object",
        "description": "How far back a restore from a backup went.",
        "properties": {
            "restored_to": _text(
                "The time of the last event in the restored ledger.", format="date-time"
            ),
            "cursor": _text(
                "The webhook goes on after this position in the change feed of the restored ledger."
            ),
        },
        "required": ["restored_to", "cursor"],
    },
    "LedgerRestoredCloudEvent": _cloud_event(
        "The ledger was restored from a backup.",
        type=_text("The type.", const=RESTORED),
        time=_TIME_OF_SENDING,
        data=_component("LedgerRestore", "How far back the restore went."),
    ),
    "WebhookTest": {
        "type": "object",
        "description": "A text for people.",
        "properties": {"message": _text("That this is a test.")},
        "required": ["message"],
    },
    "WebhookTestCloudEvent": _cloud_event(
        "A test of the receiver.",
        type=_text("The type.", const=TEST),
        time=_TIME_OF_SENDING,
        data=_component("WebhookTest", "A text."),
    ),
}

_HEADERS = [
    (
        "webhook-id",
        "The `id` of the event, or one of the batch. Each attempt at the same events has the same.",
        {"type": "string"},
    ),
    (
        "webhook-timestamp",
        "The time of this attempt, in seconds since 1970. Refuse requests that are older than a "
        "few minutes.",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    (
        "webhook-signature",
        "`v1,` and the signature of the raw body, as in Standard Webhooks. While a secret is "
        "rotated, there are two, separated by a blank. Accept the request if one is right.",
        {"type": "string"},
    ),
]

_RESPONSES = {
    "2XX": {"description": "The receiver has the events. They are not sent again."},
    "410": {"description": "The receiver wants no more events. The webhook is parked."},
    "default": {
        "description": (
            "Anything else is a failure, also a redirect and no answer within 15 seconds. The "
            "events are sent again: after up to 5 seconds, doubled with each failure up to an "
            "hour, or after the seconds in `Retry-After`. After five days the webhook is parked."
        )
    },
}


def _request(
    name: str, schema: str, summary: str, description: str, example: dict[str, Any]
) -> dict[str, Any]:
    """Return the description of a request to a receiver."""
    event = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "post": {
            "operationId": f"receive_{name}",
            "tags": ["webhooks"],
            "summary": summary,
            "description": description,
            "security": [],
            "parameters": [
                {
                    "name": header,
                    "in": "header",
                    "required": True,
                    "description": about,
                    "schema": of_header,
                }
                for header, about, of_header in _HEADERS
            ],
            "requestBody": {
                "required": True,
                "content": {
                    CONTENT_TYPE: {"schema": event, "example": example},
                    BATCH_CONTENT_TYPE: {
                        "schema": {
                            "type": "array",
                            "items": event,
                            "description": "Several events, if the webhook has `batch`.",
                        },
                        "example": [example],
                    },
                },
            },
            "responses": _RESPONSES,
        }
    }


def _example(
    event_id: str, event_type: str, data: dict[str, Any], **members: Any
) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": event_type,
        "datacontenttype": "application/json",
        "time": EVENT["occurred_at"],
        **members,
        "data": data,
    }


WEBHOOKS: dict[str, dict[str, Any]] = {
    "stock-event": _request(
        "stock_event",
        "StockCloudEvent",
        "A stock event",
        "Sent for each event of the ledger that the webhook asks for. The events of one product "
        "come one after the other, in the order of their versions. An event may come twice.",
        _example(
            CURSOR,
            "inventory.reserved",
            {**EVENT, "cursor": CURSOR},
            subject=SKU,
            sequence=f"{EVENT['version']:019d}",
        ),
    ),
    RESTORED: _request(
        "ledger_restored",
        "LedgerRestoredCloudEvent",
        "The ledger was restored from a backup",
        "Sent before any other event after a restore. Discard the ids and versions of all events "
        "later than `restored_to`: other events will have the same versions.",
        _example(
            "restored-1795167000125000",
            RESTORED,
            {"restored_to": EVENT["occurred_at"], "cursor": CURSOR},
        ),
    ),
    TEST: _request(
        "test",
        "WebhookTestCloudEvent",
        "A test",
        "Sent when somebody tests the webhook. No stock has changed.",
        _example(
            "test-1795167000125000", TEST, {"message": "This is a test. No stock has changed."}
        ),
    ),
}
