"""The id of the request that this thread answers: in its log lines, problems and stock events."""

import logging
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""None outside a request."""


def clear(**_: Any) -> None:
    """Receive `request_finished`: forget the id.

    Not earlier: Django logs a 5xx after all middleware, and sends a streamed body after that.
    """
    request_id.set(None)


class LogFilter(logging.Filter):
    """Adds `request_id` to each line of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True
