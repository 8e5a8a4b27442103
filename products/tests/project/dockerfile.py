"""Do the steps of the `Dockerfile` in an empty folder, as an ordinary user and without Docker.

The base images are replaced by the Python of this machine. `/app` and `/venv` are folders inside
the given one.
"""

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
STEP_SECONDS = 300
# These need no step here: the user exists already, and nothing is published.
_IGNORED = {"EXPOSE", "USER"}
_ROOTED = re.compile(r"(?<![\w./-])/(app|venv)\b")


class Image:
    """What a `Dockerfile` makes."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder = folder
        self._variables: dict[str, str] = {}
        self._working_folder = "/"
        self.command: list[str] = []
        self.health_check: list[str] = []
        # `python` of the base image.
        base = folder / "base"
        base.mkdir(parents=True)
        (base / "python").symlink_to(python)
        self._path = f"{base}:/usr/bin:/bin"
        give_to_user(folder)

    def build(self) -> None:
        """Do all steps. The second stage starts with the folders that it copies."""
        for instruction, words in _instructions():
            if instruction not in _IGNORED:
                getattr(self, f"_do_{instruction.lower()}")(words)

    def start(
        self, words: list[str], variables: dict[str, str], **options: Any
    ) -> "subprocess.Popen[str]":
        """Start a program in the image, as `docker run` does."""
        path = self._here("/venv/bin")
        return subprocess.Popen(
            [self._here(words[0]) if "/" in words[0] else f"{path}/{words[0]}", *words[1:]],
            cwd=self._here(self._working_folder),
            env={**self._environment(), **variables},
            text=True,
            **as_user(),
            **options,
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": self._path, "HOME": str(self._folder), **self._variables}

    def _here(self, text: str) -> str:
        return _ROOTED.sub(rf"{self._folder}/\1", text)

    def _do_from(self, words: str) -> None:
        self._variables = {}

    def _do_env(self, words: str) -> None:
        for pair in shlex.split(words):
            name, _, value = pair.partition("=")
            self._variables[name] = self._here(value).replace("$PATH", self._path)

    def _do_workdir(self, words: str) -> None:
        self._working_folder = words
        Path(self._here(words)).mkdir(exist_ok=True)
        give_to_user(Path(self._here(words)))

    def _do_copy(self, words: str) -> None:
        if words.startswith("--from="):  # Both stages are in this folder.
            return
        *sources, target = words.split()
        for source in sources:
            assert _is_sent(source), f".dockerignore leaves {source} out."
            copied = Path(self._here(self._working_folder), target)
            if (PROJECT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(PROJECT / source, copied, ignore=ignored)
            else:
                copied = copied / source if target.endswith("/") else copied
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / source, copied)
        give_to_user(Path(self._here(self._working_folder)))

    def _do_run(self, words: str) -> None:
        if words.startswith("useradd"):
            return
        done = subprocess.run(
            ["/bin/sh", "-ec", self._here(words)],
            cwd=self._here(self._working_folder),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            **as_user(),
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"

    def _do_cmd(self, words: str) -> None:
        self.command = json.loads(words)

    def _do_healthcheck(self, words: str) -> None:
        self.health_check = json.loads(words.partition(" CMD ")[2])


def _instructions() -> Iterator[tuple[str, str]]:
    """Return the instructions of the `Dockerfile`, without comments and broken lines."""
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", "")
    for line in filter(None, text.splitlines()):
        instruction, _, words = line.partition(" ")
        yield instruction, words.strip()


def _is_sent(source: str) -> bool:
    """Return whether `.dockerignore` lets Docker have the file."""
    is_sent = True
    for pattern in (PROJECT / ".dockerignore").read_text().split():
        is_exception = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if fnmatch(source, pattern) or source.startswith(f"{pattern}/"):
            is_sent = is_exception
    return is_sent


def ordinary_user() -> pwd.struct_passwd | None:
    """Return the user that programs run as if this process is root's."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def as_user() -> dict[str, Any]:
    """Return the options of `subprocess` that make a program run as an ordinary user."""
    user = ordinary_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def give_to_user(folder: Path) -> None:
    """Let the ordinary user own a folder and all in it."""
    user = ordinary_user()
    if user:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def find_python() -> str | None:
    """Return a Python from 3.11 on that the user can run, the newest first."""
    found = [shutil.which(f"python3.{minor}") for minor in range(14, 10, -1)]
    for python in [*found, "/usr/bin/python3", shutil.which("python3")]:
        code = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
        if python and _can_run([python, "-c", code]):
            return python
    return None


def _can_run(words: list[str]) -> bool:
    try:
        done = subprocess.run(words, capture_output=True, cwd="/", **as_user())
    except OSError:
        return False
    return done.returncode == 0
