"""Undo additions, removals and counts: from a success message, and from the ledger."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import QuerySet, prefetch_related_objects
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.widgets import UnfoldBooleanWidget

from products import stock
from products.admin.base import InventoryAdmin, link_to
from products.admin.dialogs import Dialog, NoteField, dialog_action, joined, number
from products.admin.undo_button import undo_tag
from products.admin.wording import in_words, undone_in_words
from products.models import StockEvent


class UndoDialog(Dialog):
    """A dialog that undoes an event, or all events that were saved together with it.

    The button of a success message sends it without opening.
    """

    title = submit = "Undo"
    head_template = "admin/products/undo_dialog_head.html"

    note = NoteField()
    together = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)

    def load(self) -> None:
        events = StockEvent.objects.select_related("product")
        self.event = get_object_or_404(events, pk=number(self.object_id))
        self.words = in_words(self.event)
        self.quantity_after = self.event.product.quantity - self.event.quantity_change
        self.saved_together = self._saved_together()
        number_of_all = len(self.saved_together)
        if number_of_all > 1:
            label = f"Undo all {number_of_all:,} changes that were saved together"
            self.fields["together"].label = label
        else:
            self.fields.pop("together", None)

    def _saved_together(self) -> list[StockEvent]:
        """Return the events of the request, or none if the user may not undo each of them."""
        events = list(undoable_events(self.event.request_id, self.event.actor))
        return events if all(may_undo(self.request, event) for event in events) else []

    def warning(self) -> str:
        """Return why the undo may be wrong, for the template."""
        later = self.event.product.events.filter(version__gt=self.event.version)
        counts = later.filter(type=StockEvent.Type.ADJUSTED, undoes=None, undone_by=None)
        if not counts.exists():
            return ""
        return f"{self.event.sku} was counted after this change. The count may have corrected it."

    def apply(self, by: stock.Actor) -> str:
        reason = joined("undo", self.cleaned_data["note"])
        if self.cleaned_data.get("together"):
            products: Any = stock.undo_all(self.saved_together, reason=reason, by=by)
            changed = len({product.pk for product in products})
            return f"Undone: {len(products):,} changes of {changed:,} product{pluralize(changed)}."
        product: Any = stock.undo(self.event, reason=reason, by=by)
        return f"Undone: {self.words}. On hand of {product.sku}: {product.quantity:,}."

    def refuse(self, error: stock.StockError) -> None:
        super().refuse(error)
        if error.lines:
            self.errors.clear()
            self.add_error(None, f"Nothing was undone. {error.detail}")
        elif isinstance(error, stock.InsufficientStock):
            self.errors.clear()
            self.add_error(None, f"Cannot undo “{self.words}”. {error.detail} The rest is gone.")


def undoable_events(request_id: str, actor: str) -> QuerySet[StockEvent]:
    """Return the events of a request to the back office that can still be undone."""
    events = StockEvent.objects.of_request(request_id)
    own = events.filter(source=StockEvent.Source.ADMIN, actor=actor, undone_by=None)
    return own.filter(type__in=stock.UNDOABLE, undoes=None).exclude(quantity_change=0)


def tag_of_request(by: stock.Actor) -> str:
    """Return the tag that lets a success message offer to undo all changes of this request."""
    return undo_tag(undoable_events(by.request_id, by.name).first(), together=True)


def may_undo(request: HttpRequest, event: StockEvent) -> bool:
    """Return whether the user may make the opposite change by hand."""
    is_count = event.type == StockEvent.Type.ADJUSTED
    return request.user.has_perm(f"products.{'adjust' if is_count else 'operate'}_stock")


def offer_undo(request: HttpRequest, events: Iterable[StockEvent]) -> None:
    """Set `undo_url` of the events that the user can undo. Reads which are undone already."""
    undoable: list[Any] = [event for event in events if not stock.why_not_undone(event)]
    prefetch_related_objects(undoable, "undone_by")
    for event in undoable:
        if not event.undone_by.all() and may_undo(request, event):
            event.undo_url = reverse("admin:products_stockevent_undo", args=[event.pk])


@display(description="Undo")
def undo_cell(event: StockEvent) -> str:
    """Return a link that opens the dialog, or who has undone the event."""
    if url := getattr(event, "undo_url", ""):
        return format_html(
            '<a class="text-primary-600 dark:text-primary-500" href="{0}" hx-get="{0}" '
            'hx-target="#modal-content" hx-select="#dialog" '
            'x-on:htmx:after-on-load="openModal = true">Undo</a>',
            url,
        )
    if stock.why_not_undone(event):
        return ""
    undo = next(iter(event.undone_by.all()), None)
    return link_to(undo, undone_in_words(undo)) if undo else ""


class UndoAdmin(InventoryAdmin):
    """Undoes events from their list and from their page."""

    actions_detail: tuple[str, ...] = ("undo",)
    undo = dialog_action("undo", UndoDialog, permission="undo", icon="undo")

    def has_undo_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may make the change that is the opposite of this event."""
        event = get_object_or_404(StockEvent, pk=number(obj))
        return may_undo(request, event)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Offer the dialog for events that can be undone."""
        event = self.get_object(request, object_id)
        if event is None or stock.why_not_undone(event) or event.undone_by.exists():
            return []
        return super().get_actions_detail(request, object_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        response = super().changelist_view(request, extra_context)
        shown: Any = getattr(response, "context_data", None) or {}
        if "cl" in shown:
            offer_undo(request, shown["cl"].result_list)
        return response
