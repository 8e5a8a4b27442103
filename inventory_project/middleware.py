"""Middleware that requests of the API skip: they need no session, message or static file."""

from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware


class SkipForApi:
    """Passes requests of `/v1` straight on."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/v1/"):
            return self.get_response(request)
        # The next base is a middleware, which mypy cannot see here.
        return super().__call__(request)  # type: ignore[misc]


class StaticFiles(SkipForApi, WhiteNoiseMiddleware):
    pass


class Sessions(SkipForApi, SessionMiddleware):
    pass


class Users(SkipForApi, AuthenticationMiddleware):
    pass


class Messages(SkipForApi, MessageMiddleware):
    pass


class Cors(CorsMiddleware):
    """Reads the origin of a request, and with it all headers, only if any origin is allowed."""

    def is_enabled(self, request: HttpRequest) -> bool:
        return bool(settings.CORS_ALLOWED_ORIGINS) and super().is_enabled(request)
