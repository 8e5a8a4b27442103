"""The OpenAPI document and the pages that show it, with assets from this service alone."""

from typing import Any

from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response

from products.api.filters import check_query

# The pages start with a script of their own; beyond that the browser asks nobody but us.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)


class SchemaView(SpectacularAPIView):
    renderer_classes = [OpenApiJsonRenderer]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, set())  # The library's own would go into a header.


class SwaggerView(SpectacularSwaggerView):
    url_name = "schema"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _from_here_only(super().get(request, *args, **kwargs))


class RedocView(SpectacularRedocView):
    url_name = "schema"
    template_name = "products/redoc.html"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _from_here_only(super().get(request, *args, **kwargs))


def _from_here_only(page: Response) -> Response:
    page["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return page
