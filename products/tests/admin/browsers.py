"""Test clients in which a staff user is logged in."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client


def browser_of(username: str, *permissions: str) -> Client:
    """Create a staff user with only these permissions, and return a logged-in client."""
    user = get_user_model().objects.create_user(username=username, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Client()
    browser.force_login(user)
    return browser
