"""Tables, constraints, and querysets for reading.

Stock is changed through `products.stock` alone; nothing here changes any. The constraints are the
net below it: one that fires is a bug above.
"""

import json
import re
import unicodedata
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Prefetch, Q
from django.db.models.functions import Now
from django.db.models.lookups import LessThan, LessThanOrEqual
from django.db.models.sql.compiler import SQLCompiler
from rest_framework_api_key.models import AbstractAPIKey

from products.database import array
from products.validators import (
    MAX_DESCRIPTION_LENGTH,
    MAX_NAME_LENGTH,
    MAX_NOTE_LENGTH,
    MAX_SKU_LENGTH,
    MAX_UNITS,
)

MAX_ACTOR_LENGTH = 150
MAX_REQUEST_ID_LENGTH = 128
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_THROTTLE_BUCKET_LENGTH = 64


def words_of(text: str) -> list[str]:
    """Return the words of `text` as they are compared: case folded, punctuation left out."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", folded)


class SkuField(models.CharField):
    """A SKU, sorted and searched by code point on every database.

    PostgreSQL would otherwise sort by its locale, in which a hyphen hardly counts, and could not
    use the index for a prefix.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        return {**parameters, "collation": "C" if connection.vendor == "postgresql" else None}


@SkuField.register_lookup
class Among(models.Lookup):
    """True for each of the given SKUs. One parameter, however many they are, unlike `__in`."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        members = "SELECT value FROM json_each(%s)"
        return f"{column} IN ({members})", (*parameters, json.dumps(self.rhs))

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*parameters, array(self.rhs))


class WordsField(models.TextField):
    """The words of a text, each between single spaces, for whole-word search (`__holds`)."""


@WordsField.register_lookup
class Holds(models.Lookup):
    """True where every one of the given words occurs. PostgreSQL answers it from a GIN index."""

    lookup_name = "holds"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        tests = [f"instr({column}, %s) > 0"] * len(self.rhs)
        return " AND ".join(tests), (*parameters, *(f" {word} " for word in self.rhs))

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        # The expression of the index that migration 0002 makes.
        return f"string_to_array({column}, ' ') @> %s", (*parameters, list(self.rhs))


class Levels(NamedTuple):
    """A product's levels at one moment, in units."""

    quantity: int
    reserved_quantity: int
    minimum_stock_level: int

    @property
    def available_quantity(self) -> int:
        """Units that can still be removed or reserved."""
        return self.quantity - self.reserved_quantity

    @property
    def is_low(self) -> bool:
        """Whether the available quantity is below the minimum."""
        return self.available_quantity < self.minimum_stock_level


class ProductQuerySet(models.QuerySet["Product"]):
    def active(self) -> Self:
        """Products that are not archived."""
        return self.filter(archived=False)

    def low_stock(self) -> Self:
        """Products whose available quantity is below their minimum."""
        return self.filter(low_stock=True)

    def in_stock(self) -> Self:
        """Products of which at least one unit is available."""
        return self.filter(out_of_stock=False)

    def out_of_stock(self) -> Self:
        """Products of which no unit is available."""
        return self.filter(out_of_stock=True)

    def search(self, text: str) -> Self:
        """Products whose SKU starts with `text`, or whose name holds every word of it.

        Looks first whether there is either: one alone is found by an index, while for one or the
        other the database may go through all products in the order of the list.
        """
        by_sku, words = Q(sku__startswith=text.upper()), words_of(text)
        by_name = Q(name_words__holds=words) if words else Q(pk__in=[])
        if not self.model.objects.filter(by_sku).exists():
            return self.filter(by_name)
        if not self.model.objects.filter(by_name).exclude(by_sku).exists():
            return self.filter(by_sku)
        return self.filter(by_sku | by_name)


class Product(models.Model):
    """A thing that is kept in stock, with its levels. All numbers are units."""

    sku = SkuField("SKU", max_length=MAX_SKU_LENGTH)
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    name_words = WordsField(editable=False)
    description = models.CharField(max_length=MAX_DESCRIPTION_LENGTH, blank=True, default="")
    quantity = models.BigIntegerField("on hand", default=0)
    reserved_quantity = models.BigIntegerField("reserved", default=0)
    minimum_stock_level = models.BigIntegerField("minimum", default=0)
    archived = models.BooleanField(default=False, db_default=False)
    version = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    # For filters and the partial indexes only: an instance's copies are stale after any change.
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

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sku"], name="product_sku_unique"),
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
            # The same in the order of creation.
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
        ]

    def __str__(self) -> str:
        return self.sku

    def event_as_of(self, moment: datetime) -> "StockEvent | None":
        """Return the last event up to a moment; none before the product was created."""
        return self.events.filter(occurred_at__lte=moment).order_by("-version").first()

    @property
    def levels(self) -> Levels:
        """The levels of this instance as they stand in memory."""
        return Levels(self.quantity, self.reserved_quantity, self.minimum_stock_level)

    @property
    def available_quantity(self) -> int:
        """Units that can still be removed or reserved."""
        return self.quantity - self.reserved_quantity

    @property
    def is_low_stock(self) -> bool:
        """Whether the available quantity is below the minimum."""
        return self.levels.is_low


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def overdue(self) -> Self:
        """Open reservations whose time is over, by the database's clock, and not expired yet."""
        return self.filter(status="open", expires_at__lte=Now())

    def with_lines(self) -> Self:
        """Load the lines, in the order of the request, as `loaded_lines`, each with its product."""
        lines = ReservationLine.objects.select_related("product").order_by("pk")
        return self.prefetch_related(Prefetch("lines", queryset=lines, to_attr="loaded_lines"))


class Reservation(models.Model):
    """Units held for an order, until they are fulfilled, released or expired."""

    class Status(models.TextChoices):
        OPEN = "open"
        FULFILLED = "fulfilled"
        EXPIRED = "expired"
        RELEASED = "released"

    reference = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True, default="")
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ReservationQuerySet.as_manager()
    loaded_lines: list["ReservationLine"]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["open", "fulfilled", "expired", "released"]),
                name="reservation_status_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["reference", "id"],
                condition=~Q(reference=""),
                name="reservation_reference",
            ),
            models.Index(fields=["status", "id"], name="reservation_status"),
            # For a release that names no reservation.
            models.Index(
                fields=["id"],
                condition=Q(status="open", reference=""),
                name="reservation_open_unnamed",
            ),
            models.Index(
                fields=["expires_at"], condition=Q(status="open"), name="reservation_expires_at"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.reference}".rstrip()

    @property
    def loaded_status(self) -> Status:
        """The status that the `loaded_lines` make."""
        return self.status_for(
            open_units=sum(line.open for line in self.loaded_lines),
            fulfilled=sum(line.fulfilled for line in self.loaded_lines),
            expired=sum(line.expired for line in self.loaded_lines),
        )

    @classmethod
    def status_for(cls, *, open_units: int, fulfilled: int, expired: int) -> Status:
        """Return the status of a reservation with so many units in each state, released aside."""
        if open_units:
            return cls.Status.OPEN
        if fulfilled:
            return cls.Status.FULFILLED
        return cls.Status.EXPIRED if expired else cls.Status.RELEASED


class ReservationLine(models.Model):
    """The units of one product in a reservation.

    `amount = fulfilled + released + expired + open`.
    """

    reservation = models.ForeignKey(
        Reservation, on_delete=models.PROTECT, related_name="lines", db_index=False
    )
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="reservation_lines", db_index=False
    )
    amount = models.BigIntegerField()
    fulfilled = models.BigIntegerField(default=0)
    released = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    open = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["reservation", "product"], name="reservationline_product_once"
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1, amount__lte=MAX_UNITS),
                name="reservationline_amount_range",
            ),
            models.CheckConstraint(
                condition=Q(fulfilled__gte=0, released__gte=0, expired__gte=0, open__gte=0),
                name="reservationline_parts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(amount=F("fulfilled") + F("released") + F("expired") + F("open")),
                name="reservationline_parts_sum",
            ),
        ]
        indexes = [
            models.Index(fields=["product", "reservation"], name="reservationline_product"),
            models.Index(
                fields=["product", "reservation"],
                condition=Q(open__gt=0),
                name="reservationline_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of product {self.product_id}"


class StockEvent(models.Model):
    """One change of one product: what changed, the levels after it, and who, why, when.

    Ledger, event log and outbox in one. Rows are only ever inserted; triggers refuse the rest.
    """

    class Type(models.TextChoices):
        PRODUCT_CREATED = "ProductCreated"
        ADDED = "InventoryAdded"
        REMOVED = "InventoryRemoved"
        RESERVED = "InventoryReserved"
        RELEASED = "InventoryReleased"
        FULFILLED = "InventoryFulfilled"
        ADJUSTED = "InventoryAdjusted"
        LOW_STOCK_DETECTED = "LowStockDetected"
        LOW_STOCK_RESOLVED = "LowStockResolved"

    class Source(models.TextChoices):
        API = "api"
        ADMIN = "admin"
        COMMAND = "command"

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="events", db_index=False
    )
    # The product's, which never changes: a page of the ledger need not look up each product.
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
    request_id = models.CharField(max_length=MAX_REQUEST_ID_LENGTH, blank=True, default="")
    # The time of the inserting statement, which runs after the lock was had: `now()` would be
    # the transaction's start and could run backwards between two versions.
    occurred_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["product", "version"], name="stockevent_version_once"),
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
            # What is rare among very many events of a product would else be looked for in all.
            models.Index(fields=["product", "type", "version"], name="stockevent_type"),
            # For the ledger's page in the admin: each of its filters, newest first. An event is
            # always appended to the end of its key's part of the index, which is cheap.
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
        return f"{self.type} {self.sku} v{self.version}"

    @property
    def available_quantity(self) -> int:
        """Units that could be removed or reserved after this event."""
        return self.quantity - self.reserved_quantity


class DailyMovement(models.Model):
    """The units that came in and went out on one day (UTC), over all products.

    Derived from the ledger by `products.movements`, up to the event that `MovementCursor` names.
    """

    day = models.DateField(primary_key=True)
    units_in = models.BigIntegerField()
    units_out = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.day}: +{self.units_in} -{self.units_out}"


class MovementCursor(models.Model):
    """The last event that is in the daily movements: one row, locked while they are added to."""

    last_id = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.last_id)


class Role(models.TextChoices):
    """What an API key may do. Each role may do all that the roles before it may."""

    READ = "read"
    OPERATE = "operate"
    COUNT = "count"
    MANAGE = "manage"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        return _ROLES.index(self) >= _ROLES.index(other)


_ROLES = tuple(Role)


class ApiKey(AbstractAPIKey):
    """The key of an API client. Only a hash of it is stored."""

    role = models.CharField(max_length=10, choices=Role, default=Role.READ)

    text: str
    """The key itself, known only to whoever has just issued it."""

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=["read", "operate", "count", "manage"]),
                name="apikey_role_known",
            ),
        ]

    @classmethod
    def name_is_taken(cls, name: str) -> bool:
        """Whether a key that is not revoked has this name: the ledger could not tell two apart."""
        return cls.objects.filter(name=name, revoked=False).exists()

    @classmethod
    def issue(cls, *, name: str, role: Role | str, **fields: Any) -> "ApiKey":
        """Make a key and return it with its `text`, which is stored nowhere."""
        api_key = cls(name=name, role=role, **fields)
        api_key.text = cls.objects.assign_key(api_key)
        api_key.save(force_insert=True)
        return api_key


class IdempotencyKey(models.Model):
    """A key under which a client sent a request, and the answer that it was given."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    fingerprint = models.CharField(max_length=64)
    # Null only inside the transaction that carries the request out.
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(default=b"")
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_key", "key"], name="idempotencykey_once"),
        ]

    def __str__(self) -> str:
        return self.key


class ThrottleBucket(models.Model):
    """How much of its allowance of requests a client has used; see `products.throttling`."""

    name = models.CharField(max_length=MAX_THROTTLE_BUCKET_LENGTH, primary_key=True)
    # Microseconds since the epoch. In the past: nothing is used, as if there were no row.
    used_until = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name


class BulkRun(models.Model):
    """A file that was applied under a reference, or is: it never is twice.

    One that is applied batch by batch has the place where it goes on after it broke off: the SKU
    and the line of the last that was decided, in the order of SKUs.
    """

    reference = models.CharField(max_length=MAX_NOTE_LENGTH)
    # Of the file and of the options that give it its meaning.
    fingerprint = models.CharField(max_length=64)
    applied = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    last_sku = SkuField(max_length=MAX_SKU_LENGTH, default="")
    last_line = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="bulkrun_reference_unique"),
        ]

    def __str__(self) -> str:
        return self.reference


class BulkRefusal(models.Model):
    """A line of a file that was refused in a `BulkRun`, and why."""

    run = models.ForeignKey(
        BulkRun, on_delete=models.CASCADE, related_name="refusals", db_index=False
    )
    line = models.BigIntegerField()
    sku = models.CharField(max_length=MAX_SKU_LENGTH, blank=True)
    code = models.CharField(max_length=50)
    detail = models.TextField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["run", "line"], name="bulkrefusal_line_once"),
        ]

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"


class PendingImport(models.Model):
    """What an import would change, previewed by a person and not confirmed yet.

    Confirming deletes the row in the transaction that makes the changes, so an import is made once,
    however often it is confirmed.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=20)
    changes = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
