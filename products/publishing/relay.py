"""The relay: claim subscriptions, and deliver their events until it is stopped."""

import logging
import math
import os
import socket
import threading
import time
import uuid

from django.conf import settings
from django.db import Error

from products import feed
from products.db.connection import drain_pool_after
from products.publishing import parking, subscriptions
from products.publishing.choosing import has_publisher
from products.publishing.delivery import Delivery
from products.publishing.reading import Reader, database

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.05
"""The pause between two looks at the ledger while events arrive."""
IDLE_SECONDS = 0.5
QUIET_SECONDS = 5.0
"""Without a new event for this long, the relay is idle."""
REPORT_SECONDS = 60
"""The pause between two reports of parked subscriptions."""
CLAIMED_AT_ONCE = 4
"""Subscriptions that are claimed at once. Other relays can claim the next ones."""


def lease_seconds() -> int:
    """Return the length of a lease. The holder ends before it, together with its last requests."""
    return int(4 * settings.WEBHOOK_TIMEOUT_SECONDS)


class Relay:
    """Delivers the events of all subscriptions that it can claim."""

    def __init__(self) -> None:
        self.delivered = 0
        """The events that were delivered so far."""
        # Its own lease, so that it can go on after a failure of the database.
        self._lease = f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._reader = Reader()
        self._running: dict[int, tuple[threading.Thread, Delivery]] = {}
        # The subscriptions that have all events that `run_once` delivers.
        self._finished: set[int] = set()
        self._last_drawn = 0
        self._changed_at = self._claimed_at = self._reported_at = -math.inf

    def follow(self, stopped: threading.Event) -> None:
        """Deliver events until `stopped` is set. A failing database only delays it."""
        while not stopped.is_set():
            try:
                self._look()
            except Error as error:
                drain_pool_after(error)
                logger.warning("the database failed: %s", error)
                stopped.wait(1)
            is_busy = time.monotonic() - self._changed_at < QUIET_SECONDS
            stopped.wait(BUSY_SECONDS if is_busy else IDLE_SECONDS)
        self._stop()

    def run_once(self, stopped: threading.Event) -> None:
        """Deliver the events that exist now, as far as the receivers accept them."""
        with database():
            until_id = feed.last_id_drawn()
        while not stopped.is_set():
            self._claim(until_id)
            if not self._running:
                break
            stopped.wait(BUSY_SECONDS)
            self._reap()
        self._stop()
        parking.report()

    def _look(self) -> None:
        """Wake the deliveries if there are new events, and claim subscriptions."""
        with database():
            last_drawn = feed.last_id_drawn()
            if last_drawn < self._last_drawn:
                logger.warning("the ledger was restored from a backup")
                self._reader.forget()
                subscriptions.note_restore_for_all()
        if last_drawn != self._last_drawn:
            self._last_drawn, self._changed_at = last_drawn, time.monotonic()
            for _, delivery in self._running.values():
                delivery.wake(last_drawn)
        self._reap()
        now = time.monotonic()
        if now - self._claimed_at > IDLE_SECONDS:
            self._claimed_at = now
            self._claim()
        if now - self._reported_at > REPORT_SECONDS:
            self._reported_at = now
            # A mail server that hangs must not hold up the events.
            threading.Thread(target=parking.report, daemon=True).start()

    def _claim(self, until_id: int | None = None) -> None:
        """Claim subscriptions, and start to deliver their events."""
        with database():
            if has_publisher():
                subscriptions.ensure_publisher()
            claimed = subscriptions.claim(
                lease=self._lease,
                seconds=lease_seconds(),
                limit=CLAIMED_AT_ONCE,
                excluding=self._running.keys() | self._finished,
                with_publisher=has_publisher(),
            )
        for subscription in claimed:
            delivery = Delivery(subscription, self._reader, until_id=until_id)
            delivery.wake(self._last_drawn)
            thread = threading.Thread(target=delivery.run, name=f"subscription {subscription.pk}")
            self._running[subscription.pk] = thread, delivery
            thread.start()

    def _reap(self) -> None:
        """Take account of the deliveries that have ended."""
        for subscription_id, (thread, delivery) in [*self._running.items()]:
            if not thread.is_alive():
                del self._running[subscription_id]
                self.delivered += delivery.delivered
                if delivery.is_finished:
                    self._finished.add(subscription_id)

    def _stop(self) -> None:
        """Let all deliveries finish their requests and give their subscriptions back."""
        for _, delivery in self._running.values():
            delivery.stop()
        for thread, _ in self._running.values():
            thread.join()
        self._reap()
