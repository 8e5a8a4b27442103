"""The page that takes back fulfilled units of a reservation."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from unfold.decorators import action

from products import stock
from products.admin.base import InventoryAdmin, actor_of
from products.admin.dialogs import WholeNumberField, joined
from products.admin.ending_dialogs import EndDialog
from products.models import Reservation, ReservationLine


class ReturnForm(EndDialog):
    """Units that come back, with a field for each line. They are added once for each page."""

    title = submit = "Return"
    end = staticmethod(stock.return_lines)
    page = "return_units"
    max_lines = 1_000_000

    def load(self) -> None:
        super().load()
        self.returned = stock.returned_units(self.reservation)
        for name in self.lines:
            self.fields[name] = WholeNumberField(min_value=0, required=False)

    def return_rows(self) -> list[tuple[ReservationLine, int, forms.BoundField]]:
        """Return each line with the units that came back before, and its field."""
        return [
            (line, self.returned.get(line.product_id, 0), self[name])
            for name, line in self.lines.items()
        ]

    def _shown_lines(self) -> list[ReservationLine]:
        return [line for line in self.reservation.loaded_lines if line.fulfilled]

    def full_reason(self) -> str:
        return joined("return", self.cleaned_data["note"])

    def message(self, reservation: Reservation) -> str:
        units = sum(self.chosen().values())
        return f"Returned {units:,} unit{pluralize(units)} of reservation {reservation}."


def has_fulfilled(reservation: Reservation) -> bool:
    """Return whether units of a reservation can come back."""
    return reservation.lines.filter(fulfilled__gt=0).exists()


class ReturnAdmin(InventoryAdmin):
    """The page "Return" of a reservation."""

    @action(
        description="Return",
        url_path="return",
        permissions=["operate"],
        icon="assignment_return",
    )
    def return_units(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the fulfilled lines, or add the units that came back."""
        form = ReturnForm(request, object_id, data=request.POST or None)
        if form.is_valid():
            try:
                messages.success(request, form.apply(actor_of(request)))
            except stock.StockError as error:
                form.refuse(error)
            else:
                return redirect("admin:products_reservation_change", form.reservation.pk)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Return: reservation {form.reservation}",
            "form": form,
        }
        return TemplateResponse(request, "products/admin/return_units.html", context)
