"""Django's pages of users and groups in Unfold's style, for superusers only."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from products.admin.filters import RelatedFilter, YesNoFilter
from products.admin.lists import FilteredListAdmin
from products.groups import PERMISSIONS

admin.site.unregister([Group, User])


class ForSuperusers:
    """Open a page to superusers only, regardless of permissions.

    A user who can edit users or groups could give themselves every permission.
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


@admin.register(User)
class StaffAdmin(ForSuperusers, FilteredListAdmin, UserAdmin, ModelAdmin):
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
    compressed_fields = False  # The choosers of groups and permissions need the full width.
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


class GroupForm(ModelForm):
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
