"""Say in words what an event of the ledger was. Load the events with their reservations."""

from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from products.admin.base import MAX_QUOTED, link_to
from products.models import REPAIR_ACTOR, StockEvent
from products.validators import parse_time

_Type = StockEvent.Type


def in_words(event: StockEvent) -> str:
    """Return what happened, such as `Fulfilled 2 for order-1001`."""
    order = _order_of(event)
    return f"{_what(event)} for {order}" if order else _what(event)


def linked_words(event: StockEvent) -> str:
    """Return what happened, with links to the event and to its reservation."""
    words = link_to(event, _what(event))
    if event.reservation is not None:
        words = format_html("{} for {}", words, link_to(event.reservation, _order_of(event)))
    return format_html('<span class="event-words">{}</span>', words)


def explanation(event: StockEvent) -> str:
    """Return the reason and the reference, unless the words have it already."""
    reference = "" if event.reference == _order_of(event) else event.reference
    return " · ".join(filter(None, [event.reason, reference]))


def late_count(event: StockEvent) -> str:
    """Return the time of a late count, or an empty text."""
    moment = event.details.get("counted_at")
    if event.type != _Type.ADJUSTED or not moment:
        return ""
    return f"{timezone.localtime(parse_time(moment)):%Y-%m-%d %H:%M:%S}"


def edits_in_words(event: StockEvent) -> str:
    """Return the old and new values of an edit, such as `Renamed from “Cup” to “Mug”`."""
    if event.type != _Type.PRODUCT_EDITED:
        return ""
    return ", ".join(
        _edit(name, _quoted(change["old"]), _quoted(change["new"]))
        for name, change in event.details.items()
    )


def undone_in_words(undo: StockEvent) -> str:
    """Return who has undone an event. `undo` is the event that has undone it."""
    return f"Undone by {undo.actor}"


def _order_of(event: StockEvent) -> str:
    """Return the name of the order of an event, if it has one."""
    order = event.reservation
    if order is None:
        return ""
    return order.reference or f"reservation {order.pk}"


def _what(event: StockEvent) -> str:
    units, held = f"{abs(event.quantity_change):,}", f"{abs(event.reserved_change):,}"
    if event.undoes_id is not None:
        return _what_was_undone(event, units)
    match event.type:
        case _Type.PRODUCT_CREATED:
            return f"Created with {units} on hand" if event.quantity_change else "Created"
        case _Type.PRODUCT_EDITED:
            return edits_in_words(event) or "Edited"
        case _Type.PRODUCT_ARCHIVED:
            return "Archived"
        case _Type.PRODUCT_RESTORED:
            return "Restored"
        case _Type.ADDED:
            return f"{'Added' if event.reservation_id is None else 'Returned'} {units}"
        case _Type.REMOVED:
            return f"Removed {units}"
        case _Type.RESERVED:
            return f"Reserved {held}"
        case _Type.RELEASED:
            return f"Released {held}"
        case _Type.FULFILLED:
            return f"Fulfilled {units}"
        case _Type.ADJUSTED:
            return _count(event)
        case _Type.LOW_STOCK_DETECTED:
            return f"Low stock: {event.available_quantity:,} available"
        case _Type.LOW_STOCK_RESOLVED:
            return f"No longer low: {event.available_quantity:,} available"
    return str(event.type)


def _what_was_undone(event: StockEvent, units: str) -> str:
    if event.type == _Type.REMOVED:
        return f"Undid the addition of {units}"
    if event.type == _Type.ADDED:
        return f"Undid the removal of {units}"
    return f"Undid a count: {_levels(event)}"


def _count(event: StockEvent) -> str:
    if event.actor == REPAIR_ACTOR:
        return "Repaired the ledger"
    moment = late_count(event)
    when = f" at {moment}" if moment else ""
    if not event.quantity_change:
        return f"Counted{when}: {event.quantity:,}, no change"
    return f"Counted{when}: {_levels(event)}"


def _levels(event: StockEvent) -> str:
    return f"{event.quantity - event.quantity_change:,} → {event.quantity:,}"


def _edit(name: str, old: str, new: str) -> str:
    if name == "name":
        return f"Renamed from {old} to {new}"
    label = {"minimum_stock_level": "Minimum"}.get(name, name.capitalize())
    return f"{label}: {old} → {new}"


def _quoted(value: str | int) -> str:
    """Return a text in quotation marks, shortened for a table. Return a number without them."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"“{Truncator(value).chars(MAX_QUOTED)}”"
