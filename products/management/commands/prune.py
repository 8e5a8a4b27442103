import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Q

from products.db.clock import SecondsFromNow
from products.management.base import ExitCode, InventoryCommand, whole_number
from products.models import MIN_CLAIM_HOURS, IdempotencyKey, StockEvent, ThrottleBucket

BACK_OFFICE_DAYS = 30
"""Longer than a session: a page that was opened before cannot be sent after it."""


class Command(InventoryCommand):
    help = (
        "Delete idempotency keys, with their answers, that are older than some hours (those of the "
        f"back office: {BACK_OFFICE_DAYS} days), and throttle buckets of which nothing is used. "
        "Run it daily."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--hours",
            type=whole_number,
            default=MIN_CLAIM_HOURS,
            help=f"age of the idempotency keys, {MIN_CLAIM_HOURS} or more (default)",
        )

    def handle(self, *args: Any, hours: int, **options: Any) -> None:
        if hours < MIN_CLAIM_HOURS:
            raise CommandError(
                f"Keys are kept for {MIN_CLAIM_HOURS} hours at least.",
                returncode=ExitCode.BAD_INPUT,
            )
        of_admin = Q(source=StockEvent.Source.ADMIN)
        before, long_before = (
            Q(created_at__lt=SecondsFromNow(-3600 * age)) for age in (hours, 24 * BACK_OFFICE_DAYS)
        )
        keys, _ = IdempotencyKey.objects.filter(before & ~of_admin | long_before).delete()
        now = time.time_ns() // 1000
        buckets, _ = ThrottleBucket.objects.filter(used_until__lt=now).delete()
        self.report(f"{keys} idempotency keys and {buckets} throttle buckets forgotten.")
