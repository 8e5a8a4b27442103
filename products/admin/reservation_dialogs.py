"""Dialogs that reserve stock, and that fulfill, release or extend a reservation."""

import math
from typing import Any
from uuid import uuid4

from django import forms
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.utils.html import format_html

from products import stock
from products.admin.base import link_to, once_for
from products.admin.dialogs import (
    Dialog,
    NoteField,
    ProductDialog,
    ReasonField,
    TimeField,
    WholeNumberField,
    number,
)
from products.db.clock import read_clock
from products.models import Reservation
from products.validators import MAX_SECONDS

MAX_MINUTES = MAX_SECONDS // 60


class ExpiryForm(forms.Form):
    """When a reservation expires: after some minutes, at a time, or never."""

    minutes = WholeNumberField(
        min_value=1, max_value=MAX_MINUTES, required=False, label="Minutes from now"
    )
    until = TimeField(required=False, label="Or until (UTC)")

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
        self.fields["until"].help_text = "Leave both empty to hold the units without an end."

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
        reservations = Reservation.objects.with_lines()
        self.reservation = get_object_or_404(reservations, pk=number(self.object_id))


class FulfillDialog(ReservationDialog):
    title = "Fulfill"
    submit = "Fulfill all open units"

    note = NoteField()

    def apply(self, by: stock.Actor) -> str:
        stock.fulfill(reservation_id=self.reservation.pk, reason=self.full_reason(), by=by)
        return f"Fulfilled reservation {self.reservation}."


class ReleaseDialog(ReservationDialog):
    title = "Release"
    submit = "Release all open units"

    reason = ReasonField("release")
    note = NoteField()

    def apply(self, by: stock.Actor) -> str:
        stock.release(reservation_id=self.reservation.pk, reason=self.full_reason(), by=by)
        return f"Released reservation {self.reservation}."


class ExtendDialog(ReservationDialog):
    title = "Extend"
    submit = "Extend"

    minutes = WholeNumberField(
        min_value=1, max_value=MAX_MINUTES, initial=60, label="Minutes from now"
    )

    def apply(self, by: stock.Actor) -> str:
        minutes = self.cleaned_data["minutes"]
        stock.extend(reservation_id=self.reservation.pk, expires_in=minutes * 60, by=by)
        return (
            f"Extended reservation {self.reservation}. "
            f"It expires in {minutes:,} minute{pluralize(minutes)}."
        )
