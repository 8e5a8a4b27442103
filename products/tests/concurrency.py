"""Calls that happen at once, in threads with a database connection of their own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

R = TypeVar("R")


def at_once(calls: Sequence[Callable[[], R]]) -> list[R | Exception]:
    """Start all calls at the same moment and return what each returned or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], R]) -> R | Exception:
        try:
            barrier.wait(timeout=60)
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as executor:
        return list(executor.map(run, calls))
