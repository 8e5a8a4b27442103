"""The figures of `make drill`. The drill itself needs a cluster."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from deploy.drill import figures
from deploy.drill.clients import Answer


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
        ({2: "200", 3: "200", 4: "200"}, 2.1),
        ({2: "200", 3: "503 database_unavailable", 4: "200"}, 0.1),
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


def test_an_unknown_fault_ends_with_the_list_of_faults() -> None:
    ended = run("earthquake")

    assert ended.returncode == 1
    assert ended.stderr.startswith("Unknown fault: earthquake. Known: switchover, ")
    assert ended.stderr.count("\n") == 1
