"""The login form, with a limit on wrong passwords."""

import math
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.views.decorators.debug import sensitive_variables
from unfold.forms import AuthenticationForm

from products.throttling import Rate, client_of, consume, refund


class LoginForm(AuthenticationForm):
    """Limit wrong passwords for each user name and for each address.

    An attempt is counted before its password is checked, so that parallel logins cannot exceed the
    limit. A successful login is not counted. Unknown user names are limited in the same way.
    """

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return super().clean()
        consumed: list[tuple[str, Rate]] = []
        for bucket, rate in self._limits():
            if wait := consume(bucket, rate):
                _refund(consumed)
                raise ValidationError(
                    f"Too many failed logins. Try again in {math.ceil(wait)} seconds.",
                    code="throttled",
                )
            consumed.append((bucket, rate))
        cleaned = super().clean()
        _refund(consumed)
        return cleaned

    def _limits(self) -> list[tuple[str, Rate]]:
        # A hash, since a name has any length and may be a password typed into the wrong field.
        name = sha256(self.cleaned_data["username"].encode()).hexdigest()[:40]
        return [
            (f"login:{name}", Rate(*settings.LOGIN_FAILURES_PER_NAME)),
            (f"login:{client_of(self.request)}", Rate(*settings.LOGIN_FAILURES_PER_ADDRESS)),
        ]


def _refund(consumed: list[tuple[str, Rate]]) -> None:
    for bucket, rate in consumed:
        refund(bucket, rate)


admin.site.login_form = LoginForm
