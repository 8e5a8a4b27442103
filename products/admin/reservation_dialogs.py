"""Dialogs that reserve stock, move the end of a reservation, or deal with an overdue one."""

import math
from datetime import datetime
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.html import format_html

from products import stock
from products.admin.base import link_to, once_for
from products.admin.dialogs import (
    Dialog,
    NoteField,
    ProductDialog,
    TimeField,
    WholeNumberField,
    number,
)
from products.db.clock import read_clock
from products.models import Reservation
from products.validators import MAX_SECONDS

MAX_MINUTES = MAX_SECONDS // 60
NO_END = "Leave both empty to hold the units without an end."


class ExpiryForm(forms.Form):
    """When a reservation expires: after some minutes, at a time, or never."""

    minutes = WholeNumberField(
        min_value=1, max_value=MAX_MINUTES, required=False, label="Minutes from now"
    )
    until = TimeField(required=False, label="Or until")

    expires_in: int | None = None
    """Seconds until the reservation expires, or None. Set by a valid form."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        minutes, until = self.cleaned_data.get("minutes"), self.cleaned_data.get("until")
        if minutes and until:
            self.add_error("until", "Enter minutes or a time, not both.")
        elif minutes:
            self.expires_in = minutes * 60
        elif until:
            # The clock of the database ends reservations. The one of this server may differ.
            self.expires_in = math.ceil((until - read_clock()).total_seconds())
            if self.expires_in < 1:
                self.add_error("until", "This time has passed. Enter a later one.")
            elif self.expires_in > MAX_SECONDS:
                self.add_error("until", "This time is too far ahead. Enter an earlier one.")
        return cleaned


def reservation_link(reservation_id: Any) -> str:
    """Return a link to a reservation, for a message."""
    reservation = Reservation(pk=int(reservation_id))
    return link_to(reservation, f"Reservation {reservation.pk}")


class ReserveDialog(ExpiryForm, ProductDialog):
    """Reserve units of a product, at most once each time the dialog is opened."""

    title = "Reserve stock"
    submit = "Reserve"

    amount = WholeNumberField(min_value=1)
    reference = NoteField(help_text="For example, the number of an order or a customer's name.")
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    field_order = ("amount", "reference", "minutes", "until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until"].help_text = NO_END

    def apply(self, by: stock.Actor) -> str:
        sku, amount = self.product.sku, self.cleaned_data["amount"]
        opening = self.cleaned_data["opening"].hex
        response: Any = stock.reserve(
            sku=sku,
            amount=amount,
            reference=self.cleaned_data["reference"],
            expires_in=self.expires_in,
            by=by,
            once=once_for(by, f"reserve {sku} {opening}", lambda made: str(made.pk)),
        )
        link = reservation_link(response.body)
        if response.is_replay:
            return format_html("{} was already made. Nothing was reserved again.", link)
        units = f"{amount:,} unit{pluralize(amount)}"
        return format_html("Reserved {} of {}. {}", units, sku, link)


class ReservationDialog(Dialog):
    """A dialog about one reservation."""

    head_template = "admin/products/reservation_dialog_head.html"

    def load(self) -> None:
        reservations = Reservation.objects.with_overdue().with_lines()
        self.reservation = get_object_or_404(reservations, pk=number(self.object_id))


class ExtendDialog(ExpiryForm, ReservationDialog):
    """Move the end of a reservation. There is no default, which Enter would confirm unseen."""

    title = "Extend"
    submit = "Extend"

    def load(self) -> None:
        super().load()
        self.expires_before = self.reservation.expires_at

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors and self.expires_in is None:
            raise forms.ValidationError("Enter minutes or a time.")
        return cleaned

    def apply(self, by: stock.Actor) -> str:
        pk, seconds = self.reservation.pk, cast(int, self.expires_in)
        extended: Any = stock.extend(reservation_id=pk, expires_in=seconds, by=by)
        return (
            f"Reservation {self.reservation} now expires at {end_of(extended.expires_at)}. "
            f"Before: {end_of(self.expires_before).lower()}."
        )


class SetEndDialog(ExtendDialog):
    """The same for a reservation without an end."""

    title = "Set an end"
    submit = "Set end"


def end_of(expires_at: datetime | None) -> str:
    """Return when a reservation expires, in words."""
    return f"{timezone.localtime(expires_at):%Y-%m-%d %H:%M}" if expires_at else "Never"


class OverdueDialog(ReservationDialog):
    """A dialog about an overdue reservation."""

    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    def refuse(self, error: stock.StockError) -> None:
        super().refuse(error)
        if isinstance(error, stock.ReservationExpired):
            # Its advice would have the units reserved twice, if a colleague was quicker.
            self.errors.clear()
            self.add_error(
                None,
                "This reservation is no longer overdue. Somebody has just given its units back "
                "or reserved them again. Reload the page.",
            )


class GiveBackDialog(OverdueDialog):
    title = submit = "Give back"

    def apply(self, by: stock.Actor) -> str:
        pk = self.reservation.pk
        key = f"give back {pk} {self.cleaned_data['opening'].hex}"
        response: Any = stock.expire(
            reservation_id=pk, by=by, once=once_for(by, key, lambda _: "done")
        )
        if response.is_replay:
            return "This change was already saved. Nothing was changed again."
        return f"The units of reservation {self.reservation} are available again."


class ReserveAgainDialog(ExpiryForm, OverdueDialog):
    title = submit = "Reserve again"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until"].help_text = NO_END

    def apply(self, by: stock.Actor) -> str:
        pk = self.reservation.pk
        key = f"reserve again {pk} {self.cleaned_data['opening'].hex}"
        response: Any = stock.reserve_again(
            reservation_id=pk,
            expires_in=self.expires_in,
            by=by,
            once=once_for(by, key, lambda made: str(made.pk)),
        )
        link = reservation_link(response.body)
        if response.is_replay:
            return format_html("{} was already made. Nothing was reserved again.", link)
        return format_html("Reserved the units of reservation {} again. {}", self.reservation, link)
