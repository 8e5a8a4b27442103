"""The ways in which reserved units end: fulfilled, released or expired."""

from collections.abc import Iterable
from typing import NamedTuple

from products.ledger.posting import Posting
from products.models import ReservationLine, StockEvent


class Ending(NamedTuple):
    """The field of a line that counts the ended units, and the event to record."""

    part: str
    event_type: StockEvent.Type
    quantity_per_unit: int
    """The change of the quantity on hand for each ended unit."""


FULFILL = Ending("fulfilled", StockEvent.Type.FULFILLED, quantity_per_unit=-1)
RELEASE = Ending("released", StockEvent.Type.RELEASED, quantity_per_unit=0)
EXPIRE = Ending("expired", StockEvent.Type.RELEASED, quantity_per_unit=0)


def end_portions(
    ending: Ending,
    portions: Iterable[tuple[ReservationLine, int]],
    posting: Posting,
    *,
    reason: str = "",
    reference: str = "",
) -> None:
    """Record the end of the given units of each line.

    The lines, their products and their reservations must be locked.
    """
    for line, amount in portions:
        posting.end(line, amount, part=ending.part)
        posting.record(
            line.product,
            ending.event_type,
            quantity_change=amount * ending.quantity_per_unit,
            reserved_change=-amount,
            reservation=line.reservation,
            reason=reason,
            reference=reference,
        )
