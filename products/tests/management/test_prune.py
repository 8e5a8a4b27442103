"""`prune --every`, for machines without cron."""

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from products.models import IdempotencyKey
from products.tests.live import END_SECONDS, environment_of_test

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def make_old_key(name: str) -> None:
    IdempotencyKey.objects.create(
        source="api",
        caller="shop",
        key=name,
        fingerprint="",
        created_at=timezone.now() - timedelta(days=2),
    )


def wait_until_there_is_none() -> None:
    end = time.monotonic() + END_SECONDS
    while IdempotencyKey.objects.exists():
        assert time.monotonic() < end, "The key is still there."
        time.sleep(0.05)


def test_it_deletes_again_and_again_until_sigterm() -> None:
    make_old_key("first")
    loop = subprocess.Popen(
        [sys.executable, "manage.py", "prune", "--every", "1"],
        cwd=settings.BASE_DIR,
        env=environment_of_test(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until_there_is_none()
        make_old_key("second")
        wait_until_there_is_none()
        loop.send_signal(signal.SIGTERM)
        _, failed = loop.communicate(timeout=END_SECONDS)
    finally:
        loop.kill()

    assert (loop.returncode, failed) == (0, "")
