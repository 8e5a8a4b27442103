"""Run verbs. Only this module opens the transactions in which stock changes.

A verb declares the rows to lock, and decides in memory. The runner locks the rows, lets the verb
decide, writes and commits, always in this order (ADR 15).
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from psycopg.pq import TransactionStatus

from products import metrics
from products.db.connection import per_sku_queue, wait_for_locks
from products.db.errors import RETRYABLE, UNIQUE_VIOLATION, busy, sqlstate_of
from products.db.sqlite import is_sqlite, sqlite_writer_lock
from products.ledger.locking import Locked, Wants, lock_next, lock_rows
from products.ledger.posting import Actor, Posting, SkuTaken
from products.models import Product
from products.stock import overdue
from products.stock.errors import PreconditionFailed, ProductNotFound, StockError, shortages_among
from products.stock.once import Once, StoredResponse, claim, store_response

logger = logging.getLogger(__name__)

MAX_RETRIES = 3
RETRY_PAUSE_SECONDS = 0.05

# Counters start at 0, so that Prometheus sees the first retry as an increase.
for _sqlstate in (*RETRYABLE, UNIQUE_VIOLATION):
    metrics.retries.labels(_sqlstate)

L = TypeVar("L", bound=Locked)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S", bound=StoredResponse)


class Verb(Generic[L, R_co]):
    """A change of stock: the rows to lock, and the decision."""

    wants: Wants[L]

    def decide(self, locked: L, posting: Posting) -> R_co:
        """Record the change in `posting`, or raise a `StockError`. Must not use the database."""
        raise NotImplementedError


def run(
    verb: Verb[L, R],
    *,
    by: Actor,
    once: Once[S] | None = None,
    if_match: Collection[int] | None = None,
) -> R | S:
    """Run a verb in a transaction, and return its result.

    With `once`, return the stored response of an earlier run, or the one that `once` renders.
    With `if_match`, raise `ProductNotFound` or `PreconditionFailed` before the verb decides, unless
    each product exists and has one of these versions.

    A transaction that the database aborts, for example to end a deadlock, is retried. Inside
    another transaction, as in most tests, nothing is retried or committed.
    """
    attempt = partial(_attempt, verb, by, once, if_match, started=time.perf_counter())
    return _in_transaction(attempt, verb.wants.skus or ())


def _attempt(
    verb: Verb[L, R],
    by: Actor,
    once: Once[S] | None,
    if_match: Collection[int] | None,
    started: float,
) -> R | S:
    claimed = claim(once) if once else None
    if isinstance(claimed, StoredResponse):
        return cast(S, claimed)
    locked = verb.wants.lock()
    metrics.lock_wait.observe(time.perf_counter() - started)
    if if_match is not None:
        _check_versions(verb.wants.skus or locked.products, locked, if_match)
    posting = Posting(by=by)
    try:
        result: R | S = verb.decide(locked, posting)
    except StockError as refused:
        result, posting = _decide_again(verb, refused, locked, by)
    commits = not connection.savepoint_ids
    committed = posting.write(commits=commits and claimed is None)
    if once is not None and claimed is not None:
        result = once.render(result)
        committed = store_response(claimed, result, commits=commits)
    if committed and connection.connection.info.transaction_status != TransactionStatus.IDLE:
        raise AssertionError("A statement ran after the COMMIT, outside the transaction.")
    return result


def _decide_again(verb: Verb[L, R], refused: StockError, locked: L, by: Actor) -> tuple[R, Posting]:
    """Expire overdue reservations of the short products, and let the verb decide again.

    Raises the refusal if no overdue reservation could help.
    """
    held = overdue.lines_for(refused.shortages, verb.wants, locked.products, whole=True)
    if not held:
        raise refused
    # Read the rows again: the first decision has changed the levels in memory.
    locked, posting = verb.wants.lock(), Posting(by=by)
    if not overdue.expire(overdue.lock(held, locked.products), posting):
        raise refused
    return verb.decide(locked, posting), posting


def _check_versions(skus: Iterable[str], locked: Locked, versions: Collection[int]) -> None:
    for sku in skus:
        if sku not in locked.products:
            raise ProductNotFound(sku)
        if locked.products[sku].version not in versions:
            raise PreconditionFailed(locked.products[sku])


def _in_transaction(attempt: Callable[[], R], skus: Collection[str] = ()) -> R:
    """Call `attempt` in a transaction, and retry if the database aborts it."""
    if connection.in_atomic_block:
        with transaction.atomic():
            return attempt()
    retries = MAX_RETRIES
    while True:
        queue = sqlite_writer_lock() if is_sqlite() else per_sku_queue(skus)
        try:
            with queue, transaction.atomic():
                return attempt()
        except SkuTaken as error:
            if retries == 0:
                raise busy("other requests are creating the same products") from error
            metrics.retries.labels(UNIQUE_VIOLATION).inc()
            logger.info("retrying: another request created the product")
        except DatabaseError as error:
            sqlstate = sqlstate_of(error)
            if retries == 0 or sqlstate not in RETRYABLE:
                raise
            metrics.retries.labels(sqlstate).inc()
            logger.warning("retrying the transaction", extra={"sqlstate": sqlstate})
            time.sleep(RETRY_PAUSE_SECONDS * random.random())
        retries -= 1


# ------------------------------------------------------------------------------------------- files


Outcomes = Sequence[Any]
"""The result of each line of a batch, or the `StockError` that refuses it."""


class Batches(Protocol):
    """A file, or a part of a file, to apply in one transaction."""

    lock_seconds: int
    """The longest time for which a statement waits for a lock."""

    def begin(self) -> bool:
        """Write the rows that describe the file. Return whether there are batches to apply."""

    def products(self) -> QuerySet[Product] | None:
        """Return the products to lock before the first batch, or None for a single batch.

        Locking all products first keeps the lock order across batches.
        """

    def verbs(self) -> Iterable[Verb[Any, Outcomes]]:
        """Yield a verb for each batch. The verb returns refusals as outcomes and does not raise."""

    def decided(self, outcomes: Outcomes) -> None:
        """Receive the outcomes of a batch, in the order of the verbs."""

    def end(self) -> None:
        """Write the result of the file. Raise to roll back the whole file."""


def run_batches(batches: Batches, *, by: Actor) -> None:
    """Apply the batches of a file one after the other, in one transaction."""

    def attempt() -> None:
        if not is_sqlite():
            wait_for_locks(batches.lock_seconds)
        if not batches.begin():
            return
        if (products := batches.products()) is not None:
            lock_rows(products)
        for outcomes in _apply_batches(batches.verbs(), by):
            batches.decided(outcomes)
        batches.end()

    _in_transaction(attempt)


def _apply_batches(verbs: Iterable[Verb[Any, Outcomes]], by: Actor) -> Iterator[Outcomes]:
    """Decide each batch while the database still writes the one before."""
    locked, posting = Locked({}), Posting(by=by)
    for verb in verbs:
        locked = lock_next(verb.wants, before=locked)
        posting.write(waits=False)
        posting = Posting(by=by)
        outcomes = verb.decide(locked, posting)
        shortages = shortages_among(outcomes)
        held = overdue.lines_for(shortages, verb.wants, locked.products, whole=False)
        if held:
            locked, posting = verb.wants.lock(), Posting(by=by)
            # Earlier batches hold locks on other reservations. Waiting for one would break the lock
            # order, and could deadlock.
            overdue.expire(overdue.lock(held, locked.products, skip_locked=True), posting)
            outcomes = verb.decide(locked, posting)
        posting.prepare()
        yield outcomes
    posting.write()
