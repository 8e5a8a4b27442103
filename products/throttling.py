"""Rate limits, counted in the database for all processes and machines.

This is the generic cell rate algorithm (GCRA, ITU-T I.371). Each bucket stores the time up to which
its allowance is used. At a rate of N attempts in a period, each attempt moves this time forward by
period / N, starting from now or later. An attempt is refused if it would move the time more than
one period ahead of now. So a client may send N attempts at once, and then one every period / N.

Times come from the clock of each server. If one clock is a second ahead, a client gains or loses
the attempts of one second.
"""

import time
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

from django.db.models import F
from django.db.models.functions import Greatest
from rest_framework.throttling import BaseThrottle

from products.models import ThrottleBucket

_MICROSECONDS = 1_000_000


class Rate(NamedTuple):
    """A number of attempts in a number of seconds."""

    number: int
    seconds: int

    @property
    def interval(self) -> int:
        """The time for one attempt, in microseconds. Rounded up, so the rate is never exceeded."""
        return -(-self.seconds * _MICROSECONDS // self.number)


def _now() -> int:
    return time.time_ns() // 1000


def consume(bucket: str, rate: Rate) -> float:
    """Consume one attempt of a bucket. Return 0, or the seconds to wait if none is left.

    One statement both checks and updates the bucket, so concurrent attempts cannot exceed the rate.
    """
    rows = ThrottleBucket.objects.filter(pk=bucket)
    ahead = rate.interval * (rate.number - 1)
    while True:
        now = _now()
        if rows.filter(used_until__lte=now + ahead).update(
            used_until=Greatest(F("used_until"), now) + rate.interval
        ):
            return 0
        used_until = rows.values_list("used_until", flat=True).first()
        if used_until is None:
            new = ThrottleBucket(name=bucket, used_until=now)
            ThrottleBucket.objects.bulk_create([new], ignore_conflicts=True)
        elif used_until > now + rate.interval * rate.number:
            # Too far ahead for this rate: a clock was wrong, or the rate has been raised.
            rows.filter(used_until=used_until).update(used_until=now + rate.interval * rate.number)
        # Read the clock again: the statement may have waited for others.
        elif (wait := used_until - ahead - _now()) > 0:
            return wait / _MICROSECONDS


def refund(bucket: str, rate: Rate) -> None:
    """Return a consumed attempt to its bucket. Delete an unused bucket."""
    rows = ThrottleBucket.objects.filter(pk=bucket)
    rows.update(used_until=F("used_until") - rate.interval)
    rows.filter(used_until__lte=_now()).delete()


def remember(name: str, seconds: int) -> None:
    """Remember a name for some seconds from now. `manage.py prune` deletes it after that."""
    row = ThrottleBucket(name=name, used_until=_now() + seconds * _MICROSECONDS)
    ThrottleBucket.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["name"], update_fields=["used_until"]
    )


def is_remembered(name: str) -> bool:
    """Return whether a name is remembered."""
    return ThrottleBucket.objects.filter(pk=name, used_until__gt=_now()).exists()


def client_of(request: Any) -> str:
    """Return the address that identifies a client: an IPv4 address, or the /64 of an IPv6 address.

    A host may use any address of its /64. All invalid addresses count as the client `unknown`.
    `request` is Django's or REST framework's.
    """
    try:
        address = ip_address(BaseThrottle().get_ident(request) or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return str(address)
