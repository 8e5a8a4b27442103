"""What we replace of REST framework, and why. Everything else of it is used as it is.

The settings name classes of this module, and REST framework imports those while it loads its own
views. So this module must not import `rest_framework.views`, `generics` or `viewsets`.
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

Made = TypeVar("Made")

_instances: dict[type[Any], Any] = {}


def singleton(made: type[Made]) -> Made:
    """Return the one instance of a class whose instances keep nothing of a request.

    REST framework makes new ones for each request; a new serializer copies all of its fields.
    """
    if made not in _instances:
        _instances[made] = made()
    instance: Made = _instances[made]
    return instance


# ----------------------------------------------------------------------------------------- views


NO_ACTION = (None, "metadata")
"""The `action` of a view set for a method that it refuses with 405; the second is for OPTIONS."""


class LeanViewMixin:
    """A view set that makes for each request only what differs between requests."""

    authentication_classes: Sequence[type[BaseAuthentication]]
    parser_classes: Sequence[type[BaseParser]]
    permission_classes: Sequence[Any]
    content_negotiation_class: type[BaseContentNegotiation]
    action: str
    allowed_methods: list[str]

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [singleton(made) for made in self.authentication_classes]

    def get_parsers(self) -> list[BaseParser]:
        return [singleton(made) for made in self.parser_classes]

    def get_content_negotiator(self) -> BaseContentNegotiation:
        return singleton(self.content_negotiation_class)

    def get_permissions(self) -> list[BasePermission]:
        return [singleton(cast(type[BasePermission], made)) for made in self.permission_classes]

    @property
    def default_response_headers(self) -> dict[str, str]:
        """`Allow` on a 405 alone, which needs it; REST framework sends it with each answer."""
        return {"Allow": ", ".join(self.allowed_methods)} if self.action in NO_ACTION else {}


class JSONAlways(BaseContentNegotiation):
    """Answers in JSON whatever `Accept` says, and reads a body by its media type alone.

    REST framework would answer 406, and compare the parameters of media types.
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
    """Writes JSON by orjson: faster, and with moments as RFC 3339 in UTC."""

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


# ---------------------------------------------------------------------------------------- fields


class FieldWithoutValidators(Field):
    """A field that checks everything in `to_internal_value`.

    REST framework would collect the field's validators for each value.
    """

    def run_validation(self, data: Any = empty) -> Any:
        if data is None or data is empty:
            return super().run_validation(data)
        return self.to_internal_value(data)


# ----------------------------------------------------------------------------------------- lists


class FilterSet(filters.FilterSet):
    """Filters whose form class is made once; django-filter makes one for each request."""

    _form_class: ClassVar[type[Form]]

    def get_form_class(self) -> type[Form]:
        made = type(self)
        if "_form_class" not in vars(made):
            made._form_class = super().get_form_class()
        return made._form_class


class CursorPagination(pagination.CursorPagination):
    """Pages whose links leave no row out.

    From a page that has become empty, REST framework's links go on from the row that this page
    was to start after, and so leave that row out.
    """

    def get_next_link(self) -> str | None:
        if self.page or not self.has_next:
            return super().get_next_link()
        return remove_query_param(str(self.base_url), self.cursor_query_param)

    def get_previous_link(self) -> str | None:
        if self.page or not self.has_previous:
            return super().get_previous_link()
        return self.encode_cursor(Cursor(0, reverse=True, position=None))


# -------------------------------------------------------------------------------------- throttles


class DatabaseThrottle(SimpleRateThrottle):
    """Allows each cache key the rate of its `scope`, counted in the database.

    REST framework counts in a cache: it reads and then writes, and miscounts simultaneous
    requests.
    """

    _wait = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        number, seconds = self.parse_rate(self.rate)
        bucket = self.get_cache_key(request, view)
        if number is None or seconds is None or bucket is None:
            return True
        # The bucket's name holds the rate: use at another rate says nothing about this one.
        self._wait = consume(f"{bucket} {self.rate}", Rate(number, seconds))
        return not self._wait

    def wait(self) -> float:
        """Return the seconds after which the refused request would be allowed."""
        return self._wait
