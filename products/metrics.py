"""The metrics that each process counts. `docs/reference/metrics.md` describes them.

A worker of the production server shares them in files, see `products.shared_metrics`.
"""

from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# A time for each series, which nothing reads, would double the length of a scrape.
disable_created_metrics()

REGISTRY = CollectorRegistry()

REQUEST_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LOCK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

requests = Histogram(
    "inventory_request_seconds",
    "Time of the requests, by operation and outcome.",
    ["operation", "outcome"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
errors = Counter(
    "inventory_request_errors",
    "Responses with an error, by its code.",
    ["code"],
    registry=REGISTRY,
)
lock_wait = Histogram(
    "inventory_lock_wait_seconds",
    "Time from the start of a change until its rows are locked.",
    buckets=LOCK_BUCKETS,
    registry=REGISTRY,
)
retries = Counter(
    "inventory_transaction_retries",
    "Transactions that were tried again, by the SQLSTATE of the error.",
    ["sqlstate"],
    registry=REGISTRY,
)
worker_restarts = Counter(
    "inventory_worker_restarts",
    "Worker processes that were started in place of others.",
    registry=REGISTRY,
)
pool_connections = Gauge(
    "inventory_pool_connections",
    "Open database connections of the pools, by state.",
    ["state"],
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
for _state in ("idle", "in_use"):
    pool_connections.labels(_state)
pool_max_connections = Gauge(
    "inventory_pool_max_connections",
    "Connections that the pools may open.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
pool_waiting = Gauge(
    "inventory_pool_waiting_requests",
    "Requests that wait for a connection of the pools.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
pool_waits = Counter(
    "inventory_pool_waits", "Requests that had to wait for a connection.", registry=REGISTRY
)
pool_wait_seconds = Counter(
    "inventory_pool_wait_seconds", "Time of these waits.", registry=REGISTRY
)
pool_timeouts = Counter(
    "inventory_pool_timeouts", "Requests that got no connection in time.", registry=REGISTRY
)

# `labels` checks its arguments on each call.
request_series = cache(requests.labels)
