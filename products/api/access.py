"""Access to the API: keys, roles and throttles."""

import hashlib
import time
from typing import Any, NamedTuple, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
)
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from products.api.drf import NO_ACTION, DatabaseThrottle
from products.models import ApiKey, Role
from products.throttling import client_of


class KeyThrottle(DatabaseThrottle):
    """Counts the requests of each API key."""

    scope = "key"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return f"key:{request.auth.prefix}" if isinstance(request.auth, ApiKey) else None


class FailedAuthenticationThrottle(DatabaseThrottle):
    """Counts the requests with an invalid key from each address."""

    scope = "failed_authentication"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"address:{client_of(request)}"


SCHEMES = ("api-key", "bearer")
"""The schemes of `Authorization` that carry a key. Their case does not matter (RFC 9110)."""
_HOW_TO_SEND = "Send it as Authorization: Bearer <key>."


def key_required() -> NotAuthenticated:
    """Return the error for a request without a key."""
    return NotAuthenticated(f"An API key is required. {_HOW_TO_SEND}")


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.auth` to the `ApiKey` of the `Authorization` header; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        if "HTTP_AUTHORIZATION" not in request.META:
            return None
        try:
            return None, _valid_key(request)
        except AuthenticationFailed:
            # Only now: a valid key is served whatever its address has sent before, as others may
            # share that address. This limits load; keys are too long to guess.
            throttle = FailedAuthenticationThrottle()
            if not throttle.allow_request(request, view=None):
                raise Throttled(throttle.wait()) from None
            raise

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def _valid_key(request: Request) -> ApiKey:
    scheme, _, key = request.META["HTTP_AUTHORIZATION"].partition(" ")
    # A key is ASCII; some databases could not look up anything else.
    if scheme.lower() not in SCHEMES or not key or not key.isascii() or not key.isprintable():
        raise AuthenticationFailed(f"The Authorization header has no API key. {_HOW_TO_SEND}")
    try:
        api_key = _find(key)
    except ApiKey.DoesNotExist:
        raise AuthenticationFailed("The API key is unknown or revoked. Use another key.") from None
    if api_key.has_expired:
        raise AuthenticationFailed("The API key has expired. Use another key.")
    return api_key


class _Found(NamedTuple):
    api_key: ApiKey
    until: float


TRUSTED_SECONDS = 30
"""How long a key is trusted after it was looked up. One that another process revokes works until
then."""

# By a hash of the whole key, so that no key is kept in memory. Holds valid keys alone.
_found: dict[bytes, _Found] = {}


def _find(key: str) -> ApiKey:
    digest = hashlib.sha256(key.encode()).digest()
    found = _found.get(digest)
    if found is None or found.until < time.monotonic():
        api_key = cast(ApiKey, ApiKey.objects.get_from_key(key))
        found = _found[digest] = _Found(api_key, time.monotonic() + TRUSTED_SECONDS)
    return found.api_key


def forget_keys(**_: Any) -> None:
    """Receive `post_save` and `post_delete` of a key: apply this process's changes at once."""
    _found.clear()


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "A key from `manage.py create_api_key`, or from the admin. "
                "`Authorization: Api-Key <key>` is accepted, too."
            ),
        }


class HasRole(BasePermission):
    """Requires the role that the view's `required_roles` names for the action.

    An action without an entry is refused to every key.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            raise key_required()
        if view.action in NO_ACTION:
            return True  # The answer is 405.
        require_role(request.auth, view.required_roles.get(view.action))
        return True


def require_role(api_key: ApiKey, required: Role | None) -> None:
    """Refuse a key without the required role, and every key if no role is given."""
    if required is None or not Role(api_key.role).includes(required):
        raise PermissionDenied(f"This needs an API key with the role {required}.")
