"""Files that are applied, and imports that wait for their confirmation."""

from django.conf import settings
from django.db import models

from products.db.clock import Now
from products.models.fields import MomentField, SkuField
from products.validators import (
    MAX_NOTE_LENGTH,
    MAX_SKU_LENGTH,
)


class BulkRun(models.Model):
    """A file that was applied under a reference, or is: it never is twice.

    One that is applied batch by batch has the place where it goes on after it broke off: the SKU
    and the line of the last that was decided, in the order of SKUs.
    """

    reference = models.CharField(max_length=MAX_NOTE_LENGTH)
    # Of the file and of the options that give it its meaning.
    fingerprint = models.CharField(max_length=64)
    applied = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    last_sku = SkuField(max_length=MAX_SKU_LENGTH, default="")
    last_line = models.BigIntegerField(default=0)
    started_at = MomentField(db_default=Now())
    ended_at = MomentField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="bulkrun_reference_unique"),
        ]

    def __str__(self) -> str:
        return self.reference


class BulkRefusal(models.Model):
    """A line of a file that was refused in a `BulkRun`, and why."""

    run = models.ForeignKey(
        BulkRun, on_delete=models.CASCADE, related_name="refusals", db_index=False
    )
    line = models.BigIntegerField()
    sku = models.CharField(max_length=MAX_SKU_LENGTH, blank=True)
    code = models.CharField(max_length=50)
    detail = models.TextField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["run", "line"], name="bulkrefusal_line_once"),
        ]

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"


class PendingImport(models.Model):
    """What an import would change, previewed by a person and not confirmed yet.

    Confirming deletes the row in the transaction that makes the changes, so an import is made once,
    however often it is confirmed.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=20)
    changes = models.JSONField()
    created_at = MomentField(db_default=Now(), db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
