"""Undo a run: take back the changes that its events have made to the quantity on hand."""

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import (
    Case,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, JSONArray, RowNumber

from products import stock
from products.db.clock import Now
from products.files.bulk import Report, RunInProgress
from products.files.staging import Codec, Staging
from products.models import BulkRun, StockEvent
from products.validators import MAX_NOTE_LENGTH, MAX_UNITS


class UnknownRun(Exception):
    """No file was applied under this reference."""


class RunWithoutRequestId(Exception):
    """The run began in an earlier version, which did not keep the id of its events."""


def run_of(reference: str) -> BulkRun:
    """Return the run to undo. Raises `UnknownRun` and `RunWithoutRequestId`."""
    run = BulkRun.objects.filter(reference=reference).first()
    if run is None:
        raise UnknownRun(reference)
    if not run.request_id:
        raise RunWithoutRequestId(reference)
    return run


def stage(staging: Staging, run: BulkRun) -> None:
    """Stage the events to undo. The number of a line is the id of its event.

    The events of a product that add units again come first, so that no level between is too low.
    Where these units would exceed the limit, the latest event comes first.
    """
    events = _events_of(run)
    change = -F("quantity_change")
    comes_last = Case(
        When(product__in=_at_limit(events), then=Value(0)),
        When(quantity_change__gt=0, then=Value(1)),
        default=Value(0),
    )
    place = Window(RowNumber(), order_by=["sku", comes_last, "-id"])
    total = Window(Sum(change), partition_by=["product_id"])
    content = JSONArray("id", "sku", "type", change, total, "reference")
    staging.fill_from(
        events.annotate(place=place, content=Cast(content, TextField())).values_list(
            "place", "id", "sku", "content"
        )
    )


def codec(reason: str) -> Codec:
    """Return the codec of staged events: they are read as operations with this reason."""

    def decode(texts: Sequence[str]) -> list[stock.Undo]:
        return [
            stock.Undo(
                sku=sku,
                event_id=event_id,
                type_of_event=event_type,
                change=change,
                total_change=total,
                reason=reason,
                reference=reference,
            )
            for event_id, sku, event_type, change, total, reference in json.loads(
                f"[{','.join(texts)}]"
            )
        ]

    return Codec(json.dumps, decode)


def default_reason(run: BulkRun) -> str:
    """Return the reason of the events that undo a run."""
    return f"undo of {run.reference}"[:MAX_NOTE_LENGTH]


class UndoClaim:
    """Claims a run with staged events, so that it is undone once. Raises `RunInProgress`."""

    def __init__(self, run: BulkRun, *, events: int) -> None:
        """Take the run as it was before its events were staged."""
        self._run, self._events = run, events

    def begin(self) -> Report | None:
        # A batch of the run holds this lock, too.
        run = BulkRun.objects.select_for_update(no_key=True).get(pk=self._run.pk)
        if run.undone_at:
            return already_undone(run, events=self._events)
        if run.decided != self._run.decided:
            raise RunInProgress(run.reference)
        return None

    def end(self, report: Report) -> None:
        BulkRun.objects.filter(pk=self._run.pk).update(undone_at=Now())


def already_undone(run: BulkRun, *, events: int) -> Report:
    """Return the report of the command that has undone a run."""
    return Report(True, applied=events, already_done_at=run.undone_at)


def _events_of(run: BulkRun) -> "QuerySet[StockEvent]":
    """Return the events of a run that changed the quantity on hand.

    Events that were undone one by one are left out. A client of the API can send any request id,
    but its events have another source.
    """
    events = StockEvent.objects.of_request(run.request_id).exclude(quantity_change=0)
    of_run = events.filter(source=StockEvent.Source.COMMAND, type__in=stock.UNDOABLE)
    # One statement: an undo of the whole run that ends meanwhile must not leave out its events.
    is_undone = Exists(BulkRun.objects.filter(pk=run.pk, undone_at__isnull=False))
    return of_run.filter(is_undone | ~Exists(StockEvent.objects.filter(undoes=OuterRef("pk"))))


def _at_limit(events: "QuerySet[StockEvent]") -> "QuerySet[StockEvent, Any]":
    """Return the products that could exceed the limit while their events are undone."""
    added = Sum(-F("quantity_change"), filter=Q(quantity_change__lt=0), default=0)
    sums = events.values("product").annotate(added=added)
    return sums.filter(product__quantity__gt=MAX_UNITS - F("added")).values("product")
