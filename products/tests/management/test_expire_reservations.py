"""`expire_reservations --every`, for machines without cron."""

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from products import stock
from products.models import Reservation
from products.tests.factories import ACTOR, ProductFactory
from products.tests.live import environment_of_test

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

WAIT_SECONDS = 30


def overdue_reservation(sku: str) -> Reservation:
    reservation = stock.reserve(sku=sku, amount=1, expires_in=3600, by=ACTOR)
    past = timezone.now() - timedelta(minutes=1)
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=past)
    return reservation


def wait_until_expired(reservation: Reservation) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while Reservation.objects.get(pk=reservation.pk).status != Reservation.Status.EXPIRED:
        assert time.monotonic() < deadline, "The reservation has not expired."
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_expires_again_and_again_until_ctrl_c_or_sigterm(number: signal.Signals) -> None:
    product = ProductFactory.create(quantity=5)
    first = overdue_reservation(product.sku)
    loop = subprocess.Popen(
        [sys.executable, "manage.py", "expire_reservations", "--every", "1"],
        cwd=settings.BASE_DIR,
        env=environment_of_test(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until_expired(first)
        wait_until_expired(overdue_reservation(product.sku))
        loop.send_signal(number)
        said, failed = loop.communicate(timeout=WAIT_SECONDS)
    finally:
        loop.kill()

    assert (loop.returncode, failed) == (0, "")
    assert said == "1 reservation expired.\n" * 2
