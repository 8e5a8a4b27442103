"""API keys. Only the hash of a key is stored."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from rest_framework_api_key.models import APIKey as LibraryApiKey
from unfold.decorators import display

from products import stock
from products.admin.base import (
    BoundedChangeList,
    InventoryAdmin,
    actor_of,
    format_time,
    in_time_zone,
)
from products.admin.dialogs import Dialog, dialog_action
from products.admin.filters import ChoicesFilter, SelectFilter
from products.models import TRUSTED_SECONDS, ApiKey, Role

# The library's own key model, which this service does not use.
admin.site.unregister(LibraryApiKey)

ISSUED = ("name", "role", "prefix", "created", "issued_by")

STATUS_COLOURS = {"Active": "success", "Expired": "warning", "Revoked": "danger"}


PERMISSIONS_OF_ROLES = {
    Role.READ: ["products.view_product", "products.view_reservation", "products.view_stockevent"],
    Role.OPERATE: ["products.operate_stock"],
    Role.COUNT: ["products.adjust_stock"],
    Role.MANAGE: [
        "products.add_product",
        "products.change_product",
        "products.view_subscription",
        "products.add_subscription",
        "products.change_subscription",
        "products.delete_subscription",
    ],
}
"""The permissions of staff that each role adds to the roles before it."""


def status_of(api_key: ApiKey) -> str:
    """Return the status of a key: Active, Expired or Revoked."""
    if api_key.revoked:
        return "Revoked"
    return "Expired" if api_key.has_expired else "Active"


def key_at(object_id: str) -> ApiKey | None:
    """Return the key with this prefix, or with this id, which starts with the prefix."""
    return ApiKey.objects.filter(prefix=object_id.partition(".")[0]).first()


class StatusFilter(SelectFilter):
    title = "status"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.lower(), status) for status in STATUS_COLOURS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        has_expired = Q(expiry_date__lt=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(revoked=False).exclude(has_expired)
            case "expired":
                return queryset.filter(has_expired, revoked=False)
            case "revoked":
                return queryset.filter(revoked=True)
        return queryset


class KeyForm(forms.ModelForm):
    class Meta:
        model = ApiKey
        fields = ("name", "role", "expiry_date")
        help_texts = {
            "name": (
                "The client that will use the key, such as webshop. The ledger records its changes "
                "under this name. You cannot change it later."
            ),
            "role": (
                "Read: view data. Operate: also add, remove, reserve, release, fulfill and extend. "
                "Count: also set stock to a count. Manage: also create and edit products, and "
                "manage webhooks."
            ),
            "expiry_date": (
                f"{in_time_zone('The key stops working at this time')}. Leave empty for no expiry. "
                f"A change takes effect within {TRUSTED_SECONDS} seconds."
            ),
        }

    def clean_name(self) -> str:
        """Refuse a name that looks like another one. Readers of the ledger would mix them up."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Use printable characters only.")
        if other := ApiKey.name_like(name):
            raise forms.ValidationError(
                f"A key or a user has the name {other}, which is or looks the same. Choose another "
                "name, or revoke that key first."
            )
        return name

    def clean_expiry_date(self) -> Any:
        """Refuse a new expiry in the past. Accept an unchanged one."""
        expiry_date = self.cleaned_data["expiry_date"]
        if "expiry_date" in self.changed_data and expiry_date and expiry_date <= timezone.now():
            raise forms.ValidationError("This time is in the past. To stop the key now, revoke it.")
        return expiry_date


class RevokeDialog(Dialog):
    title = "Revoke key"
    submit = "Revoke key"
    head_template = "admin/products/apikey_dialog_head.html"

    def load(self) -> None:
        api_key = key_at(str(self.object_id))
        if api_key is None:
            raise Http404
        self.api_key = api_key

    def apply(self, by: stock.Actor) -> str:
        self.api_key.revoke(by=by.name)
        log(self.request, self.api_key, CHANGE, "Revoked.")
        return f"Revoked API key {self.api_key}. It stops working within {TRUSTED_SECONDS} seconds."


def log(request: HttpRequest, api_key: ApiKey, action: int, message: Any) -> LogEntry:
    """Write an entry of Django's log of actions. It names a key by its prefix, not by its hash."""
    user: Any = request.user
    return LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(api_key),
        object_id=api_key.prefix,
        object_repr=str(api_key),
        action_flag=action,
        change_message=message if isinstance(message, str) else json.dumps(message),
    )


def may_issue(user: Any, role: str) -> bool:
    """Return whether a user has all rights that a key with this role gives."""
    return all(
        user.has_perms(permissions)
        for each, permissions in PERMISSIONS_OF_ROLES.items()
        if Role(role).includes(each)
    )


class KeyList(BoundedChangeList):
    def url_for_result(self, result: ApiKey) -> str:
        return reverse("admin:products_apikey_change", args=[result.prefix])


@admin.register(ApiKey)
class ApiKeyAdmin(InventoryAdmin):
    form = KeyForm
    list_display = ("name", "role", "prefix", "created", "last_used", "expiry_date", "status")
    list_filter = (("role", ChoicesFilter), StatusFilter)
    filter_parameters = ("role__exact", "state")
    search_fields = ("name", "prefix")
    search_help_text = "Part of a name or prefix"

    actions_detail = ("revoke",)
    revoke = dialog_action("revoke", RevokeDialog, permission="revoke", icon="block")

    @display(description="Status", label=STATUS_COLOURS)
    def status(self, api_key: ApiKey) -> str:
        return status_of(api_key)

    @display(description="Last used", ordering="last_used_at")
    def last_used(self, api_key: ApiKey) -> str:
        return format_time(api_key.last_used_at) if api_key.last_used_at else "never"

    # ---------------------------------------------------------------------------------- permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("products.add_apikey")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Whether the user may change the expiry of a key, which needs the rights to issue it."""
        may_change = super().has_change_permission(request, obj)
        if obj is None:
            return may_change
        return may_change and not obj.revoked and may_issue(request.user, obj.role)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may revoke keys."""
        return request.user.has_perm("products.change_apikey")

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the roles whose rights the user has."""
        kwargs["choices"] = [each for each in Role.choices if may_issue(request.user, each[0])]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    # ---------------------------------------------------------------------------------------- pages

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "role", "expiry_date")
        revoked = ("revoked_by", "revoked_at") if obj.revoked else ()
        return (*ISSUED, "last_used", "status", *revoked, "expiry_date")

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        return (*ISSUED, "last_used", "status", "revoked_by", "revoked_at") if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # Saving always shows the new key, so the other buttons would be misleading.
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **one_button}
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return KeyList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ApiKey | None:
        """Find a key by its prefix. Its id contains the hash, which must not appear in URLs."""
        return key_at(object_id)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        api_key = key_at(str(object_id))
        usable = api_key is not None and not api_key.revoked
        return super().get_actions_detail(request, object_id) if usable else []

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool
    ) -> None:
        if change:
            # Not the whole row: another user may have revoked the key in the meantime.
            obj.save(update_fields=["expiry_date"])
        else:
            issued = ApiKey.issue(issued_by=actor_of(request).name, **form.cleaned_data)
            obj.pk, obj.prefix, obj.text = issued.pk, issued.prefix, issued.text

    def log_addition(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return log(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return log(request, obj, CHANGE, message)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in the response to the form, the only place where it is shown.

        A redirect would have to store the key in the session or in a cookie.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "API key",
            "opts": self.opts,
            "api_key": obj,
            "curl": f'curl -H "Authorization: Bearer {obj.text}" '
            f"{request.build_absolute_uri(reverse('v1:product-list'))}",
        }
        return TemplateResponse(request, "admin/products/apikey_issued.html", context)
