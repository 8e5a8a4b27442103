"""Requests to addresses that others have chosen: which networks, how long, how much is read.

A host is looked up once, and connections go to the address that was checked. `requests-hardened`
knows the private networks. The time of a request is limited as a whole, because the timeout of a
socket starts again with each byte.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from certifi import where
from django.conf import settings
from requests_hardened.ip_filter import InvalidIPAddress, filter_host
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from products.models import MAX_URL_LENGTH

NOT_ALLOWED = "Requests to this address are not allowed. See WEBHOOK_ALLOWED_NETWORKS."


class UnsafeUrl(Exception):
    """A URL that must not be requested."""


def check_url(url: str) -> None:
    """Raise `UnsafeUrl` if no request may be sent to the URL, as far as its text tells.

    `open_pool` checks the address of a host name.
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


def open_pool(url: str, *, size: int) -> HTTPConnectionPool:
    """Return a pool of connections to the address of a URL, which is looked up once and checked.

    Raises `UnsafeUrl` if the address is not allowed, and `OSError` if the name has none.
    """
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    [*_, found] = next(iter(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    address = _plain(str(found[0]))
    if not _is_allowed(address, parts.scheme):
        raise UnsafeUrl(NOT_ALLOWED)
    options: dict[str, Any] = {"maxsize": size, "block": True, "retries": False}
    if is_tls:
        # The certificate is that of the name, not of the address.
        names: Any = {"assert_hostname": host, "server_hostname": host}
        return _TlsPool(address, port, cert_reqs="REQUIRED", ca_certs=where(), **names, **options)
    return _Pool(address, port, **options)


def _plain(address: str) -> str:
    """Return an address without its zone, and an IPv4 address in its own form."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


class _InUse(threading.local):
    """The connection that the thread uses."""

    connection: HTTPConnection | None = None


_in_use = _InUse()


class _Noted:
    """Notes the connection that the thread uses, so that `deadline` can close it."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        _in_use.connection = self  # type: ignore[assignment]  # Mixed into connections.
        super().request(*args, **kwargs)  # type: ignore[misc]


class _Connection(_Noted, HTTPConnection):
    pass


class _TlsConnection(_Noted, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Deadline:
    """Whether the time of a request is over."""

    is_over = False


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Close the connection of this thread's request after some seconds."""
    in_use, state = _in_use.__dict__, Deadline()
    in_use.pop("connection", None)

    def end() -> None:
        state.is_over = True
        connection = in_use.get("connection")
        sock = getattr(connection, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # It is closed already.

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield state
    finally:
        timer.cancel()
        in_use.pop("connection", None)
