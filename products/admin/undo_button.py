"""The button of a success message that undoes the change.

The tag of the message says what the button undoes.
"""

import re
from typing import Any

from django.template import Library

from products import stock
from products.models import StockEvent

register = Library()

_TAG = re.compile("undo-(?P<together>all-)?(?P<event_id>[0-9]+)")


def undo_tag(event: StockEvent | None, *, together: bool = False) -> str:
    """Return the tag of a message that offers to undo an event. Empty if that is not possible.

    With `together`, the button undoes all events that were saved with this one.
    """
    if event is None or stock.why_not_undone(event):
        return ""
    return f"undo-{'all-' if together else ''}{event.pk}"


@register.inclusion_tag("products/admin/undo_button.html", takes_context=True)
def undo_button(context: dict[str, Any], message: Any) -> dict[str, Any]:
    """Draw the button if the tag of the message asks for it."""
    found = _TAG.fullmatch(getattr(message, "extra_tags", None) or "")
    return {"offer": found and found.groupdict(), "request": context.get("request")}
