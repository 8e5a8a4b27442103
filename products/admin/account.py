"""The page of the logged-in user: role, rights, last login and latest changes."""

from typing import cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from products.admin.base import format_time
from products.admin.ledger import table_of
from products.admin.roles import name_of_role, rights_in_words
from products.models import StockEvent

LATEST_CHANGES = 10


def own_page(request: HttpRequest) -> TemplateResponse:
    """Serve the page of the logged-in user. Everyone who may log in has one."""
    user = cast(User, request.user)
    context = {
        **admin.site.each_context(request),
        "title": "Your account",
        "role": name_of_role(user),
        "rights": rights_in_words(user),
        "last_login": format_time(user.last_login) if user.last_login else "never",
    }
    if user.has_perm("products.view_stockevent"):
        name = user.get_username()
        changes = StockEvent.objects.with_name().filter(actor=name).order_by("-occurred_at", "-pk")
        ledger = reverse("admin:products_stockevent_changelist")
        nothing = "You have not changed any stock yet."
        context["changes"] = {**table_of(changes[:LATEST_CHANGES]), "empty": nothing}
        url = f"{ledger}?{urlencode({'actor': name})}"
        context["all_changes"] = format_html(
            '<a class="text-link" href="{}">All in the ledger</a>', url
        )
    return TemplateResponse(request, "products/admin/own_page.html", context)
