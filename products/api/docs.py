"""The OpenAPI document and its pages. The service serves their assets itself."""

import hashlib
from functools import cache
from typing import Any

from django.http import HttpResponse, HttpResponseNotModified
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response

from products.api.drf import AllowMixin
from products.api.filters import check_query

# The pages have inline scripts. Everything else comes from this service.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)


# The pages and the document change only with the version of the service.
CACHE_CONTROL = "public, max-age=300"


@cache
def _document() -> tuple[bytes, str]:
    """Return the OpenAPI document and its entity tag. Making it takes long, and needs no key."""
    schema = SpectacularAPIView.generator_class().get_schema(request=None, public=True)
    content: bytes = OpenApiJsonRenderer().render(schema, renderer_context={})
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


class SchemaView(AllowMixin, SpectacularAPIView):
    renderer_classes = [OpenApiJsonRenderer]

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        content, tag = _document()
        headers = {"ETag": tag, "Cache-Control": CACHE_CONTROL}
        if tag in request.headers.get("If-None-Match", ""):
            return HttpResponseNotModified(headers=headers)
        headers["Content-Disposition"] = 'inline; filename="openapi.json"'
        return HttpResponse(content, content_type=OpenApiJsonRenderer.media_type, headers=headers)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, set())  # drf-spectacular would echo its own parameters in a header.


class SwaggerView(AllowMixin, SpectacularSwaggerView):
    url_name = "schema"
    template_name = "products/swagger.html"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _as_page(super().get(request, *args, **kwargs))


class RedocView(AllowMixin, SpectacularRedocView):
    url_name = "schema"
    template_name = "products/redoc.html"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _as_page(super().get(request, *args, **kwargs))


def _as_page(page: Response) -> Response:
    """Let browsers keep the page, and let the page load nothing from other hosts."""
    page["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    page["Cache-Control"] = CACHE_CONTROL
    return page
