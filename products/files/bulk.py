"""Apply the lines of a staged file: all or none, or every valid line in short transactions."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from django.db import OperationalError
from django.db.models import Count, QuerySet

from products import stock
from products.db.clock import Now
from products.db.errors import LOCK_NOT_AVAILABLE, sqlstate_of
from products.files.lines import describe
from products.files.operations import BulkOperation
from products.files.staging import Staged, Staging
from products.models import BulkRefusal, BulkRun, Product

WHOLE_BATCH = 5_000
"""Lines in one batch of a file that is applied all or none."""

SHORT_BATCH = 1_000
"""Lines in one transaction of a run. A small batch keeps the wait of other requests short."""

MAX_REPORTED = 10_000
"""Report at most this many refused lines. Applying all or none stops at this number."""

WHOLE_LOCK_SECONDS = 60
"""How long a file that is applied all or none waits for each lock."""

SHORT_LOCK_SECONDS = 2
SHORT_ATTEMPTS = 30
"""A batch holds locks while it waits, so it waits briefly and tries again."""

Progress = Callable[[int], object]
"""Called with the number of lines processed since its last call."""


class Refusal(NamedTuple):
    """A line that cannot be applied, and why."""

    line: int
    sku: str
    code: str
    detail: str


@dataclass
class Report:
    """The outcome of a file, or of a dry run: lines applied and lines refused."""

    is_applied: bool = False
    """Whether the lines were applied. False for a dry run and for a file that was refused."""
    applied: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """The number of refused lines by error code."""
    refusals: list[Refusal] = field(default_factory=list)
    """At most `MAX_REPORTED`. The refusals of a run are in the database instead."""
    already_done_at: datetime | None = None
    """When an earlier command applied the file under the same reference, or undid the run."""

    def add(self, lines: Sequence[Staged], refusals: Sequence[Refusal]) -> None:
        """Count the lines of a batch and its refusals."""
        self.applied += len(lines) - len(refusals)
        self.refused.update(refusal.code for refusal in refusals)
        self.refusals += refusals[: MAX_REPORTED - len(self.refusals)]


class ReferenceUsed(Exception):
    """The reference was used for another file, or for this file with other options."""


class RunInProgress(Exception):
    """Another process is applying this run."""


class RunUndone(Exception):
    """The run was undone, so it is neither resumed nor repeated."""

    def __init__(self, run: BulkRun) -> None:
        super().__init__(run.reference)
        self.undone_at = run.undone_at


class _RollBack(Exception):
    """Undo all lines of a file, because a line was refused."""


def preview(staging: Staging, operation: BulkOperation, *, progress: Progress) -> Report:
    """Report what applying the lines would do. Only reads."""
    report = Report()
    for lines in _batches(staging, WHOLE_BATCH, progress):
        valid = [line for line in lines if not line.code]
        refused = _refused(valid, operation.preview(valid)) if valid else []
        report.add(lines, [*_invalid(lines), *refused])
    return report


class Claim(Protocol):
    """Makes sure that lines are applied only once. It writes in their transaction."""

    def begin(self) -> Report | None:
        """Return the report of the earlier command that has applied the lines, if any."""

    def end(self, report: Report) -> None:
        """Record that the lines are applied."""


class FileClaim:
    """Claims the reference of a file. Raises `ReferenceUsed` and `RunUndone`."""

    def __init__(self, run: BulkRun) -> None:
        """Take an unsaved run."""
        self._run = run

    def begin(self) -> Report | None:
        run = _claimed(self._run)
        return _report_of(run, already_done_at=run.ended_at) if run.ended_at else None

    def end(self, report: Report) -> None:
        runs = BulkRun.objects.filter(reference=self._run.reference)
        runs.update(applied=report.applied, ended_at=Now())


def apply_whole(
    staging: Staging, operation: BulkOperation, *, claim: Claim | None = None, progress: Progress
) -> Report:
    """Apply all lines in one transaction, or none. Raises the exceptions of the claim."""
    if staging.invalid or (staging.repeated and not staging.adds_up):
        # The file will be refused, so no product has to be locked.
        return preview(staging, operation, progress=progress)
    batches = _Whole(staging, operation, claim, progress)
    with suppress(_RollBack):
        stock.run_batches(batches, by=operation.by)
    return batches.report


class _Whole:
    """A transaction that applies all lines of a file."""

    lock_seconds = WHOLE_LOCK_SECONDS

    def __init__(
        self, staging: Staging, operation: BulkOperation, claim: Claim | None, progress: Progress
    ) -> None:
        self._staging, self._operation, self._progress = staging, operation, progress
        self._claim = claim
        self._lines: Sequence[Staged] = ()
        self.report = Report()

    def begin(self) -> bool:
        self.report = Report()
        earlier = self._claim.begin() if self._claim else None
        if earlier:
            self.report = earlier
        return earlier is None

    def products(self) -> QuerySet[Product]:
        return self._staging.products()

    def verbs(self) -> Iterator[stock.Verb[Any, stock.Outcomes]]:
        for lines in _batches(self._staging, WHOLE_BATCH, self._progress):
            invalid = _invalid(lines)
            self._lines = [line for line in lines if not line.code] if invalid else lines
            self._add([line for line in lines if line.code], invalid)
            if self._lines:
                yield self._operation.verb(self._lines)

    def decided(self, outcomes: stock.Outcomes) -> None:
        self._add(self._lines, _refused(self._lines, outcomes))

    def _add(self, lines: Sequence[Staged], refusals: Sequence[Refusal]) -> None:
        self.report.add(lines, refusals)
        if len(self.report.refusals) == MAX_REPORTED:
            raise _RollBack

    def end(self) -> None:
        if self.report.refused:
            raise _RollBack
        if self._claim:
            self._claim.end(self.report)
        self.report.is_applied = True


def apply_possible(
    staging: Staging, operation: BulkOperation, *, run: BulkRun, progress: Progress
) -> Report:
    """Apply every line that can be applied, one transaction per batch.

    `run` is an unsaved `BulkRun`. An earlier run with its reference is resumed if it was
    interrupted, and is not repeated if it ended. `refusals_of` returns the refused lines. Raises
    `ReferenceUsed`, `RunInProgress` and `RunUndone`.
    """
    run = _claimed(run)
    if run.ended_at:
        return _report_of(run, already_done_at=run.ended_at)
    if run.request_id:
        operation.by = replace(operation.by, request_id=run.request_id)
    staging.drop_decided(run)
    progress(run.decided)
    for lines in _batches(staging, SHORT_BATCH, progress):
        run = _apply_batch(_Batch(run, lines, operation))
    if not BulkRun.objects.filter(pk=run.pk, undone_at=None).update(ended_at=Now()):
        raise RunUndone(BulkRun.objects.get(pk=run.pk))
    return _report_of(run)


class _Batch:
    """A transaction that applies some lines of a file and records how far the run has come."""

    lock_seconds = SHORT_LOCK_SECONDS

    def __init__(self, run: BulkRun, lines: Sequence[Staged], operation: BulkOperation) -> None:
        self.run, self.operation = run, operation
        self._known, self._lines = run, lines
        self._valid = [line for line in lines if not line.code]
        self._refusals: list[Refusal] = []

    def begin(self) -> bool:
        self._refusals = _invalid(self._lines)
        self.run = BulkRun.objects.select_for_update(no_key=True).get(pk=self._known.pk)
        if self.run.undone_at:
            raise RunUndone(self.run)
        if self.run.decided != self._known.decided:
            raise RunInProgress(self.run.reference)
        return True

    def products(self) -> None:
        return None

    def verbs(self) -> Iterator[stock.Verb[Any, stock.Outcomes]]:
        if self._valid:
            yield self.operation.verb(self._valid)

    def decided(self, outcomes: stock.Outcomes) -> None:
        self._refusals += _refused(self._valid, outcomes)

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
    """Yield the refused lines of a run in file order."""
    refusals = BulkRefusal.objects.filter(run__reference=run.reference).order_by("line")
    for row in refusals.values_list("line", "sku", "code", "detail").iterator():
        yield Refusal(*row)


def _batches(staging: Staging, size: int, progress: Progress) -> Iterator[list[Staged]]:
    place = 0
    while lines := staging.after(place, count=size):
        yield lines
        place = lines[-1].place
        progress(len(lines))


def _invalid(lines: Sequence[Staged]) -> list[Refusal]:
    """Return the refusals of the lines that could not be read."""
    return [Refusal(line.line, line.sku, line.code, line.detail) for line in lines if line.code]


def _refused(lines: Sequence[Staged], outcomes: stock.Outcomes) -> list[Refusal]:
    return [
        Refusal(line.line, line.sku, outcome.code, describe(outcome))
        for line, outcome in zip(lines, outcomes, strict=True)
        if isinstance(outcome, stock.StockError)
    ]


def _claimed(run: BulkRun) -> BulkRun:
    """Return the stored run with this reference; store `run` if there is none."""
    # Waits for a concurrent insert of the same reference.
    BulkRun.objects.bulk_create([run], ignore_conflicts=True)
    stored = BulkRun.objects.get(reference=run.reference)
    if stored.undone_at:
        raise RunUndone(stored)
    if stored.fingerprint != run.fingerprint:
        raise ReferenceUsed(run.reference)
    return stored


def _report_of(run: BulkRun, *, already_done_at: datetime | None = None) -> Report:
    refused = run.refusals.values_list("code").annotate(lines=Count("pk"))
    return Report(True, run.applied, Counter(dict(refused)), already_done_at=already_done_at)


def _apply_batch(batch: _Batch) -> BulkRun:
    """Apply a batch and return the run with its new position."""
    for attempt in range(1, SHORT_ATTEMPTS + 1):
        try:
            stock.run_batches(batch, by=batch.operation.by)
        except OperationalError as error:
            if sqlstate_of(error) != LOCK_NOT_AVAILABLE or attempt == SHORT_ATTEMPTS:
                raise
        else:
            break
    return batch.run
