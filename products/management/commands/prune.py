import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Q
from django.template.defaultfilters import pluralize

from products.db.clock import SecondsFromNow
from products.management.base import ExitCode, InventoryCommand, whole_number
from products.management.repeating import repeat
from products.models import MIN_CLAIM_HOURS, IdempotencyKey, StockEvent, ThrottleBucket

BACK_OFFICE_DAYS = 30
"""Longer than a session, so that no open form outlives its key."""


class Command(InventoryCommand):
    help = (
        "Delete old idempotency keys and unused throttle buckets.\n\n"
        "Run it every day, or once with --every 86400.\n\n"
        f"Keys of back-office forms are deleted after {BACK_OFFICE_DAYS} days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--hours",
            type=whole_number,
            default=MIN_CLAIM_HOURS,
            metavar="HOURS",
            help="delete idempotency keys older than this; at least "
            f"{MIN_CLAIM_HOURS} (default: {MIN_CLAIM_HOURS})",
        )

        parser.add_argument(
            "--every",
            type=whole_number,
            metavar="SECONDS",
            help="repeat after this many seconds, until Ctrl-C or SIGTERM (default: run once)",
        )

    def handle(self, *args: Any, hours: int, every: int | None, **options: Any) -> None:
        if hours < MIN_CLAIM_HOURS:
            raise CommandError(
                f"--hours must be at least {MIN_CLAIM_HOURS}.",
                returncode=ExitCode.BAD_INPUT,
            )
        if every is None:
            self._prune(hours)
        else:
            repeat(partial(self._prune, hours), every=every, stderr=self.stderr)

    def _prune(self, hours: int) -> None:
        of_admin = Q(source=StockEvent.Source.ADMIN)
        before, long_before = (
            Q(created_at__lt=SecondsFromNow(-3600 * age)) for age in (hours, 24 * BACK_OFFICE_DAYS)
        )
        keys, _ = IdempotencyKey.objects.filter(before & ~of_admin | long_before).delete()
        now = time.time_ns() // 1000
        buckets, _ = ThrottleBucket.objects.filter(used_until__lt=now).delete()
        self.report(
            f"{keys} idempotency key{pluralize(keys)} and "
            f"{buckets} throttle bucket{pluralize(buckets)} deleted."
        )
