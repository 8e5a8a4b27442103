"""API keys and their roles, idempotency keys, throttling."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import Error, models, transaction
from django.db.models import Q
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from products.db.clock import Now, SecondsFromNow
from products.db.sqlite import sqlite_without_waiting
from products.lookalikes import appearance_of
from products.models.events import MAX_ACTOR_LENGTH, StockEvent
from products.models.fields import MomentField

MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_THROTTLE_BUCKET_LENGTH = 64

MIN_CLAIM_HOURS = 24
"""Claims are kept for at least this long. Until then, a request can be repeated safely."""


TRUSTED_SECONDS = 30
"""How long a process trusts a key after a look-up. A key that another process revokes works until
then."""


USE_RECORDED_SECONDS = 5 * 60
"""How old the recorded last use of a key may be. Recording each request would slow it down."""


class Role(models.TextChoices):
    """The permissions of an API key. Each role includes the roles before it."""

    READ = "read"
    OPERATE = "operate"
    COUNT = "count"
    MANAGE = "manage"

    def includes(self, other: "Role") -> bool:
        """Return whether this role includes `other`."""
        return _ROLES.index(self) >= _ROLES.index(other)


_ROLES = tuple(Role)


class ApiKey(AbstractAPIKey):
    """The key of an API client. Only its hash is stored."""

    role = models.CharField(max_length=10, choices=Role, default=Role.READ)
    # Names, because a user can be deleted. Keys of earlier versions have none.
    issued_by = models.CharField(max_length=MAX_ACTOR_LENGTH, default="", db_default="")
    revoked_by = models.CharField(max_length=MAX_ACTOR_LENGTH, default="", db_default="")
    revoked_at = MomentField(null=True)
    last_used_at = MomentField(null=True)

    text: str
    """The key itself. Only `issue` sets it."""

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=["read", "operate", "count", "manage"]),
                name="apikey_role_known",
            ),
        ]

    @classmethod
    def name_like(cls, name: str) -> str | None:
        """Return the name of a usable key or a user that looks like this name, if there is one.

        The ledger records only the name, so two callers must not share one.
        """
        keys = cls.objects.filter(revoked=False).values_list("name", flat=True)
        users = get_user_model().objects.values_list("username", flat=True)
        wanted = appearance_of(name)
        return next((each for each in (*keys, *users) if appearance_of(each) == wanted), None)

    @classmethod
    def issue(cls, *, name: str, role: Role | str, issued_by: str = "", **fields: Any) -> "ApiKey":
        """Create a key and return it with its `text`, which is not stored."""
        api_key = cls(name=name, role=role, issued_by=issued_by, **fields)
        api_key.text = cls.objects.assign_key(api_key)
        api_key.save(force_insert=True)
        return api_key

    def revoke(self, *, by: str) -> None:
        """Revoke the key. It cannot be restored."""
        self.revoked, self.revoked_by = True, by
        self.revoked_at = timezone.now()
        self.save(update_fields=["revoked", "revoked_by", "revoked_at"])

    def record_use(self) -> None:
        """Record that the key is used now, unless the recorded use is recent.

        Waits for nothing, and raises no error: the request matters more than the record. The next
        look-up of the key tries again.
        """
        recent = timedelta(seconds=USE_RECORDED_SECONDS)
        if self.last_used_at and timezone.now() - self.last_used_at < recent:
            return
        is_old = Q(last_used_at=None) | Q(last_used_at__lt=SecondsFromNow(-USE_RECORDED_SECONDS))
        try:
            with sqlite_without_waiting(), transaction.atomic():
                keys = ApiKey.objects.filter(is_old, pk=self.pk)
                # Skipped if another process has locked it, to record the same or to revoke it.
                if keys.select_for_update(skip_locked=True, no_key=True).first():
                    keys.update(last_used_at=Now())
        except Error:
            return


class IdempotencyKey(models.Model):
    """The claim of a change: its caller, its idempotency key and its response."""

    source = models.CharField(max_length=10, choices=StockEvent.Source)
    # The name of the client, not its API key: it stays when the key is renewed.
    caller = models.CharField(max_length=MAX_ACTOR_LENGTH)
    key = models.CharField(max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    fingerprint = models.CharField(max_length=64)
    # Null only inside the transaction of the change.
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(default=b"")
    headers = models.JSONField(default=dict)
    created_at = MomentField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "caller", "key"], name="idempotencykey_once"),
        ]

    def __str__(self) -> str:
        return self.key


class ThrottleBucket(models.Model):
    """The used allowance of a client or an address. See `products.throttling`."""

    name = models.CharField(max_length=MAX_THROTTLE_BUCKET_LENGTH, primary_key=True)
    # Microseconds since 1970. A time in the past means that nothing is used.
    used_until = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name
