"""The groups of back-office staff, with their permissions in the admin.

The groups are created after every `migrate`, and get the permissions below that they lack: a new
release may add some. Permissions that an administrator has added to a group stay. For a group with
fewer permissions, create a new group.
"""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.apps.registry import apps as installed_apps
from django.contrib.auth.management import create_permissions

_VIEWER = (
    "view_product",
    "view_reservation",
    "view_reservationline",
    "view_stockevent",
)
_CLERK = (*_VIEWER, "operate_stock")
_MANAGER = (
    *_CLERK,
    "adjust_stock",
    "add_product",
    "change_product",
    "view_apikey",
    "add_apikey",
    "change_apikey",
    "view_subscription",
    "add_subscription",
    "change_subscription",
    "delete_subscription",
)

PERMISSIONS = {"Stock viewer": _VIEWER, "Stock clerk": _CLERK, "Stock manager": _MANAGER}
"""The least permissions of each group, by their codenames in this application."""

DESCRIPTIONS = {
    "Stock viewer": "sees products, reservations and the ledger, and exports them",
    "Stock clerk": "also adds and removes stock, and reserves, ships and releases units",
    "Stock manager": (
        "also counts stock, edits products, imports files, issues API keys and manages webhooks"
    ),
}
"""What the members of each group may do."""


def create_after_migrate(
    sender: AppConfig, *, using: str, verbosity: int, apps: Apps = installed_apps, **_: Any
) -> None:
    """Create the groups and add missing permissions. Receives `post_migrate`.

    Does nothing after a migration of `auth` back to zero, when its tables do not exist.
    """
    # Django creates permissions in its own receiver, which may run after this one.
    create_permissions(sender, using=using, apps=apps, verbosity=verbosity)
    try:
        groups = apps.get_model("auth", "Group").objects.using(using)
        permissions = apps.get_model("auth", "Permission").objects.using(using)
    except LookupError:
        return
    known = {
        permission.codename: permission
        for permission in permissions.filter(content_type__app_label=sender.label)
    }
    for name, codenames in PERMISSIONS.items():
        group, _created = groups.get_or_create(name=name)
        # After a migration back to an earlier state, some permissions do not exist.
        group.permissions.add(*(known[codename] for codename in codenames if codename in known))
