"""Commands that repeat their work until they are stopped."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

from django.core.management.base import OutputWrapper
from django.db import Error, connection

from products.db.connection import drain_pool_after
from products.management.base import ExitCode, database_failure

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


def repeat(work: Callable[[], None], *, every: int, stderr: OutputWrapper) -> None:
    """Do the work again after `every` seconds, until Ctrl-C or SIGTERM.

    If the database is busy or unavailable, print the failure and go on.
    """
    with stop_signal() as stopped:
        while not stopped.is_set():
            try:
                work()
            except Error as error:
                failure = database_failure(error, retry="Trying again.")
                if failure is None or failure.returncode != ExitCode.DATABASE:
                    raise
                drain_pool_after(error)
                stderr.write(str(failure))
            finally:
                connection.close()
            stopped.wait(max(every, 1))
