"""Explain the statements of a request: how many rows they read and sort."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_EXPLAINED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


@dataclass(frozen=True)
class Plan:
    """The plan of a statement. `rows_read` counts the rows of its largest scan, before filters."""

    sql: str
    rows_read: int
    rows_sorted: int


@contextmanager
def explained() -> Iterator[list[Plan]]:
    """Collect the plan of each statement on Django's connection.

    EXPLAIN ANALYZE runs the statement. It runs before the real one and is rolled back, because
    afterwards the rows might be gone.
    """
    from django.db import connection

    plans: list[Plan] = []

    def explain(execute: Callable[..., Any], sql: str, parameters: Any, *rest: Any) -> Any:
        if _EXPLAINED.match(sql):
            raw: Any = connection.connection
            with raw.transaction(force_rollback=True):
                cursor = raw.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
                nodes = list(_nodes(cursor.fetchone()[0][0]["Plan"]))
            plans.append(
                Plan(
                    sql,
                    max(map(_rows_read, nodes)),
                    max(map(_rows_sorted, nodes)),
                )
            )
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(explain):
        yield plans


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> int:
    if "Scan" not in node["Node Type"]:
        return 0
    filtered = sum(node[name] for name in node if name.startswith("Rows Removed by "))
    return int((node["Actual Rows"] + filtered) * node["Actual Loops"])


def _rows_sorted(node: dict[str, Any]) -> int:
    if node["Node Type"] not in ("Sort", "Incremental Sort"):
        return 0
    [source] = node["Plans"]
    return int(source["Actual Rows"] * source["Actual Loops"])
