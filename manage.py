#!/usr/bin/env python
"""Run an administrative command of the inventory service."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Python 3.11 or later is needed. Run make install, and use .venv/bin/python.")

import io

from inventory_project import program


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    _make_output_tolerant()
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from inventory_project import environment

    # Requests have a time limit. Commands and migrations have none.
    environment.is_command = True

    # Fail here if they are wrong: `shell` would start without them.
    settings.INSTALLED_APPS  # noqa: B018
    execute_from_command_line(sys.argv)


def _make_output_tolerant() -> None:
    """Keep commands from failing if the output is closed or cannot encode a character."""
    if sys.stdout is None:
        # Stays open for as long as the process runs.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    program.run(main)
