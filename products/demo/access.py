"""The API key and the staff login of a development run."""

import json
import secrets
from pathlib import Path
from typing import NamedTuple

from django.contrib.auth import get_user_model

from products.models import ApiKey, Role

NAME = "demo"


class Access(NamedTuple):
    """The secrets of the API key and the staff user, which are both named `demo`."""

    api_key: str
    password: str


def prepare(file: Path) -> Access:
    """Return the access stored in `file`. Replace a key or a password that does not work."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    access = Access(
        api_key=_working_key(kept.get("api_key", "")),
        password=_working_password(kept.get("password", "")),
    )
    if access._asdict() != kept:
        file.touch(mode=0o600)
        file.write_text(json.dumps(access._asdict()))
    return access


def _working_key(text: str) -> str:
    if text and ApiKey.objects.is_valid(text):
        return text
    return ApiKey.issue(name=NAME, role=Role.MANAGE).text


def _working_password(password: str) -> str:
    user, _ = get_user_model().objects.get_or_create(
        username=NAME, defaults={"is_staff": True, "is_superuser": True}
    )
    if not (password and user.check_password(password)):
        password = secrets.token_urlsafe(9)
        user.set_password(password)
        user.save(update_fields=["password"])
    return password
