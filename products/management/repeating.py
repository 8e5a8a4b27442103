"""Commands that repeat their work until they are stopped."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signal() -> Iterator[Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that no database statement is interrupted.

    A second signal acts as usual. A signal that is ignored, as in a background job, stays ignored.
    """
    stopped = Event()
    usual = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        restore()

    for number, handler in usual.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()
