"""Which addresses may be requested that others have chosen.

`requests-hardened` knows the private networks.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings
from requests_hardened.ip_filter import InvalidIPAddress, filter_host

from products.models import MAX_URL_LENGTH

NOT_ALLOWED = "Requests to this address are not allowed. See WEBHOOK_ALLOWED_NETWORKS."


class UnsafeUrl(Exception):
    """A URL that must not be requested."""


def check_url(url: str) -> None:
    """Raise `UnsafeUrl` if no request may be sent to the URL, as far as its text tells.

    `address_of` checks the address of a host name.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnsafeUrl("Not a URL.") from None
    if len(url) > MAX_URL_LENGTH:
        raise UnsafeUrl(f"Longer than {MAX_URL_LENGTH} characters.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise UnsafeUrl("Use printable ASCII characters. Encode others.")
    if parts.scheme not in _schemes() or not host or port == 0:
        example = "https://shop.example.com/stock-events"
        raise UnsafeUrl(f"Send an address that starts with https://, such as {example}.")
    if parts.username is not None or parts.password is not None:
        raise UnsafeUrl("Leave out the user and the password. Requests are signed.")
    if parts.fragment:
        raise UnsafeUrl("Leave out the part after #.")
    if (address := _literal(host)) and not _is_allowed(address, parts.scheme):
        raise UnsafeUrl(NOT_ALLOWED)


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if settings.WEBHOOK_ALLOWED_NETWORKS else ("https",)


def _literal(host: str) -> str | None:
    try:
        return _plain(host)
    except ValueError:
        return None


def _is_allowed(address: str, scheme: str) -> bool:
    ip = ipaddress.ip_address(address)
    if any(ip in network for network in settings.WEBHOOK_ALLOWED_NETWORKS):
        return True
    if scheme != "https":
        return False
    try:
        filter_host(address, 443, allow_loopback=False)
    except InvalidIPAddress:
        return False
    return True


async def address_of(host: str, scheme: str) -> str:
    """Look up a host, and return its address, which connections must use.

    Raises `UnsafeUrl` if the address is not allowed, and `OSError` if the name has none.
    """
    loop = asyncio.get_running_loop()
    [*_, found] = next(iter(await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
    address = _plain(str(found[0]))
    if not _is_allowed(address, scheme):
        raise UnsafeUrl(NOT_ALLOWED)
    return address


def _plain(address: str) -> str:
    """Return an address without its zone, and an IPv4 address in its own form."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)
