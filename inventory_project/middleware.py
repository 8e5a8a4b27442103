"""Middleware that requests of the API pass by, because there are many of them: they have no
session, no message and no file, and seldom another origin."""

from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware


class SkipForApi:
    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/v1/"):
            return self.get_response(request)
        # That of the middleware which follows in the bases; mypy sees none in a class of its own.
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
    """Looks at the origin of a request, and with it at all headers, only where one is allowed."""

    def is_enabled(self, request: HttpRequest) -> bool:
        return bool(settings.CORS_ALLOWED_ORIGINS) and super().is_enabled(request)
