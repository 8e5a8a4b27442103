"""What the commands have in common: exit codes, failures told in one line, arguments."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from products import stock, validators
from products.db.errors import is_unavailable, lacks_migrations
from products.models import MAX_ACTOR_LENGTH, StockEvent
from products.validators import MAX_UNITS


class ExitCode(IntEnum):
    """How a command ends, but for 0: done."""

    REFUSED = 1
    """The stock is against it, and nothing was changed but the other lines of a file where those
    are to be applied; or an audit found something."""
    BAD_INPUT = 2
    """An argument or a file is wrong in itself, as argparse says it; nothing was changed."""
    DATABASE = 3
    """The database is busy or away."""
    INTERRUPTED = 128 + signal.SIGINT
    UNREAD = 128 + signal.SIGPIPE
    """Whoever read the output has gone, as `head` does; so ends any program of a pipeline."""


class InventoryCommand(BaseCommand):
    """A command that ends with an `ExitCode`, and with one line instead of a traceback."""

    interrupted = "Interrupted."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # An abbreviated option may mean another one some day.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises `CommandError` for a refusal, a file or a database that fails."""
        try:
            try:
                return super().execute(*args, **options)
            finally:
                self.stdout.flush()
        except stock.StockError as refusal:
            raise refused(refusal) from refusal
        except KeyboardInterrupt:
            discard_unwritten()
            raise CommandError(self.interrupted, returncode=ExitCode.INTERRUPTED) from None
        except Error as error:
            if lacks_migrations(error):
                message = "The database lacks tables: run manage.py migrate."
                raise CommandError(message, returncode=ExitCode.BAD_INPUT) from error
            if not is_unavailable(error):
                raise
            reason = str(error).partition("\n")[0]
            message = f"The database is busy or away: {reason}"
            raise CommandError(message, returncode=ExitCode.DATABASE) from error
        except BrokenPipeError:
            discard_unwritten()
            sys.exit(ExitCode.UNREAD)
        except OSError as error:
            discard_unwritten()
            raise CommandError(str(error), returncode=ExitCode.BAD_INPUT) from error

    def report(self, text: str) -> None:
        """Tell what was done. That nobody can be told does not undo it, nor may it look so."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError as error:
            discard_unwritten()
            self.stderr.write(f"{text} (Standard output: {error.strerror}.)")


class StockCommand(InventoryCommand):
    """A command that changes stock, in somebody's name."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--actor",
            metavar="NAME",
            type=actor,
            dest="by",
            default=self.__module__.rpartition(".")[2],
            help="who does it, for the ledger; by default the name of the command",
        )


def actor(name: str) -> stock.Actor:
    """An argument's type: whoever is named acts, through a command."""
    with _as_usage_error():
        validators.TextValidator(MAX_ACTOR_LENGTH)(name)
        validators.validate_not_blank(name)
    return stock.Actor(name, StockEvent.Source.COMMAND)


def sku(text: str) -> str:
    """An argument's type: a SKU, of a product that there may be or not."""
    with _as_usage_error():
        for rule in validators.SKU:
            rule(text)
    return text


def whole_number(text: str) -> int:
    """An argument's type: a number in ASCII digits alone, and no larger than any that we count.

    `int` would take "+5", " 5", "1_000" and the digits of other scripts.
    """
    if not re.fullmatch("[0-9]+", text):
        raise argparse.ArgumentTypeError(
            f"a whole number is required, in digits alone: not {text[:40]!r}"
        )
    if len(text.lstrip("0")) > len(str(MAX_UNITS)) or int(text) > MAX_UNITS:
        raise argparse.ArgumentTypeError(f"at most {MAX_UNITS} is allowed")
    return int(text)


def moment(text: str) -> datetime:
    """An argument's type: a time with its offset, as in the API."""
    with _as_usage_error():
        return validators.read_moment(text)


@contextmanager
def _as_usage_error() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.messages[0]) from error


def refused(refusal: stock.StockError) -> CommandError:
    """Return the error that ends a command, with the stable code of the refusal."""
    if isinstance(refusal, stock.Invalid):
        message = f"{refusal.code}: {refusal.field}: {refusal.detail}"
        return CommandError(message, returncode=ExitCode.BAD_INPUT)
    return CommandError(f"{refusal.code}: {refusal.detail}", returncode=ExitCode.REFUSED)


def discard_unwritten() -> None:
    """Drop what standard output cannot take. Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
