"""The paths of the service. The API is served under `/v1`, and at the same paths without it."""

from typing import Any

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from products.admin.account import own_page
from products.admin.login import change_own_password
from products.api import urls as api
from products.api.docs import RedocView, SchemaView, SwaggerView
from products.api.metrics import MetricsView
from products.api.views import LiveView, ReadyView

_READ_ONLY = ["get", "head"]


class FaviconView(RedirectView):
    """Redirect browsers to the icon. They request this path if a page names no icon."""

    http_method_names = _READ_ONLY

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("products/favicon.svg")


urlpatterns = [
    path("v1/", include((api.urlpatterns, "v1"))),
    # Without the CSRF check, a POST gets 405 instead of 403.
    path("", csrf_exempt(RedirectView.as_view(pattern_name="docs", http_method_names=_READ_ONLY))),
    path("", include(api.urlpatterns)),
    # Disables Unfold's search over all models, which the admin does not use.
    path("admin/search/", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/account/", admin.site.admin_view(own_page), name="own_page"),
    path("admin/password_change/", admin.site.admin_view(change_own_password, cacheable=True)),
    path("admin/", admin.site.urls),
    path("favicon.ico", csrf_exempt(FaviconView.as_view())),
    path("health", ReadyView.as_view()),
    path("health/live", LiveView.as_view()),
    path("metrics", MetricsView.as_view()),
    path("openapi.json", SchemaView.as_view(), name="schema"),
    path("docs", SwaggerView.as_view(), name="docs"),
    path("redoc", RedocView.as_view()),
]
