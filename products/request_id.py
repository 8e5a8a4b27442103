"""The id of the current request, for log lines, problem responses and stock events."""

import logging
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""None outside a request."""


def clear(**_: Any) -> None:
    """Forget the id. Receives `request_finished`.

    Middleware would be too early: Django logs a 5xx and sends a streamed body after it.
    """
    request_id.set(None)


class LogFilter(logging.Filter):
    """Add `request_id` to each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True
