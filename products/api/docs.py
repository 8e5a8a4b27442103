"""The OpenAPI document and its pages. The service serves their assets itself."""

from typing import Any

from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response

from products.api.filters import check_query

# The pages have inline scripts. Everything else comes from this service.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)


class SchemaView(SpectacularAPIView):
    renderer_classes = [OpenApiJsonRenderer]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, set())  # drf-spectacular would echo its own parameters in a header.


class SwaggerView(SpectacularSwaggerView):
    url_name = "schema"
    template_name = "products/swagger.html"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _without_foreign_assets(super().get(request, *args, **kwargs))


class RedocView(SpectacularRedocView):
    url_name = "schema"
    template_name = "products/redoc.html"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return _without_foreign_assets(super().get(request, *args, **kwargs))


def _without_foreign_assets(page: Response) -> Response:
    """Let the page load nothing from other hosts."""
    page["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return page
