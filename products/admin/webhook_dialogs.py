"""Dialogs of webhooks: pause, resume, secret, test, single events, start again, delete.

Each changes the webhook at most once each time it is opened. A test and a redelivery change
nothing, and their request runs outside of every transaction. They can be sent again.
"""

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from products import feed, stock
from products.admin.dialogs import Dialog, NoteField, WholeNumberField, number
from products.admin.wording import in_words
from products.models import (
    OLD_SECRET_HOURS,
    DeliveryAttempt,
    IdempotencyKey,
    StockEvent,
    Subscription,
    SubscriptionQuerySet,
)
from products.publishing import manual, subscriptions
from products.publishing.choosing import has_publisher
from products.publishing.subscriptions import SubscriptionError
from products.validators import MAX_NOTE_LENGTH

MAX_ID = 10**18 - 1
ANSWER_QUOTED = 100
"""Characters of an answer that a message quotes."""
REPEATED = "This was already saved. Nothing was changed again."
BEGINNING, NOW, CURSOR = feed.START, subscriptions.LATEST, "cursor"


def shown() -> SubscriptionQuerySet:
    """Return the webhooks, and the broker if the settings name one."""
    every = Subscription.objects.all()
    return every if has_publisher() else every.webhooks()


def once(by: stock.Actor, key: str, change: Callable[[], str]) -> str | None:
    """Carry out a change and return its message, or `None` if this key was carried out before.

    The claim of the key and the change are one transaction. A refused change leaves no claim.
    """
    with transaction.atomic():
        _, is_new = IdempotencyKey.objects.get_or_create(
            source=by.source, caller=by.name, key=key, defaults={"status": 200}
        )
        return change() if is_new else None


def log(request: HttpRequest, webhook: Subscription, action: int, message: str) -> None:
    """Write an entry of Django's log of actions."""
    user: Any = request.user
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=[webhook],
        action_flag=action,
        change_message=message,
        single_object=True,
    )


class WebhookDialog(Dialog):
    """A dialog about one webhook."""

    head_template = "admin/products/webhook_dialog_head.html"
    refusals = (SubscriptionError,)
    explanation: ClassVar[str]
    is_for_broker: ClassVar[bool] = False

    def load(self) -> None:
        found = shown() if self.is_for_broker else shown().webhooks()
        self.webhook = get_object_or_404(found, pk=number(self.object_id))


class ChangeDialog(WebhookDialog):
    """A dialog that changes a webhook at most once each time it is opened."""

    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)
    repeated: ClassVar[str] = REPEATED
    log_flag: ClassVar[int] = CHANGE

    def change(self, by: stock.Actor) -> str:
        """Make the change and return a success message. Raises `SubscriptionError`."""
        raise NotImplementedError

    def apply(self, by: stock.Actor) -> str:
        def change() -> str:
            message = self.change(by)
            log(self.request, self.webhook, self.log_flag, message)
            return message

        opening = self.cleaned_data["opening"].hex
        key = f"{type(self).__name__} {self.webhook.pk} {opening}"
        return once(by, key, change) or self.repeated


class PauseDialog(ChangeDialog):
    title = submit = "Pause"
    is_for_broker = True
    explanation = "Nothing is sent until you resume. Events wait, and none is lost."

    def change(self, by: stock.Actor) -> str:
        subscriptions.edit(self.webhook.pk, state=Subscription.State.PAUSED)
        return f"Paused {self.webhook}."


class ResumeDialog(ChangeDialog):
    title = submit = "Resume"
    is_for_broker = True
    explanation = "The waiting events are sent, in their order."

    def change(self, by: stock.Actor) -> str:
        subscriptions.edit(self.webhook.pk, state=Subscription.State.ACTIVE)
        return f"Resumed {self.webhook}."


class RotateDialog(ChangeDialog):
    title = submit = "Rotate secret"
    explanation = (
        "The webhook gets a new secret, which is shown once. For "
        f"{OLD_SECRET_HOURS} hours, requests carry a signature with each of the two secrets."
    )
    repeated = (
        "The secret was already rotated, and shown then. If you have not copied it, rotate again."
    )
    secret = ""

    def change(self, by: stock.Actor) -> str:
        self.secret = subscriptions.rotate(self.webhook.pk).secret
        return f"Rotated the secret of {self.webhook}."

    def response(self) -> HttpResponse | None:
        """Show the secret in the response, the only place where it is shown."""
        if not self.secret:
            return None
        page = reverse("admin:products_subscription_change", args=[self.webhook.pk])
        context = {"secret": self.secret, "page": page, "hours": OLD_SECRET_HOURS}
        response = render(self.request, "admin/products/webhook_rotated.html", context)
        # The whole dialog, not only its fields: there is nothing left to submit.
        for name, value in (
            ("HX-Retarget", "#dialog"),
            ("HX-Reselect", "#dialog"),
            ("HX-Reswap", "outerHTML"),
        ):
            response[name] = value
        return response


class StartAgainDialog(ChangeDialog):
    title = submit = "Start again"
    is_for_broker = True
    explanation = (
        "The receiver gets the events after another place of the ledger. Events that it has "
        "already come again, with the same ids."
    )

    start = forms.ChoiceField(
        label="From",
        choices=[
            (NOW, "Now: leave out the waiting events"),
            (BEGINNING, "The beginning of the ledger"),
            (CURSOR, "A cursor of the change feed"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    after = NoteField(label="Cursor", help_text="Such as 1873-1764490000000000.")

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        is_cursor = self.cleaned_data.get("start") == CURSOR
        if is_cursor != bool(self.cleaned_data.get("after")):
            self.add_error(
                "after",
                "Enter a cursor." if is_cursor else "Leave this empty, or choose the cursor above.",
            )
        return cleaned

    def change(self, by: stock.Actor) -> str:
        start = self.cleaned_data["start"]
        after = self.cleaned_data["after"] if start == CURSOR else start
        subscriptions.edit(self.webhook.pk, after=after)
        words = {NOW: "now", BEGINNING: "the beginning of the ledger"}
        return f"{self.webhook} starts again from {words.get(after, f'the cursor {after}')}."


class DeleteDialog(ChangeDialog):
    title = submit = "Delete"
    explanation = "Nothing is sent any more. The attempts and the secret are deleted, too."
    log_flag = DELETION

    def change(self, by: stock.Actor) -> str:
        subscriptions.delete(self.webhook.pk)
        self.page_after = reverse("admin:products_subscription_changelist")
        return f"Deleted {self.webhook}."


# -------------------------------------------------------------------------------- requests by hand


def in_one_sentence(attempt: DeliveryAttempt) -> str:
    """Return the outcome of a request in words. Raises `SubscriptionError` if it has failed."""
    if attempt.error:
        answer = attempt.answer[:ANSWER_QUOTED]
        raise SubscriptionError(f"{attempt.error} Answer: {answer}" if answer else attempt.error)
    return f"The receiver answered {attempt.status} after {attempt.milliseconds:,} ms."


class SendTestDialog(WebhookDialog):
    title = submit = "Send a test"
    explanation = "The receiver gets a signed event of the type inventory.test. No stock changes."

    def apply(self, by: stock.Actor) -> str:
        return f"Test: {in_one_sentence(manual.send_test(self.webhook))}"


class _EventDialog(WebhookDialog):
    """A dialog about one event of the ledger, which the address or the form names."""

    event = WholeNumberField(min_value=1, max_value=MAX_ID, widget=forms.HiddenInput)

    def load(self) -> None:
        super().load()
        named = self.data.get("event") or self.request.GET.get("event", "")
        events = StockEvent.objects.with_name()
        self.stock_event = get_object_or_404(events, pk=number(named))
        self.fields["event"].initial = self.stock_event.pk
        self.words = f"{self.stock_event.sku}: {in_words(self.stock_event)}"

    def refuse(self, error: SubscriptionError) -> None:
        """Show the error above the form. The field of the event is hidden."""
        self.add_error(None, error.detail)


class RedeliverDialog(_EventDialog):
    title = submit = "Redeliver"
    explanation = "The event is sent again now, with the same id. The other events go on."

    def apply(self, by: stock.Actor) -> str:
        attempt = manual.redeliver(self.webhook, event_id=self.stock_event.pk)
        return f"Redelivered “{self.words}”. {in_one_sentence(attempt)}"


class SkipDialog(_EventDialog, ChangeDialog):
    title = submit = "Skip"
    is_for_broker = True
    explanation = "The receiver never gets this event. The attempts keep your reason."

    reason = forms.CharField(max_length=MAX_NOTE_LENGTH, widget=UnfoldAdminTextInputWidget)

    def change(self, by: stock.Actor) -> str:
        reason = f"{self.cleaned_data['reason']} ({by.name})"
        subscriptions.skip(self.webhook.pk, event_id=self.stock_event.pk, reason=reason)
        return f"Skipped “{self.words}”."
