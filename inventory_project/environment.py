"""Settings from environment variables and `.env`, each checked when it is read.

Every function raises `ImproperlyConfigured` with one sentence that names the variable and says what
it must be. An empty variable counts as missing.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

_SWITCH = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}
_ORIGIN = re.compile(r"https?://[^/\s]+")
_HOST_NAME = re.compile(r"\*|[^/\s:]+|\[[0-9a-fA-F:]+\]")
_POSTGRESQL_SCHEMES = ("postgres", "postgresql")


def read_file(path: Path) -> None:
    """Read variables from `path` if it exists. Variables of the environment take precedence."""
    try:
        environ.Env.read_env(path)
    except UnicodeDecodeError as error:
        raise ImproperlyConfigured(f"{path} must be UTF-8 text.") from error


def text(name: str, *, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def switch(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if value and value not in _SWITCH:
        raise wrong(name, "on or off")
    return _SWITCH[value] if value else default


def number(name: str, *, default: int, minimum: int = 0, maximum: int = 10**9) -> int:
    value = text(name)
    if not value:
        return default
    # `int` would also accept 1_000 and the digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,10}", value) or not minimum <= int(value) <= maximum:
        limit = f"from {minimum} to {maximum}" if maximum < 10**9 else f"of {minimum} or more"
        raise wrong(name, f"a whole number {limit}")
    return int(value)


def choice(name: str, choices: tuple[str, ...], *, default: str) -> str:
    value = text(name, default=default)
    if value not in choices:
        raise wrong(name, f"one of {', '.join(choices)}")
    return value


def pattern(name: str, expression: str, *, description: str) -> str:
    """Return a text that matches the regular expression as a whole, or an empty text."""
    value = text(name)
    if value and not re.fullmatch(expression, value):
        raise wrong(name, description)
    return value


def log_level(name: str, *, default: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if text(name).upper() in levels:
        return text(name).upper()
    return choice(name, levels, default=default)


def address(name: str, *, default: str) -> str:
    value = text(name, default=default)
    try:
        ipaddress.ip_address(value)
    except ValueError as error:
        raise wrong(name, "an IP address such as 127.0.0.1 or 0.0.0.0") from error
    return value


def host_names(name: str, *, default: list[str]) -> list[str]:
    description = "host names such as inventory.example.com, separated by commas"
    return _several(name, _HOST_NAME.fullmatch, description) or default


def header_names(name: str) -> list[str]:
    description = "header names such as X-Tenant, separated by commas"
    return _several(name, re.compile("[A-Za-z0-9-]+").fullmatch, description)


def origins(name: str) -> list[str]:
    description = "origins such as https://shop.example.com, separated by commas"
    return _several(name, _ORIGIN.fullmatch, description)


def _several(name: str, is_valid: Callable[[str], Any], description: str) -> list[str]:
    values = [value.strip() for value in text(name).split(",") if value.strip()]
    for value in values:
        if not is_valid(value):
            raise wrong(name, description, value)
    return values


def database(name: str, *, default: Path) -> dict[str, Any]:
    """Return Django's settings of the database at a URL, by default an SQLite file.

    Errors do not repeat the URL, which may contain a password.
    """
    url = text(name)
    if not url:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    expected = f"{name} must look like postgres://user:password@host:5432/name or sqlite:///file"
    if url.partition("://")[0] not in (*_POSTGRESQL_SCHEMES, "sqlite"):
        raise ImproperlyConfigured(f"{expected}.")
    try:
        found: dict[str, Any] = environ.Env.db_url_config(url)
    except (ValueError, KeyError, ImproperlyConfigured) as error:
        hint = "Write special characters of the password as %XX, such as %23 for #."
        raise ImproperlyConfigured(f"{expected}. {hint}") from error
    if not found.get("NAME"):
        raise ImproperlyConfigured(f"{expected}. The name of the database is missing.")
    is_known = _is_sqlite_option if found["ENGINE"].endswith("sqlite3") else _is_postgresql_option
    for option in found.get("OPTIONS", {}):
        if not is_known(option):
            raise ImproperlyConfigured(f"{name} has an unknown option: {option}.")
    return found


def _is_sqlite_option(option: str) -> bool:
    return option in ("timeout", "transaction_mode", "init_command")


def _is_postgresql_option(option: str) -> bool:
    try:
        make_conninfo("", **{option: ""})
    except ProgrammingError:
        # Options of Django's own.
        return option in ("assume_role", "isolation_level", "server_side_binding")
    return True


def wrong(name: str, description: str, value: str | None = None) -> ImproperlyConfigured:
    """Return the error for a variable that does not match the description."""
    found = text(name) if value is None else value
    return ImproperlyConfigured(f"{name} must be {description}, not {found!r}.")
