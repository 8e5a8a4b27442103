#!/usr/bin/env python
"""Run an administrative command of the inventory service."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    # Requests are cut off, commands and migrations take the time that they need.
    os.environ["DATABASE_STATEMENT_TIMEOUT"] = "0"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
