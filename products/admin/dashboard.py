"""The front page: what needs doing, a chart and the latest changes."""

import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from products import daily_totals
from products.admin import activity, todo
from products.admin.reservations import SOON_SECONDS
from products.models import DailyTotal, Product, Reservation

admin.site.index_title = "Front page"
admin.site.index_template = "admin/front_page.html"

MAX_COUNTED = 1_000
DAYS = 30


class Card(NamedTuple):
    """A number of rows that need attention, and a link to their list."""

    title: str
    number: str
    explanation: str
    url: str
    colour: str
    """`red`, `orange` or `none`."""


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the parts of the front page that the user may view to its context."""
    cards: list[Card] = []
    sections: list[todo.Section] = []
    shown: dict[str, Any] = {"cards": cards, "sections": sections}
    if request.user.has_perm("products.view_subscription"):
        sections += todo.webhooks_to_mend()
    if request.user.has_perm("products.view_product"):
        shown["search_url"] = reverse("admin:products_product_changelist")
        cards += product_cards()
        sections.append(todo.to_order())
    if request.user.has_perm("products.view_reservation"):
        cards += reservation_cards()
        sections.append(todo.due_reservations())
    if request.user.has_perms(["products.view_product", "products.adjust_stock"]):
        sections.append(todo.to_count())
    if request.user.has_perm("products.view_stockevent"):
        shown["days"] = DAYS
        shown["is_behind"] = not daily_totals.catch_up()
        shown["chart"] = chart_of(daily_totals.of_last_days(DAYS))
        shown["changes"] = activity.latest_changes()
    return {**context, **shown}


def product_cards() -> list[Card]:
    """Return the cards for products, without archived ones."""
    products = Product.objects.active()
    return [
        card(
            "Low stock",
            products.low_stock(),
            "products with fewer units available than their minimum",
            "orange",
            stock="low",
        ),
        card(
            "Out of stock",
            products.out_of_stock(),
            "products with no units available",
            "red",
            stock="out",
        ),
    ]


def reservation_cards() -> list[Card]:
    """Return the cards for overdue reservations and those that expire soon."""
    return [
        card(
            "Overdue",
            Reservation.objects.overdue(),
            "open reservations that are past their expiry",
            "red",
            expiry="overdue",
        ),
        card(
            "Expiring soon",
            Reservation.objects.expiring_within(SOON_SECONDS),
            "reservations that expire within an hour",
            "orange",
            expiry="soon",
        ),
    ]


def card(title: str, rows: QuerySet, explanation: str, colour: str, **filters: Any) -> Card:
    """Return a card with the number of `rows` and a link to their list under `filters`."""
    count = rows[: MAX_COUNTED + 1].count()
    page = reverse(f"admin:products_{rows.model._meta.model_name}_changelist")
    return Card(
        title=title,
        number=f"{MAX_COUNTED:,}+" if count > MAX_COUNTED else f"{count:,}",
        explanation=explanation,
        url=f"{page}?{urlencode(filters)}",
        colour=colour if count else "none",
    )


def chart_of(days: list[DailyTotal]) -> str:
    """Return the data of Unfold's bar chart as JSON. Units in point up, units out down."""

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
            "labels": [f"{total.day.day} {total.day:%b}" for total in days],
            "datasets": [
                bars("Units in", [total.units_in for total in days], "primary-600"),
                bars("Units out", [-total.units_out for total in days], "orange-500"),
            ],
        }
    )
