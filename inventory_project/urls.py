"""The paths of the service. `/v1` is canonical; the same routes answer without the prefix."""

from typing import Any

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from products.api import urls as api
from products.api.docs import RedocView, SchemaView, SwaggerView
from products.api.views import LiveView, ReadyView

_READ_ONLY = ["get", "head"]


class FaviconView(RedirectView):
    """Browsers ask for this path on every page that names no icon."""

    http_method_names = _READ_ONLY

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("products/favicon.svg")


urlpatterns = [
    path("v1/", include((api.urlpatterns, "v1"))),
    # Exempt from the CSRF check, so that a POST gets 405, not 403.
    path("", csrf_exempt(RedirectView.as_view(url="/docs", http_method_names=_READ_ONLY))),
    path("", include(api.urlpatterns)),
    # Replaces Unfold's search over all models: unused here, and it fails on odd queries.
    path("admin/search/", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("favicon.ico", csrf_exempt(FaviconView.as_view())),
    path("health", ReadyView.as_view()),
    path("health/live", LiveView.as_view()),
    path("openapi.json", SchemaView.as_view(), name="schema"),
    path("docs", SwaggerView.as_view()),
    path("redoc", RedocView.as_view()),
]
