"""API keys: issued, given an expiry and revoked. Nothing of a key but a hash is ever stored."""

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

STATE_COLOURS = {"Active": "success", "Expired": "warning", "Revoked": "danger"}


def state_of(api_key: ApiKey) -> str:
    """Return in a word whether a key works."""
    if api_key.revoked:
        return "Revoked"
    return "Expired" if api_key.has_expired else "Active"


def key_at(object_id: str) -> ApiKey | None:
    """Return the key that an address names by its prefix, or by its id, which starts with that."""
    return ApiKey.objects.filter(prefix=object_id.partition(".")[0]).first()


class StateFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.lower(), state) for state in STATE_COLOURS]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        is_over = Q(expiry_date__lt=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(revoked=False).exclude(is_over)
            case "expired":
                return queryset.filter(is_over, revoked=False)
            case "revoked":
                return queryset.filter(revoked=True)
        return queryset


class KeyForm(forms.ModelForm):
    class Meta:
        model = ApiKey
        fields = ("name", "role", "expiry_date")
        help_texts = {
            "name": (
                "Who will use it. What is done with the key stands in the ledger under this name, "
                "which cannot be changed."
            ),
            "role": (
                "read: look. operate: also add, remove, reserve, release, fulfill. "
                "count: also adjust. manage: also create and edit products."
            ),
            "expiry_date": "From then on the key is refused. UTC. Empty: it does not expire.",
        }

    def clean_name(self) -> str:
        """Refuse the name of another key: the ledger could not tell the two apart."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("The name must be of printable characters.")
        if ApiKey.name_is_taken(name):
            raise forms.ValidationError(
                "Another key has this name. Take a new one, or revoke the other key first."
            )
        return name

    def clean_expiry_date(self) -> Any:
        """Refuse an expiry in the past, but leave alone one that has come."""
        expiry_date = self.cleaned_data["expiry_date"]
        if "expiry_date" in self.changed_data and expiry_date and expiry_date <= timezone.now():
            raise forms.ValidationError("This time is over. To end a key now, revoke it.")
        return expiry_date


class RevokeDialog(Dialog):
    title = "Revoke"
    submit = "Revoke for good"
    head_template = "admin/products/apikey_dialog_head.html"

    def load(self) -> None:
        api_key = key_at(str(self.object_id))
        if api_key is None:
            raise Http404
        self.api_key = api_key

    def carry_out(self, by: stock.Actor) -> str:
        self.api_key.revoked = True
        self.api_key.save(update_fields=["revoked"])
        LogEntry.objects.log_actions(
            self.request.user.pk, [self.api_key], CHANGE, "Revoked.", single_object=True
        )
        return f"The key of {self.api_key} is revoked."


class KeyList(ChangeList):
    def url_for_result(self, result: ApiKey) -> str:
        return reverse("admin:products_apikey_change", args=[result.prefix])


@admin.register(ApiKey)
class ApiKeyAdmin(InventoryAdmin):
    form = KeyForm
    list_display = ("name", "role", "prefix", "created", "expiry_date", "state")
    list_filter = ("role", StateFilter)
    search_fields = ("name", "prefix")

    actions_detail = ("revoke",)
    revoke = dialog_action("revoke", RevokeDialog, permission="revoke", icon="block")

    @display(description="State", label=STATE_COLOURS)
    def state(self, api_key: ApiKey) -> str:
        return state_of(api_key)

    # ------------------------------------------------------------------------------ who may do what

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("products.add_apikey")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.revoked)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may revoke keys."""
        return request.user.has_perm("products.change_apikey")

    # ------------------------------------------------------------------------------------ the pages

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "role", "expiry_date")
        return ("name", "role", "prefix", "created", "state", "expiry_date")

    def get_readonly_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        return ("name", "role", "prefix", "created", "state") if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # Nobody leaves the page of a new key for another form before the key is copied.
        one_button = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **one_button}
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeyList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ApiKey | None:
        """Find a key by its prefix: its id holds the hash, which has no business in addresses."""
        return key_at(object_id)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        api_key = key_at(str(object_id))
        usable = api_key is not None and not api_key.revoked
        return super().get_actions_detail(request, object_id) if usable else []

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool
    ) -> None:
        if change:
            # Never the whole row: it might have been revoked since it was read.
            obj.save(update_fields=["expiry_date"])
        else:
            issued = ApiKey.issue(**form.cleaned_data)
            obj.pk, obj.text = issued.pk, issued.text

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in the answer itself, which is the only place where it ever is.

        A redirect would have to carry it in the session or in a message, which is a cookie.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "API key",
            "opts": self.opts,
            "api_key": obj,
            "curl": f'curl -H "Authorization: Api-Key {obj.text}" '
            f"{request.build_absolute_uri('/v1/products')}",
        }
        return TemplateResponse(request, "admin/products/apikey_issued.html", context)
