"""Run a program and watch over all processes that descend from it.

    python guard.py COMMAND [ARGUMENT ...]

It reaps orphans at once, as an init does. The first process of a container may reap them late, and
Patroni would believe that a killed PostgreSQL still runs.

On SIGUSR1, it asks the program to end. On SIGTERM, and when the drill dies, it kills the program
and all its descendants.

Ends when no process is left. It needs Linux.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# prctl(2)
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36

is_killing = False


def main(command: list[str]) -> None:
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1)
    program = subprocess.Popen(command)
    signal.signal(signal.SIGUSR1, lambda *_: program.terminate())
    signal.signal(signal.SIGTERM, lambda *_: kill_children())
    prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return
        if is_killing:
            kill_children()  # The children of a killed process are now ours.


def kill_children() -> None:
    global is_killing
    is_killing = True
    own = os.getpid()
    for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
