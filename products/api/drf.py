"""The replacements for parts of REST framework.

REST framework imports the classes that the settings name while it loads its own views. Therefore
this module cannot import `rest_framework.views`, `generics` or `viewsets`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast

import orjson
from django.forms import Form
from django_filters import rest_framework as filters
from rest_framework import pagination
from rest_framework.authentication import BaseAuthentication
from rest_framework.fields import Field, empty
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import Cursor
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.utils.urls import remove_query_param

from products.throttling import Rate, consume

T = TypeVar("T")

_instances: dict[type[Any], Any] = {}


def singleton(cls: type[T]) -> T:
    """Return the only instance of a class, whose instances must hold no state of a request.

    REST framework creates new instances for each request. A new serializer copies all its fields.
    """
    if cls not in _instances:
        _instances[cls] = cls()
    instance: T = _instances[cls]
    return instance


# -------------------------------------------------------------------------------------------- views


NO_ACTION = (None, "metadata")
"""The `action` of a view set for a method that it refuses with 405. OPTIONS has the second."""


class AllowMixin:
    """A view that sends `Allow` with a 405 only, and without OPTIONS, which gets 405, too."""

    request: Any

    @property
    def allowed_methods(self) -> list[str]:
        # mypy does not know that the next base class is a view.
        allowed: list[str] = super().allowed_methods  # type: ignore[misc]
        return [method for method in allowed if method != "OPTIONS"]

    @property
    def default_response_headers(self) -> dict[str, str]:
        allowed = self.allowed_methods
        return {} if self.request.method in allowed else {"Allow": ", ".join(allowed)}


class LeanViewMixin(AllowMixin):
    """A view set that shares its helpers between requests."""

    authentication_classes: Sequence[type[BaseAuthentication]]
    parser_classes: Sequence[type[BaseParser]]
    permission_classes: Sequence[Any]
    content_negotiation_class: type[BaseContentNegotiation]
    action: str

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [singleton(cls) for cls in self.authentication_classes]

    def get_parsers(self) -> list[BaseParser]:
        return [singleton(cls) for cls in self.parser_classes]

    def get_content_negotiator(self) -> BaseContentNegotiation:
        return singleton(self.content_negotiation_class)

    def get_permissions(self) -> list[BasePermission]:
        return [singleton(cast(type[BasePermission], cls)) for cls in self.permission_classes]

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Return `Allow` for a 405 response, without looking at the methods of other requests."""
        return {"Allow": ", ".join(self.allowed_methods)} if self.action in NO_ACTION else {}


class JSONAlways(BaseContentNegotiation):
    """Ignores `Accept` and the parameters of media types.

    REST framework would refuse such requests with 406 or 415.
    """

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class JSONRenderer(BaseRenderer):
    """Renders JSON with orjson, which is faster and writes times as RFC 3339 in UTC."""

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8.

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data, option=orjson.OPT_UTC_Z)


# ------------------------------------------------------------------------------------------- fields


class FieldWithoutValidators(Field):
    """A field that does all its checks in `to_internal_value`.

    REST framework would collect the validators of the field for each value.
    """

    def run_validation(self, data: Any = empty) -> Any:
        if data is None or data is empty:
            return super().run_validation(data)
        return self.to_internal_value(data)


# -------------------------------------------------------------------------------------------- lists


class FilterSet(filters.FilterSet):
    """A filter set that creates its form class once. django-filter creates one for each request."""

    _form_class: ClassVar[type[Form]]

    def get_form_class(self) -> type[Form]:
        cls = type(self)
        if "_form_class" not in vars(cls):
            cls._form_class = super().get_form_class()
        return cls._form_class


class CursorPagination(pagination.CursorPagination):
    """Cursor pages whose links skip no row.

    If a page has become empty, the links of REST framework skip the row before it.
    """

    def get_next_link(self) -> str | None:
        if self.page or not self.has_next:
            return super().get_next_link()
        return remove_query_param(str(self.base_url), self.cursor_query_param)

    def get_previous_link(self) -> str | None:
        if self.page or not self.has_previous:
            return super().get_previous_link()
        return self.encode_cursor(Cursor(0, reverse=True, position=None))


# ---------------------------------------------------------------------------------------- throttles


class DatabaseThrottle(SimpleRateThrottle):
    """Limits each cache key to the rate of its `scope`, counted in the database.

    REST framework reads from a cache and then writes to it, so it miscounts simultaneous requests.
    """

    _wait = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        number, seconds = self.parse_rate(self.rate)
        bucket = self.get_cache_key(request, view)
        if number is None or seconds is None or bucket is None:
            return True
        # The bucket's name contains the rate, because use at another rate does not count.
        self._wait = consume(f"{bucket} {self.rate}", Rate(number, seconds))
        return not self._wait

    def wait(self) -> float:
        """Return the seconds until the refused request would be allowed."""
        return self._wait
