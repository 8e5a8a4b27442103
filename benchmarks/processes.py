"""Start and stop programs, and measure their CPU time."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS_TO_END = 20
SECONDS_OF_A_TICK = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program, yield it, and end it with all its descendants.

    It has its own process group, so that Ctrl-C reaches only this process, which then ends it.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=SECONDS_TO_END)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Workers that are still running.
        process.wait()


def cpu_seconds(root: int) -> float:
    """Return the CPU time so far of a process and its descendants, including ended ones."""
    stats = _stats()
    tree = _tree(root, stats) & stats.keys()
    # Fields 14 to 17 of proc(5): user and kernel time of the process and of its reaped children.
    return sum(int(ticks) for pid in tree for ticks in stats[pid][11:15]) * SECONDS_OF_A_TICK


def descendants(root: int) -> set[int]:
    """Return the ids of the running descendants of a process."""
    return _tree(root, _stats()) - {root}


def cpu_seconds_of_the_machine() -> float:
    """Return the CPU time so far of all programs, plus the time stolen by a hypervisor."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = ticks
    return (user + nice + system + interrupts + soft_interrupts + stolen) * SECONDS_OF_A_TICK


def _tree(root: int, stats: Mapping[int, list[str]]) -> set[int]:
    """Return the ids of a process and its descendants."""
    tree = {root}
    # A child may have a lower number than its parent, so repeat until no new one is found.
    while found := {pid for pid, stat in stats.items() if int(stat[1]) in tree} - tree:
        tree |= found
    return tree


def _stats() -> dict[int, list[str]]:
    return {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on. The second may contain spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
