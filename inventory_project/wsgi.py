"""The WSGI application that every production server of this project runs."""

import gc
import logging
import os
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

# The log shows none of these, so do not collect them: see "Optimization" in Python's Logging HOWTO.
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Serve a request as UTF-8, whatever charset its `Content-Type` names.

    Django would decode the query by that charset too, and raise before any middleware if it does
    not know it.
    """
    kind, *parameters = environ.get("CONTENT_TYPE", "").split(";")
    if parameters:
        boundary = [text for text in parameters if text.strip().lower().startswith("boundary=")]
        environ["CONTENT_TYPE"] = ";".join([kind, *boundary])
    return _django(environ, start_response)


# Loaded modules stay, so keep them from the garbage collector. Load the views first.
import_module(settings.ROOT_URLCONF)
gc.freeze()
