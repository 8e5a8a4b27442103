import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from products.db.clock import SecondsFromNow
from products.management.base import ExitCode, InventoryCommand, whole_number
from products.models import IdempotencyKey, ThrottleBucket

LEAST_HOURS = 24


class Command(InventoryCommand):
    help = (
        "Forget the idempotency keys, and their answers, that are older than some hours, and the "
        "throttle buckets of which nothing is used. Run it every day or so."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--hours",
            type=whole_number,
            default=LEAST_HOURS,
            help=f"age of the idempotency keys, {LEAST_HOURS} or more (default)",
        )

    def handle(self, *args: Any, hours: int, **options: Any) -> None:
        if hours < LEAST_HOURS:
            raise CommandError(
                f"Keys are kept for {LEAST_HOURS} hours at least.", returncode=ExitCode.BAD_INPUT
            )
        before = SecondsFromNow(-3600 * hours)
        keys, _ = IdempotencyKey.objects.filter(created_at__lt=before).delete()
        now = time.time_ns() // 1000
        buckets, _ = ThrottleBucket.objects.filter(used_until__lt=now).delete()
        self.report(f"{keys} idempotency keys and {buckets} throttle buckets forgotten.")
