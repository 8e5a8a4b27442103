"""Staff: one form for a colleague, with a role. Groups: Django's pages, for superusers only."""

import secrets
import unicodedata
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth import password_validation
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminRadioSelectWidget

from products.admin.base import format_time
from products.admin.filters import RelatedFilter, YesNoFilter
from products.admin.lists import FilteredListAdmin
from products.admin.roles import (
    UNCHANGED,
    Role,
    give_role,
    may_manage,
    name_of_role,
    roles_of,
    value_of_role,
)
from products.groups import PERMISSIONS
from products.models import ApiKey

admin.site.unregister([Group, User])

MAX_PASSWORD_LENGTH = 1_000
_READABLE = "abcdefghijkmnpqrstuvwxyz23456789"
"""The characters of generated passwords: none looks like another."""


_NAMES = ("username", "first_name", "last_name", "email")
"""The fields that a password must not resemble."""


def generated_password() -> str:
    """Return a random password of 80 bits that can be read aloud."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(4))


def _password_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=False,
        max_length=MAX_PASSWORD_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )


class RoleWidget(UnfoldAdminRadioSelectWidget):
    """Radio buttons whose texts wrap."""

    option_template_name = "products/admin/role_option.html"


class ColleagueForm(forms.ModelForm):
    """Name, role and password of a colleague. `StaffAdmin` sets the editor."""

    editor: User

    role = forms.ChoiceField(widget=RoleWidget)
    password1 = _password_field("Password")
    password2 = _password_field("Password again")

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "is_active", "user_permissions")
        labels = {"username": "User name", "is_active": "May log in", "email": "E-mail"}
        help_texts = {
            "username": "Changes are recorded under this name. It cannot be changed.",
            "is_active": "Switch this off to end the access. Past changes stay recorded.",
            "user_permissions": "Added to those of the role.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk == self.editor.pk:
            # Users cannot lock themselves out. The password page asks for the old password.
            for name in ("role", "password1", "password2"):
                self.fields.pop(name, None)
            return
        self._offer_roles()
        self.fields["password1"].help_text = (
            "Leave both fields empty to keep the password."
            if self.instance.pk
            else "Leave both fields empty to get a password, which is shown once."
        )

    def _offer_roles(self) -> None:
        offered = roles_of(self.editor)
        if self.instance.pk:
            current = value_of_role(self.instance, offered)
            self.initial["role"] = current
            if current == UNCHANGED:
                offered.append(Role(UNCHANGED, name_of_role(self.instance), "as now"))
        cast(forms.ChoiceField, self.fields["role"]).choices = [
            (role.value, role.label) for role in offered
        ]

    def clean_username(self) -> str:
        """Refuse a name that the ledger cannot tell from that of a key or a user."""
        name = unicodedata.normalize("NFKC", self.cleaned_data["username"])
        # Two forms at once must not take one name.
        list(Group.objects.select_for_update(no_key=True).order_by("pk"))
        if other := ApiKey.name_like(name):
            raise forms.ValidationError(
                f"A user or a key has the name {other}, which is or looks the same. "
                "Choose another name."
            )
        return name

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        password = cleaned.get("password1", "")
        if password != cleaned.get("password2", ""):
            self.add_error("password2", "The two passwords are not the same. Type them again.")
        elif password:
            names = {name: cleaned.get(name, getattr(self.instance, name)) for name in _NAMES}
            try:
                password_validation.validate_password(password, User(**names))
            except forms.ValidationError as error:
                self.add_error("password1", error)
        return cleaned


class StaffPermissions:
    """Open the pages of staff to users with Django's permissions for users.

    They cannot edit a user with more rights than they have, or give such rights.
    """

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may_change = request.user.has_perm("auth.change_user")
        return may_change and (obj is None or may_manage(cast(User, request.user), obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        user = request.user
        return user.is_active and user.is_superuser and (obj is None or obj.pk != user.pk)


@admin.register(User)
class StaffAdmin(StaffPermissions, FilteredListAdmin, ModelAdmin):
    form = ColleagueForm
    list_display = ("username", "full_name", "role", "email", "may_log_in", "logged_in")
    list_filter = (
        ("is_staff", YesNoFilter),
        ("is_superuser", YesNoFilter),
        ("is_active", YesNoFilter),
        ("groups", RelatedFilter),
    )
    filter_parameters = (
        *("is_staff__exact", "is_superuser__exact", "is_active__exact"),
        "groups__id__exact",
    )
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = "Part of a name or e-mail address"
    ordering = ("username",)
    filter_horizontal = ("user_permissions",)
    compressed_fields = False  # The chooser of permissions needs the full width.

    @display(description="Name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @display(description="Role")
    def role(self, user: User) -> str:
        return name_of_role(user)

    @display(description="May log in", boolean=True)
    def may_log_in(self, user: User) -> bool:
        return user.is_active and user.is_staff

    @display(description="Last login", ordering="last_login")
    def logged_in(self, user: User) -> str:
        return format_time(user.last_login) if user.last_login else "never"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        is_own = obj is not None and obj.pk == request.user.pk
        is_form = not is_own and (obj is None or self.has_change_permission(request, obj))
        passwords = ("password1", "password2") if is_form else ()
        sections: list[Any] = [
            (None, {"fields": ("username", "role", *passwords)}),
            ("Optional", {"fields": ("first_name", "last_name", "email")}),
            (None, {"fields": ("is_active", *(("logged_in",) if obj else ()))}),
        ]
        if obj and request.user.is_superuser:
            single = {"classes": ["collapse"], "fields": ("user_permissions",)}
            sections.append(("Single permissions", single))
        return sections

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ()
        own = ("role", "is_active") if obj.pk == request.user.pk else ()
        return ("username", "logged_in", *own)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.editor = request.user
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        shown: dict[str, Any] = {
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
        }
        if object_id is None:
            shown["title"] = "Add a colleague"
        changeform_view = sensitive_post_parameters()(super().changeform_view)
        return changeform_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def save_model(
        self, request: HttpRequest, obj: User, form: ColleagueForm, change: bool
    ) -> None:
        password = form.cleaned_data.get("password1")
        if not change and not password:
            password = generated_password()
            request.generated_password = password  # type: ignore[attr-defined]
        if password:
            obj.set_password(password)
        super().save_model(request, obj, form, change)
        if role := form.cleaned_data.get("role"):
            give_role(obj, role)

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show what the colleague needs to log in. A generated password is shown only here."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Colleague added",
            "opts": self.opts,
            "colleague": obj,
            "role": name_of_role(obj),
            "password": getattr(request, "generated_password", ""),
            "address": request.build_absolute_uri(reverse("admin:index")),
        }
        return TemplateResponse(request, "products/admin/colleague_added.html", context)


class ForSuperusers:
    """Open a page to superusers only, regardless of permissions.

    A user who can edit groups could give themselves every permission.
    """

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._is_superuser(request)

    def _is_superuser(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser


class GroupForm(forms.ModelForm):
    class Meta:
        model = Group
        fields = ("name", "permissions")
        help_texts = {
            "permissions": (
                "Each update of the service restores the default permissions of these groups: "
                f"{', '.join(PERMISSIONS)}. To allow less, create another group."
            )
        }


@admin.register(Group)
class StaffGroupAdmin(ForSuperusers, FilteredListAdmin, GroupAdmin, ModelAdmin):
    compressed_fields = False
    form = GroupForm
