"""What the pages of the back office share."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from products import stock
from products.models import StockEvent
from products.request_id import request_id

_GREY = "#9ca3af"
LINE_CHART_OPTIONS = json.dumps(
    {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "datasets": {"line": {"borderWidth": 2, "pointStyle": False}},
        "plugins": {
            "legend": {
                "align": "end",
                "labels": {"color": _GREY, "boxHeight": 2, "boxWidth": 12},
            }
        },
        "scales": {
            "x": {"grid": {"display": False}, "ticks": {"color": _GREY, "maxTicksLimit": 6}},
            "y": {"beginAtZero": True, "grid": {}, "ticks": {"color": _GREY, "precision": 0}},
        },
    }
)
"""A line chart that shows its scale and its legend, which Unfold's own options hide."""


# At most this many rows of a list can be paged through; for others, filter or search.
MAX_LISTED = 10_000
# Characters of an edited text in a table; a description may have 1,000.
MAX_QUOTED = 60


def actor_of(request: HttpRequest) -> stock.Actor:
    """Return the person who is logged in, as the ledger names them."""
    return stock.Actor(request.user.get_username(), StockEvent.Source.ADMIN, request_id.get() or "")


def once_for(
    by: stock.Actor, key: str, describe: Callable[[Any], str]
) -> stock.Once[stock.KeptAnswer]:
    """Return how a form is carried out once. `describe` makes its message from the result."""
    return stock.Once(
        source=by.source,
        caller=by.name,
        key=key,
        fingerprint="",
        render=lambda result: stock.KeptAnswer(200, describe(result).encode()),
    )


def link_to(row: Model, text: Any) -> str:
    """Return a link to the page of a row."""
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text
    )


def moment(when: datetime) -> str:
    """Return a time to the second, as tables show it."""
    shown = f"{timezone.localtime(when):%Y-%m-%d %H:%M:%S}"
    return format_html('<span class="whitespace-nowrap">{}</span>', shown)


def signed(change: int) -> str:
    """Return a change of units with its sign; nothing for none."""
    return f"{change:+,}" if change else ""


def why(event: StockEvent) -> str:
    """Return in a line what an event edited, its reason and its reference."""
    return " · ".join(filter(None, [edited(event), event.reason, event.reference]))


def edited(event: StockEvent) -> str:
    """Return in a line what an edit changed, such as `name: "Cup" → "Mug"`."""
    if event.type != StockEvent.Type.PRODUCT_EDITED:
        return ""
    return ", ".join(
        f"{name.replace('_', ' ')}: {_quoted(change['old'])} → {_quoted(change['new'])}"
        for name, change in event.details.items()
    )


def _quoted(value: str | int) -> str:
    """Return a text in quotation marks, cut to what a table has room for; a number in digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f'"{Truncator(value).chars(MAX_QUOTED)}"'


class BoundedPaginator(Paginator):
    """Counts and pages no further than `MAX_LISTED` rows: a whole table would take too long."""

    template_name = "admin/bounded_pagination.html"

    @cached_property
    def count(self) -> int:
        """The number of rows, at most `MAX_LISTED`."""
        return min(self._counted, MAX_LISTED)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than can be paged through."""
        return self._counted > MAX_LISTED

    @cached_property
    def _counted(self) -> int:
        return self.countable_rows()[: MAX_LISTED + 1].count()

    def countable_rows(self) -> QuerySet:
        """Return the rows in the order in which they are counted soonest: in any."""
        return cast(QuerySet, self.object_list).order_by()


class BoundedChangeList(ChangeList):
    """A list that leaves the number of its rows to the paginator, which says that it is bounded."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Unfold's heading tells the number of results only where it differs from that of all.
        self.full_result_count = self.result_count


class InventoryAdmin(ModelAdmin):
    """Rows that are created and closed elsewhere. Seeing one does not include changing it."""

    # Counting all rows, or those behind each filter, would take as long as reading them.
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = BoundedPaginator
    # Most of the time of a page goes into drawing its rows.
    list_per_page = 50

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may add, remove, reserve, release, fulfill and extend."""
        return request.user.has_perm("products.operate_stock")

    def has_adjust_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may set stock to a count."""
        return request.user.has_perm("products.adjust_stock")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# Of any type: else each attribute would be compared with that of Unfold's class beside it.
_DjangoModelAdmin: Any = DjangoModelAdmin


class WithoutTransaction(_DjangoModelAdmin):
    """A form whose changes are made by `products.stock`, which owns its transactions.

    Django would wrap all of it in one. Must be the last base.
    """

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        return self._changeform_view(request, object_id, form_url, extra_context)


class ReadOnlyAdmin(InventoryAdmin):
    """Rows to look at."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
