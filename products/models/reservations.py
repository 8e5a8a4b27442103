"""Reservations and their lines."""

from typing import Self

from django.db import models
from django.db.models import Case, F, Prefetch, Q, Value, When

from products.db.clock import Now, SecondsFromNow
from products.models.fields import MomentField
from products.models.products import Product
from products.validators import (
    MAX_NOTE_LENGTH,
    MAX_UNITS,
)


def _overdue(path: str = "") -> Q:
    """Return the condition for overdue reservations. `path` leads to them: `reservation__`."""
    return Q(**{f"{path}status": "open", f"{path}expires_at__lte": Now()})


def _is_overdue(path: str = "") -> Case:
    """Return the same as an expression."""
    return Case(When(_overdue(path), then=Value(True)), default=Value(False))


_PARTS_OF_LINE = ("reservation", "amount", "fulfilled", "released", "expired", "open")


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def overdue(self) -> Self:
        """Return the open reservations whose `expires_at` has passed by the database's clock."""
        return self.filter(_overdue())

    def expiring_within(self, seconds: int) -> Self:
        """Return the open reservations that will become overdue within `seconds`."""
        soon = Q(expires_at__gt=Now(), expires_at__lte=SecondsFromNow(seconds))
        return self.filter(soon, status="open")

    def due_within(self, seconds: int) -> Self:
        """Return the open reservations that are overdue, or will be within `seconds`."""
        return self.filter(status="open", expires_at__lte=SecondsFromNow(seconds))

    def with_overdue(self) -> Self:
        """Annotate each reservation with `is_overdue`."""
        return self.annotate(is_overdue=_is_overdue())

    def with_lines(self) -> Self:
        """Load the lines as `loaded_lines`, in the order of the request."""
        lines = ReservationLine.objects.with_sku().order_by("pk")
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
    expires_at = MomentField(null=True, blank=True)
    created_at = MomentField(db_default=Now())

    objects = ReservationQuerySet.as_manager()
    loaded_lines: list["ReservationLine"]
    """Set by `with_lines`, and on reservations that a verb returns."""
    is_overdue: bool
    """Set by `with_overdue`, and on locked reservations."""
    units: dict[str, int]
    """The units of all lines by part, such as `open`. Set on locked reservations only."""

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
            # For a release without a reservation id.
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
        """The status that follows from the `loaded_lines`."""
        return self.status_for(
            open_units=sum(line.open for line in self.loaded_lines),
            fulfilled=sum(line.fulfilled for line in self.loaded_lines),
            expired=sum(line.expired for line in self.loaded_lines),
        )

    @classmethod
    def status_for(cls, *, open_units: int, fulfilled: int, expired: int) -> Status:
        """Return the status of a reservation with these numbers of units."""
        if open_units:
            return cls.Status.OPEN
        if fulfilled:
            return cls.Status.FULFILLED
        return cls.Status.EXPIRED if expired else cls.Status.RELEASED


class ReservationLineQuerySet(models.QuerySet["ReservationLine"]):
    def with_sku(self) -> Self:
        """Load the SKU and the name of the product, too, but not its description."""
        product = ("product__sku", "product__name")
        return self.select_related("product").only(*_PARTS_OF_LINE, *product)

    def read_with_sku(self) -> list["ReservationLine"]:
        """Return the same lines, however many, in two statements.

        PostgreSQL may try each pair of 5,000 lines and 1,000 products to join them: it does so
        while its statistics say that a table is empty.
        """
        lines: list[ReservationLine] = list(self.only("product", *_PARTS_OF_LINE))
        products = Product.objects.only("sku", "name").in_bulk({line.product_id for line in lines})
        for line in lines:
            line.product = products[line.product_id]
        return lines

    def overdue(self) -> Self:
        """Return the lines of overdue reservations that hold units."""
        return self.filter(_overdue("reservation__"), open__gt=0)

    def with_overdue(self) -> Self:
        """Annotate each line with `is_overdue`, whether its reservation is overdue."""
        return self.annotate(is_overdue=_is_overdue("reservation__"))

    def holding(self) -> Self:
        """Return the lines of open reservations that hold units and are not overdue."""
        return self.filter(~_overdue("reservation__"), open__gt=0, reservation__status="open")


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

    objects = ReservationLineQuerySet.as_manager()
    is_overdue: bool
    """Set by `with_overdue`."""

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
