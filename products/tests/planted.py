"""Bugs that can be planted, to see that the suite catches each of them: `make planted`.

`pytest --plant NAME` runs tests with one of them. As a program, this module runs for each bug the
tests that should notice it, each in a process of its own, and ends with 1 if one goes unnoticed.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.db.models import QuerySet

Plant = Callable[[pytest.MonkeyPatch], None]


def double_apply(patch: pytest.MonkeyPatch) -> None:
    """A request that is sent again under its key is carried out again."""
    from products.api import idempotency

    claim = idempotency._claim

    def forgetful(*args: Any) -> Any:
        kept = claim(*args)
        kept.status = None
        return kept

    patch.setattr(idempotency, "_claim", forgetful)


def late_fulfill(patch: pytest.MonkeyPatch) -> None:
    """A reservation whose time is over, but that nobody has swept, can still be fulfilled."""
    from products.models import ReservationQuerySet

    patch.setattr(ReservationQuerySet, "overdue", lambda self: self.none())


def no_fingerprint(patch: pytest.MonkeyPatch) -> None:
    """A key that was used for one request answers another one."""
    from products.api import idempotency

    patch.setattr(idempotency, "_fingerprint", lambda *_: "the same for all")


def lost_event(patch: pytest.MonkeyPatch) -> None:
    """Levels are written without the last of their events."""
    from products.ledger import Posting

    write = Posting.write

    def forgetful(posting: Posting) -> None:
        del posting._events[-1:]
        write(posting)

    patch.setattr(Posting, "write", forgetful)


def partial_order(patch: pytest.MonkeyPatch) -> None:
    """An order gets the lines that there is enough of, and not the others."""
    from products import stock

    reserve_lines = stock.reserve_lines

    def lenient(*, lines: Any, **known: Any) -> Any:
        try:
            return reserve_lines(lines=lines, **known)
        except stock.InsufficientStock as error:
            short = {refused.sku for _, refused in error.lines}
            rest = [line for line in lines if line.sku not in short]
            if not rest:
                raise
            return reserve_lines(lines=rest, **known)

    patch.setattr(stock, "reserve_lines", lenient)


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """No row is locked. On SQLite, that has no row locks, it is not noticed."""
    patch.setattr(QuerySet, "select_for_update", lambda self, **_: self)


PLANTS: dict[str, tuple[Plant, list[str]]] = {
    "double-apply": (double_apply, ["test_idempotency"]),
    "late-fulfill": (late_fulfill, ["test_expiry"]),
    "no-fingerprint": (no_fingerprint, ["test_idempotency"]),
    "lost-event": (lost_event, ["test_api_operations", "test_feed"]),
    "partial-order": (partial_order, ["test_api_errors", "test_races"]),
    "no-lock": (no_lock, ["test_races", "test_idempotency"]),
}
"""Each bug, and the modules of tests that should notice it."""


def main() -> int:
    print(f"{'bug':<16} {'tests':>5} {'failed':>6}  one of those that failed")
    unnoticed = 0
    for name, (_, modules) in PLANTS.items():
        tests, failed = _run(name, modules)
        unnoticed += not failed
        print(f"{name:<16} {tests:>5} {len(failed):>6}  {failed[0] if failed else '-'}", flush=True)
    return 1 if unnoticed else 0


def _run(name: str, modules: list[str]) -> tuple[int, list[str]]:
    """Return how many tests were run with a bug planted, and which failed."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "--quiet", f"--plant={name}"]
        files = [str(here / f"{module}.py") for module in modules]
        subprocess.run(
            [*command, f"--junit-xml={report}", *files],
            cwd=here.parent.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        cases = list(ElementTree.parse(report).iter("testcase"))
    names = [
        case.attrib["name"]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return len(cases), list(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())
