"""API keys. Only the hash of a key is stored."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from rest_framework_api_key.models import APIKey as LibraryApiKey
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from products import stock
from products.admin.base import InventoryAdmin
from products.admin.dialogs import Dialog, dialog_action
from products.models import ApiKey

# The library's own key model, which this service does not use.
admin.site.unregister(LibraryApiKey)

STATUS_COLOURS = {"Active": "success", "Expired": "warning", "Revoked": "danger"}


def status_of(api_key: ApiKey) -> str:
    """Return the status of a key: Active, Expired or Revoked."""
    if api_key.revoked:
        return "Revoked"
    return "Expired" if api_key.has_expired else "Active"


def key_at(object_id: str) -> ApiKey | None:
    """Return the key with this prefix, or with this id, which starts with the prefix."""
    return ApiKey.objects.filter(prefix=object_id.partition(".")[0]).first()


class StatusFilter(DropdownFilter):
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
                "Count: also set stock to a count. Manage: also create and edit products."
            ),
            "expiry_date": "The key stops working at this time (UTC). Leave empty for no expiry.",
        }

    def clean_name(self) -> str:
        """Refuse the name of another key. The ledger could not tell the two apart."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Use printable characters only.")
        if ApiKey.name_is_taken(name):
            raise forms.ValidationError(
                "Another key has this name. Choose another name, or revoke that key first."
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
        self.api_key.revoked = True
        self.api_key.save(update_fields=["revoked"])
        LogEntry.objects.log_actions(
            self.request.user.pk, [self.api_key], CHANGE, "Revoked.", single_object=True
        )
        return f"Revoked API key {self.api_key}."


class KeyList(ChangeList):
    def url_for_result(self, result: ApiKey) -> str:
        return reverse("admin:products_apikey_change", args=[result.prefix])


@admin.register(ApiKey)
class ApiKeyAdmin(InventoryAdmin):
    form = KeyForm
    list_display = ("name", "role", "prefix", "created", "expiry_date", "status")
    list_filter = ("role", StatusFilter)
    filter_parameters = ("role__exact", "state")
    search_fields = ("name", "prefix")
    search_help_text = "Part of a name or prefix"

    actions_detail = ("revoke",)
    revoke = dialog_action("revoke", RevokeDialog, permission="revoke", icon="block")

    @display(description="Status", label=STATUS_COLOURS)
    def status(self, api_key: ApiKey) -> str:
        return status_of(api_key)

    # ---------------------------------------------------------------------------------- permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("products.add_apikey")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.revoked)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may revoke keys."""
        return request.user.has_perm("products.change_apikey")

    # ---------------------------------------------------------------------------------------- pages

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "role", "expiry_date")
        return ("name", "role", "prefix", "created", "status", "expiry_date")

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        return ("name", "role", "prefix", "created", "status") if obj else ()

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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
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
            issued = ApiKey.issue(**form.cleaned_data)
            obj.pk, obj.text = issued.pk, issued.text

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
            f"{request.build_absolute_uri('/v1/products')}",
        }
        return TemplateResponse(request, "admin/products/apikey_issued.html", context)
