"""The WSGI application that every production server of this project runs."""

import gc
import logging
import os
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

# No line of the log shows these, so that nobody need find them out; see "Optimization" in Python's
# Logging HOWTO.
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Let Django read each request as UTF-8, whatever charset its `Content-Type` names.

    Django would decode the query by that charset as well, and where it does not know it, raise
    before any middleware could answer.
    """
    kind, *parameters = environ.get("CONTENT_TYPE", "").split(";")
    if parameters:
        boundary = [text for text in parameters if text.strip().lower().startswith("boundary=")]
        environ["CONTENT_TYPE"] = ";".join([kind, *boundary])
    return _django(environ, start_response)


# What is loaded stays: the garbage collector need not go through it over and over, which took a
# twelfth of a request. The views are loaded now, for that and for the first request.
import_module(settings.ROOT_URLCONF)
gc.freeze()
