"""API keys and their roles, idempotency keys, throttling."""

from typing import Any

from django.db import models
from django.db.models import Q
from rest_framework_api_key.models import AbstractAPIKey

from products.db.clock import Now
from products.models.events import MAX_ACTOR_LENGTH, StockEvent
from products.models.fields import MomentField

MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_THROTTLE_BUCKET_LENGTH = 64

MIN_CLAIM_HOURS = 24
"""How long a claim is kept at least: its request can be sent again that long."""


class Role(models.TextChoices):
    """What an API key may do. Each role may do all that the roles before it may."""

    READ = "read"
    OPERATE = "operate"
    COUNT = "count"
    MANAGE = "manage"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        return _ROLES.index(self) >= _ROLES.index(other)


_ROLES = tuple(Role)


class ApiKey(AbstractAPIKey):
    """The key of an API client. Only a hash of it is stored."""

    role = models.CharField(max_length=10, choices=Role, default=Role.READ)

    text: str
    """The key itself, known only where it has just been issued."""

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
    def name_is_taken(cls, name: str) -> bool:
        """Whether a key that is not revoked has this name: the ledger could not tell two apart."""
        return cls.objects.filter(name=name, revoked=False).exists()

    @classmethod
    def issue(cls, *, name: str, role: Role | str, **fields: Any) -> "ApiKey":
        """Make a key and return it with its `text`, which is stored nowhere."""
        api_key = cls(name=name, role=role, **fields)
        api_key.text = cls.objects.assign_key(api_key)
        api_key.save(force_insert=True)
        return api_key


class IdempotencyKey(models.Model):
    """A change that was carried out once: who asked for it under which key, and the answer."""

    source = models.CharField(max_length=10, choices=StockEvent.Source)
    # The caller's name, not its API key: a renewed key of a client is the same client.
    caller = models.CharField(max_length=MAX_ACTOR_LENGTH)
    key = models.CharField(max_length=MAX_IDEMPOTENCY_KEY_LENGTH)
    fingerprint = models.CharField(max_length=64)
    # Null only inside the transaction that carries the change out.
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
    """How much of its allowance of requests a client has used; see `products.throttling`."""

    name = models.CharField(max_length=MAX_THROTTLE_BUCKET_LENGTH, primary_key=True)
    # Microseconds since the epoch. In the past: nothing is used, as if there were no row.
    used_until = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name
