"""Send HTTP requests to an address that somebody else has chosen, within limits.

All requests of a process share an event loop, which runs in a thread of its own.
"""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from certifi import where
from yarl import URL

from products.models import MAX_ANSWER_LENGTH
from products.publishing import guard

T = TypeVar("T")

CONNECT_SECONDS = 5
LOOKUPS = 32
"""How many host names are looked up at the same time."""


class RequestFailed(Exception):
    """There is no answer. The text is the reason, without addresses of the internal network."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    text: str
    """The start of the body, up to `MAX_ANSWER_LENGTH` characters."""
    retry_after: str | None


class Client:
    """Sends requests to one URL. It follows no redirects and uses no proxy.

    Run its coroutines by `in_background`.
    """

    def __init__(self, url: str, *, connections: int) -> None:
        parts = urlsplit(url)
        self._host, self._scheme = parts.hostname or "", parts.scheme
        self._headers = {"Host": parts.netloc, "User-Agent": "inventory-service"}
        self._url = URL(url, encoded=True)
        self._connections = connections
        self._address: str | None = None
        self._session: ClientSession | None = None

    async def post(self, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Send a request, and return its answer.

        `seconds` is the time for all of it. Raises `RequestFailed`.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(body, {**self._headers, **headers})
        except guard.UnsafeUrl as error:
            raise RequestFailed(str(error)) from None
        except (ClientError, OSError, ValueError) as error:
            self._address = None  # The next request looks it up again.
            raise RequestFailed(_reason(error, seconds)) from None

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(self, body: bytes, headers: dict[str, str]) -> Answer:
        if self._address is None:
            self._address = await guard.address_of(self._host, self._scheme)
        if self._session is None:
            self._session = _open_session(self._connections)
        # The connection goes to the address that was checked, and the certificate is that of the
        # name.
        async with self._session.post(
            self._url.with_host(self._address),
            data=body,
            headers=headers,
            server_hostname=self._host,
            allow_redirects=False,
        ) as response:
            text = await _start_of(response)
            return Answer(response.status, text, response.headers.get("Retry-After"))


def _open_session(connections: int) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=connections, ssl=_tls()),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=["Accept", "Accept-Encoding"],
        auto_decompress=False,
    )


async def _start_of(response: ClientResponse) -> str:
    """Read the start of the body. A connection with more to read is closed by its response."""
    try:
        start = await response.content.readexactly(4 * MAX_ANSWER_LENGTH)
    except asyncio.IncompleteReadError as error:
        start = error.partial
    return start.decode(errors="replace").replace("\0", "")[:MAX_ANSWER_LENGTH]


def _reason(error: Exception, seconds: float) -> str:
    match error:
        case TimeoutError():
            return f"The receiver did not answer within {seconds:g} s."
        case ClientSSLError() | ssl.SSLError():
            return "The certificate of the receiver is not valid, or TLS failed."
        case ClientConnectionError() | OSError():
            return "No connection to the receiver, or it closed the connection."
        case _:
            return "The answer of the receiver is not valid HTTP."


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=where())


_starting = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def in_background(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the event loop of this process. The first call starts its thread."""
    with _starting:
        if not _loops:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(LOOKUPS, "webhook look-up"))
            threading.Thread(target=loop.run_forever, name="webhook requests", daemon=True).start()
            _loops.append(loop)
    return asyncio.run_coroutine_threadsafe(coroutine, _loops[0])
