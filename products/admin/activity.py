"""The latest changes for the front page. The events of one request or order are one row."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Prefetch, prefetch_related_objects
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator

from products.admin import ledger
from products.admin.base import MAX_QUOTED, format_time, in_time_zone, link_to
from products.admin.wording import explanation, in_words
from products.models import Product, StockEvent

MAX_READ = 300
"""The latest events that are read. A larger group shows that there are more."""

MAX_ROWS = 10
MAX_NAMED = 3

_Type = StockEvent.Type
_DERIVED = (_Type.LOW_STOCK_DETECTED, _Type.LOW_STOCK_RESOLVED)
_DONE = {
    _Type.PRODUCT_CREATED: "created",
    _Type.PRODUCT_EDITED: "edited",
    _Type.PRODUCT_ARCHIVED: "archived",
    _Type.PRODUCT_RESTORED: "restored",
    _Type.ADDED: "received",
    _Type.REMOVED: "taken out",
    _Type.RESERVED: "reserved",
    _Type.RELEASED: "released",
    _Type.FULFILLED: "shipped",
    _Type.ADJUSTED: "counted",
}
"""What happened to the products of a group."""


class Group(NamedTuple):
    """Events of one request, order or reference, the newest first."""

    events: list[StockEvent]
    may_be_more: bool
    """Whether older events of the group may not have been read."""

    def of_each_product(self) -> list[StockEvent]:
        """Return one event of each product."""
        return list({event.product_id: event for event in self.events}.values())

    def named(self) -> list[StockEvent]:
        """Return the events whose products are named."""
        return self.of_each_product()[:MAX_NAMED]


def latest_changes() -> dict[str, Any]:
    """Return the latest changes for a table."""
    groups = latest_groups()
    named = [event for group in groups for event in group.named()]
    prefetch_related_objects(named, Prefetch("product", Product.objects.only("sku", "name")))
    prefetch_related_objects([group.events[0] for group in groups], "reservation")
    return {
        "headers": [in_time_zone("Date"), "Change", "Products", "User or client"],
        "rows": [
            [
                format_time(group.events[0].occurred_at),
                change_in_words(group),
                products_of(group),
                ledger.actor(group.events[0]),
            ]
            for group in groups
        ],
        "empty": "Nothing has happened yet.",
    }


def latest_groups() -> list[Group]:
    """Return the latest groups of events. Low-stock events are left out: others cause them."""
    read = list(StockEvent.objects.order_by("-pk")[:MAX_READ])
    groups: dict[Any, list[StockEvent]] = {}
    for event in read:
        if event.type not in _DERIVED:
            groups.setdefault(_key(event), []).append(event)
    oldest = _key(read[-1]) if len(read) == MAX_READ else None
    return [Group(events, key == oldest) for key, events in groups.items()][:MAX_ROWS]


def _key(event: StockEvent) -> Any:
    """Return what the events of a group have in common."""
    if event.request_id:
        return event.request_id
    for name in ("reservation_id", "reference"):
        if common := getattr(event, name):
            return name, common, event.actor, event.source
    return event.pk


def change_in_words(group: Group) -> str:
    """Return what was done, with a link: `order-1001: 5 products reserved`."""
    first = group.events[0]
    if len(group.events) == 1 and not group.may_be_more:
        return link_to(first, " · ".join(filter(None, [in_words(first), explanation(first)])))
    name = _name_of(group.events)
    what = _summary(group)
    return format_html(
        '<a class="text-link" href="{}">{}</a>', _url_of(first), f"{name}: {what}" if name else what
    )


def _summary(group: Group) -> str:
    """Return the number of products and what was done with them, such as `5 products reserved`."""
    number = len(group.of_each_product())
    products = "1 product" if number == 1 else f"{number:,} products"
    if group.may_be_more:
        products = f"{number:,} or more products"
    done = list(dict.fromkeys(_done(event) for event in reversed(group.events)))
    return f"{products} {' and '.join(done)}"


def _done(event: StockEvent) -> str:
    if event.undoes_id is not None:
        return "undone"
    if event.type == _Type.ADDED and event.reservation_id is not None:
        return "returned"
    return _DONE[_Type(event.type)]


def _name_of(events: list[StockEvent]) -> str:
    """Return the order, the reference or the reason that all events share, if there is one."""
    order = events[0].reservation
    if order is not None and {event.reservation_id for event in events} == {order.pk}:
        return order.reference or f"Reservation {order.pk}"
    for value in ("reference", "reason"):
        values = {getattr(event, value) for event in events}
        if len(values) == 1 and any(values):
            return str(values.pop())
    return ""


def _url_of(event: StockEvent) -> str:
    """Return the URL of the ledger with the events of a group."""
    if not event.request_id and event.reservation_id:
        return reverse("admin:products_reservation_change", args=[event.reservation_id])
    page = reverse("admin:products_stockevent_changelist")
    return f"{page}?{urlencode({'q': event.request_id or event.reference})}"


def products_of(group: Group) -> str:
    """Return links to the first products of a group, and the number of others."""
    # Underlined, since the links are in a text.
    link = '<a class="text-link underline" href="{}">{}</a> <span class="text-subtle">{}</span>'
    named = format_html_join(", ", link, map(_link_parts, group.named()))
    others = len(group.of_each_product()) - MAX_NAMED
    return format_html("{} and {} more", named, f"{others:,}") if others > 0 else named


def _link_parts(event: StockEvent) -> tuple[str, str, str]:
    """Return the URL, the SKU and the name of the product of an event."""
    url = reverse("admin:products_product_change", args=[event.product_id])
    return url, event.sku, Truncator(event.product.name).chars(MAX_QUOTED)
