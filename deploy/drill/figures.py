"""Count what a fault did to the clients, and show it as a table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from deploy.drill.clients import Answer

# A pause in which no change is acknowledged counts as an interruption after this many seconds.
INTERRUPTION_SECONDS = 1.0
LONGEST_ANSWER_SECONDS = 10
SLOW_POLL_SECONDS = 1.0
LONGEST_FALSE_HEALTH_SECONDS = 2


@dataclass
class Figures:
    """The figures of one fault. All times are in seconds."""

    fault: str
    date: str
    commit: str
    acknowledged: int
    """Changes that were answered with 200."""
    lost: int
    """Acknowledged changes that the ledger does not have."""
    doubled: int
    """Changes that the ledger has more than once."""
    away: float
    """The longest time that a client sent one change until it was acknowledged."""
    longest_answer: float
    """The slowest answer to any request of the clients."""
    failed: int
    """Answers to changes other than 200, and requests without an answer."""
    health: str
    """The answers of /health in their order, each with the time since the fault."""
    false_health: float
    """The longest time that /health said 200 while no change was acknowledged."""
    feed_missed: int
    """Events of the ledger that the follower of the feed did not get."""
    feed_twice: int
    feed_unknown: int
    """Events that the follower got and the ledger does not have."""
    verify_stock: str
    """`ok`, or what the command printed."""
    most_away: float | None
    """The target for `away`."""
    may_fail: bool = True
    """Whether requests may fail at all."""
    answers: dict[str, int] = field(default_factory=dict)
    """How often each request had each outcome."""
    slowest: list[str] = field(default_factory=list)
    per_second: list[str] = field(default_factory=list)
    """Acknowledged and failed changes of each second, from the first one on."""
    fault_at: float = 0.0
    """The second of the fault in `per_second`."""
    notes: list[str] = field(default_factory=list)

    def misses(self) -> list[str]:
        """Return the targets that were missed."""
        checks = {
            f"lost {self.lost}": self.lost == 0,
            f"doubled {self.doubled}": self.doubled == 0,
            f"feed missed {self.feed_missed}": self.feed_missed == 0,
            f"feed twice {self.feed_twice}": self.feed_twice == 0,
            f"feed unknown {self.feed_unknown}": self.feed_unknown == 0,
            f"verify_stock: {self.verify_stock}": self.verify_stock == "ok",
            f"away {self.away} s": self.most_away is None or self.away <= self.most_away,
            f"longest answer {self.longest_answer} s": self.longest_answer < LONGEST_ANSWER_SECONDS,
            f"/health wrong for {self.false_health} s": self.false_health
            <= LONGEST_FALSE_HEALTH_SECONDS,
            f"{self.failed} failed requests": self.may_fail or not self.failed,
        }
        return [what for what, is_met in checks.items() if not is_met]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "misses": self.misses()}


def times(answers: Sequence[Answer], fault_at: float) -> dict[str, Any]:
    """Return the figures of the clients' answers."""
    writes = [answer for answer in answers if answer.path == "write"]
    health = [answer for answer in answers if answer.path == "/health"]
    slowest = sorted(answers, key=lambda answer: -answer.seconds)
    return {
        "acknowledged": len({answer.change for answer in writes if answer.is_ok}),
        "away": round(max(_waits(writes), default=0), 1),
        "longest_answer": round(slowest[0].seconds, 1),
        "failed": sum(not answer.is_ok for answer in writes),
        "health": _changes(health, fault_at),
        "false_health": round(_false_health(writes, health), 1),
        "answers": dict(Counter(f"{answer.path} {answer.outcome}" for answer in answers)),
        "slowest": [
            f"{answer.path} {answer.outcome}: {answer.seconds:.1f} s, "
            f"started at {answer.started - fault_at:.1f} s"
            for answer in slowest[:5]
        ],
        "per_second": _per_second(writes),
        "fault_at": round(fault_at, 1),
    }


def ledger_counts(
    rows: Iterable[tuple[int, str]], acknowledged: set[str], seen: Iterable[tuple[int, str]]
) -> dict[str, Any]:
    """Compare the ledger with the acknowledged changes and with the events of the feed.

    Each row is the id and the reference of an event.
    """
    events = dict(rows)
    references = Counter(events.values())
    ids = Counter(event for event, _ in seen)
    return {
        "lost": len(acknowledged - references.keys()),
        "doubled": sum(number > 1 for number in references.values()),
        "feed_missed": len(events.keys() - ids.keys()),
        "feed_twice": sum(number > 1 for number in ids.values()),
        "feed_unknown": len(ids.keys() - events.keys()),
    }


def _waits(writes: Iterable[Answer]) -> Iterator[float]:
    """Yield the seconds from the first attempt of each change to its last one."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for answer in writes:
        first[answer.change] = min(answer.started, first.get(answer.change, answer.started))
        last[answer.change] = max(answer.ended, last.get(answer.change, answer.ended))
    return (ended - first[change] for change, ended in last.items())


def _interruptions(writes: Iterable[Answer]) -> Iterator[tuple[float, float]]:
    """Yield the times in which no change was acknowledged."""
    acknowledged = sorted(answer.ended for answer in writes if answer.is_ok)
    for before, after in pairwise(acknowledged):
        if after - before > INTERRUPTION_SECONDS:
            yield before, after


def _false_health(writes: Iterable[Answer], health: Iterable[Answer]) -> float:
    """Return the seconds from the first to the last of consecutive answers of 200.

    Only answers that arrive while no change is acknowledged count. An answer that took long says
    nothing about the time before it.
    """
    longest = 0.0
    for begin, end in _interruptions(writes):
        since: float | None = None
        for answer in health:
            if not begin < answer.ended < end:
                continue
            if not answer.is_ok:
                since = None
                continue
            if since is None or answer.seconds > SLOW_POLL_SECONDS:
                since = answer.ended
            longest = max(longest, answer.ended - since)
    return longest


def _changes(health: Iterable[Answer], fault_at: float) -> str:
    changes: list[str] = []
    last = ""
    for answer in health:
        if answer.outcome != last:
            last = answer.outcome
            since = "" if not changes else f" at {answer.ended - fault_at:.1f} s"
            changes.append(f"{last.strip()}{since}")
    return ", ".join(changes)


def _per_second(writes: Iterable[Answer]) -> list[str]:
    counts: Counter[tuple[int, bool]] = Counter(
        (int(answer.ended), answer.is_ok) for answer in writes
    )
    last = max((second for second, _ in counts), default=-1)
    return [f"{counts[second, True]}+{counts[second, False]}" for second in range(last + 1)]


HEADINGS = [
    "fault",
    "acknowledged",
    "lost",
    "doubled",
    "failed",
    "away, s",
    "longest answer, s",
    "/health",
    "false 200, s",
    "feed: missed, twice, unknown",
    "verify_stock",
    "missed targets",
]


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [HEADINGS, ["---"] * len(HEADINGS)]
    for result in results:
        health = result["health"].split(", ")
        shown = " ".join(each.split(" at ")[0].split(" ")[0] for each in health[:6])
        rows.append(
            [
                result["fault"],
                f"{result['acknowledged']:,}",
                str(result["lost"]),
                str(result["doubled"]),
                str(result["failed"]),
                str(result["away"]),
                str(result["longest_answer"]),
                shown + (" ..." if len(health) > 6 else ""),
                str(result["false_health"]),
                f"{result['feed_missed']}, {result['feed_twice']}, {result['feed_unknown']}",
                result["verify_stock"],
                "; ".join(result["misses"]) or "none",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
