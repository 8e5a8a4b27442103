"""Undo additions, removals and counts: from a success message, and from the ledger."""

from collections.abc import Iterable
from typing import Any

from django.db.models import prefetch_related_objects
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from products import stock
from products.admin.base import InventoryAdmin, link_to
from products.admin.dialogs import Dialog, NoteField, dialog_action, joined, number
from products.admin.wording import in_words, undone_in_words
from products.models import StockEvent


class UndoDialog(Dialog):
    """A dialog that undoes an event. The button of a success message sends it without opening."""

    title = submit = "Undo"
    head_template = "admin/products/undo_dialog_head.html"

    note = NoteField()

    def load(self) -> None:
        events = StockEvent.objects.select_related("product")
        self.event = get_object_or_404(events, pk=number(self.object_id))
        self.words = in_words(self.event)
        self.quantity_after = self.event.product.quantity - self.event.quantity_change

    def warning(self) -> str:
        """Return why the undo may be wrong, for the template."""
        later = self.event.product.events.filter(version__gt=self.event.version)
        counts = later.filter(type=StockEvent.Type.ADJUSTED, undoes=None, undone_by=None)
        if not counts.exists():
            return ""
        return f"{self.event.sku} was counted after this change. The count may have corrected it."

    def apply(self, by: stock.Actor) -> str:
        reason = joined("undo", self.cleaned_data["note"])
        product: Any = stock.undo(self.event, reason=reason, by=by)
        return f"Undone: {self.words}. On hand of {product.sku}: {product.quantity:,}."

    def refuse(self, error: stock.StockError) -> None:
        super().refuse(error)
        if isinstance(error, stock.InsufficientStock):
            self.errors.clear()
            self.add_error(None, f"Cannot undo “{self.words}”. {error.detail} The rest is gone.")


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
