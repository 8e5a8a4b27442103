"""Dialogs that change stock. Each is a form and one call of `products.stock`.

They run outside the admin's transactions, because `stock` opens and retries its own.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urldefrag
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import pluralize
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.dataclasses import ActionDialog
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from products import stock
from products.admin.base import actor_of, in_time_zone, once_for
from products.admin.undo_button import undo_tag
from products.models import Product, StockEvent
from products.validators import MAX_NOTE_LENGTH, MAX_UNITS

DIALOG_TEMPLATE = "unfold/helpers/dialog.html"
NEXT = "next"
"""The field of a button that sends a dialog without opening it: the page to return to."""


class WholeNumberField(forms.IntegerField):
    """Accept digits only. Django would also accept `1_000` and `5.0`."""

    widget = UnfoldAdminIntegerFieldWidget

    def __init__(self, *, min_value: int, max_value: int = MAX_UNITS, **kwargs: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **kwargs)
        allowed = f"Enter a whole number from {min_value} to {max_value:,}, digits only."
        self.error_messages.update(invalid=allowed)

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        if not re.fullmatch("[0-9]{1,18}", str(value).strip()):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return int(value)


class TimeField(forms.DateTimeField):
    """A time in the time zone of the back office, which the label names."""

    widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})

    def __init__(self, *, label: str, **kwargs: Any) -> None:
        # Browsers send ISO 8601, which needs no format.
        super().__init__(input_formats=[], label=in_time_zone(label), **kwargs)
        self.error_messages.update(invalid="Enter a date and a time, such as 2026-11-20T18:00.")

    def to_python(self, value: Any) -> datetime | None:
        # A date without a time would become midnight.
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9-]+\s*", value):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        time: datetime | None = super().to_python(value)
        return time


class NoteField(forms.CharField):
    """An optional short text."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=MAX_NOTE_LENGTH, **kwargs)


class ReasonField(forms.ChoiceField):
    """One of the reasons in `STOCK_REASONS` for a verb."""

    widget = UnfoldAdminSelectWidget

    def __init__(self, verb: str, **kwargs: Any) -> None:
        super().__init__(choices=[(text, text) for text in settings.STOCK_REASONS[verb]], **kwargs)


class Dialog(BaseDialogForm):
    """A form about one row that makes one call of `stock`."""

    title: ClassVar[str]
    submit: ClassVar[str]
    head_template: ClassVar[str]
    data: Any
    refusals: ClassVar[tuple[type[Exception], ...]] = (stock.StockError,)
    """The errors of `apply` that the dialog shows. Each has a `detail`."""
    undo_tag = ""
    """The tag of the success message, if it offers to undo the change. Set by `apply`."""
    page_after = ""
    """The page to open after the change, if it is not the current one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.load()

    def load(self) -> None:
        """Read the current row from the database."""
        raise NotImplementedError

    def apply(self, by: stock.Actor) -> str:
        """Apply the change and return a success message. Raises one of `refusals`."""
        raise NotImplementedError

    def response(self) -> HttpResponse | None:
        """Return what to show after the change, if it is not a page of the back office."""
        return None

    def refuse(self, error: Any) -> None:
        """Show the error next to the current levels."""
        self.load()
        field = getattr(error, "field", None)
        self.add_error(field if field in self.fields else None, error.detail)

    def render_before_template(self) -> str:
        return render_to_string(self.head_template, {"form": self})

    def full_reason(self) -> str:
        """Return the reason and the note as one text for the ledger."""
        return joined(self.cleaned_data.get("reason"), self.cleaned_data["note"])


def joined(reason: str | None, note: str) -> str:
    """Return a reason and a note as one text."""
    return ": ".join(text for text in (reason, note) if text)


def dialog_action(
    name: str, form_class: type[Dialog], *, permission: str, icon: str
) -> Callable[..., HttpResponse]:
    """Return an admin action called `name` that opens the dialog.

    The page offers it to users for whom `has_<permission>_permission` returns true.
    """
    dialog = ActionDialog(
        title=form_class.title,
        description="",
        form_class=form_class,
        form_submit_text=form_class.submit,
    )

    def run(model_admin: Any, request: HttpRequest, form: Dialog, object_id: str) -> HttpResponse:
        try:
            message = form.apply(actor_of(request))
        except form.refusals as error:
            form.refuse(error)
            if NEXT in request.POST:
                messages.error(request, " ".join(form.non_field_errors()))
                return _back(request, model_admin, object_id)
            context = {"dialog": dialog, "form": form, "form_submit_text": form_class.submit}
            return render(request, DIALOG_TEMPLATE, context)
        messages.success(request, message, extra_tags=form.undo_tag)
        return form.response() or _back(request, model_admin, object_id, form.page_after)

    run.__name__ = name
    decorate = action(
        description=form_class.title,
        url_path=name.replace("_", "-"),
        permissions=[permission],
        icon=icon,
        dialog=dialog,
    )
    return decorate(run)


def _back(
    request: HttpRequest, model_admin: Any, object_id: str, page_after: str = ""
) -> HttpResponse:
    """Open `page_after`, or reload the page from which the dialog was opened or sent."""
    page = page_after or request.POST.get(NEXT) or request.headers.get("HX-Current-URL", "")
    # With the fragment of the skip link, the browser would stay on the page, with the dialog open.
    page = urldefrag(page).url
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, request.is_secure()):
        meta = model_admin.opts
        page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[object_id])
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": page})
    return redirect(page)


def number(object_id: Any) -> int:
    """Return the id of a row in an address. Raises `Http404`."""
    if not re.fullmatch("[0-9]{1,18}", str(object_id)):
        raise Http404
    return int(object_id)


class ProductDialog(Dialog):
    """A dialog about the stock of one product."""

    head_template = "admin/products/product_dialog_head.html"

    def load(self) -> None:
        self.product = get_object_or_404(Product, pk=number(self.object_id))

    def event_of(self, by: stock.Actor) -> StockEvent | None:
        """Return the event of the change that this request has just made."""
        events = StockEvent.objects.of_request(by.request_id)
        own = events.filter(product=self.product, source=by.source, actor=by.name)
        return own.filter(type__in=stock.UNDOABLE).order_by("-pk").first()


class MoveDialog(ProductDialog):
    """A dialog that adds or removes units, at most once each time it is opened.

    If the response is lost, the dialog stays open and can be sent again. See ADR 13.
    """

    move: ClassVar[Callable[..., Any]]
    done: ClassVar[str]

    amount = WholeNumberField(min_value=1)
    note = NoteField()
    reference = NoteField()
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    field_order = ("amount", "reason", "note", "reference")

    def apply(self, by: stock.Actor) -> str:
        sku, amount = self.product.sku, self.cleaned_data["amount"]
        opening = self.cleaned_data["opening"].hex
        # The first submission counts, even if a later one has another amount.
        once = once_for(
            by,
            f"{type(self).__name__} {sku} {opening}",
            lambda product: (
                f"{self.done} {amount:,} unit{pluralize(amount)} of {sku}. "
                f"On hand: {product.quantity:,}."
            ),
        )
        response = self.move(
            sku=sku,
            amount=amount,
            reason=self.full_reason(),
            reference=self.cleaned_data["reference"],
            by=by,
            once=once,
        )
        if response.is_replay:
            return "This change was already saved. Nothing was changed again."
        self.undo_tag = undo_tag(self.event_of(by))
        return str(response.body, "utf-8")


class AddDialog(MoveDialog):
    title = "Add stock"
    submit = "Add"
    done = "Added"
    move = staticmethod(stock.add)

    reason = ReasonField("add")
    reference = NoteField(help_text="For example, the number of a delivery note or an order.")


class RemoveDialog(MoveDialog):
    title = "Remove stock"
    submit = "Remove"
    done = "Removed"
    move = staticmethod(stock.remove)

    reason = ReasonField("remove")


UNLIKELY_FACTOR = 5
UNLIKELY_UNITS = 50


def is_unlikely(counted: int, *, on_hand: int) -> bool:
    """Return whether a count may be a typing mistake, such as 5950 in place of 595."""
    low, high = sorted((counted, on_hand))
    return on_hand > 0 and high - low > UNLIKELY_UNITS and high > UNLIKELY_FACTOR * low


class AdjustDialog(ProductDialog):
    title = "Count stock"
    submit = "Save count"

    quantity = WholeNumberField(min_value=0, label="Counted")
    reason = ReasonField("adjust")
    note = NoteField()
    counted_at = TimeField(
        required=False,
        label="Time of the count",
        help_text="For a count that you made earlier. Later sales and deliveries are kept. Leave "
        "empty if you counted now.",
    )
    expected_quantity = WholeNumberField(min_value=0, widget=forms.HiddenInput)
    # The unlikely count that the user has been asked about.
    asked = WholeNumberField(min_value=0, required=False, widget=forms.HiddenInput)

    def load(self) -> None:
        super().load()
        self.fields["expected_quantity"].initial = self.product.quantity

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        counted, on_hand = self.cleaned_data.get("quantity"), self.product.quantity
        if counted is None or self.cleaned_data.get("asked") == counted:
            return cleaned
        if is_unlikely(counted, on_hand=on_hand):
            self.add_error(
                "quantity",
                f"{counted:,} counted, {on_hand:,} on hand. If the count is right, save it again.",
            )
            self.data = {**self.data.dict(), "asked": str(counted)}
        return cleaned

    def apply(self, by: stock.Actor) -> str:
        counted_at = self.cleaned_data["counted_at"]
        product = stock.adjust(
            sku=self.product.sku,
            quantity=self.cleaned_data["quantity"],
            # A late count allows for changes since then.
            expected_quantity=None if counted_at else self.cleaned_data["expected_quantity"],
            counted_at=counted_at,
            reason=self.full_reason(),
            by=by,
        )
        event = self.event_of(by)
        self.undo_tag = undo_tag(event)
        return _describe_count(product, event.quantity_change if event else 0)

    def refuse(self, error: stock.StockError) -> None:
        if not isinstance(error, stock.QuantityChanged):
            super().refuse(error)
            return
        seen = self.cleaned_data["expected_quantity"]
        self.load()
        self.add_error(
            None,
            f"The stock has changed: {self.product.quantity:,} on hand now, {seen:,} when you "
            "opened this dialog. Nothing was saved. If your count is still right, save it again.",
        )
        # The dialog now shows the new level, so sending it again confirms the count.
        self.data = {**self.data.dict(), "expected_quantity": str(self.product.quantity)}


def _describe_count(product: Product, change: int) -> str:
    if not change:
        return f"Counted {product.sku}: {product.quantity:,}, no change."
    signed = f"{change:+,}".replace("-", "\N{MINUS SIGN}")
    before = product.quantity - change
    return f"Counted {product.sku}: {before:,} → {product.quantity:,} ({signed})."
