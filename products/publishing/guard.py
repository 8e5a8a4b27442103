"""Requests to addresses that others have chosen: which networks, how long, how much is read.

`requests-hardened` resolves each host once, refuses private networks, and connects to the address
that it has checked. This module adds the networks of `WEBHOOK_ALLOWED_NETWORKS`, and a limit for
the whole request: the timeouts of `requests` start anew with each byte.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress, filter_host
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from products.models import MAX_URL_LENGTH

CONNECT_SECONDS = 5


class UnsafeUrl(Exception):
    """A URL that must not be requested."""


def check_url(url: str) -> None:
    """Raise `UnsafeUrl` if no request may be sent to the URL, as far as its text tells.

    The address of a host name is checked at each request.
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
        raise UnsafeUrl("Requests to this address are not allowed. See WEBHOOK_ALLOWED_NETWORKS.")


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if settings.WEBHOOK_ALLOWED_NETWORKS else ("https",)


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _is_allowed(address: str, scheme: str) -> bool:
    if _is_in_allowed_network(address):
        return True
    if scheme != "https":
        return False
    try:
        filter_host(address, 443, allow_loopback=False)
    except requests.RequestException:
        return False
    return True


def _is_in_allowed_network(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in settings.WEBHOOK_ALLOWED_NETWORKS)


def session() -> requests.Session:
    """Return a session that refuses unsafe addresses. It follows no redirects."""
    guarded = requests.Session()
    # Neither a proxy of the environment nor passwords of a .netrc file.
    guarded.trust_env = False
    guarded.mount("https://", _Adapter(is_https_proto=True))
    guarded.mount("http://", _Adapter(is_https_proto=False))
    return guarded


class _Adapter(IPFilterAdapter):
    """Connects to the address that was checked."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        try:
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as refusal:
            [address] = refusal.args
            if not _is_in_allowed_network(str(address)):
                raise
            host, pool = self._pinned(str(address), request, verify, cert)
        if not self._is_https_proto and not _is_in_allowed_network(host["host"].strip("[]")):
            raise InvalidIPAddress(host["host"])
        return host, pool

    def _pinned(self, address: str, request: Any, verify: Any, cert: Any) -> tuple[Any, Any]:
        """Do what the library does for an address that it allows. It has set the Host header."""
        host, pool = HTTPAdapter.build_connection_pool_key_attributes(self, request, verify, cert)
        if self._is_https_proto:
            names: Any = {"assert_hostname": host["host"], "server_hostname": host["host"]}
            pool |= names
        host["host"] = f"[{address}]" if ":" in address else address
        return host, pool


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
