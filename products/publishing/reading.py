"""Read the feed for several deliveries. Those that are caught up ask for the same pages."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from django.db import connection

from products import feed
from products.models import StockEvent
from products.publishing import envelopes
from products.publishing.envelopes import Envelope

PAGE = 100
"""Events that are read at once."""
PAGES_KEPT = 8


@contextmanager
def database() -> Iterator[None]:
    """Give the connection back after use. There are more threads than connections."""
    try:
        yield
    finally:
        connection.close()


@dataclass
class Entry:
    """An event, and its envelope, which is made when the first receiver wants it."""

    event: StockEvent

    @cached_property
    def envelope(self) -> Envelope:
        return envelopes.of_event(self.event)


class Page(NamedTuple):
    """A page of the feed. See `feed.FeedPage`."""

    entries: list[Entry]
    more: bool
    settled: int


class Reader:
    """Reads pages of the feed, and keeps the latest ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[str, int], Page] = OrderedDict()

    def forget(self) -> None:
        """Forget all pages, because the ledger was restored from a backup."""
        with self._lock:
            self._pages.clear()

    def read(self, *, after: str, last_drawn: int) -> Page:
        """Return the events that follow a cursor. Raises `feed.UnknownCursor`.

        `last_drawn` is the last id that the caller knows of.
        """
        key = after, last_drawn
        with self._lock:
            if page := self._pages.get(key):
                return page
            with database():
                found = feed.read(after=after, limit=PAGE)
            page = Page([Entry(event) for event in found.events], found.more, found.settled)
            if found.more or found.settled >= last_drawn:  # Else there may be more events soon.
                self._pages[key] = page
                if len(self._pages) > PAGES_KEPT:
                    self._pages.popitem(last=False)
            return page
