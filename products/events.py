"""Signal stock events to receivers in this process, after the commit.

A receiver runs at most once: not at all if the process dies after the commit. Consumers that must
not miss an event read the ledger, which is written in the transaction of the change.
"""

import logging
from collections.abc import Sequence
from functools import partial

from django.db import transaction
from django.dispatch import Signal

from products.models import StockEvent

logger = logging.getLogger(__name__)

stock_event = Signal()
"""Sent once for each committed `StockEvent`, as `event=`, in ledger order per product."""


def publish_on_commit(events: Sequence[StockEvent]) -> None:
    """Send `stock_event` for each event after the current transaction has committed."""
    transaction.on_commit(partial(_publish, tuple(events)), robust=True)


def _publish(events: Sequence[StockEvent]) -> None:
    for event in events:
        for receiver, outcome in stock_event.send_robust(sender=StockEvent, event=event):
            if isinstance(outcome, Exception):
                logger.error(
                    "a receiver of stock_event failed",
                    exc_info=outcome,
                    extra={"receiver": repr(receiver), "event_id": event.pk},
                )
