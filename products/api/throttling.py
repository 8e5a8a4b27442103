"""How often a client may ask, counted in the database: there all processes and machines meet.

Counted by the generic cell rate algorithm (GCRA, ITU-T I.371). At a rate of N in a period, each
bucket keeps one moment, up to which its allowance is used. A request moves it on by one N-th of
the period, counted from now at least, and is refused if it would then lie further ahead than the
period is long. So N requests may come at once, and then one in each N-th of the period.

Moments are those of the servers' own clocks. They agree well enough: where one is a second ahead,
a client gets, or misses, the requests of one second.
"""

import time
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from django.db.models import F
from django.db.models.functions import Greatest
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from products.models import ApiKey, ThrottleBucket

_MICROSECONDS = 1_000_000


class DatabaseThrottle(SimpleRateThrottle):
    """Lets as many requests through as the rate of its `scope` says, for each cache key.

    The base class counts in a cache, reading and then writing, and miscounts what comes at once.
    """

    _wait = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        number, seconds = self.parse_rate(self.rate)
        bucket = self.get_cache_key(request, view)
        if number is None or seconds is None or bucket is None:
            return True
        # With the rate in its name: what was used at another rate says nothing at this one.
        self._wait = _take(f"{bucket} {self.rate}", number, seconds)
        return not self._wait

    def wait(self) -> float:
        """Return in how many seconds the refused request would be let through."""
        return self._wait


class KeyThrottle(DatabaseThrottle):
    """Counts the requests of each API key."""

    scope = "key"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return f"key:{request.auth.prefix}" if isinstance(request.auth, ApiKey) else None


class FailedAuthenticationThrottle(DatabaseThrottle):
    """Counts the requests with a wrong key of each address."""

    scope = "failed_authentication"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"address:{_network(self.get_ident(request))}"


def _network(address: str | None) -> str:
    """Return what is counted as one client: an IPv4 address, or the /64 of an IPv6 address.

    A host may have any address of its /64. All that is no address counts as one client.
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)


def _take(name: str, number: int, seconds: int) -> float:
    """Take one request of a bucket that allows `number` in `seconds`.

    Return 0, or the seconds to wait if none is left. Deciding and writing is one statement, so
    that of any requests at once exactly as many are let through as there are left.
    """
    period = seconds * _MICROSECONDS
    interval = -(-period // number)  # Rounded up: never more than the rate.
    while True:
        now = time.time_ns() // 1000
        latest = now + interval * (number - 1)
        bucket = ThrottleBucket.objects.filter(pk=name)
        if bucket.filter(used_until__lte=latest).update(
            used_until=Greatest(F("used_until"), now) + interval
        ):
            return 0
        used_until = bucket.values_list("used_until", flat=True).first()
        if used_until is None:
            new = ThrottleBucket(name=name, used_until=now)
            ThrottleBucket.objects.bulk_create([new], ignore_conflicts=True)
        elif used_until > latest:
            return (used_until - latest) / _MICROSECONDS
