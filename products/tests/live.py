"""Run the production server and commands in other processes, on the test database."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

WORKERS = 3
END_SECONDS = 60
SERVER_NAME = "server"
"""The `application_name` of the server's connections in PostgreSQL."""


class Reply(NamedTuple):
    """A response of the server."""

    status: int
    headers: dict[str, str]
    body: Any


class Server:
    """A running server, and a client for it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], workers: int) -> None:
        self.port = port
        self._workers = workers
        self.workers: list[int] = []
        """The process ids, once the workers have started."""
        self._process = process
        self._output: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """Read all output: a server whose pipe is full would block."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._output.put(line.decode())
        self._output.put("")

    def wait_for_workers(self) -> list[int]:
        """Wait until all workers have started, and return their process ids.

        If the workers were killed, call it again to wait for their replacements.
        """
        output = ""
        while line := self._output.get(timeout=END_SECONDS):
            output += line
            if output.count("Started worker") == self._workers:
                self._wait_until_it_listens()
                pids = re.findall(r"pawning worker-\d+ with PID: (\d+)", output)
                self.workers = [int(pid) for pid in pids]
                return self.workers
        raise AssertionError(f"The server ended: {output}")

    def _wait_until_it_listens(self) -> None:
        """Wait for the port: a worker logs its start shortly before it listens."""
        end = time.monotonic() + END_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=END_SECONDS).close()
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def wait_until_it_refuses(self) -> None:
        """Wait until the server takes no more connections."""
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=END_SECONDS).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.05)
        raise AssertionError("The server still takes connections.")

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """Send a request on a new connection. A body that is not text is sent as JSON."""
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
        with_type = {"Content-Type": "application/json", **(headers or {})}
        client = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            client.request(method, path, body, with_type)
            response = client.getresponse()
            return Reply(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                json.loads(response.read() or "null"),
            )
        finally:
            client.close()

    def send(self, *parts: bytes, half_close: bool = False) -> bytes:
        """Send bytes on a new connection, and return all that comes back until it is closed.

        The server may close the connection before it has received all parts.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            with suppress(ConnectionError):
                for part in parts:
                    client.sendall(part)
                if half_close:
                    client.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while received := client.recv(65536):
                    answer += received
            return answer

    def logged(self) -> list[str]:
        """Return the lines that the server has written since the last call."""
        return [self._output.get_nowait() for _ in range(self._output.qsize())]

    def kill(self) -> None:
        """Kill the main process. Its workers are left alone."""
        self._process.kill()
        self._process.wait()

    def wait_for_end(self) -> None:
        """Wait until the main process and all workers have ended: they share their output."""
        self._reader.join(timeout=END_SECONDS)
        assert not self._reader.is_alive(), "A worker is still running."

    def stop(self) -> None:
        """Stop the server and wait until it has ended."""
        self._process.terminate()
        self._process.wait(timeout=END_SECONDS)
        self._reader.join(timeout=END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running_server(
    database_url: str | None = None,
    *,
    workers: int = WORKERS,
    port: int | None = None,
    folder: Path | None = None,
    **variables: str,
) -> Iterator[Server]:
    """Run the production server, by default on the test database and from this checkout.

    `variables` are added to its environment.
    """
    port = port or free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url or database_url_of_test(),
        "PORT": str(port),
        "WEB_CONCURRENCY": str(workers),
        "LOG_LEVEL": "WARNING",
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "inventory_project.server"],
        cwd=folder or settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    server = Server(port, process, workers)
    try:
        yield server
    finally:
        server.stop()


def manage(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of `manage.py`, by default on the test database.

    `options` are those of `subprocess.run`.
    """
    return _run("manage.py", *words, **options)


def run_python(program: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the source of a program that sets Django up, by default on the test database.

    `options` are those of `subprocess.run`.
    """
    return _run("-c", program, *words, **options)


def _run(
    *words: str, preexec_fn: Callable[[], None] = lambda: None, **options: Any
) -> subprocess.CompletedProcess[str]:
    def prepare() -> None:
        # Tests that a shell runs in the background ignore Ctrl-C. The command should not.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        preexec_fn()

    return subprocess.run(
        [sys.executable, *words],
        cwd=settings.BASE_DIR,
        preexec_fn=prepare,
        **{
            "env": environment_of_test(),
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
            "timeout": END_SECONDS,
            **options,
        },
    )


def environment_of_test() -> dict[str, str]:
    """Return the environment of a process that uses the test database."""
    return {
        **os.environ,
        "DATABASE_URL": database_url_of_test(),
        "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def database_url_of_test() -> str:
    """Return the DATABASE_URL of the test database for other processes."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
    return f"{url}?application_name={SERVER_NAME}"
