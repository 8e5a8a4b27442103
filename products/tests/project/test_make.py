"""`make run` and `make .env`, in a copy of the project."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from django.conf import settings

from products.tests.live import free_port

pytestmark = pytest.mark.slow

START_SECONDS = 120
CURL = re.compile(
    r'^  curl -H "Authorization: Bearer \S+" http://127\.0\.0\.1:\d+/v1/products/\S+\n'
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project as after `git clone`."""
    copy = tmp_path / "project"
    copy.mkdir()
    without = shutil.ignore_patterns("tests", "__pycache__")
    for name in ("inventory_project", "products"):
        shutil.copytree(settings.BASE_DIR / name, copy / name, ignore=without)
    for name in ("Makefile", "manage.py", ".env.example"):
        shutil.copy(settings.BASE_DIR / name, copy)
    return copy


def clean_environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}


def make(target: str) -> list[str]:
    """Return the words that make a target with the packages of this Python."""
    installed = f"{sys.prefix}/runtime"
    words = ["make", f"VENV={sys.prefix}", f"PYTHON={sys.executable}", f"--old-file={installed}"]
    return [*words, target]


def finish(words: list[str], project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=project,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def running(project: Path, port: int) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """`make run`, which is the foreground job of its own terminal session."""
    log = project / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            make("run"),
            cwd=project,
            env=clean_environment(PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "  curl -H" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_make_run_serves_demo_data_and_ends_with_ctrl_c(project: Path) -> None:
    port = free_port()

    with running(project, port) as (process, log):
        # Browsers request the icon unasked. No line about it follows the login.
        assert urlopen(f"http://127.0.0.1:{port}/favicon.ico").status == 200
        said = log.read_text()
        listed = finish([sys.executable, "manage.py", "low_stock"], project)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        ended = log.read_text()

    assert said.startswith("Wrote .env with a random SECRET_KEY.")
    assert "\nLoaded 1,455 products, " in said
    assert f"\nRunning on http://127.0.0.1:{port}. Stop with Ctrl-C.\n" in said
    assert CURL.match("  curl -H" + said.rpartition("  curl -H")[2])
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.rstrip().endswith("products low on stock.")
    assert ended.endswith("\nStopped. make run starts again with the same data, login and key.\n")
    assert "Traceback" not in ended
    assert "***" not in ended
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_make_run_started_again_keeps_data_key_and_login(project: Path) -> None:
    port = free_port()

    with running(project, port) as (process, log):
        first = log.read_text()
        key = (project / ".env").read_text()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
    with running(project, port) as (process, log):
        second = log.read_text()

    assert second.startswith("\nRunning on ")
    assert second.partition("  Admin")[2] == first.partition("  Admin")[2]
    assert (project / ".env").read_text() == key


def test_a_taken_port_is_named_before_anything_else(project: Path) -> None:
    finish(make(".env"), project)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = finish(make("run"), project, PORT=str(port))

    message = f"Cannot listen on 127.0.0.1:{port}: Address already in use. "
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"{message}Choose another port: PORT={port + 1} make run\n")
    assert "Traceback" not in ended.stderr
    assert not (project / "db.sqlite3").exists()


def test_the_file_of_settings_is_private_and_random(project: Path) -> None:
    finish(make(".env"), project)
    file = project / ".env"
    first = file.read_text()
    file.unlink()
    finish(make(".env"), project)

    assert file.stat().st_mode & 0o777 == 0o600
    assert re.search(r"^SECRET_KEY=[\w-]{50,}$", first, re.MULTILINE)
    assert "DEBUG" not in first
    assert file.read_text() != first


def test_settings_that_exist_are_never_overwritten(project: Path) -> None:
    (project / ".env").write_text("SECRET_KEY=mine\n")

    finish(make(".env"), project)

    assert (project / ".env").read_text() == "SECRET_KEY=mine\n"


def test_make_help_lists_every_command(project: Path) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    assert targets

    said = finish(["make", "help"], project).stdout

    assert set(re.findall(r"^  make (\S+) ", said, re.MULTILINE)) == set(targets[1].split())
