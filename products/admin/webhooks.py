"""Webhooks: their list, their pages, and the form that adds one. The secret is shown once."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from django.utils.timesince import timesince
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminRadioSelectWidget

from products import feed
from products.admin.base import (
    BoundedChangeList,
    InventoryAdmin,
    WithoutTransaction,
    actor_of,
    format_time,
    in_time_zone,
    link_to,
)
from products.admin.dialogs import dialog_action
from products.admin.filters import SelectFilter
from products.admin.webhook_dialogs import (
    BEGINNING,
    NOW,
    DeleteDialog,
    PauseDialog,
    RedeliverDialog,
    ResumeDialog,
    RotateDialog,
    SendTestDialog,
    SkipDialog,
    StartAgainDialog,
    once,
    shown,
)
from products.admin.wording import linked_words
from products.models import DeliveryAttempt, StockEvent, Subscription
from products.publishing import guard, subscriptions
from products.publishing.figures import Waiting, waiting
from products.validators import is_possible_sku

ATTEMPTS_SHOWN = 50
URL_QUOTED = 100
QUIET_SECONDS = 60
"""A relay sends a new event well within this time."""

NO_BREAK = '<span class="whitespace-nowrap">{}</span>'
STATE_COLOURS = {"Active": "success", "Failing": "warning", "Paused": "info", "Parked": "danger"}

WEBHOOK_DIALOGS = ("send_test", "rotate_secret", "remove")
"""Dialogs that the broker does not have."""


# ----------------------------------------------------------------------------------------- in words


def name_of(subscription: Subscription) -> str:
    """Return the URL of a webhook, or the kind of the broker. Its URL has a password."""
    if subscription.url:
        return subscription.url
    return f"Broker ({urlsplit(settings.PUBLISHER_URL).scheme})"


def state_of(subscription: Subscription) -> str:
    """Return the state of a webhook: Active, Failing, Paused or Parked."""
    return "Failing" if subscription.is_failing else str(subscription.get_state_display())


def count_in_words(found: Waiting) -> str:
    """Return the number of waiting events, such as `12` or `1,000+`."""
    return f"{found.events:,}{'' if found.is_exact else '+'}"


def age_in_words(since: datetime | None) -> str:
    """Return the time since a moment, such as `2 hours`."""
    if since is None:
        return ""
    is_recent = timezone.now() - since < timedelta(minutes=1)
    return "some seconds" if is_recent else timesince(since, timezone.now(), depth=1)


def explanation(webhook: Subscription, found: Waiting) -> str:
    """Return what the state of a webhook means and what to do."""
    match state_of(webhook):
        case "Parked":
            return (
                "Nothing is sent any more. No event is lost. Mend the receiver, then click Resume."
            )
        case "Paused":
            return "Nothing is sent. No event is lost. To send the waiting events, click Resume."
        case "Failing":
            return "The receiver does not accept an event. It is sent again, at longer intervals."
    is_held = webhook.lease_until and webhook.lease_until > timezone.now()
    quiet_since = timezone.now() - timedelta(seconds=QUIET_SECONDS)
    if found.since and found.since < quiet_since and not is_held:
        return "Events wait, and no relay sends them. Start manage.py publish_events --follow."
    return ""


# ----------------------------------------------------------------------------------------- the form


class WebhookForm(forms.ModelForm):
    """The settings of a webhook. The form that adds one has more fields."""

    types = forms.MultipleChoiceField(
        label="Event types",
        required=False,
        choices=StockEvent.Type.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Choose none to get all types.",
    )

    class Meta:
        model = Subscription
        fields = ("url", "types", "sku_prefix", "batch")
        help_texts = {
            "url": "The address of the receiver. It gets signed POST requests.",
            "sku_prefix": "Only events of products whose SKU starts with this. Empty for all.",
            "batch": "Send several events in one request, as a CloudEvents batch.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The model allows it for the broker.
        if "url" in self.fields:
            self.fields["url"].required = True

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            guard.check_url(url)
        except guard.UnsafeUrl as error:
            raise forms.ValidationError(str(error)) from None
        return url

    def clean_sku_prefix(self) -> str:
        prefix: str = self.cleaned_data["sku_prefix"]
        if prefix and not is_possible_sku(prefix):
            raise forms.ValidationError("No SKU starts like this.")
        return prefix


class NewWebhookForm(WebhookForm):
    """The form that adds a webhook, at most once each time it is opened."""

    start = forms.ChoiceField(
        label="Start with",
        choices=[
            (NOW, "From now on"),
            (BEGINNING, "From the beginning of the ledger"),
        ],
        initial=NOW,
        widget=UnfoldAdminRadioSelectWidget,
        help_text="The beginning brings every event since the first one.",
    )
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)


class StateFilter(SelectFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.lower(), state) for state in STATE_COLOURS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case None:
                return queryset
            case "failing":
                return queryset.failing()
            case state:
                chosen = queryset.filter(state=state)
                return chosen.filter(failing_since=None) if state == "active" else chosen


class WebhookList(BoundedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        for subscription in self.result_list:
            subscription.waiting = waiting(subscription)
            names = (f"admin:products_subscription_{each}" for each in dialogs_for(subscription))
            subscription.offered = list(names)


def dialogs_for(subscription: Subscription) -> list[str]:
    """Return the names of the dialogs that are possible for a webhook, or for the broker."""
    is_active = subscription.state == Subscription.State.ACTIVE
    dialogs = ["pause" if is_active else "resume", "start_again"]
    return [*dialogs, *WEBHOOK_DIALOGS] if subscription.url else dialogs


@admin.register(Subscription)
class WebhookAdmin(InventoryAdmin, WithoutTransaction):
    list_display = (
        "name",
        "shown_state",
        "waiting",
        "oldest",
        "failing",
        "last_delivery",
        "deliveries",
        "failed_requests",
    )
    list_fullwidth = True
    list_filter = (StateFilter,)
    filter_parameters = ("state",)
    search_fields = ("url",)
    search_help_text = "Part of a URL"
    ordering = ("url", "pk")
    sortable_by = ("name", "last_delivery", "deliveries", "failed_requests")
    form = WebhookForm
    # Above the form, since most users come to see the state.
    change_form_outer_before_template = "admin/products/webhook_state.html"

    actions_row = ("pause", "resume", "send_test")
    actions_detail = (
        *("send_test", "pause", "resume", "rotate_secret", "start_again", "remove"),
        *("redeliver", "skip"),
    )
    pause = dialog_action("pause", PauseDialog, permission="manage", icon="pause")
    resume = dialog_action("resume", ResumeDialog, permission="manage", icon="play_arrow")
    send_test = dialog_action("send_test", SendTestDialog, permission="manage", icon="send")
    rotate_secret = dialog_action(
        "rotate_secret", RotateDialog, permission="manage", icon="autorenew"
    )
    start_again = dialog_action("start_again", StartAgainDialog, permission="manage", icon="replay")
    redeliver = dialog_action("redeliver", RedeliverDialog, permission="manage", icon="send")
    skip = dialog_action("skip", SkipDialog, permission="manage", icon="skip_next")
    remove = dialog_action("remove", DeleteDialog, permission="remove", icon="delete")

    # ------------------------------------------------------------------------------------- the list

    @display(description="URL", ordering="url")
    def name(self, subscription: Subscription) -> str:
        text = Truncator(name_of(subscription)).chars(URL_QUOTED)
        return format_html('<span class="webhook-url">{}</span>', text)

    @display(description="State", label=STATE_COLOURS)
    def shown_state(self, subscription: Subscription) -> str:
        return state_of(subscription)

    @display(description="Waiting")
    def waiting(self, subscription: Any) -> str:
        return count_in_words(subscription.waiting)

    @display(description="Oldest")
    def oldest(self, subscription: Any) -> str:
        return age_in_words(subscription.waiting.since)

    @display(description="Failing for")
    def failing(self, subscription: Subscription) -> str:
        return age_in_words(subscription.failing_since)

    @display(description="Last delivery", ordering="delivered_at")
    def last_delivery(self, subscription: Subscription) -> str:
        age = age_in_words(subscription.delivered_at)
        return f"{age} ago" if age else "never"

    @display(description="Delivered", ordering="delivered")
    def deliveries(self, subscription: Subscription) -> str:
        return f"{subscription.delivered:,}"

    @display(description="Failed", ordering="failed")
    def failed_requests(self, subscription: Subscription) -> str:
        return f"{subscription.failed:,}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return WebhookList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        return shown()

    # ---------------------------------------------------------------------------------- permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("products.add_subscription")

    def has_change_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        """Whether the user may change the fields. The broker is set in `PUBLISHER_URL`."""
        is_webhook = obj is None or bool(obj.url)
        return is_webhook and request.user.has_perm("products.change_subscription")

    def has_manage_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may pause, resume and test webhooks and the broker."""
        return request.user.has_perm("products.change_subscription")

    def has_remove_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete webhooks, by the dialog only."""
        return request.user.has_perm("products.delete_subscription")

    # ---------------------------------------------------------------------------------------- pages

    def get_form(
        self,
        request: HttpRequest,
        obj: Subscription | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        return super().get_form(
            request, obj, change, **({} if obj else {"form": NewWebhookForm}), **kwargs
        )

    def get_fields(self, request: HttpRequest, obj: Subscription | None = None) -> tuple[str, ...]:
        fields = ("url", "types", "sku_prefix", "batch")
        if obj is None:
            return (*fields, "start", "opening")
        if self.has_change_permission(request, obj):
            return fields
        return ("name", "types_in_words", "sku_prefix", "batch")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Subscription | None = None
    ) -> tuple[str, ...]:
        return ("name", "types_in_words")

    @display(description="Event types")
    def types_in_words(self, subscription: Subscription) -> str:
        return ", ".join(StockEvent.Type(each).label for each in subscription.types) or "All"

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Offer what can be done with the webhook in its state."""
        subscription = self.get_object(request, object_id)
        offered = dialogs_for(subscription) if subscription else ()
        names = {f"products_subscription_{each}" for each in offered}
        actions = super().get_actions_detail(request, object_id)
        return [each for each in actions if each.action_name in names]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
            **(extra_context or {}),
        }
        is_read = object_id and request.method == "GET"
        subscription = self.get_object(request, str(object_id)) if is_read else None
        # After an error, the form must be at the top of the page.
        if subscription and self.has_view_permission(request, subscription):
            context |= self._page(request, subscription)
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except subscriptions.SubscriptionError as error:
            messages.error(request, f"Nothing was saved. {error.detail}")
            return redirect(request.path)

    def _page(self, request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
        found = waiting(subscription)
        may_send = self.has_manage_permission(request)
        return {
            "subscription": subscription,
            "name": name_of(subscription),
            "state": state_of(subscription),
            "state_colour": STATE_COLOURS[state_of(subscription)],
            "explanation": explanation(subscription, found),
            "figures": figures(subscription, found),
            "attempts": attempts_table(subscription, may_send=may_send),
        }

    # --------------------------------------------------------------------------------------- saving

    def save_model(
        self, request: HttpRequest, obj: Subscription, form: forms.ModelForm, change: bool
    ) -> None:
        """Save the edited fields only. A relay works on the others."""
        values = form.cleaned_data
        if change:
            edited = {name: values[name] for name in form.changed_data}
            if edited:
                subscriptions.edit(obj.pk, **edited)
            return
        by = actor_of(request)

        def create() -> str:
            created = subscriptions.create(
                url=values["url"],
                types=values["types"],
                sku_prefix=values["sku_prefix"],
                batch=values["batch"],
                after=values["start"],
                by=by.name,
            )
            obj.pk, obj.secret = created.pk, created.secret
            return str(created)

        once(by, f"add webhook {values['opening'].hex}", create)

    def log_addition(self, request: HttpRequest, obj: Subscription, message: Any) -> Any:
        # A form that was sent before has added nothing.
        return super().log_addition(request, obj, message) if obj.pk else None

    def response_add(
        self, request: HttpRequest, obj: Subscription, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret in the response to the form, the only place where it is shown."""
        if not obj.pk:
            messages.warning(
                request,
                "This webhook was already added, and its secret was shown then. If you have not "
                "copied it, open the webhook and rotate the secret.",
            )
            return redirect("admin:products_subscription_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": "Webhook",
            "opts": self.opts,
            "webhook": obj,
            "secret": obj.secret,
        }
        return TemplateResponse(request, "admin/products/webhook_added.html", context)


# --------------------------------------------------------------------------------- tables of a page


def figures(subscription: Subscription, found: Waiting) -> list[tuple[str, str]]:
    """Return the figures of a webhook, each with its label."""
    values: list[tuple[str, str | datetime | None]] = [
        ("Waiting", count_in_words(found)),
        ("Oldest waiting", age_in_words(found.since)),
        ("Delivered", f"{subscription.delivered:,}"),
        ("Failed requests", f"{subscription.failed:,}"),
        ("Last delivery", subscription.delivered_at or "never"),
        ("Failing since", subscription.failing_since),
        ("Next attempt", subscription.next_attempt_at if subscription.is_failing else None),
        ("Parked", subscription.parked_at),
        ("Cursor", subscription.cursor),
        ("Added", subscription.created_at),
        ("Added by", subscription.created_by),
    ]
    return [
        (label, format_time(value) if isinstance(value, datetime) else value)
        for label, value in values
        if value
    ]


def attempts_table(subscription: Subscription, *, may_send: bool) -> dict[str, Any]:
    """Return the latest attempts of a webhook, newest first."""
    attempts = list(subscription.attempts.order_by("-pk")[:ATTEMPTS_SHOWN])
    events = events_of(attempts)
    headers = [in_time_zone("Time"), "Event", "Status", "Duration", "Error and answer"]
    return {
        "headers": [*headers, "Actions"] if may_send else headers,
        "rows": [
            [
                format_time(attempt.started_at),
                event_cell(attempt, events.get(attempt.event_id)),
                attempt.status or "",
                format_html(NO_BREAK, f"{attempt.milliseconds:,} ms"),
                outcome_cell(attempt),
                *([actions_cell(subscription, attempt, events)] if may_send else []),
            ]
            for attempt in attempts
        ],
        "empty": "Nothing was sent yet.",
    }


def events_of(attempts: list[DeliveryAttempt]) -> dict[str, StockEvent]:
    """Return the first event of each attempt, by the id of the attempt's event."""
    ids = set()
    for attempt in attempts:
        try:
            ids.add(feed.id_in(attempt.event_id))
        except feed.UnknownCursor:
            continue  # A test, or the announcement of a restore.
    found = StockEvent.objects.with_name().filter(pk__in=ids)
    # After a restore, another event may have the same number, but not the same time.
    return {feed.cursor_after(event): event for event in found}


def event_cell(attempt: DeliveryAttempt, event: StockEvent | None) -> str:
    """Return the events of an attempt. The first one is linked, and its product."""
    if event is None:
        kind = attempt.event_id.partition("-")[0]
        return {"test": "Test", "restored": "Ledger restored"}.get(kind, attempt.event_id)
    more = f" and {attempt.event_count - 1:,} more" if attempt.event_count > 1 else ""
    return format_html("{} {}{}", link_to(event.product, event.sku), linked_words(event), more)


def outcome_cell(attempt: DeliveryAttempt) -> str:
    """Return the error of an attempt and the start of the answer."""
    style = "display: block; min-width: 14rem; overflow-wrap: anywhere"
    answer = format_html('<code style="{}">{}</code>', style, attempt.answer)
    return format_html("{} {}", attempt.error, answer if attempt.answer else "")


def actions_cell(
    subscription: Subscription, attempt: DeliveryAttempt, events: dict[str, StockEvent]
) -> str:
    """Return links to the dialogs for the event of an attempt."""
    event = events.get(attempt.event_id)
    if event is None:
        return ""
    names = ["redeliver"] if subscription.url else []
    is_accepted = event.pk <= feed.id_in(subscription.cursor) or event.pk in subscription.ahead
    if not is_accepted:
        names.append("skip")
    links = [dialog_link(name, subscription, event) for name in names]
    return format_html(NO_BREAK, format_html_join(" ", "{}", ((link,) for link in links)))


def dialog_link(name: str, subscription: Subscription, event: StockEvent) -> str:
    """Return a link that opens a dialog for one event."""
    url = reverse(f"admin:products_subscription_{name}", args=[subscription.pk])
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{0}" hx-get="{0}" '
        'hx-target="#modal-content" hx-select="#dialog" '
        'x-on:htmx:after-on-load="openModal = true">{1}</a>',
        f"{url}?event={event.pk}",
        name.capitalize(),
    )
