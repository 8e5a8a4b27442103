"""Subscriptions to stock events, and the attempts to deliver them."""

import base64
import secrets
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from products.db.clock import Now
from products.models.events import MAX_ACTOR_LENGTH, StockEvent
from products.models.fields import MomentField, SkuField
from products.validators import MAX_NOTE_LENGTH, MAX_SKU_LENGTH

MAX_URL_LENGTH = 2_000
MAX_CURSOR_LENGTH = 40
MAX_ANSWER_LENGTH = 200
"""Characters of an answer that an attempt keeps."""
ATTEMPTS_KEPT = 200
"""The newest attempts of each subscription that are kept."""
SECRET_BYTES = 32
OLD_SECRET_HOURS = 24
"""How long the previous secret signs, too, after a rotation."""


def new_secret() -> str:
    """Return a secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def webhooks(self) -> "SubscriptionQuerySet":
        """Leave out the broker of the settings."""
        return self.exclude(url="")

    def due(self, lease: str) -> "SubscriptionQuerySet":
        """Return active subscriptions without another lease, whose wait is over."""
        return self.filter(
            Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease=lease),
            Q(next_attempt_at=None) | Q(next_attempt_at__lte=Now()),
            state=Subscription.State.ACTIVE,
        )

    def parked(self) -> "SubscriptionQuerySet":
        return self.filter(state=Subscription.State.PARKED)

    def failing(self) -> "SubscriptionQuerySet":
        """Return the active subscriptions whose next event has failed."""
        return self.filter(state=Subscription.State.ACTIVE, failing_since__isnull=False)


class Subscription(models.Model):
    """A receiver of stock events, with the cursor of the last event that it has.

    It is a webhook, or the publisher of the setting `PUBLISHER_URL`, whose `url` is empty.
    A relay claims it by a lease. Only the holder of the lease saves the cursor.
    """

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        PARKED = "parked", "Parked"

    url = models.CharField("URL", max_length=MAX_URL_LENGTH, blank=True)
    # Empty: all types.
    types = models.JSONField("event types", default=list, blank=True)
    sku_prefix = SkuField("SKU prefix", max_length=MAX_SKU_LENGTH, blank=True, default="")
    batch = models.BooleanField("batches", default=False)
    format_version = models.PositiveSmallIntegerField(default=1)
    # Not hashed: each request is signed with it.
    secret = models.CharField(max_length=100, default=new_secret)
    old_secret = models.CharField(max_length=100, default="")
    old_secret_until = MomentField(null=True)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    parked_because = models.CharField(max_length=MAX_NOTE_LENGTH, default="")
    parked_at = MomentField(null=True)
    # Whether the e-mail about the parking was sent.
    is_alerted = models.BooleanField(default=True)
    cursor = models.CharField(max_length=MAX_CURSOR_LENGTH)
    # Ids of events after the cursor that were delivered: other products were faster.
    ahead = models.JSONField(default=list)
    # Set after a restore. The receiver gets `inventory.ledger.restored` before any other event.
    restored_to = MomentField(null=True)
    lease = models.CharField(max_length=50, default="")
    lease_until = MomentField(null=True)
    failures = models.PositiveIntegerField(default=0)
    failing_since = MomentField(null=True)
    next_attempt_at = MomentField(null=True)
    delivered = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    delivered_at = MomentField("last delivery", null=True)
    created_by = models.CharField(max_length=MAX_ACTOR_LENGTH)
    created_at = MomentField(db_default=Now())

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook"
        constraints = [
            models.UniqueConstraint(
                fields=["url"], condition=Q(url=""), name="subscription_one_publisher"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "paused", "parked"]),
                name="subscription_state_known",
            ),
        ]

    def __str__(self) -> str:
        return self.url or "Broker"

    @property
    def secrets(self) -> list[str]:
        """The secrets that sign a request now, the current one first."""
        until = self.old_secret_until
        return [self.secret, self.old_secret] if until and until > timezone.now() else [self.secret]

    @property
    def is_failing(self) -> bool:
        """Whether the subscription is active and its next event has failed."""
        return self.state == self.State.ACTIVE and self.failing_since is not None

    def wants(self, event: StockEvent) -> bool:
        """Return whether the event is one that the receiver asked for."""
        is_type = not self.types or event.type in self.types
        return is_type and event.sku.startswith(self.sku_prefix)


class DeliveryAttempt(models.Model):
    """One request to the receiver of a subscription, and its outcome."""

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="attempts", db_index=False
    )
    # Of the first event. A batch has several.
    event_id = models.CharField(max_length=MAX_CURSOR_LENGTH)
    event_count = models.PositiveIntegerField()
    started_at: "models.DateTimeField[datetime, datetime]" = MomentField()
    milliseconds = models.PositiveIntegerField()
    # Null if there was no response.
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True)
    answer = models.CharField(max_length=MAX_ANSWER_LENGTH, blank=True)

    class Meta:
        verbose_name = "attempt"
        default_permissions = ()
        indexes = [models.Index(fields=["subscription", "-id"], name="attempt_by_subscription")]

    def __str__(self) -> str:
        return f"{self.event_id} {self.status or self.error}"

    @property
    def is_success(self) -> bool:
        return not self.error
