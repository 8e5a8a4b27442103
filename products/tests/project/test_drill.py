"""The figures of `make drill`, and the end of its programs. The drill itself needs a cluster."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from benchmarks.processes import descendants
from deploy.drill import figures
from deploy.drill.clients import Answer
from deploy.drill.faults import FAULTS
from deploy.drill.programs import Program

END_SECONDS = 20
# A program with an orphan that ignores the signal to end.
WITH_ORPHAN = ["sh", "-c", "(trap '' TERM; sleep 600 & sleep 600) & exec sleep 600"]


def write(change: str, started: float, ended: float, outcome: str = "200") -> Answer:
    return Answer("write", change, started, ended, outcome)


def health(ended: float, outcome: str = "200") -> Answer:
    return Answer("/health", "", ended - 0.1, ended, outcome)


def test_a_change_is_away_from_its_first_attempt_until_it_is_acknowledged() -> None:
    answers = [
        write("a", 0, 0.1),
        write("b", 1, 4, "503 database_unavailable"),
        write("b", 4.2, 5),
        write("c", 5, 5.1),
    ]

    found = figures.times(answers, fault_at=1)

    assert (found["acknowledged"], found["failed"]) == (3, 1)
    assert (found["away"], found["longest_answer"]) == (4, 3)
    assert found["per_second"] == ["1+0", "0+0", "0+0", "0+0", "0+1", "2+0"]


def test_a_change_that_was_never_acknowledged_counts_until_its_last_attempt() -> None:
    answers = [write("a", 0, 1, "no answer"), write("a", 20, 30, "503 busy")]

    assert figures.times(answers, fault_at=0)["away"] == 30


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        ({2: "200", 3: "200", 4: "200"}, 2),
        ({2: "200", 3: "503 database_unavailable", 4: "200"}, 0),
        ({3: "503 database_unavailable"}, 0),
        ({0.5: "200", 11: "200"}, 0),
    ],
)
def test_health_is_wrong_while_it_says_200_and_no_change_succeeds(
    outcomes: dict[float, str], seconds: float
) -> None:
    answers = [write("a", 0, 1), write("b", 1, 10)]
    answers += [health(ended, outcome) for ended, outcome in outcomes.items()]

    assert figures.times(answers, fault_at=0)["false_health"] == seconds


def test_the_ledger_is_compared_with_the_changes_and_with_the_feed() -> None:
    ledger = [(1, "a"), (2, "b"), (3, "b"), (4, "c")]
    seen = [(1, "a"), (2, "b"), (2, "b"), (9, "x")]

    assert figures.ledger_counts(ledger, {"a", "b", "c", "d"}, seen) == {
        "lost": 1,
        "doubled": 1,
        "feed_missed": 2,
        "feed_twice": 1,
        "feed_unknown": 1,
    }


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.drill", *arguments]
    return subprocess.run(
        command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )


def test_the_table_of_recorded_figures_is_printed(tmp_path: Path) -> None:
    counts = figures.ledger_counts([(1, "a")], {"a", "b"}, [(1, "a")])
    result = figures.Figures(
        fault="switchover",
        date="2026-12-01 12:00",
        commit="0123456",
        most_away=5,
        verify_stock="ok",
        **figures.times([write("a", 0, 6), health(1)], fault_at=0),
        **counts,
    )
    recorded = tmp_path / "results.jsonl"
    recorded.write_text(json.dumps(result.as_json()) + "\n")

    ended = run("--table", recorded)

    assert ended.returncode == 0, ended.stderr
    *_, row = ended.stdout.splitlines()
    assert row.startswith("| switchover | 1 | 1 | 0 |")
    assert row.endswith("| lost 1; away 6 s |")


def test_the_page_about_failover_explains_every_fault() -> None:
    page = (settings.BASE_DIR / "docs/explanation/failover.md").read_text(encoding="utf-8")
    explained = page.partition("## The faults")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `([a-z-]+)` \|", explained, re.MULTILINE) == [
        fault.name for fault in FAULTS
    ]


def test_an_unknown_fault_ends_with_the_list_of_faults() -> None:
    ended = run("earthquake")

    assert ended.returncode == 1
    assert ended.stderr.startswith("Unknown fault: earthquake. Known: switchover, ")
    assert ended.stderr.count("\n") == 1


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + END_SECONDS
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A container may reap orphans late.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="The drill runs on Linux alone.")
@pytest.mark.parametrize("end", [Program.kill, Program.end], ids=["kill", "end"])
def test_a_program_ends_with_its_orphans(
    end: Callable[[Program], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.drill.programs.SECONDS_TO_END", 2)
    program = Program("orphans", WITH_ORPHAN, logs=tmp_path)
    try:
        wait_until(lambda: len(program.pids()) == 3)
        pids = program.pids()
        end(program)
    finally:
        program.kill()

    assert not program.is_running
    assert all(map(is_gone, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="The drill runs on Linux alone.")
def test_a_program_ends_when_the_drill_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal; from deploy.drill.programs import Program; "
        f"Program('orphans', {WITH_ORPHAN!r}, logs=pathlib.Path({str(tmp_path)!r})); "
        "signal.pause()"
    )
    drill = subprocess.Popen([sys.executable, "-c", script], cwd=settings.BASE_DIR)
    try:
        wait_until(lambda: len(descendants(drill.pid)) == 4)
        pids = descendants(drill.pid)
    finally:
        drill.kill()
        drill.wait()

    wait_until(lambda: all(map(is_gone, pids)))
