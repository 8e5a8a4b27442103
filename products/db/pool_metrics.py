"""Count the use of the connection pool of this process."""

import threading
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from products import metrics

LOOK_SECONDS = 1.0


def record_pool() -> None:
    """Set the gauges to the current use, and add the waits since the last call."""
    pool: Any = getattr(connections[DEFAULT_DB_ALIAS], "pool", None)
    if pool is None:
        return
    metrics.pool_max_connections.set(pool.max_size)
    if pool.closed:  # The first request opens it.
        return
    stats = pool.pop_stats()
    idle, opened = stats["pool_available"], stats["pool_size"]
    metrics.pool_connections.labels("idle").set(idle)
    metrics.pool_connections.labels("in_use").set(opened - idle)
    metrics.pool_waiting.set(stats["requests_waiting"])
    metrics.pool_waits.inc(stats.get("requests_queued", 0))
    metrics.pool_wait_seconds.inc(stats.get("requests_wait_ms", 0) / 1000)
    metrics.pool_timeouts.inc(stats.get("requests_errors", 0))


def watch_pool() -> None:
    """Record the pool every second, in a thread that ends with the process.

    Another worker answers the scrape, and cannot look at this pool.
    """
    threading.Thread(target=_watch, daemon=True, name="pool metrics").start()


def _watch() -> None:
    forever = threading.Event()
    while True:
        record_pool()
        forever.wait(LOOK_SECONDS)
