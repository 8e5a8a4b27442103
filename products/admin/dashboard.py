"""The front page: what needs somebody now, and what has happened of late."""

import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from products import daily_totals
from products.admin import ledger
from products.admin.reservations import SOON_SECONDS
from products.models import DailyTotal, Product, Reservation, StockEvent

admin.site.index_title = "Front page"
admin.site.index_template = "admin/front_page.html"

MAX_COUNTED = 1_000
DAYS = 30
LATEST_EVENTS = 10


class Card(NamedTuple):
    """A number of things to look after, and where they are listed."""

    title: str
    number: str
    explanation: str
    url: str
    colour: str
    """Red, orange, or none."""


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the front page's context what the person who is logged in may see."""
    cards: list[Card] = []
    shown: dict[str, Any] = {"cards": cards}
    if request.user.has_perm("products.view_product"):
        shown["search_url"] = reverse("admin:products_product_changelist")
        cards += product_cards()
    if request.user.has_perm("products.view_reservation"):
        cards += reservation_cards()
    if request.user.has_perm("products.view_stockevent"):
        shown["days"] = DAYS
        shown["is_behind"] = not daily_totals.catch_up()
        shown["chart"] = chart_of(daily_totals.of_last_days(DAYS))
        shown["events"] = latest_events()
    return {**context, **shown}


def product_cards() -> list[Card]:
    """Return the cards on products that are not archived."""
    products = Product.objects.active()
    return [
        card(
            "Low stock",
            products.low_stock(),
            "products with less available than their minimum",
            "orange",
            archived__exact=0,
            low_stock__exact=1,
        ),
        card(
            "Out of stock",
            products.out_of_stock(),
            "products of which nothing is available",
            "red",
            archived__exact=0,
            out_of_stock__exact=1,
        ),
    ]


def reservation_cards() -> list[Card]:
    """Return the cards on reservations that are overdue or will be soon."""
    return [
        card(
            "Overdue",
            Reservation.objects.overdue(),
            "open reservations whose time is over",
            "red",
            expiry="overdue",
        ),
        card(
            "Expiring soon",
            Reservation.objects.expiring_within(SOON_SECONDS),
            "reservations that expire within the hour",
            "orange",
            expiry="soon",
        ),
    ]


def card(title: str, rows: QuerySet, explanation: str, colour: str, **filters: Any) -> Card:
    """Return a card that counts `rows` and leads to their list, which `filters` narrow to them."""
    count = rows[: MAX_COUNTED + 1].count()
    page = reverse(f"admin:products_{rows.model._meta.model_name}_changelist")
    return Card(
        title=title,
        number=f"{MAX_COUNTED:,}+" if count > MAX_COUNTED else f"{count:,}",
        explanation=explanation,
        url=f"{page}?{urlencode(filters)}",
        colour=colour if count else "none",
    )


def latest_events() -> dict[str, Any]:
    """Return what Unfold's table is to show of the events that were recorded last."""
    return {
        "headers": ["When (UTC)", "Product", "Type", "On hand", "Reserved", "Why", "Who"],
        "rows": [
            [
                format_html(
                    '<a href="{}">{}</a>',
                    reverse("admin:products_stockevent_change", args=[event.pk]),
                    ledger.when(event),
                ),
                ledger.product_link(event),
                event.get_type_display(),
                ledger.on_hand(event),
                ledger.reserved(event),
                ledger.why(event),
                ledger.who(event),
            ]
            for event in StockEvent.objects.order_by("-pk")[:LATEST_EVENTS]
        ],
    }


def chart_of(days: list[DailyTotal]) -> str:
    """Return what Unfold's bar chart is to draw, as JSON: in upwards, out downwards."""

    def bars(label: str, units: list[int], colour: str) -> dict[str, Any]:
        return {
            "label": label,
            "data": units,
            "backgroundColor": f"var(--color-{colour})",
            "displayYAxis": True,
            "maxTicksXLimit": 10,
        }

    return json.dumps(
        {
            "labels": [f"{movement.day.day} {movement.day:%b}" for movement in days],
            "datasets": [
                bars("Units in", [movement.units_in for movement in days], "primary-600"),
                bars("Units out", [-movement.units_out for movement in days], "orange-500"),
            ],
        }
    )
