"""The sweep: overdue reservations give their units back."""

from collections.abc import Collection
from typing import NamedTuple

from products.ledger.locking import LockedOverdue, OverdueReservations
from products.ledger.posting import Actor, Posting
from products.stock import overdue
from products.stock.runner import Verb, run


class ExpiryResult(NamedTuple):
    """What became of overdue reservations."""

    found: int
    expired: int
    """Those of which this call has given something back; others may do the same at once."""
    left: set[int]
    """The ids of those that still hold something: somebody else has locked them, or a product."""


def expire_overdue(*, limit: int, passing_over: Collection[int] = (), by: Actor) -> ExpiryResult:
    """Give back the units of overdue reservations, those first that ended first.

    At most `limit` lines, and one reservation at least, so that it holds locks briefly. Waits
    for nobody: reservations that others have locked are left, to be passed over by the next call.
    """
    return run(_Sweep(limit, passing_over), by=by)


class _Sweep(Verb[LockedOverdue, ExpiryResult]):
    def __init__(self, limit: int, passing_over: Collection[int]) -> None:
        self.wants = OverdueReservations(limit, passing_over)

    def decide(self, locked: LockedOverdue, posting: Posting) -> ExpiryResult:
        expired = overdue.expire(locked.lines, posting)
        return ExpiryResult(len(locked.found), len(expired), locked.left)
