"""The query parameters of lists. All others are refused."""

import re
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError as ValueRefused
from django.db.models import F, QuerySet
from django_filters import Filter
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from products import validators
from products.api.drf import FilterSet
from products.api.problems import invalid_field
from products.models import Product, Reservation, StockEvent
from products.validators import MAX_NAME_LENGTH, MAX_NOTE_LENGTH, SKU_PATTERN, is_sku

MAX_SKUS = 200
REPLACEMENT = "\ufffd"
"""The character that Django puts in place of bytes that are not UTF-8."""
_TEXT_PATTERN = r"^[^\u0000\ufffd]*$"
"""Matches the text that `check_query` and the database accept."""
_BOOLEAN = [("true", "true"), ("false", "false")]

PRODUCT_ORDERS = {"sku": "sku", "-sku": "-sku", "created_at": "id", "-created_at": "-id"}
"""The column that sorts each order. Pages need a unique column, and products of one import share
their `created_at`, so `id` stands in for it."""


def unknown_parameter(name: str) -> ValidationError:
    """Return the error for a query parameter that does not exist."""
    return invalid_field(name, "Unknown query parameter.", "unknown")


def check_query(request: Request, allowed: set[str]) -> None:
    """Refuse query parameters that are not `allowed`, repeated, empty or not UTF-8."""
    for name, values in request.query_params.lists():
        if name not in allowed:
            raise unknown_parameter(name)
        if len(values) > 1:
            raise invalid_field(name, "Send this parameter once.", "duplicate")
        if not values[0]:
            raise invalid_field(name, "Give this parameter a value, or leave it out.", "empty")
        if REPLACEMENT in values[0]:
            raise invalid_field(name, "Send text in UTF-8.", "forbidden_character")


def parse_time(name: str, text: str) -> datetime:
    """Return the time in a query parameter, in UTC. It must be RFC 3339 with an offset."""
    try:
        return validators.parse_time(text)
    except ValueRefused as error:
        raise invalid_field(name, error.messages[0]) from error


def parse_version(name: str, text: str) -> int:
    """Return the version of a product in a query parameter."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise invalid_field(name, "Send the `version` of a product.")
    return int(text)


def _describe(described: Filter, schema: dict[str, Any], help_text: str) -> None:
    """Set the schema and the description of a filter in the OpenAPI document."""
    extend_schema_field({**schema, "description": help_text})(described)


class TextFilter(filters.CharFilter):
    """A text. White space at its ends counts."""

    pattern = _TEXT_PATTERN

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        super().__init__(strip=False, help_text=help_text, **kwargs)
        schema = {"type": "string", "minLength": 1, "pattern": self.pattern}
        if "max_length" in kwargs:
            schema["maxLength"] = kwargs["max_length"]
        _describe(self, schema, help_text)


class SkusFilter(TextFilter):
    """One SKU or several, separated by commas."""

    pattern = f"^{SKU_PATTERN}(,{SKU_PATTERN}){{0,{MAX_SKUS - 1}}}$"

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return queryset
        skus = value.split(",")
        if len(skus) > MAX_SKUS:
            raise invalid_field("sku", f"Send at most {MAX_SKUS} SKUs.")
        if not all(map(is_sku, skus)):
            raise invalid_field("sku", "Send SKUs, separated by commas.")
        return queryset.filter(sku__in=skus)


class SkuFilter(TextFilter):
    """The SKU of one product of the reservation."""

    pattern = f"^{SKU_PATTERN}$"

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return queryset
        if not is_sku(value):
            raise invalid_field("sku", "Send a SKU.")
        # `ReservationViewSet.page_order` sorts by `line_order`, as the index on the lines does.
        of_product = queryset.filter(lines__product=Product.objects.filter(sku=value)[:1])
        return of_product.annotate(line_order=F("lines__reservation_id"))


class BooleanFilter(filters.ChoiceFilter):
    """Exactly `true` or `false`."""

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        super().__init__(choices=_BOOLEAN, help_text=help_text, **kwargs)
        _describe(self, {"type": "boolean"}, help_text)


class ArchivedFilter(filters.ChoiceFilter):
    """Exactly `true`, `false` or `all`. Archived products are left out by default."""

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        super().__init__(choices=[*_BOOLEAN, ("all", "all")], help_text=help_text, **kwargs)
        # Not "a boolean or `all`": Swagger UI offers only the first of two types.
        schema = {"type": "string", "enum": ["true", "false", "all"], "default": "false"}
        _describe(self, schema, help_text)

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset if value == "all" else queryset.filter(archived=value == "true")


class EnumFilter(filters.ChoiceFilter):
    """One value of an enum that is a component of the OpenAPI document."""

    def __init__(self, component: str, *, help_text: str, **kwargs: Any) -> None:
        super().__init__(help_text=help_text, **kwargs)
        _describe(self, {"$ref": f"#/components/schemas/{component}"}, help_text)


class OrderingFilter(filters.ChoiceFilter):
    """One of the orders of products."""

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        choices = [(name, name) for name in PRODUCT_ORDERS]
        super().__init__(choices=choices, help_text=help_text, **kwargs)
        schema = {"type": "string", "enum": list(PRODUCT_ORDERS), "default": "sku"}
        _describe(self, schema, help_text)


class ProductFilters(FilterSet):
    sku = SkusFilter(help_text=f"Only these products: up to {MAX_SKUS} SKUs, separated by commas.")
    low_stock = BooleanFilter(
        method="filter_low_stock",
        help_text="`true`: only products that are low on stock. `false`: only the others.",
    )
    in_stock = BooleanFilter(
        method="filter_in_stock",
        help_text="`true`: only products with available units. `false`: only products without.",
    )
    archived = ArchivedFilter(
        help_text="`false`: no archived products. `true`: only archived products. `all`: both."
    )

    # The pagination orders the rows, by `ProductViewSet.page_order`.
    ordering = OrderingFilter(
        method="leave_order_to_page",
        help_text="The order of the list. `-` reverses it.",
    )
    # After the other filters, as `ProductQuerySet.search` requires.
    search = TextFilter(
        method="filter_search",
        max_length=MAX_NAME_LENGTH,
        help_text=(
            "Only products that this text finds. Each piece between blanks must be a part "
            "of the SKU or the beginning of words of the name. One or two characters must be the "
            "start of the SKU. Case, accents and width do not count. Chinese, Japanese, Korean and "
            "Thai are searched by character. A list of SKUs, separated by commas, finds these "
            "products."
        ),
    )

    def leave_order_to_page(self, products: Any, name: str, value: str) -> Any:
        return products

    def filter_search(self, products: Any, name: str, value: str) -> Any:
        ordering = self.form.cleaned_data["ordering"] or "sku"
        return products.search(value, order=PRODUCT_ORDERS[ordering])

    def filter_low_stock(self, products: Any, name: str, value: str) -> Any:
        return products.low_stock() if value == "true" else products.filter(low_stock=False)

    def filter_in_stock(self, products: Any, name: str, value: str) -> Any:
        return products.in_stock() if value == "true" else products.out_of_stock()


class EventFilters(FilterSet):
    type = EnumFilter(
        "EventType", choices=StockEvent.Type.choices, help_text="Only events of this type."
    )
    reference = TextFilter(
        max_length=MAX_NOTE_LENGTH, help_text="Only events with exactly this reference."
    )


class ReservationFilters(FilterSet):
    reference = TextFilter(
        max_length=MAX_NOTE_LENGTH, help_text="Only reservations with exactly this reference."
    )
    status = EnumFilter(
        "ReservationStatus",
        choices=Reservation.Status.choices,
        help_text="Only reservations with this status.",
    )
    sku = SkuFilter(help_text="Only reservations with a line for this SKU.")
