"""Bugs that anybody might have made, to be planted by `pytest --plant NAME`.

A suite that stays green with one of them would not have noticed it. `python -m
products.tests.planted` (`make planted`) plants each, runs the tests that should notice, and fails
if they do not.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

MACHINE = "test_machine.py"

CAUGHT_BY = {
    "double-apply": ["api/test_idempotency.py", MACHINE],
    "late-fulfill": ["stock/test_expiry.py", MACHINE],
    "no-fingerprint": ["api/test_idempotency.py", MACHINE],
    "lost-event": ["stock/test_levels.py", MACHINE],
    "partial-order": ["stock/test_reservations.py", MACHINE],
    "no-lock": ["stock/test_races.py", MACHINE],
}
"""For each bug the modules that should catch it. No race is in reach of the machine, which asks
one thing at a time: it is run with every bug to say so."""


def double_apply(patch: Any) -> None:
    """The answer is kept only after the transaction, so that a retry finds none."""
    from products.stock import runner

    patch.setattr(runner, "claim", lambda once: 0)


def late_fulfill(patch: Any) -> None:
    """Only what the sweeper has given back counts as expired, not what is overdue."""
    from products.ledger.locking import LockedReservation
    from products.models import Reservation
    from products.stock import reservations

    require_open = reservations.require_open

    def open_or_overdue(locked: LockedReservation, reservation_id: int) -> Reservation:
        if locked.reservation is not None:
            locked.reservation.is_overdue = False
        return require_open(locked, reservation_id)

    patch.setattr(reservations, "require_open", open_or_overdue)


def no_fingerprint(patch: Any) -> None:
    """A key is looked up without asking whether it is for the same request."""
    from products.api import retries

    patch.setattr(retries, "fingerprint", lambda view: "")


def lost_event(patch: Any) -> None:
    """An adjust that finds a difference changes the levels, but forgets its event."""
    from products.ledger.posting import Posting
    from products.models import Product, StockEvent

    record = Posting.record

    def record_or_forget(
        self: Posting, product: Product, event_type: StockEvent.Type, **change: Any
    ) -> Any:
        version = product.version
        level_change = record(self, product, event_type, **change)
        if event_type == StockEvent.Type.ADJUSTED and change["quantity_change"]:
            product.version = version
            self._events = [
                event
                for event in self._events
                if event.product is not product or event.version <= version
            ]
        return level_change

    patch.setattr(Posting, "record", record_or_forget)


def partial_order(patch: Any) -> None:
    """What is short is left out of an order, and the rest of it is reserved."""
    from products import stock

    reserve_lines = stock.reserve_lines

    def reserve_what_there_is(*, lines: Any, **about: Any) -> Any:
        try:
            return reserve_lines(lines=lines, **about)
        except stock.InsufficientStock as refused:
            short = {error.sku for _, error in refused.lines}
            rest = [line for line in lines if line.sku not in short]
            if not rest:
                raise
            return reserve_lines(lines=rest, **about)

    patch.setattr(stock, "reserve_lines", reserve_what_there_is)


def no_lock(patch: Any) -> None:
    """The rows are read without a lock."""
    from django.db.models import QuerySet

    patch.setattr(QuerySet, "select_for_update", lambda self, **_: self)


BUGS: dict[str, Callable[[Any], None]] = {
    "double-apply": double_apply,
    "late-fulfill": late_fulfill,
    "no-fingerprint": no_fingerprint,
    "lost-event": lost_event,
    "partial-order": partial_order,
    "no-lock": no_lock,
}


def _run(bug: str, module: str) -> tuple[int, int, str]:
    """Return how many tests ran and failed with the bug planted, and the first that failed."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--show-capture=no", "-rfE"]
    ended = subprocess.run(
        [*command, "--plant", bug, f"products/tests/{module}"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )
    counts = {
        outcome: int(number)
        for number, outcome in re.findall(r"(\d+) (passed|failed|error)", ended.stdout)
    }
    if ended.returncode not in (0, 1):
        raise SystemExit(ended.stdout + ended.stderr)
    first = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", ended.stdout, re.MULTILINE)
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return counts.get("passed", 0) + counts.get("failed", 0), failed, first[1] if first else ""


def main() -> int:
    """Print a table of what was caught; return 1 if a bug was not."""
    say = partial(print, flush=True)
    say("| bug | module | tests run | failed | first failing test |")
    say("|---|---|---|---|---|")
    missed = 0
    for bug, modules in CAUGHT_BY.items():
        total = 0
        for module in modules:
            ran, failed, first = _run(bug, module)
            total += failed
            say(f"| {bug} | {module} | {ran} | {failed} | {first} |")
        missed += total == 0
    say(f"\n{len(BUGS) - missed} of {len(BUGS)} planted bugs were caught.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
