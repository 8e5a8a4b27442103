import os
import subprocess
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from tqdm import tqdm

from inventory_project import environment
from products import copying, feed, stock
from products.management.base import ExitCode, InventoryCommand


class Command(InventoryCommand):
    help = (
        "Copy everything to an empty PostgreSQL database, with all ids, and check the copy.\n\n"
        "Stop the service first. Changes during the copy get 503, and changes after\n"
        "it are not in the target. If the command fails or is killed, the target has no rows, and\n"
        "the command can be run again."
    )
    examples = ("copy_to postgres://inventory@db.example.com:5432/inventory",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "url",
            metavar="DATABASE_URL",
            help="the URL of the target. Other users of the machine can see it, so leave the "
            "password out and set PGPASSWORD",
        )

    def handle(self, *args: Any, url: str, **options: Any) -> None:
        try:
            self._copy(url)
        except copying.CannotCopy as refusal:
            raise CommandError(str(refusal), returncode=ExitCode.BAD_INPUT) from refusal
        except copying.TargetUnavailable as failure:
            raise CommandError(
                f"The target is busy or unavailable ({failure}). Check the URL and the server, "
                "and run the command again.",
                returncode=ExitCode.DATABASE,
            ) from failure

    def _copy(self, url: str) -> None:
        copying.check_source()
        copying.connect(_database(url))
        migrated = _manage(url, "migrate", "--verbosity", "0")
        if migrated.returncode:
            raise copying.CannotCopy(f"The target cannot be migrated: {_last_line(migrated)}")
        with copying.unchanging_source():
            if next(stock.differences(), None):
                raise CommandError(
                    "The ledger does not match the stock levels. Run verify_stock first.",
                    returncode=ExitCode.REFUSED,
                )
            cursor = feed.latest().cursor
            with tqdm(
                total=2 * copying.count_rows(), unit=" rows", disable=None, leave=False
            ) as bar:
                rows = copying.copy(bar.update)
        verified = _manage(url, "verify_stock")
        if verified.returncode:
            raise CommandError(
                "The copy is complete, but verify_stock does not confirm it. Do not use it. "
                f"{_last_line(verified)}",
                returncode=ExitCode.REFUSED,
            )
        self._report(rows, cursor)

    def _report(self, rows: dict[str, int], cursor: str) -> None:
        lines = [f"{table:<40} {number:>12,}" for table, number in sorted(rows.items()) if number]
        self.report(
            "\n".join(
                [
                    *lines,
                    f"{'rows copied and compared':<40} {sum(rows.values()):>12,}",
                    "Both ledgers match all stock levels.",
                    f"The change feed goes on after {cursor}.",
                    "Set DATABASE_URL to the target before you start the service.",
                    "Later changes of the old database are not in the target.",
                ]
            )
        )


def _database(url: str) -> dict[str, Any]:
    """Return Django's settings of the target. Raises `CommandError` for a wrong URL."""
    try:
        database = environment.database("DATABASE_URL", default=settings.BASE_DIR, url=url.strip())
    except ImproperlyConfigured as error:
        raise CommandError(str(error), returncode=ExitCode.BAD_INPUT) from error
    options = database.setdefault("OPTIONS", {})
    options.setdefault("connect_timeout", settings.CONNECTION_WAIT_SECONDS)
    options["options"] = (
        f"-c lock_timeout={settings.LOCK_WAIT_SECONDS}s {options.get('options', '')}".strip()
    )
    return database


def _manage(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `manage.py` on the target, as its user would."""
    return subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, settings.BASE_DIR / "manage.py", *words],
        env={**os.environ, "DATABASE_URL": url},
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )


def _last_line(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that is not indented, as below a statement that failed."""
    lines = (ended.stderr or ended.stdout).split("\n")
    found = (line for line in reversed(lines) if line and not line[0].isspace())
    return next(found, "").removeprefix("CommandError: ")
