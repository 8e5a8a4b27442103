"""How held units end: fulfilled, released or expired."""

from collections.abc import Iterable
from typing import NamedTuple

from products.ledger.posting import Posting
from products.models import ReservationLine, StockEvent


class Ending(NamedTuple):
    """The part of a line that the units go to, and the event."""

    part: str
    event_type: StockEvent.Type
    quantity_per_unit: int


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
    """Record the end of units of each line. Lines are locked with product and reservation."""
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
