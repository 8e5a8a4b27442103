"""Start programs in the background, and end each one with all its descendants."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks import processes

PROJECT = Path(__file__).resolve().parents[2]
SECONDS_TO_END = 20

# PostgreSQL refuses to run as root.
AS_SERVER_USER: list[str | Path] = (
    ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
)
_POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda p: int(p.parts[-2]))
POSTGRESQL: Path = _POSTGRESQL[-1] if _POSTGRESQL else Path("/usr/bin")
"""The folder of the programs of the newest PostgreSQL."""
PATH = f"{POSTGRESQL}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Program:
    """A running program. Start it in the main thread: it dies with the thread that starts it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        logs: Path,
        variables: Mapping[str, str] | None = None,
        folder: Path = PROJECT,
    ) -> None:
        """Start a program in a folder. Its output goes to `name.log` in the folder `logs`."""
        self.name = name
        self.log = logs / f"{name}.log"
        base = {"PATH": PATH, "HOME": tempfile.gettempdir(), "LANG": "C.UTF-8"}
        with self.log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("guard.py"), *command],
                cwd=folder,
                env={**base, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the drill alone.
            )

    @property
    def is_running(self) -> bool:
        return self._guard.poll() is None

    def pids(self) -> set[int]:
        """Return the ids of the program and all its descendants."""
        return processes.descendants(self._guard.pid)

    def end(self) -> None:
        """Ask the program to end, and kill it if it takes too long."""
        self._guard.send_signal(signal.SIGUSR1)
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """Kill the program and its descendants, and wait until they are gone."""
        self._guard.terminate()
        self._guard.wait(SECONDS_TO_END)

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for the program to become ready.

        Raises `RuntimeError` with the end of its log if it ends or takes longer.
        """
        end = time.monotonic() + seconds
        while self.is_running and time.monotonic() < end:
            if is_ready():
                return
            time.sleep(0.1)
        last_lines = self.log.read_text(errors="replace")[-2_000:]
        raise RuntimeError(f"{self.name} is not ready. The end of its log:\n{last_lines}")


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to the processes that still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
