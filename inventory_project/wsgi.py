"""The WSGI application that every production server of this project runs."""

import gc
import logging
import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

# No line of the log shows these, so that nobody need find them out; see "Optimization" in Python's
# Logging HOWTO.
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

application = get_wsgi_application()

# What is loaded stays: the garbage collector need not go through it over and over, which took a
# twelfth of a request. The views are loaded now, for that and for the first request.
import_module(settings.ROOT_URLCONF)
gc.freeze()
