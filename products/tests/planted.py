"""Typical bugs, to check that the tests catch them. `pytest --plant NAME` plants one.

`python -m products.tests.planted` (`make planted`) plants each bug, runs the tests that should
catch it, and fails if they pass.
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
"""By bug: the modules that should catch it. The machine runs with every bug, although it cannot
catch races, because it sends one request at a time."""


def double_apply(patch: Any) -> None:
    """Do not claim idempotency keys, so that a retry applies the change again."""
    from products.stock import runner

    patch.setattr(runner, "claim", lambda once: 0)


def late_fulfill(patch: Any) -> None:
    """Accept overdue reservations until `expire_overdue` has expired them."""
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
    """Accept an idempotency key that was used for another request."""
    from products.api import retries

    patch.setattr(retries, "fingerprint", lambda view: "")


def lost_event(patch: Any) -> None:
    """Lose the event of an adjust that changes the quantity."""
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
    """Reserve the available lines of an order, and leave out the short ones."""
    from products import stock

    reserve_lines = stock.reserve_lines

    def reserve_available(*, lines: Any, **about: Any) -> Any:
        try:
            return reserve_lines(lines=lines, **about)
        except stock.InsufficientStock as refused:
            short = {error.sku for _, error in refused.lines}
            rest = [line for line in lines if line.sku not in short]
            if not rest:
                raise
            return reserve_lines(lines=rest, **about)

    patch.setattr(stock, "reserve_lines", reserve_available)


def no_lock(patch: Any) -> None:
    """Read rows without a lock."""
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
    """Run a module with a bug. Return the number of tests and failures, and the first failure."""
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
    """Print a table of the caught bugs. Return 1 if a bug was missed."""
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
