"""How often something may be tried, counted in the database: there all processes and machines meet.

Counted by the generic cell rate algorithm (GCRA, ITU-T I.371). At a rate of N in a period, each
bucket keeps one moment, up to which its allowance is used. A try moves it on by one N-th of the
period, counted from now at least, and is refused if it would then lie further ahead than the
period is long. So N tries may come at once, and then one in each N-th of the period.

Moments are those of the servers' own clocks. They agree well enough: where one is a second ahead,
somebody gets, or misses, the tries of one second.
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
    """A number of tries in a number of seconds."""

    number: int
    seconds: int

    @property
    def interval(self) -> int:
        """The time for one try, in microseconds, rounded up: never more than the rate."""
        return -(-self.seconds * _MICROSECONDS // self.number)


def _now() -> int:
    return time.time_ns() // 1000


def consume(bucket: str, rate: Rate) -> float:
    """Take one try of a bucket.

    Return 0, or the seconds to wait if none is left. Deciding and writing is one statement, so
    that of any tries at once exactly as many are let through as there are left.
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
            # Further ahead than any use: a clock was wrong, or the rate was lower then.
            rows.filter(used_until=used_until).update(used_until=now + rate.interval * rate.number)
        # By the clock as it is now: the statement may have waited for others.
        elif (wait := used_until - ahead - _now()) > 0:
            return wait / _MICROSECONDS


def refund(bucket: str, rate: Rate) -> None:
    """Give back a try that was taken of a bucket, as if it had not been."""
    ThrottleBucket.objects.filter(pk=bucket).update(used_until=F("used_until") - rate.interval)


def client_of(request: Any) -> str:
    """Return what is counted as one client: an IPv4 address, or the /64 of an IPv6 address.

    A host may have any address of its /64. All that is no address counts as one client. The
    request is Django's or REST framework's.
    """
    try:
        address = ip_address(BaseThrottle().get_ident(request) or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return str(address)
