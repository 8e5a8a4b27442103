"""The page that reserves several products for one order, all or nothing."""

import re
from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.decorators import action

from products import stock
from products.admin.base import InventoryAdmin, actor_of, once_for
from products.admin.dialogs import NoteField
from products.admin.entry.check import checked_response
from products.admin.entry.forms import LinesForm
from products.admin.entry.kinds import UNSHARED, Entry
from products.admin.imports.kinds import PreviewRow
from products.admin.reservation_dialogs import ExpiryForm, reservation_link
from products.files.lines import FileLine
from products.files.products import products_of
from products.models import Reservation


class NewReservationForm(ExpiryForm, LinesForm):
    """The lines and the fields of the order. The page may be sent twice, but reserves once."""

    operation = "remove"

    reference = NoteField(help_text="For example, the number of an order or a customer's name.")
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    field_order = ("lines", "reference", "minutes", "until")

    refused: Sequence[FileLine] = ()
    """The lines with problems."""

    def refuse(self, lines: Sequence[FileLine]) -> None:
        """Show the problems of lines."""
        self.refused = [line for line in lines if line.problems]
        self.add_error(None, "Nothing was reserved. Correct the marked lines and reserve again.")


class Order(Entry):
    """The lines of an order. Like a removal, each needs available units."""

    name = "order"
    permissions = ("products.view_product", "products.operate_stock")
    amount_label = "Amount"
    shows_available = True
    entry_form = NewReservationForm

    @property
    def check_url(self) -> str:
        return reverse("admin:products_reservation_check")

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        products = products_of(line.sku for line in lines)
        for line in lines:
            product = products.get(line.sku.upper())
            if product and product.archived and not line.problems:
                amount = cast(stock.Remove, line.change).amount
                line.problems.append(stock.ProductArchived(product, amount))
        return super().preview(lines, by=by)


ORDER = Order()


def reserve(form: NewReservationForm, lines: Sequence[stock.Line], by: stock.Actor) -> Any:
    """Reserve the lines of a valid page once. Returns the response with the reservation's id."""
    opening = form.cleaned_data["opening"].hex
    return stock.reserve_lines(
        lines=lines,
        reference=form.cleaned_data["reference"],
        expires_in=form.expires_in,
        by=by,
        once=once_for(by, f"reserve {opening}", lambda made: str(made.pk)),
    )


def lines_to_repeat(reservation_id: str) -> tuple[str, str]:
    """Return the reference of a reservation, and its lines that were not fulfilled or released."""
    if not re.fullmatch("[0-9]{1,18}", reservation_id):
        return "", ""
    found = Reservation.objects.with_lines().filter(pk=int(reservation_id)).first()
    if found is None:
        return "", ""
    lines = [(line.product.sku, line.open + line.expired) for line in found.loaded_lines]
    return found.reference, "\n".join(f"{sku}\t{units}" for sku, units in lines if units)


class NewReservationAdmin(InventoryAdmin):
    """The page "New reservation", with its button on the list."""

    actions_list = ("new_reservation",)

    def get_urls(self) -> list[URLPattern]:
        check = self.admin_site.admin_view(require_POST(self.check_view))
        return [path("new/check/", check, name="products_reservation_check"), *super().get_urls()]

    def check_view(self, request: HttpRequest) -> JsonResponse:
        """Return the products and the problems of lines while they are entered, as JSON."""
        if not self.has_order_permission(request):
            raise PermissionDenied
        return checked_response(request, ORDER)

    def has_order_permission(self, request: HttpRequest) -> bool:
        """Whether the user may reserve lines. The page shows names and levels of products."""
        return request.user.has_perms(ORDER.permissions)

    @action(description="New reservation", url_path="new", permissions=["order"], icon="add")
    def new_reservation(self, request: HttpRequest) -> HttpResponse:
        """Show the page, or reserve its lines. `?like=` copies a reservation."""
        if request.method == "POST":
            form = NewReservationForm(request.POST)
            if form.is_valid() and (done := self._reserve(request, form)):
                return done
        else:
            may_view = self.has_view_permission(request)
            like = request.GET.get("like", "") if may_view else ""
            reference, copied = lines_to_repeat(like)
            form = NewReservationForm(initial={"reference": reference, "lines": copied})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "New reservation",
            "form": form,
            "kind": ORDER,
            "is_sent": form.is_bound,
        }
        return TemplateResponse(request, "products/admin/new_reservation.html", context)

    def _reserve(self, request: HttpRequest, form: NewReservationForm) -> HttpResponse | None:
        """Reserve the lines of a valid form. Return None, and add errors to it, if refused."""
        by = actor_of(request)
        rows, columns = form.cleaned_data["lines"]
        read = ORDER.lines(rows, columns, UNSHARED)
        entered = [line for line in read if not line.passed_over]
        if any(line.problems for line in entered):
            # Find short lines, too.
            ORDER.preview(entered, by=by)
            form.refuse(entered)
            return None
        changes = [cast(stock.Remove, line.change) for line in entered]
        lines = [stock.Line(change.sku, change.amount) for change in changes]
        try:
            response = reserve(form, lines, by)
        except stock.StockError as error:
            for index, problem in error.lines:
                entered[index].problems.append(problem)
            if error.lines:
                form.refuse(entered)
            else:
                form.add_error(None, error.detail)
            return None
        reservation_id = int(response.body)
        if response.is_replay:
            done = "{} was already made. Nothing was reserved again."
            messages.success(request, format_html(done, reservation_link(reservation_id)))
        else:
            units = sum(line.amount for line in lines)
            messages.success(request, f"Reserved {units:,} unit{pluralize(units)}.")
        return redirect("admin:products_reservation_change", reservation_id)
