"""Files of any length, applied whole or batch by batch, each batch in the same few statements."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import OperationalError
from django.db.models import Count, QuerySet

from products import stock
from products.db.clock import Now
from products.db.errors import LOCK_NOT_AVAILABLE, sqlstate_of
from products.files.changes import describe
from products.files.operations import BulkOperation
from products.files.staging import Staged, Staging
from products.models import BulkRefusal, BulkRun, Product

WHOLE_BATCH = 5_000
"""Lines that are applied at once of a file that is applied whole."""

SHORT_BATCH = 1_000
"""Lines in one transaction of a run: so few that requests for the same products hardly wait."""

MAX_REPORTED = 10_000
"""Report at most this many refused lines. A file that is applied whole ends there."""

WHOLE_LOCK_SECONDS = 60
"""How long a file that is applied whole waits for others who change its products."""

SHORT_LOCK_SECONDS = 2
SHORT_ATTEMPTS = 30
"""A batch waits only briefly, because it holds locks meanwhile, and then tries again."""

Progress = Callable[[int], object]
"""Takes the number of lines that were done since its last call."""


class Refusal(NamedTuple):
    """A line that cannot be applied, and why."""

    line: int
    sku: str
    code: str
    detail: str


@dataclass
class Report:
    """What became of the lines of a file, or would."""

    is_applied: bool = False
    """Whether those that were not refused are applied, or could be."""
    applied: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """The number of lines by the code of their refusal."""
    refusals: list[Refusal] = field(default_factory=list)
    """At most `MAX_REPORTED`; those of a run are in the database."""
    done_before: datetime | None = None
    """When the file was applied under its reference, if it was before."""

    def add(self, lines: Sequence[Staged], refusals: Sequence[Refusal]) -> None:
        """Count the lines of a batch, of which these are refused."""
        self.applied += len(lines) - len(refusals)
        self.refused.update(refusal.code for refusal in refusals)
        self.refusals += refusals[: MAX_REPORTED - len(self.refusals)]


class ReferenceUsed(Exception):
    """The reference belongs to another file, or to the same one with other options."""


class CarriedOnElsewhere(Exception):
    """Another process carries on this run."""


class _Refused(Exception):
    """Rolls back a file that can only be applied whole."""


def preview(staging: Staging, operation: BulkOperation, *, progress: Progress) -> Report:
    """Tell what would become of the lines. Only reads."""
    report = Report()
    for lines in _batches(staging, WHOLE_BATCH, progress):
        sound = [line for line in lines if not line.code]
        refused = _refused(sound, operation.preview(sound)) if sound else []
        report.add(lines, [*_faulty(lines), *refused])
    return report


def apply_whole(
    staging: Staging, operation: BulkOperation, *, run: BulkRun | None = None, progress: Progress
) -> Report:
    """Apply all lines in one transaction, or none; as a `run`, not saved yet, only once.

    Raises `ReferenceUsed`.
    """
    if staging.faulty:
        # It will be refused: no need to keep anybody waiting.
        return preview(staging, operation, progress=progress)
    batches = _Whole(staging, operation, run, progress)
    with suppress(_Refused):
        stock.run_batches(batches, by=operation.by)
    return batches.report


class _Whole:
    """All lines of a file, in one transaction."""

    lock_seconds = WHOLE_LOCK_SECONDS

    def __init__(
        self, staging: Staging, operation: BulkOperation, run: BulkRun | None, progress: Progress
    ) -> None:
        self._staging, self._operation, self._progress = staging, operation, progress
        self._run = run
        self._lines: Sequence[Staged] = ()
        self.report = Report()

    def begin(self) -> bool:
        self.report = Report()
        run = _claimed(self._run) if self._run else None
        if run and run.ended_at:
            self.report = _report_of(run, done_before=run.ended_at)
            return False
        return True

    def products(self) -> QuerySet[Product]:
        return self._staging.products()

    def verbs(self) -> Iterator[stock.Verb[Any, stock.Outcomes]]:
        for lines in _batches(self._staging, WHOLE_BATCH, self._progress):
            self._lines = lines
            yield self._operation.verb(lines)

    def decided(self, outcomes: stock.Outcomes) -> None:
        self.report.add(self._lines, _refused(self._lines, outcomes))
        if len(self.report.refusals) == MAX_REPORTED:
            raise _Refused

    def end(self) -> None:
        if self.report.refused:
            raise _Refused
        if self._run:
            runs = BulkRun.objects.filter(reference=self._run.reference)
            runs.update(applied=self.report.applied, ended_at=Now())
        self.report.is_applied = True


def apply_possible(
    staging: Staging, operation: BulkOperation, *, run: BulkRun, progress: Progress
) -> Report:
    """Apply the lines that can be, in a transaction for each batch.

    The `run` is not saved yet. One of its reference that broke off is carried on where it ended,
    and one that has ended is not repeated. `refusals_of` returns the refused lines. Raises
    `ReferenceUsed`, `CarriedOnElsewhere`.
    """
    run = _claimed(run)
    if run.ended_at:
        return _report_of(run, done_before=run.ended_at)
    staging.drop_decided(run)
    progress(run.applied + run.refused)
    for lines in _batches(staging, SHORT_BATCH, progress):
        run = _apply_batch(_Batch(run, lines, operation))
    BulkRun.objects.filter(pk=run.pk).update(ended_at=Now())
    return _report_of(run)


class _Batch:
    """Some lines of a file, in a transaction of their own with the place that they end at."""

    lock_seconds = SHORT_LOCK_SECONDS

    def __init__(self, run: BulkRun, lines: Sequence[Staged], operation: BulkOperation) -> None:
        self.run, self.operation = run, operation
        self._known, self._lines = run, lines
        self._sound = [line for line in lines if not line.code]
        self._refusals: list[Refusal] = []

    def begin(self) -> bool:
        self._refusals = _faulty(self._lines)
        self.run = BulkRun.objects.select_for_update(no_key=True).get(pk=self._known.pk)
        if (self.run.applied, self.run.refused) != (self._known.applied, self._known.refused):
            raise CarriedOnElsewhere(self.run.reference)
        return True

    def products(self) -> None:
        return None

    def verbs(self) -> Iterator[stock.Verb[Any, stock.Outcomes]]:
        if self._sound:
            yield self.operation.verb(self._sound)

    def decided(self, outcomes: stock.Outcomes) -> None:
        self._refusals += _refused(self._sound, outcomes)

    def end(self) -> None:
        BulkRefusal.objects.bulk_create(
            BulkRefusal(run=self.run, **refusal._asdict()) for refusal in self._refusals
        )
        last, refused = self._lines[-1], len(self._refusals)
        self.run.applied += len(self._lines) - refused
        self.run.refused += refused
        self.run.last_sku, self.run.last_line = last.sku, last.line
        self.run.save(update_fields=["applied", "refused", "last_sku", "last_line"])


def refusals_of(run: BulkRun) -> Iterator[Refusal]:
    """Yield the refused lines of a run, in the order of the file."""
    refusals = BulkRefusal.objects.filter(run__reference=run.reference).order_by("line")
    for row in refusals.values_list("line", "sku", "code", "detail").iterator():
        yield Refusal(*row)


def _batches(staging: Staging, size: int, progress: Progress) -> Iterator[list[Staged]]:
    place = 0
    while lines := staging.after(place, count=size):
        yield lines
        place = lines[-1].place
        progress(len(lines))


def _faulty(lines: Sequence[Staged]) -> list[Refusal]:
    """Return the refusals of lines that are wrong in themselves."""
    return [Refusal(line.line, line.sku, line.code, line.detail) for line in lines if line.code]


def _refused(lines: Sequence[Staged], outcomes: stock.Outcomes) -> list[Refusal]:
    return [
        Refusal(line.line, line.sku, outcome.code, describe(outcome))
        for line, outcome in zip(lines, outcomes, strict=True)
        if isinstance(outcome, stock.StockError)
    ]


def _claimed(run: BulkRun) -> BulkRun:
    """Return the run of this reference as it is stored; this one, if there was none."""
    # Waits for another process that does the same.
    BulkRun.objects.bulk_create([run], ignore_conflicts=True)
    stored = BulkRun.objects.get(reference=run.reference)
    if stored.fingerprint != run.fingerprint:
        raise ReferenceUsed(run.reference)
    return stored


def _report_of(run: BulkRun, *, done_before: datetime | None = None) -> Report:
    refused = run.refusals.values_list("code").annotate(lines=Count("pk"))
    return Report(True, run.applied, Counter(dict(refused)), done_before=done_before)


def _apply_batch(batch: _Batch) -> BulkRun:
    """Apply a batch, and return the run with its new place."""
    for attempt in range(1, SHORT_ATTEMPTS + 1):
        try:
            stock.run_batches(batch, by=batch.operation.by)
        except OperationalError as error:
            if sqlstate_of(error) != LOCK_NOT_AVAILABLE or attempt == SHORT_ATTEMPTS:
                raise
        else:
            break
    return batch.run
