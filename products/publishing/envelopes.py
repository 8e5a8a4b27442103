"""The form of a published event: CloudEvents 1.0 in JSON."""

from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.utils import timezone

from products import feed
from products.models import StockEvent

SOURCE = "urn:inventory:ledger"
CONTENT_TYPE = "application/cloudevents+json"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
FORMAT_VERSION = 1

TYPES = {
    StockEvent.Type.PRODUCT_CREATED: "inventory.product.created",
    StockEvent.Type.PRODUCT_EDITED: "inventory.product.edited",
    StockEvent.Type.PRODUCT_ARCHIVED: "inventory.product.archived",
    StockEvent.Type.PRODUCT_RESTORED: "inventory.product.restored",
    StockEvent.Type.ADDED: "inventory.added",
    StockEvent.Type.REMOVED: "inventory.removed",
    StockEvent.Type.RESERVED: "inventory.reserved",
    StockEvent.Type.RELEASED: "inventory.released",
    StockEvent.Type.FULFILLED: "inventory.fulfilled",
    StockEvent.Type.ADJUSTED: "inventory.adjusted",
    StockEvent.Type.LOW_STOCK_DETECTED: "inventory.low_stock.detected",
    StockEvent.Type.LOW_STOCK_RESOLVED: "inventory.low_stock.resolved",
}
"""The published type of each type of stock event."""

TEST = "inventory.test"
RESTORED = "inventory.ledger.restored"


class Envelope(NamedTuple):
    """An event as it is sent."""

    id: str
    """The same for each attempt. It contains the time, so a restored ledger never repeats it."""
    type: str
    subject: str
    """The SKU. Events with the same subject are sent in order."""
    body: bytes


def of_event(event: StockEvent) -> Envelope:
    """Return the envelope of a stock event. Its id is the cursor of the feed after the event."""
    cursor = feed.cursor_after(event)
    return _envelope(
        cursor,
        TYPES[StockEvent.Type(event.type)],
        event.sku,
        time=event.occurred_at,
        # Text that sorts like the number, as the CloudEvents extension demands.
        sequence=f"{event.version:019d}",
        data={**feed.data_of(event), "cursor": cursor},
    )


def of_test() -> Envelope:
    """Return an envelope that only tests a receiver."""
    now = timezone.now()
    return _envelope(
        f"test-{_microseconds(now)}",
        TEST,
        "",
        time=now,
        data={"message": "This is a test. No stock has changed."},
    )


def of_restore(restored_to: datetime, cursor: str) -> Envelope:
    """Return the envelope that tells a receiver that the ledger was restored from a backup.

    `restored_to` is the time of the last event in it. The receiver gets the events after `cursor`.
    """
    return _envelope(
        f"restored-{_microseconds(restored_to)}",
        RESTORED,
        "",
        time=timezone.now(),
        data={"restored_to": restored_to, "cursor": cursor},
    )


def batch_of(envelopes: list[Envelope]) -> bytes:
    """Return the body of a CloudEvents batch."""
    return b"[" + b",".join(envelope.body for envelope in envelopes) + b"]"


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)


def _envelope(event_id: str, event_type: str, subject: str, **members: Any) -> Envelope:
    about = {"subject": subject} if subject else {}
    cloud_event = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": event_type,
        **about,
        "datacontenttype": "application/json",
        **members,
    }
    return Envelope(
        event_id, event_type, subject, orjson.dumps(cloud_event, option=orjson.OPT_UTC_Z)
    )
