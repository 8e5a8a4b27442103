"""What needs doing, for the front page: webhooks, goods to order, reservations, counts."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Count, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timesince import timesince, timeuntil

from products.admin.base import MAX_QUOTED, format_time, link_to, product_link
from products.admin.reservations import SOON_SECONDS
from products.admin.webhook_dialogs import shown
from products.admin.webhooks import age_in_words, name_of, state_of
from products.models import SURPLUS, Product, Reservation, ReservationLine

MAX_ROWS = 5


class Section(NamedTuple):
    """A short list on the front page."""

    title: str
    table: dict[str, Any]
    """Headers, rows, and a text for an empty list."""
    more: str
    """A link to the whole list."""
    to_count: list[int] = []
    """The ids of the products that a button takes to the form for counts."""


def webhooks_to_mend() -> list[Section]:
    """Return a section with the parked and the failing webhooks, if there are any."""
    found = shown().parked() | shown().failing()
    # Parked ones first.
    rows = found.order_by("-state", "failing_since", "pk")
    table = {
        "headers": ["Webhook", "State", "Failing for"],
        "rows": [
            [
                link_to(webhook, Truncator(name_of(webhook)).chars(MAX_QUOTED)),
                state_of(webhook),
                age_in_words(webhook.failing_since or webhook.parked_at),
            ]
            for webhook in rows[:MAX_ROWS]
        ],
    }
    more = _list("All webhooks", "subscription")
    return [Section("Webhooks to mend", table, more)] if table["rows"] else []


def to_order() -> Section:
    """Return the products below their minimum, the largest shortage first."""
    products = Product.objects.active().low_stock().order_by(SURPLUS, "sku")
    return Section(
        title="To order",
        table={
            "headers": ["Product", "Available", "Minimum", "To order"],
            "rows": [
                [
                    product_link(product),
                    f"{product.available_quantity:,}",
                    f"{product.minimum_stock_level:,}",
                    f"{product.levels.to_order:,}",
                ]
                for product in products[:MAX_ROWS]
            ],
            "empty": "Every product has its minimum.",
        },
        more=_list("All to order", "product", stock="low"),
    )


def due_reservations() -> Section:
    """Return the open reservations that are overdue or expire soon, the oldest expiry first."""
    due = Reservation.objects.due_within(SOON_SECONDS).with_overdue()
    rows = list(due.order_by("expires_at", "pk")[:MAX_ROWS])
    open_lines = ReservationLine.objects.filter(reservation__in=rows, open__gt=0)
    sums = open_lines.values("reservation").annotate(lines=Count("pk"), units=Sum("open"))
    held = {each["reservation"]: each for each in sums}
    return Section(
        title="Reservations to settle",
        table={
            "headers": ["Reservation", "Expiry", "Held"],
            "rows": [
                [
                    link_to(reservation, reservation.reference or f"Reservation {reservation.pk}"),
                    expiry_in_words(reservation),
                    units_in_words(**held[reservation.pk]) if reservation.pk in held else "",
                ]
                for reservation in rows
            ],
            "empty": "No reservation is overdue or expires within an hour.",
        },
        more=_list("All reservations", "reservation"),
    )


def to_count() -> Section:
    """Return the products that were never counted, then those counted longest ago."""
    products = Product.objects.active()
    rows = list(products.never_counted()[:MAX_ROWS])
    rows += products.counted()[: MAX_ROWS - len(rows)]
    return Section(
        title="To count",
        table={
            "headers": ["Product", "On hand", "Last counted"],
            "rows": [
                [
                    product_link(product),
                    f"{product.quantity:,}",
                    format_time(product.last_counted_at) if product.last_counted_at else "never",
                ]
                for product in rows
            ],
            "empty": "There is no product yet.",
        },
        more=_list("All products", "product"),
        to_count=[product.pk for product in rows],
    )


def expiry_in_words(reservation: Reservation) -> str:
    """Return the time since or until the expiry, such as `2 hours overdue`."""
    now = timezone.now()
    expires_at: Any = reservation.expires_at
    if reservation.is_overdue:
        return f"{timesince(expires_at, now, depth=1)} overdue"
    return f"in {timeuntil(expires_at, now, depth=1)}"


def units_in_words(*, lines: int, units: int, **_: Any) -> str:
    """Return the open units of a reservation, such as `5 units of 2 products`."""
    return f"{units:,} {_noun('unit', units)} of {lines:,} {_noun('product', lines)}"


def _noun(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _list(title: str, model: str, **filters: str) -> str:
    page = reverse(f"admin:products_{model}_changelist")
    url = f"{page}?{urlencode(filters)}" if filters else page
    return format_html('<a class="text-link" href="{}">{}</a>', url, title)
