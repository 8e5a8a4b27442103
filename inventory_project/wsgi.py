"""The WSGI application for production servers."""

import gc
import logging
import os
import sys
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

# Skip values that the log does not show: see "Optimization" in Python's Logging HOWTO.
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# A thread that computes, such as for a large page, gives way to short requests ten times as often
# as by default. docs/explanation/performance.md has the measurement.
sys.setswitchinterval(0.0005)

_django = get_wsgi_application()


class WholeBody:
    """A request body that fails if the client sends less than it announced."""

    def __init__(self, stream: Any) -> None:
        self._read = stream.read
        self.readline = stream.readline  # Django looks it up.

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes. Django asks for no more than `Content-Length`."""
        data: bytes = self._read(size)
        if len(data) < size:
            # Django would take the form for an empty one if this were an `OSError`.
            raise BadRequest("The request body is shorter than its Content-Length.")
        return data


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Serve a request as UTF-8. Ignore the charset of its `Content-Type`.

    Django would use the charset for the query, too, and would fail if it is unknown.
    """
    kind, *parameters = environ.get("CONTENT_TYPE", "").split(";")
    if parameters:
        boundary = [text for text in parameters if text.strip().lower().startswith("boundary=")]
        environ["CONTENT_TYPE"] = ";".join([kind, *boundary])
    if settings.PATH_PREFIX and f"{environ['PATH_INFO']}/".startswith(f"{settings.PATH_PREFIX}/"):
        # The proxy did not strip the prefix. Some cannot.
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(settings.PATH_PREFIX)
    environ["wsgi.input"] = WholeBody(environ["wsgi.input"])
    return _django(environ, start_response)


# Loaded modules are never freed, so the garbage collector can skip them. Load the views first.
import_module(settings.ROOT_URLCONF)
gc.freeze()
