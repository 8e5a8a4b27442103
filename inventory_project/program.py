"""Run the programs of this project. Print failures that users can fix in one line."""

import socket
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

_OURS = ("inventory_project", "products")
_CONFIGURATION = 2
_INTERRUPTED = 130


class Failure(NamedTuple):
    """A failure that is not a bug."""

    message: str
    status: int


def run(main: Callable[[], object]) -> None:
    """Call `main`. With `--traceback` on the command line, failures keep their traceback."""
    threading.excepthook = _report_from_thread
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        failure = explain(error)
        if failure is None or "--traceback" in sys.argv:
            raise
        print(failure.message, file=sys.stderr)  # noqa: T201
        sys.exit(failure.status)


def explain(error: BaseException) -> Failure | None:
    """Return the failure with advice, or None if the error is a bug."""
    if isinstance(error, ModuleNotFoundError):
        return _missing_package(error)
    from django.core.exceptions import ImproperlyConfigured
    from django.db import Error

    if isinstance(error, ImproperlyConfigured):
        return Failure(" ".join(str(error).split()), _CONFIGURATION)
    if isinstance(error, Error):
        from products.management.base import database_failure

        failure = database_failure(error)
        return Failure(str(failure), failure.returncode) if failure else None
    return None


def require_free_address(host: str, port: int, *, hint: str) -> None:
    """Exit with a message of one line if the program cannot listen on the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do. Otherwise a connection that has just ended would block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            sys.exit(f"Cannot listen on {host}:{port}: {error.strerror}. {hint}")


def _missing_package(error: ModuleNotFoundError) -> Failure | None:
    package = (error.name or "").partition(".")[0]
    if package in _OURS:
        return None
    message = (
        f"The Python package {package!r} is not installed for {sys.executable}. "
        "Run make install, and use .venv/bin/python."
    )
    return Failure(message, _CONFIGURATION)


def _report_from_thread(failed: threading.ExceptHookArgs) -> None:
    """Report as `run` does. `runserver` works in a thread, and waits for changes after an error."""
    failure = failed.exc_value and explain(failed.exc_value)
    if failure:
        print(failure.message, file=sys.stderr)  # noqa: T201
    else:
        threading.__excepthook__(failed)
