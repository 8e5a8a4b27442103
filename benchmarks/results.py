"""Measurements, and the tables that are printed."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.shop import LINES_OF_AN_ORDER, LINES_OF_OPERATIONS

REFERENCE, OURS, DATABASE = "reference", "ours", "pgbench"


@dataclass(frozen=True)
class Measurement:
    """The load of one contestant in a round, with the CPU seconds of its app and its database.

    `others` is the share of the machine's CPU time that unrelated programs used.
    """

    case: str
    connections: int
    contestant: str
    load: Load
    app_cpu: float
    database_cpu: float
    others: float


class Results:
    """All measurements of a run. Ratios are within a round, when the machine was equally busy."""

    def __init__(self, contestants: Sequence[str]) -> None:
        self._contestants = contestants
        self.measurements: list[Measurement] = []

    def of(self, case: str, connections: int, contestant: str) -> list[Measurement]:
        """Return the measurements, one per round. Empty if there are none."""
        key = (case, connections, contestant)
        return [m for m in self.measurements if (m.case, m.connections, m.contestant) == key]

    def _cells(self) -> Iterable[tuple[str, int]]:
        return {(m.case, m.connections): None for m in self.measurements}

    def table(self) -> Iterator[str]:
        """Yield the lines of the table, with medians over the rounds."""
        yield (
            f"{'case':<16}{'conn.':>5}  {'':<24}{'per s':>8}{'ratio':>7}{'spread':>15}"
            f"{'of pgbench':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'app ms':>8}{'db ms':>7}"
        )
        for case, connections in self._cells():
            for contestant in self._contestants:
                if self.of(case, connections, contestant):
                    yield self._row(case, connections, contestant)

    def _row(self, case: str, connections: int, contestant: str) -> str:
        measured = self.of(case, connections, contestant)

        def median(value: Callable[[Measurement], float]) -> float:
            return statistics.median(value(m) for m in measured)

        ratios = _ratios(measured, self.of(case, connections, REFERENCE))
        shares = _ratios(measured, self.of(case, connections, DATABASE))
        return (
            f"{case:<16}{connections:>5}  {contestant:<24}{median(_speed):>8,.0f}"
            f"{_median(ratios):>7}{_spread(ratios):>15}{_median(shares):>12}"
            f"{median(lambda m: m.load.p50):>9.1f}{median(lambda m: m.load.p95):>9.1f}"
            f"{median(lambda m: m.load.p99):>9.1f}"
            f"{median(lambda m: 1000 * m.app_cpu / m.load.succeeded):>8.2f}"
            f"{median(lambda m: 1000 * m.database_cpu / m.load.succeeded):>7.2f}"
        )

    def disturbance(self) -> str:
        """Return a line about the CPU time of unrelated programs."""
        others = [measurement.others for measurement in self.measurements] or [0.0]
        return (
            f"other programs took {statistics.median(others):.0%} of the machine in the median "
            f"turn, {max(others):.0%} in the worst"
        )

    def variants(self) -> Iterator[str]:
        """Yield comparisons of our server with its own variants."""
        for case, connections in self._cells():
            base = self.of(case, connections, OURS)
            for contestant in self._contestants:
                if contestant.startswith(f"{OURS} "):
                    ratios = _ratios(self.of(case, connections, contestant), base)
                    yield (
                        f"{case}, {connections} connections: {contestant} is {_median(ratios)} "
                        f"times as fast ({_spread(ratios)})"
                    )

    def comparisons(self) -> Iterator[str]:
        """Yield comparisons of our large requests with small ones."""
        for connections in sorted({m.connections for m in self.measurements}):
            times = _ratios(
                self.of("reserve-uniform", connections, OURS), self.of("order", connections, OURS)
            )
            if times:
                yield (
                    f"an order of {LINES_OF_AN_ORDER} lines takes {_median(times)} times as long "
                    f"as a reserve ({_spread(times)}), connections: {connections}"
                )
            for whose in (OURS, REFERENCE):
                factors = _ratios(
                    self.of("operations", connections, OURS),
                    self.of("remove-uniform", connections, whose),
                )
                lines = [factor * LINES_OF_OPERATIONS for factor in factors]
                if lines:
                    yield (
                        f"{LINES_OF_OPERATIONS:,} lines in one request of ours are "
                        f"{_median(lines)} times as fast as one by one of {whose} "
                        f"({_spread(lines)}), connections: {connections}"
                    )


def _speed(measurement: Measurement) -> float:
    return measurement.load.per_second


def _ratios(measured: Sequence[Measurement], base: Sequence[Measurement]) -> list[float]:
    """Return the ratio of the speeds of each round. Empty if one was not measured."""
    return [_speed(m) / _speed(b) for m, b in zip(measured, base, strict=False)]


def _median(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _spread(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "-"
