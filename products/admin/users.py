"""The staff and their groups: Django's own pages, in the look of the others, for superusers."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from products.groups import PERMISSIONS

admin.site.unregister([Group, User])


class ForSuperusers:
    """Pages for superusers alone, whatever permissions others have been given.

    Whoever may edit a user or a group could take every right for themselves.
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
class StaffAdmin(ForSuperusers, UserAdmin, ModelAdmin):
    compressed_fields = False  # Two lists to choose from need the whole width.
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


class GroupForm(ModelForm):
    class Meta:
        model = Group
        fields = ("name", "permissions")
        help_texts = {
            "permissions": (
                f"{', '.join(PERMISSIONS)} are given what they lack of their first permissions "
                "with each update of the service. Make a group of its own for who may do less."
            )
        }


@admin.register(Group)
class StaffGroupAdmin(ForSuperusers, GroupAdmin, ModelAdmin):
    compressed_fields = False
    form = GroupForm
