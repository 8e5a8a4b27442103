from typing import Any

from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from products.models import ApiKey, Role


class HasRole(BasePermission):
    """Lets a key in whose role includes the one that the view's `required_roles` names.

    An action that is not named there is refused to every key.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiKey):
            raise NotAuthenticated("An API key is required: Authorization: Api-Key <key>.")
        if view.action in (None, "metadata"):
            return True  # No handler: the answer is 405.
        require_role(request.auth, view.required_roles.get(view.action))
        return True


def require_role(api_key: ApiKey, required: Role | None) -> None:
    """Refuse a key whose role does not include the required one, and every key if there is none."""
    if required is None or not Role(api_key.role).includes(required):
        raise PermissionDenied(f"The role {required} is required.")
