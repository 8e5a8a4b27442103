"""The roles of staff in words, and who may give them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q

from products.groups import DESCRIPTIONS

ADMINISTRATOR = "administrator"
"""The value of the role with all rights. Groups have their ids as values."""

UNCHANGED = "unchanged"
"""The value for a user whose access is not one of the roles, such as two groups."""

_RIGHTS = {
    "products.view_product": "see products",
    "products.view_reservation": "see reservations",
    "products.view_stockevent": "see the ledger",
    "products.operate_stock": "add, remove, reserve, release and ship units",
    "products.adjust_stock": "count stock",
    "products.add_product": "create products",
    "products.change_product": "edit and archive products",
    "products.view_apikey": "see API keys",
    "products.add_apikey": "issue API keys",
    "products.change_apikey": "revoke API keys, and set their expiry",
    "products.view_subscription": "see webhooks",
    "products.add_subscription": "add webhooks",
    "products.change_subscription": "edit, pause, test and resume webhooks",
    "products.delete_subscription": "delete webhooks",
    "auth.view_user": "see colleagues",
    "auth.add_user": "add colleagues",
    "auth.change_user": "edit colleagues, with rights up to your own",
}


class Role(NamedTuple):
    """A choice of the form for a colleague."""

    value: str
    name: str
    description: str

    @property
    def label(self) -> str:
        """The name with the description."""
        return f"{self.name}: {self.description}" if self.description else self.name


def roles_of(giver: User) -> list[Role]:
    """Return the roles that a user may give: those whose rights they have themselves."""
    groups = Group.objects.prefetch_related("permissions__content_type").order_by("name")
    order = list(DESCRIPTIONS)
    ranked = sorted(groups, key=lambda group: [*order, group.name].index(group.name))
    roles = [
        Role(str(group.pk), group.name, DESCRIPTIONS.get(group.name, ""))
        for group in ranked
        if _has_all(giver, group.permissions.all())
    ]
    if giver.is_superuser:
        roles.append(Role(ADMINISTRATOR, "Administrator", "everything, also staff and groups"))
    return roles


def may_manage(editor: User, other: User) -> bool:
    """Return whether a user has all rights of another one, whether or not that one is active."""
    if editor.is_superuser or other.is_superuser:
        return editor.is_superuser
    held = Permission.objects.filter(Q(user=other) | Q(group__user=other))
    return _has_all(editor, held.select_related("content_type"))


def name_of_role(user: User) -> str:
    """Return the role of a user: the names of the groups, or Administrator."""
    if user.is_superuser:
        return "Administrator"
    return ", ".join(sorted(group.name for group in user.groups.all())) or "No role"


def value_of_role(user: User, offered: Iterable[Role]) -> str:
    """Return the value of a user's role, or `UNCHANGED` if it is not one that is offered."""
    groups = [str(group.pk) for group in user.groups.all()]
    value = ADMINISTRATOR if user.is_superuser else "+".join(groups)
    return value if value in {role.value for role in offered} else UNCHANGED


def give_role(user: User, value: str) -> None:
    """Set the groups of a saved user, and whether they have all rights."""
    if value == UNCHANGED:
        return
    user.is_staff, user.is_superuser = True, value == ADMINISTRATOR
    user.save(update_fields=["is_staff", "is_superuser"])
    user.groups.set([] if user.is_superuser else [int(value)])


def rights_in_words(user: Any) -> list[str]:
    """Return what a user may do, such as `count stock`."""
    return [words for permission, words in _RIGHTS.items() if user.has_perm(permission)]


def _has_all(user: User, permissions: Iterable[Permission]) -> bool:
    return user.has_perms(
        [f"{each.content_type.app_label}.{each.codename}" for each in permissions]
    )
