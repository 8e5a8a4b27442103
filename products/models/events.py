"""The ledger, and the totals that are derived from it."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from products.db.clock import Now
from products.models.fields import MomentField, SkuField
from products.models.products import Product
from products.models.reservations import Reservation
from products.validators import (
    MAX_NOTE_LENGTH,
    MAX_SKU_LENGTH,
    MAX_UNITS,
)

MAX_ACTOR_LENGTH = 150
REPAIR_ACTOR = "verify_stock"
"""The name of the actor that repairs ledgers."""
MAX_REQUEST_ID_LENGTH = 128


class StockEventQuerySet(models.QuerySet["StockEvent"]):
    def as_of(self, time: datetime) -> "StockEvent | None":
        """Return the last event up to a time. Filter the queryset by product first."""
        return self.filter(occurred_at__lte=time).order_by("-version").first()

    def with_name(self) -> "StockEventQuerySet":
        """Load the name of each product and the reservation, too, each in a query of its own.

        A join could change how the database walks through the ledger.
        """
        products = Product.objects.only("sku", "name")
        return self.prefetch_related(models.Prefetch("product", queryset=products), "reservation")

    # SQLite uses a partial index only if the query repeats the condition of the index.

    def of_reference(self, reference: str) -> "StockEventQuerySet":
        """Return the events with a reference, which must not be blank."""
        return self.filter(~Q(reference=""), reference=reference)

    def of_request(self, request_id: str) -> "StockEventQuerySet":
        """Return the events with a request id, which must not be blank."""
        return self.filter(~Q(request_id=""), request_id=request_id)


class StockEvent(models.Model):
    """One change of one product, with the levels after it, its actor, its reason and its time.

    This table is ledger, event log and outbox in one (ADR 3). Triggers allow inserts only.
    """

    class Type(models.TextChoices):
        PRODUCT_CREATED = "ProductCreated", "Product created"
        PRODUCT_EDITED = "ProductEdited", "Product edited"
        PRODUCT_ARCHIVED = "ProductArchived", "Product archived"
        PRODUCT_RESTORED = "ProductRestored", "Product restored"
        ADDED = "InventoryAdded", "Added"
        REMOVED = "InventoryRemoved", "Removed"
        RESERVED = "InventoryReserved", "Reserved"
        RELEASED = "InventoryReleased", "Released"
        FULFILLED = "InventoryFulfilled", "Fulfilled"
        ADJUSTED = "InventoryAdjusted", "Counted"
        LOW_STOCK_DETECTED = "LowStockDetected", "Low stock"
        LOW_STOCK_RESOLVED = "LowStockResolved", "No longer low"

    class Source(models.TextChoices):
        API = "api", "API"
        ADMIN = "admin", "Back office"
        COMMAND = "command", "Command"

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="events", db_index=False
    )
    # A copy of the product's SKU, which never changes. Pages of the ledger need no join.
    sku = SkuField("SKU", max_length=MAX_SKU_LENGTH)
    version = models.BigIntegerField()
    type = models.CharField(max_length=20, choices=Type)
    quantity_change = models.BigIntegerField(default=0)
    reserved_change = models.BigIntegerField(default=0)
    quantity = models.BigIntegerField()
    reserved_quantity = models.BigIntegerField()
    reservation = models.ForeignKey(
        Reservation, on_delete=models.PROTECT, related_name="events", null=True, db_index=False
    )
    reason = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True, default="")
    reference = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True, default="")
    actor = models.CharField(max_length=MAX_ACTOR_LENGTH)
    source = models.CharField(max_length=10, choices=Source)
    request_id = models.CharField(
        "request ID", max_length=MAX_REQUEST_ID_LENGTH, blank=True, default=""
    )
    # The time of the inserting statement, which runs after the lock was acquired. `now()` is the
    # start of the transaction and could run backwards between two versions.
    occurred_at = MomentField(db_default=Now())
    # The changes of an edit: `{"name": {"old": "Cup", "new": "Mug"}}`.
    details = models.JSONField(blank=True, default=dict, db_default={})
    # Unique by a constraint with a condition: a `OneToOneField` would index every event.
    undoes = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="undone_by", null=True, db_index=False
    )

    objects = StockEventQuerySet.as_manager()

    class Meta:
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["product", "version"], name="stockevent_version_once"),
            models.UniqueConstraint(
                fields=["undoes"],
                condition=Q(undoes__isnull=False),
                name="stockevent_undone_once",
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="stockevent_version_positive"),
            models.CheckConstraint(
                condition=Q(quantity__gte=0, quantity__lte=MAX_UNITS),
                name="stockevent_quantity_range",
            ),
            models.CheckConstraint(
                condition=Q(reserved_quantity__gte=0, reserved_quantity__lte=F("quantity")),
                name="stockevent_reserved_quantity_range",
            ),
        ]
        indexes = [
            models.Index(
                fields=["product", "reference", "version"],
                condition=~Q(reference=""),
                name="stockevent_reference",
            ),
            # Finds rare types among the many events of a product.
            models.Index(fields=["product", "type", "version"], name="stockevent_type"),
            # One for each filter of the ledger in the admin, newest first. They are cheap to keep:
            # a new event is always the last one of its key.
            models.Index(fields=["occurred_at", "id"], name="stockevent_by_time"),
            models.Index(fields=["type", "occurred_at", "id"], name="stockevent_by_type"),
            models.Index(fields=["source", "occurred_at", "id"], name="stockevent_by_source"),
            models.Index(fields=["actor", "occurred_at", "id"], name="stockevent_by_actor"),
            models.Index(
                fields=["reference", "occurred_at", "id"],
                condition=~Q(reference=""),
                name="stockevent_by_reference",
            ),
            models.Index(
                fields=["request_id"], condition=~Q(request_id=""), name="stockevent_by_request"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} {self.sku} v{self.version}"

    @property
    def available_quantity(self) -> int:
        """The units that could be removed or reserved after this event."""
        return self.quantity - self.reserved_quantity


class DailyTotal(models.Model):
    """The units that came in and went out on one day of the back office, over all products.

    Opening stock is left out.
    `products.daily_totals` adds up the events, as far as the `DailyTotalsCursor`.
    """

    day = models.DateField(primary_key=True)
    units_in = models.BigIntegerField()
    units_out = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.day}: +{self.units_in} -{self.units_out}"


class LowStockCursor(models.Model):
    """How far the digests of low stock have been sent (`products.low_stock_digest`). One row."""

    # Cursors of the change feed. Blank: before the first event, and no digest that is being sent.
    cursor = models.CharField(max_length=40, blank=True, default="")
    sending_up_to = models.CharField(max_length=40, blank=True, default="")
    # The run that is sending. Once the time has passed, another one may repeat the digest.
    claim = models.UUIDField(null=True)
    claimed_until = MomentField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.cursor


class DailyTotalsCursor(models.Model):
    """The last event in the daily totals, and the time zone of their days.

    The only row is locked while events are added.
    """

    last_id = models.BigIntegerField(default=0)
    time_zone = models.CharField(max_length=100, default="UTC")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.last_id)
