"""Share the metrics of the worker processes of a server, in files.

Each worker counts in files of its own, and a scrape adds them up (the multiprocess mode of
prometheus_client). A file belongs to a slot, not to a process id: the worker that replaces a killed
one takes over its slot and goes on with its counters. So counters never go backwards while the
server runs, and there are no more files than workers, however often they are killed.

A worker holds its slot by a lock of the operating system, which ends with the process.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, multiprocess, values

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the folder. prometheus_client reads it, too."""
_PREFIX = "inventory-metrics-"
_IN_MEMORY = "/dev/shm"  # noqa: S108 (each folder in it gets a random name)


@contextmanager
def shared_folder() -> Iterator[None]:
    """Create a folder for the files of the workers, and delete it at the end.

    It lies in memory where possible, so that no write waits for a disk. Folders of servers that
    were killed are deleted, too.
    """
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else tempfile.gettempdir()
    for left in Path(place).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # Its server runs, or it belongs to another user.
            lock = _lock(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    new = tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=place)
    lock = _lock(new)
    # Only now can other servers find it.
    folder = Path(new).rename(Path(place, Path(new).name.removeprefix(".")))
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def share() -> bool:
    """Let this worker count in the files of a free slot. Return whether another worker had it.

    Must run before `products.metrics` is imported. Does nothing without a folder.
    """
    if VARIABLE not in os.environ:
        return False
    for slot in count():
        file = Path(os.environ[VARIABLE], f"{slot}.lock")
        was_used = file.exists()
        with suppress(BlockingIOError):
            _lock(file, os.O_CREAT)
            break
    # The process id is the default.
    values.ValueClass = values.MultiProcessValue(lambda: slot)
    return was_used


def all_metrics(own: CollectorRegistry) -> CollectorRegistry:
    """Return a registry with the metrics of all workers, or with `own` if there are no others."""
    registry = CollectorRegistry()
    if VARIABLE in os.environ:
        _forget_dead_workers()
        multiprocess.MultiProcessCollector(registry)
    else:
        registry.register(own)
    return registry


def _forget_dead_workers() -> None:
    """Delete the gauges of workers that have ended. Their counters stay."""
    for path in Path(os.environ[VARIABLE]).glob("*.lock"):
        with suppress(BlockingIOError):
            # Under the lock, so that no new worker can take the slot in between.
            lock = _lock(path)
            multiprocess.mark_process_dead(int(path.stem))
            os.close(lock)


def _lock(path: Path | str, flags: int = 0) -> int:
    """Lock a file or a folder, and return its descriptor. Raises `BlockingIOError` if it is locked.

    The lock ends when all processes that inherited the descriptor have closed it.
    """
    descriptor = os.open(path, os.O_RDONLY | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor
