"""How often a client of the API may ask."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from products.models import ApiKey
from products.throttling import Rate, client_of, take


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
        self._wait = take(f"{bucket} {self.rate}", Rate(number, seconds))
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
        return f"address:{client_of(request)}"
