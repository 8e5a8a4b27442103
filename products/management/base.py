"""What the commands of housekeeping have in common."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError


class HousekeepingCommand(BaseCommand):
    """A command that is run again and again: a database that is away is no reason for a traceback.

    The next run does what this one could not.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises `CommandError`, of one line, when the database fails."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError) as error:
            reason = str(error).partition("\n")[0]
            raise CommandError(f"The database is busy or away: {reason}") from error
