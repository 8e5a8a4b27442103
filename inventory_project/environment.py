"""Settings from environment variables and `.env`, each checked when it is read.

Every function raises `ImproperlyConfigured` with one sentence that names the variable and says what
it must be. An empty variable counts as missing. Quotes around a value are dropped: `docker run
--env-file` passes them on.
"""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from dotenv.parser import parse_stream
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

T = TypeVar("T")


class Variable(NamedTuple):
    """A variable as the settings understood it."""

    name: str
    shown: str
    """The value, without passwords and keys."""
    source: str
    """`environment`, `.env` or `default`."""


variables: dict[str, Variable] = {}
"""All variables that the settings have read, by name."""
file_names: set[str] = set()
"""The names of the variables in `.env`, known or not."""
is_command = False
"""Set by programs other than the server: their statements have no time limit."""

_from_file: set[str] = set()
_SWITCH = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}
_ORIGIN = re.compile(r"https?://[^/\s*]+")
_ORIGIN_PATTERN = re.compile(r"https?://(\*\.)?[^/\s*]+")
# A name that starts with a dot includes its subdomains.
_HOST_NAME = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:.]+\]", re.ASCII)
_POSTGRESQL_URL = re.compile(
    r"postgres(ql)?://"
    r"(?:[^/?]*@)?"  # User and password.
    r"[^/?#@\s]*/[^?#@\s]*(?:\?[^#@\s]*)?"  # Hosts, name and options.
)
# A name, an address or the folder of a socket.
_DATABASE_HOST = re.compile(
    r"(?:[^\[\]:,]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
# Which servers are used, of several (libpq).
_SESSION_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_SQLITE_URL = re.compile(r"sqlite:///[^?#]+(?:\?[^#]*)?")
# Both user and password or none. `smtplib` sends them in ASCII.
_SMTP_URL = re.compile(
    r"(?P<scheme>smtp|smtp\+tls|smtp\+ssl)://"
    r"(?:(?P<user>[^/?:]+:[^/?]+)@)?"
    r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII,
)
_SMTP_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
_COLLECTOR_URL = re.compile(r"https?://[^/?#\s]+[^?#\s]*")
_CONSOLE_URL = "consolemail://"
_SENDER = re.compile(r"(?:[^<>@,;:\"\\]*<([^<>\s]+)>|([^<>\s]+))")
_SKU_CHARACTERS = re.compile(r"(?:A-Z|a-z|0-9|[_. -])*")


def read_file(path: Path) -> None:
    """Read variables from `path` if it exists. Variables of the environment take precedence."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from error
    found = dict(_lines(_decoded(content, path), path))
    file_names.update(found)
    for name, value in found.items():
        if name not in os.environ:
            os.environ[name] = value
            _from_file.add(name)


def _decoded(content: bytes, path: Path) -> str:
    """Return the text of the file. Editors on Windows write UTF-16, or UTF-8 with a mark."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ImproperlyConfigured(
            f"Line {number} of {path} is not UTF-8. Save the file as UTF-8."
        ) from None


def _lines(content: str, path: Path) -> Iterator[tuple[str, str]]:
    for binding in parse_stream(StringIO(content)):
        line = binding.original.string.strip()
        name, value = binding.key or "", binding.value
        is_complete = value is not None and not re.search(r"[\r\n\0]", line)
        if binding.error or (name and not is_complete):
            # The parser counts from the blank lines above.
            above, _, _ = binding.original.string.partition(line)
            number = binding.original.line + above.count("\n")
            raise ImproperlyConfigured(
                f"Line {number} of {path} must look like NAME=value, with both quotes or none."
            )
        if name:
            yield name, value or ""


def secret(name: str, *, default: str = "") -> str:
    value = _given(name) or default
    return _understood(name, value, shown=f"{len(value)} characters")


def host(name: str, *, default: str) -> str:
    """Return an IP address, or a name that the server resolves."""
    return _understood(name, _given(name) or default)


def switch(name: str, *, default: bool) -> bool:
    value = _given(name).lower()
    if value and value not in _SWITCH:
        raise wrong(name, "on or off")
    return _understood(name, _SWITCH[value] if value else default)


def number(name: str, *, default: int, minimum: int = 0, maximum: int = 10**9) -> int:
    value = _given(name)
    # `int` would also accept 1_000 and the digits of other scripts.
    is_number = re.fullmatch(r"[0-9]{1,10}", value) and minimum <= int(value) <= maximum
    if value and not is_number:
        limit = f"from {minimum} to {maximum}" if maximum < 10**9 else f"of {minimum} or more"
        raise wrong(name, f"a whole number {limit}")
    return _understood(name, int(value) if value else default)


def choice(name: str, choices: tuple[str, ...], *, default: str) -> str:
    """Return one of the choices, which may be written in capital or small letters."""
    value = _given(name) or default
    for each in choices:
        if each.lower() == value.lower():
            return _understood(name, each)
    raise wrong(name, f"one of {', '.join(choices)}")


def pattern(name: str, expression: str, *, description: str) -> str:
    """Return a text that matches the regular expression as a whole, or an empty text."""
    value = _given(name)
    if value and not re.fullmatch(expression, value):
        raise wrong(name, description)
    return _understood(name, value)


def time_zone(name: str, *, default: str) -> str:
    """Return the name of a time zone that the system knows."""
    value = _given(name) or default
    try:
        # Of other characters, some are paths, and some are not valid in one.
        ZoneInfo(value if re.fullmatch(r"[A-Z][A-Za-z0-9_+/-]*", value) else "")
    except (ValueError, KeyError, OSError):
        raise wrong(name, "a time zone such as Europe/Berlin or UTC") from None
    return _understood(name, value)


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Return networks such as 10.1.0.0/16. A single address is a network, too."""
    description = "networks such as 10.1.0.0/16, separated by commas"
    found = []
    for value in _several(name, re.compile("[0-9a-f.:]+(/[0-9]+)?"), description):
        try:
            found.append(ip_network(value))
        except ValueError:
            raise wrong(name, description, value) from None
    return found


def publisher(name: str, *, default: str) -> str:
    """Return the URL of a publisher. A broker needs the package kombu.

    Errors do not repeat the URL, which may contain a password.
    """
    url = _given(name) or default
    scheme, colon, rest = url.partition(":")
    if url not in ("webhook:", "log:", "memory:") and not (colon and rest.startswith("//")):
        raise ImproperlyConfigured(
            f"{name} must be webhook:, log:, memory: or the URL of a broker such as "
            "amqp://user:password@host."
        )
    if rest and not _has_transport(scheme):
        raise ImproperlyConfigured(
            f"{name} needs the packages in requirements/brokers.txt, or {scheme} is no kind of "
            "broker that kombu knows."
        )
    _, at, place = url.rpartition("@")
    return _understood(name, url, shown=f"{scheme}://***@{place}" if at else url)


def _has_transport(scheme: str) -> bool:
    try:
        from kombu.transport import TRANSPORT_ALIASES
    except ImportError:
        return False
    return scheme in TRANSPORT_ALIASES


def collector(name: str) -> str:
    """Return the URL of a collector of OpenTelemetry, or an empty text. It needs packages.

    Errors do not repeat the URL, which may contain a password.
    """
    url = _given(name)
    if url and not _COLLECTOR_URL.fullmatch(url):
        raise ImproperlyConfigured(f"{name} must look like http://localhost:4318.")
    if url and find_spec("opentelemetry") is None:
        raise ImproperlyConfigured(f"{name} needs the packages in requirements/tracing.txt.")
    _, at, place = url.rpartition("@")
    return _understood(name, url, shown=f"***@{place}" if at else url or "none")


def sku_characters(name: str) -> str:
    """Return the characters of SKUs, as in the brackets of a regular expression.

    Capitals, digits and the hyphen are always among them. A blank counts, also at the end.
    """
    value = re.sub(r"""\s*(['"])(.*)\1\s*""", r"\2", os.environ.get(name, ""))
    if not _SKU_CHARACTERS.fullmatch(value):
        description = "made of A-Z, a-z, 0-9, _, ., a blank and -, such as a-z_."
        raise wrong(name, description, value)
    lower, *marks = (each if each in value else "" for each in ("a-z", "_", ".", " "))
    return _understood(name, f"A-Z{lower}0-9{''.join(marks)}-")


def host_names(name: str, *, default: list[str]) -> list[str]:
    description = "host names such as inventory.example.com, separated by commas"
    return _several(name, _HOST_NAME, description, default=default)


def header_names(name: str) -> list[str]:
    description = "header names such as X-Tenant, separated by commas"
    return _several(name, re.compile("[A-Za-z0-9-]+"), description)


def origins(name: str, *, subdomains: bool = False) -> list[str]:
    """Return origins. With `subdomains`, `https://*.example.com` is one."""
    description = "origins such as https://shop.example.com, separated by commas"
    return _several(name, _ORIGIN_PATTERN if subdomains else _ORIGIN, description)


def _several(
    name: str, expression: re.Pattern[str], description: str, *, default: list[str] | None = None
) -> list[str]:
    values = [_unquoted(value).lower() for value in _given(name).split(",") if value.strip()]
    for value in values:
        if not expression.fullmatch(value):
            raise wrong(name, description, value)
    return _understood(name, values or default or [])


def database(name: str, *, default: Path, url: str | None = None) -> dict[str, Any]:
    """Return Django's settings of the database at a URL, by default an SQLite file.

    The URL is that of the variable, unless it is given. Several hosts mean the primary among them,
    unless it has `target_session_attrs`.

    Errors do not repeat the URL, which may contain a password.
    """
    url = _given(name) if url is None else url
    if not url:
        file = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(default)}
        return _understood(name, file, shown=_without_password(file))
    return _database_at(name, url, wanted="primary")


def replica(name: str) -> dict[str, Any] | None:
    """Return Django's settings of a copy of the database, if there is one.

    A URL with several hosts means a standby among them, or the primary if there is none.
    """
    url = _given(name)
    if not url:
        return _understood(name, None, shown="none")
    found = _database_at(name, url, wanted="prefer-standby")
    if found["ENGINE"].endswith("sqlite3"):
        raise ImproperlyConfigured(f"{name} must be a copy of a PostgreSQL database.")
    return found


def _database_at(name: str, url: str, *, wanted: str) -> dict[str, Any]:
    """Read a URL. `wanted` says which of several hosts are used."""
    expected = f"{name} must look like postgres://user:password@host:5432/name or sqlite:///file"
    if not _POSTGRESQL_URL.fullmatch(url) and not _SQLITE_URL.fullmatch(url):
        raise ImproperlyConfigured(
            f"{expected}. In a password, write / as %2F, ? as %3F and % as %25."
        )
    found = _parsed(url)
    if found is None:
        raise ImproperlyConfigured(f"{expected}. The host or the port is not valid.")
    if not found["NAME"]:
        raise ImproperlyConfigured(f"{expected}. The name of the database is missing.")
    is_known = _is_sqlite_option if found["ENGINE"].endswith("sqlite3") else _is_postgresql_option
    for option in found.get("OPTIONS", {}):
        if not is_known(option):
            raise ImproperlyConfigured(f"{name} has an unknown option: {option}.")
    if found["HOST"].count(","):
        _check_hosts(name, url)
        found.setdefault("OPTIONS", {}).setdefault("target_session_attrs", wanted)
    if found.get("OPTIONS", {}).get("target_session_attrs", "any") not in _SESSION_ATTRIBUTES:
        raise ImproperlyConfigured(
            f"{name} has a wrong target_session_attrs. It must be one of "
            f"{', '.join(_SESSION_ATTRIBUTES)}."
        )
    return _understood(name, found, shown=_without_password(found))


def _check_hosts(name: str, url: str) -> None:
    """Check that all hosts of a URL are valid, and that all have a port, or none.

    libpq would connect to all hosts at the only port of `h1:5433,h2`.
    """
    address = url.partition("://")[2].partition("?")[0]
    places = address.rpartition("@")[2].partition("/")[0].split(",")
    matches = [_DATABASE_HOST.fullmatch(place) for place in places]
    ports = [match and match["port"] for match in matches]
    is_valid = all(matches) and all(1 <= int(port or 1) <= 65535 for port in ports)
    if not is_valid or 0 < ports.count(None) < len(ports):
        raise ImproperlyConfigured(
            f"{name} has several hosts. Give each a port, or none, such as "
            "postgres://user:password@host1:5432,host2:5432/name."
        )


def _parsed(url: str) -> dict[str, Any] | None:
    # `db_url_config` misreads a plus in a name, and escapes in a password that has a bracket.
    scheme, _, rest = url.partition("://")
    address, mark, options = rest.partition("?")
    user, at, place = address.rpartition("@")
    escaped = quote(user, safe="%:/") + at + place.replace("+", "%2B")
    try:
        found: dict[str, Any] = environ.Env.db_url_config(f"{scheme}://{escaped}{mark}{options}")
    except (ValueError, KeyError, ImproperlyConfigured):
        return None
    return found


def _without_password(database: dict[str, Any]) -> str:
    if database["ENGINE"].endswith("sqlite3"):
        return f"SQLite file {Path(database['NAME']).absolute()}"
    password = ":***" if database["PASSWORD"] else ""
    hosts, ports = database["HOST"].split(","), str(database["PORT"] or "").split(",")
    places = [
        f"{host}:{port}".rstrip(":") for host, port in zip_longest(hosts, ports, fillvalue="")
    ]
    options = [
        f"{option}={'***' if 'password' in option else value}"
        for option, value in database.get("OPTIONS", {}).items()
    ]
    return (
        f"postgres://{database['USER']}{password}@{','.join(places)}/{database['NAME']}"
        + "?" * bool(options)
        + "&".join(options)
    )


def _is_sqlite_option(option: str) -> bool:
    return option in ("timeout", "transaction_mode", "init_command")


def _is_postgresql_option(option: str) -> bool:
    try:
        make_conninfo("", **{option: ""})
    except ProgrammingError:
        # Options of Django's own.
        return option in ("assume_role", "isolation_level", "server_side_binding")
    return True


def email(name: str) -> dict[str, Any]:
    """Return Django's settings of the mail server at a URL, or none without a URL.

    Errors do not repeat the URL, which may contain a password.
    """
    url = _given(name)
    if not url:
        return _understood(name, {}, shown="none")
    if url == _CONSOLE_URL:
        return _understood(name, environ.Env.email_url_config(url), shown=url)
    match = _SMTP_URL.fullmatch(url)
    is_valid = match and unquote(url).isascii() and 1 <= int(match["port"] or 1) <= 65535
    if match is None or not is_valid:
        raise ImproperlyConfigured(
            f"{name} must look like smtp+tls://user:password@smtp.example.com:587, smtp+ssl://..., "
            f"smtp://localhost:25 or {_CONSOLE_URL}. "
            "In a password, write / as %2F, ? as %3F and % as %25."
        )
    port = int(match["port"] or _SMTP_PORTS[match["scheme"]])
    place = f"{match['host']}:{port}"
    # `email_url_config` would read a plus as a blank.
    user = f"{quote(match['user'], safe='%:')}@" if match["user"] else ""
    found = environ.Env.email_url_config(f"{match['scheme']}://{user}{place}")
    user = f"{found['EMAIL_HOST_USER']}:***@" if match["user"] else ""
    return _understood(name, found, shown=f"{match['scheme']}://{user}{place}")


def email_addresses(name: str) -> list[str]:
    description = "e-mail addresses such as ada@example.com, separated by commas"
    values = [_unquoted(value) for value in _given(name).split(",") if value.strip()]
    for value in values:
        if not _is_email_address(value):
            raise wrong(name, description, value)
    return _understood(name, values)


def sender(name: str, *, default: str) -> str:
    """Return an e-mail address, maybe with a name: `Inventory <stock@example.com>`."""
    value = _given(name) or default
    match = _SENDER.fullmatch(value)
    if match is None or not value.isprintable() or not _is_email_address(match[1] or match[2]):
        raise wrong(name, "an e-mail address, or Inventory <stock@example.com>")
    return _understood(name, value)


def _is_email_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def wrong(name: str, description: str, value: str | None = None) -> ImproperlyConfigured:
    """Return the error for a variable that does not match the description."""
    found = _given(name) if value is None else value
    return ImproperlyConfigured(f"{name} must be {description}, not {found!r}.")


def _given(name: str) -> str:
    return _unquoted(os.environ.get(name, ""))


def _unquoted(value: str) -> str:
    value = value.strip()
    for mark in ("'", '"'):
        if value.startswith(mark) and value.endswith(mark) and value.count(mark) == 2:
            return value[1:-1].strip()
    return value


def _understood(name: str, value: T, *, shown: str | None = None) -> T:
    """Return the value, and list it in `variables`."""
    source = ".env" if name in _from_file else "environment"
    variables[name] = Variable(
        name, _text(value) if shown is None else shown, source if _given(name) else "default"
    )
    return value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        value = ", ".join(value)
    return str(value) or "none"
