"""The page that reserves several products for one order, all or nothing."""

import re
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.utils.html import format_html
from unfold.decorators import action

from products import stock
from products.admin.base import InventoryAdmin, actor_of, once_for
from products.admin.dialogs import NoteField
from products.admin.lines import LineFormSet, line_formset
from products.admin.reservation_dialogs import ExpiryForm, reservation_link
from products.models import Reservation


class NewReservationForm(ExpiryForm):
    """The fields of the order. The page may be sent twice, but reserves once."""

    reference = NoteField(help_text="For example, the number of an order or a customer's name.")
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    field_order = ("reference", "minutes", "until")


class OrderLines(LineFormSet):
    """The lines of the order. `stock` refuses unknown SKUs together with short ones."""

    refuses_unknown = False

    def requested(self) -> list[stock.Line]:
        """Return the lines that are not empty."""
        return [
            stock.Line(form.cleaned_data["sku"], form.cleaned_data["amount"])
            for form in self.filled
        ]


OrderLineFormSet: Any = line_formset(formset_class=OrderLines)


def reserve(form: NewReservationForm, lines: OrderLines, by: stock.Actor) -> Any:
    """Reserve the lines of a valid page once. Returns the response with the reservation's id."""
    opening = form.cleaned_data["opening"].hex
    return stock.reserve_lines(
        lines=lines.requested(),
        reference=form.cleaned_data["reference"],
        expires_in=form.expires_in,
        by=by,
        once=once_for(by, f"reserve {opening}", lambda made: str(made.pk)),
    )


def lines_to_repeat(reservation_id: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the reference of a reservation, and its lines that were not fulfilled or released."""
    if not re.fullmatch("[0-9]{1,18}", reservation_id):
        return "", []
    found = Reservation.objects.with_lines().filter(pk=int(reservation_id)).first()
    if found is None:
        return "", []
    lines = [(line.product.sku, line.open + line.expired) for line in found.loaded_lines]
    return found.reference, [{"sku": sku, "amount": units} for sku, units in lines if units]


class NewReservationAdmin(InventoryAdmin):
    """The page "New reservation", with its button on the list."""

    actions_list = ("new_reservation",)

    @action(description="New reservation", url_path="new", permissions=["operate"], icon="add")
    def new_reservation(self, request: HttpRequest) -> HttpResponse:
        """Show the page, or reserve its lines. `?like=` copies a reservation."""
        if request.method == "POST":
            form, lines = NewReservationForm(request.POST), OrderLineFormSet(request.POST)
            if all([form.is_valid(), lines.is_valid()]):
                try:
                    return self._reserved(request, reserve(form, lines, actor_of(request)), lines)
                except stock.StockError as error:
                    lines.refuse(error)
                    form.add_error(None, refusal_of(error))
        else:
            may_view = self.has_view_permission(request)
            like = request.GET.get("like", "") if may_view else ""
            reference, copied = lines_to_repeat(like)
            form = NewReservationForm(initial={"reference": reference})
            lines = OrderLineFormSet(initial=copied)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "New reservation",
            "form": form,
            "lines": lines,
        }
        return TemplateResponse(request, "products/admin/new_reservation.html", context)

    def _reserved(self, request: HttpRequest, response: Any, lines: OrderLines) -> HttpResponse:
        reservation_id = int(response.body)
        if response.is_replay:
            done = "{} was already made. Nothing was reserved again."
            messages.success(request, format_html(done, reservation_link(reservation_id)))
        else:
            units = sum(line.amount for line in lines.requested())
            messages.success(request, f"Reserved {units:,} unit{pluralize(units)}.")
        return redirect("admin:products_reservation_change", reservation_id)


def refusal_of(error: stock.StockError) -> str:
    """Return the message above the lines."""
    if not error.lines:
        return error.detail
    return "Nothing was reserved. Correct the marked lines and reserve again."
