"""Files that were applied, and imports of the back office."""

from django.conf import settings
from django.db import models

from products.db.clock import Now
from products.models.events import MAX_REQUEST_ID_LENGTH
from products.models.fields import MomentField, SkuField
from products.validators import (
    MAX_NOTE_LENGTH,
    MAX_SKU_LENGTH,
)


class BulkRun(models.Model):
    """A file that is or was applied under a reference. It is never applied twice.

    A run can be undone once, and is not resumed after that.

    A file that is applied in batches, in the order of SKUs, can resume after a failure.
    `last_sku` and `last_line` are those of the last line that was decided.
    """

    reference = models.CharField(max_length=MAX_NOTE_LENGTH)
    # Covers the file and the options that change its meaning.
    fingerprint = models.CharField(max_length=64)
    # Of all events of the run. Blank for a run that began in an earlier version.
    request_id = models.CharField(
        max_length=MAX_REQUEST_ID_LENGTH, blank=True, default="", db_default=""
    )
    applied = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    last_sku = SkuField(max_length=MAX_SKU_LENGTH, default="")
    last_line = models.BigIntegerField(default=0)
    started_at = MomentField(db_default=Now())
    ended_at = MomentField(null=True)
    undone_at = MomentField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="bulkrun_reference_unique"),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def decided(self) -> int:
        """The number of lines that were applied or refused."""
        return self.applied + self.refused


class BulkRefusal(models.Model):
    """A refused line of a file, with the error."""

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
    """The changes of an import that a user has previewed and not confirmed yet.

    The transaction that applies the changes also deletes the row, so that an import is applied only
    once.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=20)
    changes = models.JSONField()
    notes = models.JSONField(default=list, db_default=[])
    """What the preview says about the file, such as the sheet that was read."""
    content_hash = models.CharField(max_length=64, default="", db_default="")
    draft = models.CharField(max_length=32, default="", db_default="")
    """The id of the lines that the user entered on a page. They are applied once."""
    created_at = MomentField(db_default=Now(), db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class ImportedFile(models.Model):
    """An import that a user has confirmed. If it was applied, its request has events."""

    kind = models.CharField(max_length=20)
    # Covers the cells that were read, in any format.
    content_hash = models.CharField(max_length=64)
    request_id = models.CharField(max_length=MAX_REQUEST_ID_LENGTH)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["content_hash", "kind"], name="importedfile_content")]

    def __str__(self) -> str:
        return f"{self.kind} {self.request_id}"
