#!/usr/bin/env python
"""Run an administrative command of the inventory service."""

import io
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    # Requests are cut off, commands and migrations take the time that they need.
    os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"
    _let_output_be_lossy()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


def _let_output_be_lossy() -> None:
    """Let no character that the terminal has not, nor a closed output, end a command half-way."""
    if sys.stdout is None:
        # Not in a `with`: open for as long as the process runs.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
