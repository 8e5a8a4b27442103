"""Middleware for the admin and the docs. Requests of the API skip most of it."""

from typing import Any
from zoneinfo import ZoneInfo

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.utils import timezone
from whitenoise.middleware import WhiteNoiseMiddleware


class SkipForApi:
    """Skip the middleware for requests of `/v1`, which need no session, message or static file."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/v1/"):
            return self.get_response(request)
        # mypy does not know that the next base class is a middleware.
        return super().__call__(request)  # type: ignore[misc]


class StaticFiles(SkipForApi, WhiteNoiseMiddleware):
    pass


class Common(CommonMiddleware):
    """Does not check the host name of health checks and scrapes."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path_info in settings.ANY_HOST_PATHS:
            return None
        return super().process_request(request)


class LocalTime:
    """Show and read times of the back office in its own time zone."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self.time_zone = ZoneInfo(settings.BACK_OFFICE_TIME_ZONE)

    def __call__(self, request: HttpRequest) -> Any:
        if not request.path_info.startswith("/admin/"):
            return self.get_response(request)
        with timezone.override(self.time_zone):
            return self.get_response(request)


class Sessions(SkipForApi, SessionMiddleware):
    pass


class Users(SkipForApi, AuthenticationMiddleware):
    pass


class Messages(SkipForApi, MessageMiddleware):
    pass


class Cors(CorsMiddleware):
    """Skip the check of the `Origin` header if no origin is allowed. Reading headers is slow."""

    def is_enabled(self, request: HttpRequest) -> bool:
        return bool(settings.CORS_ALLOWED_ORIGINS) and super().is_enabled(request)
