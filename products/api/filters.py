"""The filters of lists. Every other query parameter is refused."""

import re
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework.request import Request

from products import validators
from products.api.drf import FilterSet
from products.api.problems import invalid_field
from products.models import Product, Reservation, StockEvent
from products.validators import MAX_NAME_LENGTH, MAX_NOTE_LENGTH, SKU_PATTERN

MAX_SKUS = 200
REPLACEMENT = "\ufffd"
"""Django's replacement for bytes that are not UTF-8."""
_TEXT_PATTERN = r"^[^\u0000\ufffd]*$"
"""What `check_query` and the database let through."""
_BOOLEAN = [("true", "true"), ("false", "false")]

PRODUCT_ORDERS = {"sku": "sku", "-sku": "-sku", "created_at": "id", "-created_at": "-id"}
"""The column of each order. Pages need a unique one, and a batch of products has one `created_at`;
ids grow with it."""


def check_query(request: Request, allowed: set[str]) -> None:
    """Refuse query parameters that are not `allowed`, repeated, empty or not UTF-8."""
    for name, values in request.query_params.lists():
        if name not in allowed:
            raise invalid_field(name, "There is no such parameter here.", "unknown")
        if len(values) > 1:
            raise invalid_field(name, "This parameter is given twice.", "duplicate")
        if not values[0]:
            raise invalid_field(name, "This parameter is empty.", "empty")
        if REPLACEMENT in values[0]:
            raise invalid_field(name, "Text in UTF-8 is required.", "forbidden_character")


def read_moment(name: str, text: str) -> datetime:
    """Return the moment in a parameter, in UTC. RFC 3339 with an offset is required."""
    try:
        return validators.read_moment(text)
    except ValidationError as error:
        raise invalid_field(name, error.messages[0]) from error


class TextFilter(filters.CharFilter):
    """A text, compared without stripping it."""

    pattern = _TEXT_PATTERN

    def __init__(self, *, help_text: str, **kwargs: Any) -> None:
        super().__init__(strip=False, help_text=help_text, **kwargs)
        schema = {"type": "string", "minLength": 1, "pattern": self.pattern}
        if "max_length" in kwargs:
            schema["maxLength"] = kwargs["max_length"]
        extend_schema_field({**schema, "description": help_text})(self)


class SkusFilter(TextFilter):
    """One SKU or several, separated by commas."""

    pattern = f"^{SKU_PATTERN}(,{SKU_PATTERN}){{0,{MAX_SKUS - 1}}}$"

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return queryset
        skus = value.split(",")
        if len(skus) > MAX_SKUS:
            raise invalid_field("sku", f"At most {MAX_SKUS} SKUs are allowed.")
        if not all(re.fullmatch(SKU_PATTERN, sku) for sku in skus):
            raise invalid_field("sku", "SKUs, separated by commas, are required.")
        return queryset.filter(sku__in=skus)


class SkuFilter(TextFilter):
    """The SKU of one product of the reservation."""

    pattern = f"^{SKU_PATTERN}$"

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return queryset
        if not re.fullmatch(SKU_PATTERN, value):
            raise invalid_field("sku", "A SKU is required.")
        # The index on the lines of one product holds its reservations in the order of
        # `line_order`, which `ReservationViewSet.page_order` uses.
        of_product = queryset.filter(lines__product=Product.objects.filter(sku=value)[:1])
        return of_product.annotate(line_order=F("lines__reservation_id"))


class BooleanFilter(filters.ChoiceFilter):
    """Exactly `true` or `false`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=_BOOLEAN, **kwargs)


@extend_schema_field({"type": "string", "enum": ["true", "false", "all"]})
class ArchivedFilter(filters.ChoiceFilter):
    """Leaves retired products out by default."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[*_BOOLEAN, ("all", "all")], **kwargs)

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset if value == "all" else queryset.filter(archived=value == "true")


class ProductFilters(FilterSet):
    sku = SkusFilter(help_text=f"SKUs, separated by commas; up to {MAX_SKUS}.")
    search = TextFilter(
        method="filter_search",
        max_length=MAX_NAME_LENGTH,
        help_text="The beginning of a SKU, or whole words of a name.",
    )
    low_stock = BooleanFilter(method="filter_low_stock", help_text="Below the minimum, or not.")
    in_stock = BooleanFilter(method="filter_in_stock", help_text="Any unit available, or none.")

    archived = ArchivedFilter(
        help_text="`true`: retired products alone; `all`: with them; `false` by default."
    )

    # The pagination orders the rows, by `ProductViewSet.page_order`.
    ordering = filters.ChoiceFilter(
        choices=[(name, name) for name in PRODUCT_ORDERS],
        method="leave_order_to_page",
        help_text="The order of the list; `sku` by default.",
    )

    def leave_order_to_page(self, products: Any, name: str, value: str) -> Any:
        return products

    def filter_search(self, products: Any, name: str, value: str) -> Any:
        return products.search(value)

    def filter_low_stock(self, products: Any, name: str, value: str) -> Any:
        return products.low_stock() if value == "true" else products.filter(low_stock=False)

    def filter_in_stock(self, products: Any, name: str, value: str) -> Any:
        return products.in_stock() if value == "true" else products.out_of_stock()


class EventFilters(FilterSet):
    type = filters.ChoiceFilter(choices=StockEvent.Type.choices, help_text="One event type.")
    reference = TextFilter(max_length=MAX_NOTE_LENGTH, help_text="The caller's own id.")


class ReservationFilters(FilterSet):
    reference = TextFilter(max_length=MAX_NOTE_LENGTH, help_text="The caller's own id.")
    status = filters.ChoiceFilter(choices=Reservation.Status.choices, help_text="One status.")
    sku = SkuFilter(help_text="The SKU of a product that the reservation holds or held.")
