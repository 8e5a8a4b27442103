"""The groups of back-office staff: what each may see and do in the admin.

They are made after every `migrate`, like the triggers, and given what they lack of the permissions
below: a new release may name one that the database has not known before. What an administrator has
added to a group stays. Whoever wants a group that may do less makes one of their own.
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
)

PERMISSIONS = {"Stock viewer": _VIEWER, "Stock clerk": _CLERK, "Stock manager": _MANAGER}
"""What the members of each group may do at least: codenames of this application's permissions."""


def make_after_migrate(
    sender: AppConfig, *, using: str, verbosity: int, apps: Apps = installed_apps, **_: Any
) -> None:
    """Receive `post_migrate`; the tables are missing after a migration of `auth` back to zero."""
    # Django makes them in a receiver of its own, which may come after this one.
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
        # After a migration back to an earlier state, some are not known.
        group.permissions.add(*(known[codename] for codename in codenames if codename in known))
