"""The forms that check a password, with a limit on wrong ones."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from products.throttling import Rate, client_of, consume, is_remembered, refund, remember

KNOWN_SECONDS = 90 * 24 * 60 * 60
"""How long an address is known after the last login."""


class Limit(NamedTuple):
    """A bucket and its rate."""

    bucket: str
    rate: Rate


class LoginForm(AuthenticationForm):
    """Limit wrong passwords for each address, and for each user name.

    An attempt is counted before its password is checked, so that parallel logins cannot exceed the
    limit. A successful login is not counted. Unknown user names are limited in the same way.

    Each address from which the user has logged in before has a limit of its own. Otherwise,
    strangers could keep the user out with wrong passwords.
    """

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        name, password = (self.cleaned_data.get(field) for field in ("username", "password"))
        if not (name and password):
            return super().clean()
        address = client_of(self.request)
        known = _bucket("known", name, address)
        own = _bucket("login", name, address) if is_remembered(known) else _bucket("login", name)
        # The address comes first. Its refused attempts create no rows for names.
        with _limited(
            [
                Limit(f"login:{address}", Rate(*settings.LOGIN_FAILURES_PER_ADDRESS)),
                Limit(own, Rate(*settings.LOGIN_FAILURES_PER_NAME)),
            ]
        ):
            cleaned = super().clean()
        remember(known, KNOWN_SECONDS)
        return cleaned


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Limit wrong old passwords. A session that was left open must not serve to guess one."""

    @sensitive_variables()
    def clean_old_password(self) -> str:
        bucket = _bucket("password", self.user.get_username())
        with _limited([Limit(bucket, Rate(*settings.LOGIN_FAILURES_PER_NAME))]):
            return super().clean_old_password()


def _bucket(purpose: str, *parts: str) -> str:
    """Return the name of a bucket.

    It holds a hash, since a name has any length and may be a password typed into the wrong field.
    """
    return f"{purpose}:{sha256(chr(0).join(parts).encode()).hexdigest()[:40]}"


@contextmanager
def _limited(limits: Sequence[Limit]) -> Iterator[None]:
    """Count an attempt, unless the password is right. Raise `ValidationError` if none is left."""
    consumed: list[Limit] = []
    for limit in limits:
        if wait := consume(*limit):
            _refund(consumed)
            raise ValidationError(
                f"Too many wrong passwords. Try again in {math.ceil(wait)} seconds.",
                code="throttled",
            )
        consumed.append(limit)
    yield
    _refund(consumed)


def _refund(consumed: Sequence[Limit]) -> None:
    for limit in consumed:
        refund(*limit)


def change_own_password(request: HttpRequest) -> HttpResponseBase:
    """Serve the page that changes the user's own password. Unfold's page has a form of its own."""
    view = PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request),
    )
    return view(request)


admin.site.login_form = LoginForm
