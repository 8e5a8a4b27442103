"""Expire overdue reservations, whose units then become available again."""

from collections.abc import Collection
from typing import NamedTuple

from products.ledger.locking import LockedOverdue, OverdueReservations
from products.ledger.posting import Actor, Posting
from products.stock import overdue
from products.stock.runner import Verb, run


class ExpiryResult(NamedTuple):
    """The outcome of one call of `expire_overdue`."""

    found: int
    """The number of overdue reservations that were found."""
    expired: int
    """The number of reservations whose units were expired."""
    skipped: set[int]
    """The ids of reservations that still hold units, because others have locked them or a
    product."""


def expire_overdue(*, limit: int, excluding: Collection[int] = (), by: Actor) -> ExpiryResult:
    """Expire overdue reservations, in the order of their expiry.

    Expires at most `limit` lines, but at least one whole reservation, so that locks are held
    briefly. Skips reservations that others have locked: pass `skipped` as `excluding` to the
    next call.
    """
    return run(_ExpireOverdue(limit, excluding), by=by)


class _ExpireOverdue(Verb[LockedOverdue, ExpiryResult]):
    def __init__(self, limit: int, excluding: Collection[int]) -> None:
        self.wants = OverdueReservations(limit, excluding)

    def decide(self, locked: LockedOverdue, posting: Posting) -> ExpiryResult:
        expired = overdue.expire(locked.lines, posting)
        return ExpiryResult(len(locked.found), len(expired), locked.skipped)
