"""Run the programs of this project. Print failures that users can fix in one line."""

import errno
import ipaddress
import socket
import sys
import threading
import time
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
        say(failure.message)
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


def say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


def ip_addresses(host: str) -> list[str]:
    """Return the IP addresses of HOST, which may be a name. IPv4 comes first."""
    from django.core.exceptions import ImproperlyConfigured

    try:
        return [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImproperlyConfigured(
            "HOST must be an IP address such as 127.0.0.1 or 0.0.0.0, or a name that has one, "
            f"not {host!r}. Set HOST: some tools, such as conda, give it another meaning."
        ) from error
    ordered = sorted(found, key=lambda each: each[0] != socket.AF_INET)
    return list(dict.fromkeys(str(each[4][0]) for each in ordered))


def claim_address(host: str, port: int, *, hint: str, patience: float = 0) -> socket.socket:
    """Take an IP address and port that no other program uses, for as long as the socket is open.

    Servers that set SO_REUSEPORT can still listen there. Exits with a message of one line if the
    address is in use for `patience` seconds.
    """
    claim = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Otherwise a connection that has just ended would block the port.
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end = time.monotonic() + patience
    while True:
        try:
            claim.bind((host, port))
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= end:
                shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                sys.exit(f"Cannot listen on {shown}: {error.strerror}. {hint}")
        # No event tells that a port is free.
        time.sleep(0.1)
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return claim


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
        say(failure.message)
    else:
        threading.__excepthook__(failed)
