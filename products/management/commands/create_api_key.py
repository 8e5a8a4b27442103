from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from products.management.base import ExitCode, InventoryCommand
from products.models import ApiKey, Role


class Command(InventoryCommand):
    help = "Create an API key and print it, alone, on standard output. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who will use it; stands in the ledger as the actor")
        parser.add_argument("--role", required=True, choices=Role.values)

    def handle(self, *args: Any, name: str, role: str, **options: Any) -> None:
        longest = ApiKey._meta.get_field("name").max_length or 0
        if not name.strip() or len(name) > longest or not name.isprintable():
            raise CommandError(
                f"The name must be 1 to {longest} printable characters.",
                returncode=ExitCode.BAD_INPUT,
            )
        if ApiKey.name_is_taken(name):
            raise CommandError(
                "Another key has this name, and the ledger could not tell the two apart. Take "
                "a new one, or revoke the other key first.",
                returncode=ExitCode.REFUSED,
            )
        # A key that could not be printed is of no use to anybody.
        with transaction.atomic():
            self.stdout.write(ApiKey.issue(name=name, role=role).text)
            self.stdout.flush()
