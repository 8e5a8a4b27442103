"""Base classes and helpers for the pages of the back office."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from django.conf import settings
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
from products.admin.lists import FilteredList, FilteredListAdmin
from products.models import Product, StockEvent
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
"""Options of line charts. Unfold's defaults hide the scale and the legend."""


MAX_LISTED = 10_000
"""Rows of a list that can be paged through. Filters and the search reach the others."""


MAX_QUOTED = 60
"""Characters of a text that a page quotes. A description may have 1,000."""


def actor_of(request: HttpRequest) -> stock.Actor:
    """Return the logged-in user as the actor of a change."""
    return stock.Actor(request.user.get_username(), StockEvent.Source.ADMIN, request_id.get() or "")


def once_for(
    by: stock.Actor, key: str, describe: Callable[[Any], str]
) -> stock.Once[stock.StoredResponse]:
    """Return the idempotency claim of a form.

    `describe` turns the result into the message that is stored with the claim.
    """
    return stock.Once(
        source=by.source,
        caller=by.name,
        key=key,
        fingerprint="",
        render=lambda result: stock.StoredResponse(200, describe(result).encode()),
    )


def link_to(row: Model, text: Any) -> str:
    """Return a link to the admin page of a row."""
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text
    )


def product_link(product: Product) -> str:
    """Return a link to the page of a product, and its name."""
    url = reverse("admin:products_product_change", args=[product.pk])
    name = Truncator(product.name).chars(MAX_QUOTED)
    return format_html(
        '<a class="text-link" href="{}">{}</a> '
        '<span class="block product-name text-subtle">{}</span>',
        *(url, product.sku, name),
    )


def in_time_zone(text: str) -> str:
    """Return a label with the time zone of the back office, such as `Date (UTC)`."""
    return f"{text} ({settings.BACK_OFFICE_TIME_ZONE})"


def format_time(when: datetime) -> str:
    """Return a time to the second, for a table."""
    shown = f"{timezone.localtime(when):%Y-%m-%d %H:%M:%S}"
    return format_html('<span class="whitespace-nowrap">{}</span>', shown)


class BoundedPaginator(Paginator):
    """Count and page through at most `max_listed` rows. A whole table would take too long."""

    max_listed = MAX_LISTED
    template_name = "admin/bounded_pagination.html"

    @cached_property
    def count(self) -> int:
        """Number of rows, at most `max_listed`."""
        return min(self._counted, self.max_listed)

    @property
    def is_cut(self) -> bool:
        """Whether the list has more than `max_listed` rows."""
        return self._counted > self.max_listed

    @cached_property
    def _counted(self) -> int:
        return self.countable_rows()[: self.max_listed + 1].count()

    def countable_rows(self) -> QuerySet:
        """Return the rows without an order, which makes counting them faster."""
        return cast(QuerySet, self.object_list).order_by()


class BoundedChangeList(FilteredList):
    """List whose footer, not its heading, shows the number of rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Unfold's heading shows the number of results only if it differs from the full number.
        self.full_result_count = self.result_count


class InventoryAdmin(FilteredListAdmin, ModelAdmin):
    """Base of all lists. Rows are neither added nor deleted here."""

    # Counting all rows, or the rows of each filter, takes as long as reading them.
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = BoundedPaginator
    # Rendering the rows takes most of the time of a page.
    list_per_page = 50

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may add, remove, reserve, release, fulfill and extend."""
        return request.user.has_perm("products.operate_stock")

    def has_adjust_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may set stock to a count."""
        return request.user.has_perm("products.adjust_stock")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# Typed `Any`: mypy would compare each attribute with that of Unfold's class.
_DjangoModelAdmin: Any = DjangoModelAdmin


class WithoutTransaction(_DjangoModelAdmin):
    """Leave transactions to `products.stock`. Django would wrap the whole form in one.

    Must be the last base class.
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
    """Rows that can only be viewed."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
