"""Deliver the events of one claimed subscription.

The thread of a `Delivery` reads pages of the feed, and starts requests without waiting for them. So
a receiver that hangs holds up no other. No request runs inside a database transaction.
"""

import logging
import time
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import F
from django.utils import timezone

from products import feed
from products.db.connection import drain_pool_after
from products.models import ATTEMPTS_KEPT, DeliveryAttempt, Subscription
from products.publishing import attempts, envelopes, subscriptions
from products.publishing.choosing import publisher_of
from products.publishing.publishers import DeliveryError, Receipt
from products.publishing.reading import Reader, database
from products.publishing.window import Message, Window, retry_seconds
from products.validators import MAX_NOTE_LENGTH

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 4
"""Failures without a success in between, after which the receiver is taken to be down."""
PARKED_AFTER_DAYS = 5
SAVE_SECONDS = 1.0
ATTEMPTS_SECONDS = 5.0
"""The pause between two saves of the attempts, which are many rows."""
POLL_SECONDS = 0.05
"""The pause before events that were not settled yet are read again."""


def hold_seconds() -> float:
    """Return how long a relay works on a subscription before it gives it back."""
    return 2.0 * settings.WEBHOOK_TIMEOUT_SECONDS


class LeaseLost(Exception):
    """Another relay has the subscription by now, or a user has changed it."""


@dataclass(frozen=True)
class Outcome:
    """The end of a request."""

    messages: list[Message]
    result: Receipt | DeliveryError
    started_at: datetime
    seconds: float


class Delivery:
    """The work on one claimed subscription, until it fails or its time is over."""

    def __init__(
        self, subscription: Subscription, reader: Reader, *, until_id: int | None = None
    ) -> None:
        """Take a claimed subscription. With `until_id`, stop after this event."""
        self.subscription = subscription
        self.delivered = 0
        """The events that were delivered so far."""
        self.is_finished = False
        """Whether all events up to `until_id` have arrived."""
        self._reader = reader
        self._until_id = until_id
        self._publisher = publisher_of(subscription)
        self._window = Window(
            self._publisher,
            cursor=subscription.cursor,
            ahead=subscription.ahead,
            failures=subscription.failures,
        )
        self._mailbox: SimpleQueue[Outcome | None] = SimpleQueue()
        self._in_flight = 0
        # A receiver that was down gets a single request first.
        self._parallel = 1 if subscription.failures else self._publisher.parallel
        self._has_more = True
        self._settled = self._last_drawn = 0
        self._failures_in_a_row = 0
        self._is_stopping = False
        self._ends_at = time.monotonic() + hold_seconds()
        self._saved_at = self._attempts_saved_at = time.monotonic()
        # What the next `_save` adds to the row.
        self._accepted = self._failed = 0
        self._attempts: deque[DeliveryAttempt] = deque(maxlen=ATTEMPTS_KEPT)
        self._changes: dict[str, Any] = {}

    # ------------------------------------------------------------------------- called by the relay

    def wake(self, last_drawn: int) -> None:
        """Announce that there are events up to an id."""
        self._last_drawn = last_drawn
        self._mailbox.put(None)

    def stop(self) -> None:
        """Finish the requests that run, and give the subscription back."""
        self._is_stopping = True
        self._mailbox.put(None)

    def run(self) -> None:
        """Deliver events. After an error, the lease ends by itself."""
        about = {"subscription": self.subscription.pk}
        try:
            with ThreadPoolExecutor(self._publisher.parallel) as senders:
                self._run(senders)
        except LeaseLost:
            logger.info("another relay or a user has taken the subscription", extra=about)
        except Error as error:
            drain_pool_after(error)
            logger.warning("the database failed: %s", error, extra=about)
        except Exception:
            logger.exception("the delivery failed", extra=about)
        finally:
            self._publisher.close()
            connection.close()

    # ------------------------------------------------------------------------------------ the loop

    def _run(self, senders: Executor) -> None:
        if self.subscription.restored_to:
            self._announce_restore(self.subscription.restored_to, senders)
        while not self._is_ending:
            if self._can_read:
                self._read()
            while self._in_flight < self._parallel and (messages := self._window.take()):
                self._in_flight += 1
                self._send(messages, senders)
            if self._is_done:
                self.is_finished = True
                break
            self._receive(self._patience())
            if time.monotonic() - self._saved_at > SAVE_SECONDS:
                self._save()
        while self._in_flight:
            self._receive(None)
        self._give_back()

    @property
    def _is_ending(self) -> bool:
        must_wait = self._changes.keys() & {"next_attempt_at", "state"}
        return self._is_stopping or bool(must_wait) or time.monotonic() > self._ends_at

    @property
    def _is_done(self) -> bool:
        is_read = not self._has_more and self._until_id is not None
        return is_read and not self._window and self._settled >= (self._until_id or 0)

    @property
    def _can_read(self) -> bool:
        return self._window.has_room and (self._has_more or self._last_drawn > self._settled)

    def _patience(self) -> float:
        """Return how long to wait for an outcome, a new event or the end of a wait."""
        waits = [self._ends_at - time.monotonic(), SAVE_SECONDS]
        retry = self._window.seconds_to_retry()
        if retry is not None and self._in_flight < self._parallel:
            waits.append(retry)
        if self._can_read:
            waits.append(0 if self._has_more else POLL_SECONDS)
        return max(min(waits), 0)

    def _receive(self, seconds: float | None) -> None:
        """Record the outcomes that arrive, after waiting for the first one."""
        try:
            received = [self._mailbox.get(timeout=seconds)]
        except Empty:
            return
        while not self._mailbox.empty():
            received.append(self._mailbox.get())
        for outcome in received:
            if outcome is not None:
                self._in_flight -= 1
                self._record(outcome)

    def _read(self) -> None:
        try:
            page = self._reader.read(after=self._window.read_to, last_drawn=self._last_drawn)
        except feed.UnknownCursor:
            self._reader.forget()
            with database():
                subscriptions.note_restore(self.subscription.pk, lease=self.subscription.lease)
            raise LeaseLost from None
        for entry in page.entries:
            is_wanted = self.subscription.wants(entry.event)
            self._window.add(entry.event, entry.envelope if is_wanted else None)
        self._has_more, self._settled = page.more, page.settled

    # -------------------------------------------------------------------------------------- sending

    def _send(self, messages: list[Message], senders: Executor) -> None:
        """Send messages without waiting. Their outcome goes into the mailbox."""
        started_at, started = timezone.now(), time.monotonic()

        def end(future: Future[Receipt]) -> None:
            outcome = Outcome(messages, _result_of(future), started_at, time.monotonic() - started)
            self._mailbox.put(outcome)

        sent = [message.envelope for message in messages]
        self._publisher.start(sent, senders).add_done_callback(end)

    def _announce_restore(self, restored_to: datetime, senders: Executor) -> None:
        """Tell the receiver about a restore before anything else."""
        known = self.subscription
        envelope = envelopes.of_restore(restored_to, known.cursor)
        started_at, started = timezone.now(), time.monotonic()
        result = _result_of(self._publisher.start([envelope], senders))
        seconds = time.monotonic() - started
        message = Message(envelope, 0, known.cursor)
        self._attempts.append(_attempt_of(known, Outcome([message], result, started_at, seconds)))
        if isinstance(result, DeliveryError):
            self._failed += 1
            self._changes["failures"] = known.failures + 1
            self._changes["failing_since"] = known.failing_since or timezone.now()
            self._wait_after(result, known.failures + 1)
        else:
            self._accepted += 1
            self._changes["restored_to"] = None
        self._save()

    # ------------------------------------------------------------------------------------- outcomes

    def _record(self, outcome: Outcome) -> None:
        self._attempts.append(_attempt_of(self.subscription, outcome))
        if isinstance(outcome.result, DeliveryError):
            self._reject(outcome.messages, outcome.result)
        else:
            self._accept(outcome.messages)

    def _accept(self, messages: list[Message]) -> None:
        self._window.accept(messages)
        self._failures_in_a_row = 0
        self._parallel = self._publisher.parallel
        self._accepted += len(messages)
        self.delivered += len(messages)

    def _reject(self, messages: list[Message], error: DeliveryError) -> None:
        self._window.reject(messages)
        self._failed += 1
        self._failures_in_a_row += 1
        failures = self._window.failures
        is_down = self._parallel == 1 or self._failures_in_a_row >= FAILURES_IN_A_ROW
        says_when = error.is_gone or error.retry_after is not None
        if is_down or says_when or self._is_overdue(failures):
            self._wait_after(error, failures)

    def _is_overdue(self, failures: int) -> bool:
        since = self.subscription.failing_since
        if not failures or since is None:
            return False
        return timezone.now() - since > timedelta(days=PARKED_AFTER_DAYS)

    def _wait_after(self, error: DeliveryError, failures: int) -> None:
        """Let the whole subscription wait after an error, or park it."""
        if error.is_gone:
            self._park(error.reason)
        elif self._is_overdue(failures):
            self._park(f"It has failed for {PARKED_AFTER_DAYS} days. {error.reason}")
        else:
            wait = retry_seconds(failures) if error.retry_after is None else error.retry_after
            self._changes["next_attempt_at"] = timezone.now() + timedelta(seconds=wait)

    def _park(self, reason: str) -> None:
        self._changes |= {
            "state": Subscription.State.PARKED,
            "parked_because": reason[:MAX_NOTE_LENGTH],
            "parked_at": timezone.now(),
            "is_alerted": False,
        }

    # --------------------------------------------------------------------------------------- saving

    def _give_back(self) -> None:
        """Save, and end the lease."""
        self._changes |= {"lease": "", "lease_until": None}
        if self._window.is_waiting and "next_attempt_at" not in self._changes:
            wait = self._window.seconds_to_retry() or 0
            self._changes["next_attempt_at"] = timezone.now() + timedelta(seconds=wait)
        self._save()

    def _save(self) -> None:
        """Save the progress, if the lease is still held. Raises `LeaseLost`.

        The attempts are saved with a change of the state, or if they have waited.
        """
        self._saved_at = now = time.monotonic()
        known, cursor = self.subscription, self._window.cursor
        is_due = self._changes or now - self._attempts_saved_at > ATTEMPTS_SECONDS
        finished = [*self._attempts] if is_due else []
        if not (self._changes or finished or cursor != known.cursor):
            return
        failures = self._window.failures
        failing_since = (known.failing_since or timezone.now()) if failures else None
        changes = {
            "cursor": cursor,
            "ahead": self._window.ahead,
            "failures": failures,
            "failing_since": failing_since,
            "delivered": F("delivered") + self._accepted,
            "failed": F("failed") + self._failed,
            **({"delivered_at": timezone.now()} if self._accepted else {}),
            **self._changes,
        }
        with database(), transaction.atomic():
            held = Subscription.objects.filter(pk=known.pk, lease=known.lease)
            if not held.update(**changes):
                raise LeaseLost
            attempts.save(known, finished)
        known.cursor, known.failing_since = cursor, failing_since
        if finished:
            self._attempts.clear()
            self._attempts_saved_at = now
        self._accepted = self._failed = 0


def _result_of(future: Future[Receipt]) -> Receipt | DeliveryError:
    try:
        return future.result()
    except DeliveryError as error:
        return error
    except Exception:
        logger.exception("the publisher failed")
        return DeliveryError("The request failed. See the log of the relay.")


def _attempt_of(subscription: Subscription, outcome: Outcome) -> DeliveryAttempt:
    return attempts.attempt_of(
        subscription,
        outcome.result,
        event_id=outcome.messages[0].envelope.id,
        events=len(outcome.messages),
        started_at=outcome.started_at,
        seconds=outcome.seconds,
    )
