"""The deadline of a request: the moment until which it may wait for the database (ADR 24)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The deadline ends no request that still makes progress: each wait gets this time at least.
_LEAST_SECONDS = 0.5

_end: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let all waits of the block together end after `seconds`; 0 sets no deadline."""
    token = _end.set(time.monotonic() + seconds if seconds else None)
    try:
        yield
    finally:
        _end.reset(token)


def lift() -> None:
    """Remove the deadline, for the rest of a request with longer limits of its own."""
    _end.set(None)


def limit(seconds: float | None) -> float | None:
    """Return how long a wait may take: at most `seconds`, and not past the deadline."""
    end = _end.get()
    if end is None or seconds is None:
        return seconds
    return min(seconds, max(end - time.monotonic(), _LEAST_SECONDS))
