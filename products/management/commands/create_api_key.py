from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from products import stock
from products.management.base import ExitCode, InventoryCommand, actor
from products.models import ApiKey, Role


class Command(InventoryCommand):
    help = (
        "Create an API key and print it. Nothing else is printed, so the output can be\n"
        "stored directly. Only a hash is stored: the key cannot be shown again."
    )
    examples = (
        'create_api_key "Order service" --role operate',
        'create_api_key "Stocktake scanner" --role count > scanner.key',
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the client's name, for the ledger")
        parser.add_argument(
            "--role",
            required=True,
            choices=Role.values,
            help="read: view data. operate: also add, remove, reserve, release, fulfill and "
            "extend. count: also set stock to a count. manage: also create and edit products",
        )
        parser.add_argument(
            "--actor",
            metavar="NAME",
            type=actor,
            dest="by",
            default="create_api_key",
            help="who issues the key (default: create_api_key)",
        )

    def handle(self, *args: Any, name: str, role: str, by: stock.Actor, **options: Any) -> None:
        longest = ApiKey._meta.get_field("name").max_length or 0
        if not name.strip() or len(name) > longest or not name.isprintable():
            raise CommandError(
                f"The name must be 1 to {longest} printable characters.",
                returncode=ExitCode.BAD_INPUT,
            )
        if other := ApiKey.name_like(name):
            raise CommandError(
                f"A key or a user has the name {other}, which is or looks the same. Choose another "
                "name, or revoke that key first.",
                returncode=ExitCode.REFUSED,
            )
        # A key that cannot be printed is not created, because it cannot be shown later.
        with transaction.atomic():
            issued = ApiKey.issue(name=name, role=role, issued_by=by.name)
            self.stdout.write(issued.text)
            self.stdout.flush()
