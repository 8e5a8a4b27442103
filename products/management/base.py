"""The base of all commands: exit statuses, one-line errors, help texts and argument types."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)
from django.db import Error, connection

from products import stock, validators
from products.db.errors import is_busy, is_unavailable, lacks_migrations
from products.db.sqlite import is_sqlite
from products.models import MAX_ACTOR_LENGTH, StockEvent
from products.validators import MAX_UNITS


class ExitCode(IntEnum):
    """The exit statuses other than 0, which means success."""

    REFUSED = 1
    """The stock does not allow the change, or an audit found differences."""
    BAD_INPUT = 2
    """An argument or a file is invalid. argparse uses the same status."""
    DATABASE = 3
    """The database is busy or unavailable."""
    MAIL = 4
    """The mail server is unavailable, or refuses an e-mail."""
    INTERRUPTED = 128 + signal.SIGINT
    BROKEN_PIPE = 128 + signal.SIGPIPE
    """The reader of the output has closed it, as `head` does."""


RETRY = "Run the command again."


def database_failure(error: Error, *, retry: str = RETRY) -> CommandError | None:
    """Return a failure of the database as an error of one line, or None if it is a bug."""
    if lacks_migrations(error):
        message = "The database lacks tables. Run python manage.py migrate."
        return CommandError(message, returncode=ExitCode.BAD_INPUT)
    # `migrate` wraps the error if it cannot create its own table.
    cause = error.__context__ if isinstance(error.__context__, Error) else error
    if not is_unavailable(cause):
        return None
    reason = str(error).partition("\n")[0]
    if is_sqlite():
        reason += f": {connection.settings_dict['NAME']}"
    advice = retry if is_busy(cause) else f"Check the database and DATABASE_URL. {retry}"
    message = f"The database is busy or unavailable ({reason}). {advice}"
    return CommandError(message, returncode=ExitCode.DATABASE)


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Django's formatter, which keeps the line breaks of descriptions and examples."""


class InventoryCommand(BaseCommand):
    """A command that ends with an `ExitCode`, and prints errors in one line."""

    examples: Sequence[str] = ()
    """Command lines for `--help`, without `python manage.py`."""
    interrupted = "Interrupted."
    """The message after Ctrl-C."""
    retry = RETRY
    """Advice after a database failure."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        lines = [f"  python manage.py {example}" for example in self.examples]
        return super().create_parser(
            prog_name,
            subcommand,
            formatter_class=_HelpFormatter,
            epilog="\n".join(["examples:", *lines]) if lines else None,
            # A new option could make an abbreviation ambiguous.
            allow_abbrev=False,
            **kwargs,
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises `CommandError` for a refusal or a failing file or database."""
        try:
            try:
                return super().execute(*args, **options)
            finally:
                self.stdout.flush()
        except stock.StockError as refusal:
            raise refusal_error(refusal) from refusal
        except KeyboardInterrupt:
            discard_output()
            raise CommandError(self.interrupted, returncode=ExitCode.INTERRUPTED) from None
        except Error as error:
            failure = database_failure(error, retry=self.retry)
            if failure is None:
                raise
            raise failure from error
        except BrokenPipeError:
            discard_output()
            sys.exit(ExitCode.BROKEN_PIPE)
        except OSError as error:
            discard_output()
            raise CommandError(str(error), returncode=ExitCode.BAD_INPUT) from error

    def report(self, text: str) -> None:
        """Print the result of a change, on standard error if standard output cannot be written.

        The change is done in either case, so the command does not fail.
        """
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError as error:
            discard_output()
            self.stderr.write(f"{text} ({output_failed(error)})")


class StockCommand(InventoryCommand):
    """A command that changes stock and records an actor."""

    retry = "The change may have been applied. Check the ledger before you run the command again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--actor",
            metavar="NAME",
            type=actor,
            dest="by",
            default=self.__module__.rpartition(".")[2],
            help="who makes the change, for the ledger (default: the name of the command)",
        )


def actor(name: str) -> stock.Actor:
    """Argument type: the name of the person or program that makes the change."""
    with _as_usage_error():
        validators.TextValidator(MAX_ACTOR_LENGTH)(name)
        validators.validate_not_blank(name)
    return stock.Actor(name, StockEvent.Source.COMMAND)


def note(text: str) -> str:
    """Argument type: a reference or a request id."""
    with _as_usage_error():
        for rule in (*validators.NOTE, validators.validate_not_blank):
            rule(text)
    return text


def sku(text: str) -> str:
    """Argument type: a SKU. The product does not have to exist."""
    with _as_usage_error():
        for rule in validators.EXISTING_SKU:
            rule(text)
    return text


def whole_number(text: str) -> int:
    """Argument type: a whole number in ASCII digits, at most `MAX_UNITS`.

    `int` would accept "+5", " 5", "1_000" and the digits of other scripts.
    """
    if not re.fullmatch("[0-9]+", text):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a whole number. Write digits only, such as 1000."
        )
    if len(text.lstrip("0")) > len(str(MAX_UNITS)) or int(text) > MAX_UNITS:
        raise argparse.ArgumentTypeError(f"the largest number allowed is {MAX_UNITS}")
    return int(text)


def timestamp(text: str) -> datetime:
    """Argument type: a time with an offset, as in the API."""
    with _as_usage_error():
        return validators.parse_time(text)


@contextmanager
def _as_usage_error() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.messages[0]) from error


def refusal_error(refusal: stock.StockError) -> CommandError:
    """Return the `CommandError` for a refusal. Its message starts with the refusal's code."""
    if isinstance(refusal, stock.Invalid):
        message = f"{refusal.code}: {refusal.field}: {refusal.detail}"
        return CommandError(message, returncode=ExitCode.BAD_INPUT)
    return CommandError(f"{refusal.code}: {refusal.detail}", returncode=ExitCode.REFUSED)


def output_failed(error: OSError) -> str:
    """Return the message for a failure to write standard output."""
    return f"Standard output cannot be written: {error.strerror}."


def discard_output() -> None:
    """Discard output that cannot be written. Python would try again at exit, and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
