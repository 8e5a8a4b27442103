"""Dialogs and pages that fulfill or release a reservation, with an amount for each line."""

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from unfold.decorators import action

from products import stock
from products.admin.base import actor_of, once_for
from products.admin.dialogs import NoteField, ReasonField, WholeNumberField
from products.admin.reservation_dialogs import ReservationDialog
from products.models import Reservation, ReservationLine

MAX_LINES_IN_DIALOG = 20


class EndDialog(ReservationDialog):
    """A dialog that ends open units, at most once each time it is opened.

    It has a field for each open line. Without these fields, it ends all open units.
    """

    max_lines: ClassVar[int] = MAX_LINES_IN_DIALOG
    """The most lines for which there are fields."""
    end: ClassVar[Callable[..., Any]]
    done: ClassVar[str]
    page: ClassVar[str]
    """The name of the page with a field for each line."""
    explanation = "Leave a line empty, or enter 0, to keep its units reserved."
    column = "Amount"
    nothing = "This reservation has no open units."

    note = NoteField()
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    def load(self) -> None:
        super().load()
        self.lines = {f"amount-{line.pk}": line for line in self._shown_lines()}
        for name, line in self.lines.items():
            self.fields[name] = WholeNumberField(
                min_value=0,
                required=False,
                initial=self.offered(line),
                label=f"{line.product.sku} {line.product.name}",
                help_text=self.units_of(line),
            )
        self.order_fields([*self.lines, "reason", "note"])

    def offered(self, line: ReservationLine) -> int | None:
        """Return the amount that the field of a line starts with."""
        return line.open

    def units_of(self, line: ReservationLine) -> str:
        """Return the units of a line, as a text beside its field."""
        return f"{line.open:,} of {line.amount:,} open"

    def _shown_lines(self) -> list[ReservationLine]:
        lines = self.reservation.loaded_lines
        if self.is_bound:
            # A line that was closed meanwhile is refused. It is not left out silently.
            return [line for line in lines if f"amount-{line.pk}" in self.data]
        open_lines = [line for line in lines if line.open]
        return open_lines if len(open_lines) <= self.max_lines else []

    def rows(self) -> list[forms.BoundField]:
        """Return the field of each line, for the page."""
        return [self[name] for name in self.lines]

    def fills_amounts(self) -> bool:
        """Return whether a field starts with an amount."""
        return any(self.fields[name].initial for name in self.lines)

    def chosen(self) -> dict[str, int]:
        """Return the amounts above 0 by the names of their fields."""
        amounts = {name: self.cleaned_data.get(name) for name in self.lines}
        return {name: amount for name, amount in amounts.items() if amount}

    def clean(self) -> dict[str, Any] | None:
        if self.lines and not self.errors and not self.chosen():
            raise forms.ValidationError("Enter an amount for at least one line.")
        return self.cleaned_data

    def apply(self, by: stock.Actor) -> str:
        pk, chosen = self.reservation.pk, self.chosen()
        lines = [
            stock.Line(self.lines[name].product.sku, amount) for name, amount in chosen.items()
        ]
        response = self.end(
            reservation_id=pk,
            lines=lines or None,
            reason=self.full_reason(),
            by=by,
            once=once_for(by, f"{self.page} {pk} {self.cleaned_data['opening'].hex}", self.message),
        )
        if response.is_replay:
            return "This change was already saved. Nothing was changed again."
        return str(response.body, "utf-8")

    def message(self, reservation: Reservation) -> str:
        """Return the message after a success."""
        units = sum(self.chosen().values())
        ended = f"{units:,} unit{pluralize(units)} of reservation" if units else "reservation"
        still_open = sum(line.open for line in reservation.loaded_lines)
        rest = f" {still_open:,} unit{pluralize(still_open)} still open." if still_open else ""
        return f"{self.done} {ended} {reservation}.{rest}"

    def refuse(self, error: stock.StockError) -> None:
        if not error.lines:
            super().refuse(error)
            return
        self.load()
        names = list(self.chosen())
        for index, refused in error.lines:
            self.add_error(names[index], refused.detail)
        self.add_error(None, "Nothing was changed. Correct the amounts and try again.")


class FulfillDialog(EndDialog):
    title = submit = "Fulfill"
    done = "Fulfilled"
    end = staticmethod(stock.fulfill)
    page = "fulfill_lines"


class ReleaseDialog(EndDialog):
    title = submit = "Release"
    done = "Released"
    end = staticmethod(stock.release)
    page = "release_lines"

    reason = ReasonField("release")


class FulfillLines(FulfillDialog):
    """A page of its own, for a reservation of many lines."""

    title = "Fulfill by line"
    max_lines = 1_000_000


class ReleaseLines(ReleaseDialog):
    """A page of its own, for a reservation of many lines."""

    title = "Release by line"
    max_lines = 1_000_000


def lines_page(form_class: type[EndDialog], *, icon: str) -> Callable[..., HttpResponse]:
    """Return an admin action that shows the form as a page."""

    def run(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        form = form_class(request, object_id, data=request.POST or None)
        if form.is_valid():
            try:
                messages.success(request, form.apply(actor_of(request)))
            except stock.StockError as error:
                form.refuse(error)
            else:
                return redirect("admin:products_reservation_change", form.reservation.pk)
        context = {
            **model_admin.admin_site.each_context(request),
            "opts": model_admin.opts,
            "title": f"{form_class.title}: reservation {form.reservation}",
            "form": form,
        }
        return TemplateResponse(request, "products/admin/reservation_lines.html", context)

    run.__name__ = form_class.page
    decorate = action(
        description=form_class.title,
        url_path=form_class.page.replace("_", "-"),
        permissions=["operate"],
        icon=icon,
    )
    return decorate(run)
