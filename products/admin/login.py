"""The login, limited against guessing."""

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
    """Looks at so many wrong passwords of a user name, and of an address, and then at none.

    A try is taken before the password is looked at, so that of many at once no more are looked at
    than allowed, and given back if the login succeeds. It is the same for names that do not exist.
    """

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return super().clean()
        taken: list[tuple[str, Rate]] = []
        for bucket, rate in self._limits():
            if wait := consume(bucket, rate):
                _refund(taken)
                raise ValidationError(
                    f"Too many failed logins. Try again in {math.ceil(wait)} seconds.",
                    code="throttled",
                )
            taken.append((bucket, rate))
        cleaned = super().clean()
        _refund(taken)
        return cleaned

    def _limits(self) -> list[tuple[str, Rate]]:
        # The hash of the name: people type passwords there by mistake, and names have any length.
        name = sha256(self.cleaned_data["username"].encode()).hexdigest()[:40]
        return [
            (f"login:{name}", Rate(*settings.LOGIN_FAILURES_PER_NAME)),
            (f"login:{client_of(self.request)}", Rate(*settings.LOGIN_FAILURES_PER_ADDRESS)),
        ]


def _refund(taken: list[tuple[str, Rate]]) -> None:
    for bucket, rate in taken:
        refund(bucket, rate)


admin.site.login_form = LoginForm
