"""API keys, roles and throttles."""

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
from products.models import TRUSTED_SECONDS, ApiKey, Role
from products.throttling import client_of


class KeyThrottle(DatabaseThrottle):
    """Limits the requests of each API key."""

    scope = "key"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return f"key:{request.auth.prefix}" if isinstance(request.auth, ApiKey) else None


class FailedAuthenticationThrottle(DatabaseThrottle):
    """Limits the requests with an invalid API key from each IP address."""

    scope = "failed_authentication"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"address:{client_of(request)}"


SCHEMES = ("api-key", "bearer")
"""The authentication schemes for API keys. They are case-insensitive (RFC 9110)."""
_HOW_TO_SEND = "Send it as Authorization: Bearer <key>."


def key_required() -> NotAuthenticated:
    """Return the error for a request without a key."""
    return NotAuthenticated(f"An API key is required. {_HOW_TO_SEND}")


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.auth` to the `ApiKey` of the `Authorization` header. There is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        if "HTTP_AUTHORIZATION" not in request.META:
            return None
        try:
            return None, _valid_key(request)
        except AuthenticationFailed:
            # Requests with valid keys do not count, because their clients may share the address.
            # The throttle limits the load. Keys are too long to guess.
            throttle = FailedAuthenticationThrottle()
            if not throttle.allow_request(request, view=None):
                raise Throttled(throttle.wait()) from None
            raise

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def _valid_key(request: Request) -> ApiKey:
    scheme, _, key = request.META["HTTP_AUTHORIZATION"].partition(" ")
    # Keys are ASCII. Some databases fail to look up other text.
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


# Valid keys only, by a hash of the whole key, so that no key stays in memory.
_found: dict[bytes, _Found] = {}


def _find(key: str) -> ApiKey:
    digest = hashlib.sha256(key.encode()).digest()
    found = _found.get(digest)
    if found is None or found.until < time.monotonic():
        api_key = cast(ApiKey, ApiKey.objects.get_from_key(key))
        if not api_key.has_expired:
            api_key.record_use()
        found = _found[digest] = _Found(api_key, time.monotonic() + TRUSTED_SECONDS)
    return found.api_key


def forget_keys(**_: Any) -> None:
    """Forget all keys when this process changes one. Receives `post_save` and `post_delete`."""
    _found.clear()


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "An API key from the back office, or from `manage.py create_api_key`. "
                "`Authorization: Api-Key <key>` works, too."
            ),
        }


class HasRole(BasePermission):
    """Requires the role in the view's `required_roles` for the action.

    Actions without a role are refused.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            raise key_required()
        if view.action in NO_ACTION:
            return True  # The response is 405.
        require_role(request.auth, view.required_roles.get(view.action))
        return True


def require_role(api_key: ApiKey, required: Role | None) -> None:
    """Refuse a key without the required role. If `required` is None, refuse every key."""
    if required is None or not Role(api_key.role).includes(required):
        raise PermissionDenied(f"This needs an API key with the role {required}.")
