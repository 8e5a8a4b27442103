"""Run calls at once, in threads with their own database connections."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction


def at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Start all calls at the same time and return their results or exceptions.

    Each thread has a connection already, so it does not wait in the `per_sku_queue` of the process.
    The calls meet in the database, as those of several processes do.
    """
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=60)
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as executor:
        return list(executor.map(run, calls))


def in_another_thread(call: Callable[[], object]) -> None:
    """Run a call in a thread and wait for it."""
    at_once([call])


class OpenChange:
    """Run a change in a transaction that stays open until `end` is called."""

    def __init__(self, change: Callable[[], object]) -> None:
        self._write = change
        self._written, self._may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=in_another_thread, args=[self._change])
        self._thread.start()
        assert self._written.wait(timeout=60)

    def _change(self) -> None:
        with transaction.atomic():
            self._write()
            self._written.set()
            assert self._may_end.wait(timeout=60)
            transaction.set_rollback(self._fails)

    def end(self, *, fails: bool = False) -> None:
        """Commit the transaction, or roll it back if it `fails`."""
        self._fails = fails
        self._may_end.set()
        self._thread.join(timeout=60)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.end()


def wait_for_a_lock() -> None:
    """Wait until another connection to this database waits for a lock. PostgreSQL only."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
    raise AssertionError("No connection has waited for a lock.")
