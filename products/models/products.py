"""Products and their levels."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Left, Upper
from django.db.models.lookups import LessThan, LessThanOrEqual

from products.db.clock import Now
from products.models.fields import MomentField, SkuField, TermsField
from products.models.finding import find
from products.validators import (
    MAX_DESCRIPTION_LENGTH,
    MAX_NAME_LENGTH,
    MAX_SKU_LENGTH,
    MAX_UNITS,
    SKU_PATTERN,
)


class Levels(NamedTuple):
    """The levels of a product at one time, in units."""

    quantity: int
    reserved_quantity: int
    minimum_stock_level: int

    @property
    def available_quantity(self) -> int:
        """Units that can still be removed or reserved."""
        return self.quantity - self.reserved_quantity

    @property
    def is_low(self) -> bool:
        """Whether the available quantity is below the minimum stock level."""
        return self.quantity - self.reserved_quantity < self.minimum_stock_level

    @property
    def to_order(self) -> int:
        """Units that a low product needs to have `REORDER_FACTOR` times its minimum available.

        `TO_ORDER` is the same in a query.
        """
        wanted = settings.REORDER_FACTOR * self.minimum_stock_level
        return wanted - self.available_quantity if self.is_low else 0


class PastLevel(NamedTuple):
    """What the ledger says about a product at the moment of a late count."""

    is_future: bool
    quantity: int | None
    """Units on hand at the moment. None if the product did not exist yet."""
    counted_again_at: datetime | None
    """The time of the last count after the moment, or of the undo of a change from before it.

    Undone counts do not matter.
    """


AVAILABLE = F("quantity") - F("reserved_quantity")
SURPLUS = AVAILABLE - F("minimum_stock_level")
"""Sorts products by their shortage, the largest first."""

TO_ORDER = models.Case(
    models.When(
        low_stock=True, then=settings.REORDER_FACTOR * F("minimum_stock_level") - AVAILABLE
    ),
    default=0,
    output_field=models.BigIntegerField(),
)
"""`Levels.to_order` of a product in a query."""

_SKU_IN_CAPITALS = Upper("sku")
_SKU_IN_CAPITALS_WITHOUT_ZEROS = models.Func(
    _SKU_IN_CAPITALS, function="LTRIM", template="%(function)s(%(expressions)s, '0')"
)


NAME_ORDER = Left("search_terms", 64)
"""The words of the name without case and accents, for lists that are sorted by name."""


class ProductQuerySet(models.QuerySet["Product"]):
    def active(self) -> Self:
        """Return the products that are not archived."""
        return self.filter(archived=False)

    def low_stock(self) -> Self:
        """Return the products with an available quantity below their minimum."""
        return self.filter(low_stock=True)

    def in_stock(self) -> Self:
        """Return the products with available units."""
        return self.filter(out_of_stock=False)

    def out_of_stock(self) -> Self:
        """Return the products without available units."""
        return self.filter(out_of_stock=True)

    def never_counted(self) -> Self:
        """Return the products without a count, in the order of their creation."""
        return self.filter(last_counted_at=None).order_by("pk")

    def counted(self) -> Self:
        """Return the products with a count, the oldest count first."""
        return self.exclude(last_counted_at=None).order_by("last_counted_at", "pk")

    def with_skus(self, skus: Iterable[str]) -> Self:
        """Return the products with these SKUs, without regard to case."""
        capitals = sorted({sku.upper() for sku in skus})
        return self.alias(capitals=_SKU_IN_CAPITALS).filter(capitals__any_of=capitals)

    def with_disallowed_skus(self) -> Self:
        """Return the products whose SKU the setting `SKU_CHARACTERS` does not allow."""
        return self.exclude(sku__regex=f"^({SKU_PATTERN})$")

    def written_as(self, texts: Collection[str]) -> Self:
        """Return the products whose SKU is one of `texts`.

        SKUs are compared in capitals and without leading zeros.
        """
        written = self.alias(written=_SKU_IN_CAPITALS_WITHOUT_ZEROS)
        return written.filter(written__any_of=sorted(texts))

    def search(self, text: str, *, order: str | None = "sku") -> Self:
        """Return the products that a text finds, by the rule of `products.models.search`.

        `order` is the unique column by which the result will be sorted, or None if it is sorted by
        something else. Filter before the search.
        """
        found = find(self.alias(capitals=_SKU_IN_CAPITALS), text, order)
        products: Self = found.products
        products.countable = found.countable
        return products

    countable: Any = None
    """Set by `search`: the same products, or the first 10,000, in a form for counting."""


class Product(models.Model):
    """A product with its levels. All numbers are units."""

    sku = SkuField("SKU", max_length=MAX_SKU_LENGTH)
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    description = models.CharField(max_length=MAX_DESCRIPTION_LENGTH, blank=True, default="")
    quantity = models.BigIntegerField("on hand", default=0)
    reserved_quantity = models.BigIntegerField("reserved", default=0)
    minimum_stock_level = models.BigIntegerField("minimum", default=0)
    archived = models.BooleanField(default=False, db_default=False)
    version = models.BigIntegerField(default=1)
    search_terms = TermsField(editable=False)
    created_at = MomentField(db_default=Now())
    updated_at = MomentField(db_default=Now())
    # The moment of the last count. Null if there is none.
    last_counted_at = MomentField(null=True)

    # For filters and partial indexes only. An instance does not update them when its levels change.
    low_stock = models.GeneratedField(
        expression=LessThan(F("quantity") - F("reserved_quantity"), F("minimum_stock_level")),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    out_of_stock = models.GeneratedField(
        expression=LessThanOrEqual(F("quantity"), F("reserved_quantity")),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    objects = ProductQuerySet.as_manager()

    past_level: PastLevel
    """Set by `products.ledger.locking` for a late count only."""
    undone: Collection[int]
    """The ids of undone events. Set by `products.ledger.locking` for an undo only."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sku"], name="product_sku_unique"),
            # SKUs that differ by case alone would be mixed up.
            models.UniqueConstraint(_SKU_IN_CAPITALS, name="product_sku_unique_in_capitals"),
            models.CheckConstraint(
                condition=Q(quantity__gte=0, quantity__lte=MAX_UNITS), name="product_quantity_range"
            ),
            models.CheckConstraint(
                condition=Q(reserved_quantity__gte=0, reserved_quantity__lte=F("quantity")),
                name="product_reserved_quantity_range",
            ),
            models.CheckConstraint(
                condition=Q(minimum_stock_level__gte=0, minimum_stock_level__lte=MAX_UNITS),
                name="product_minimum_stock_level_range",
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="product_version_positive"),
        ]
        permissions = [
            ("operate_stock", "Can add, remove, reserve, release and fulfill"),
            ("adjust_stock", "Can adjust stock to a count"),
        ]
        indexes = [
            models.Index(
                fields=["sku"],
                condition=Q(low_stock=True, archived=False),
                name="product_active_low_stock",
            ),
            models.Index(
                fields=["sku"],
                condition=Q(out_of_stock=True, archived=False),
                name="product_active_out_of_stock",
            ),
            models.Index(fields=["sku"], condition=Q(archived=True), name="product_archived"),
            # The same, in the order of creation.
            models.Index(
                fields=["id"],
                condition=Q(low_stock=True, archived=False),
                name="product_active_low_stock_id",
            ),
            models.Index(
                fields=["id"],
                condition=Q(out_of_stock=True, archived=False),
                name="product_active_out_of_stock_id",
            ),
            models.Index(fields=["id"], condition=Q(archived=True), name="product_archived_id"),
            models.Index(_SKU_IN_CAPITALS_WITHOUT_ZEROS, name="product_similar_sku"),
            models.Index(NAME_ORDER, name="product_name_order"),
            # The products to count next. Only counts change these indexes.
            models.Index(
                fields=["id"],
                condition=Q(last_counted_at=None, archived=False),
                name="product_never_counted",
            ),
            models.Index(
                fields=["last_counted_at", "id"],
                condition=Q(last_counted_at__isnull=False, archived=False),
                name="product_counted",
            ),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def levels(self) -> Levels:
        """The levels of this instance in memory."""
        return Levels(self.quantity, self.reserved_quantity, self.minimum_stock_level)

    @property
    def available_quantity(self) -> int:
        """Units that can still be removed or reserved."""
        return self.quantity - self.reserved_quantity

    @property
    def is_low_stock(self) -> bool:
        """Whether the available quantity is below the minimum."""
        return self.levels.is_low
