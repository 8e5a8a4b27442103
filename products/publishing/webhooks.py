"""Deliver events by signed HTTP requests, as Standard Webhooks describes them."""

import hashlib
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from django.conf import settings
from standardwebhooks.webhooks import Webhook
from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from products.models import MAX_ANSWER_LENGTH, Subscription
from products.publishing import guard
from products.publishing.envelopes import BATCH_CONTENT_TYPE, CONTENT_TYPE, Envelope, batch_of
from products.publishing.publishers import DeliveryError, Publisher, Receipt

BATCH_BYTES = 20_000
CONNECT_SECONDS = 5
MAX_RETRY_AFTER = 24 * 60 * 60

_NOT_FOLLOWED = "The receiver redirects. Change the URL of the webhook."
_GONE = "The receiver wants no more events (410)."


class WebhookPublisher(Publisher):
    """Sends the events of one subscription to its URL."""

    parallel = 8

    def __init__(self, subscription: Subscription, seconds: float | None = None) -> None:
        self.subscription = subscription
        self.seconds = settings.WEBHOOK_TIMEOUT_SECONDS if seconds is None else seconds
        """The time for the whole of a request."""
        if subscription.batch:
            self.max_events = self.window = 1_000
            self.max_bytes = BATCH_BYTES
        parts = urlsplit(subscription.url)
        self._host = parts.netloc
        self._target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        # Opened by the first request. Until it is closed, the address stays the same.
        self._pool: HTTPConnectionPool | None = None
        self._opening = threading.Lock()

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        if self.subscription.batch:
            ids = ",".join(envelope.id for envelope in envelopes)
            message_id = f"batch-{hashlib.sha256(ids.encode()).hexdigest()[:32]}"
            return self._post(message_id, BATCH_CONTENT_TYPE, batch_of(list(envelopes)))
        [envelope] = envelopes
        return self._post(envelope.id, CONTENT_TYPE, envelope.body)

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _post(self, message_id: str, content_type: str, body: bytes) -> Receipt:
        headers = {
            "Host": self._host,
            "Content-Type": content_type,
            "User-Agent": "inventory-service",
            **signature(self.subscription.secrets, message_id, body),
        }
        with guard.deadline(self.seconds) as limit:
            try:
                status, answer, wait = self._request(body, headers)
            except guard.UnsafeUrl as error:
                raise DeliveryError(str(error)) from None
            except (HTTPError, OSError, ValueError) as error:
                self.close()  # The next request looks the address up again.
                reason = self._too_slow if limit.is_over or _is_slow(error) else _reason(error)
                raise DeliveryError(reason) from None
        if limit.is_over:
            raise DeliveryError(self._too_slow)
        if 200 <= status < 300:
            return Receipt(status, answer)
        if status == 410:
            raise DeliveryError(_GONE, status=status, answer=answer, is_gone=True)
        if 300 <= status < 400:
            raise DeliveryError(_NOT_FOLLOWED, status=status)
        reason = f"The receiver answered {status}."
        raise DeliveryError(reason, status=status, answer=answer, retry_after=wait)

    @property
    def _too_slow(self) -> str:
        return f"The receiver did not answer within {self.seconds:g} s."

    def _request(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, float | None]:
        """Send a request, and return the status, the start of the answer, and `Retry-After`."""
        response = self._connections().urlopen(
            "POST",
            self._target,
            body=body,
            headers=headers,
            timeout=Timeout(connect=min(CONNECT_SECONDS, self.seconds), read=self.seconds),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            answer = response.read(4 * MAX_ANSWER_LENGTH).decode(errors="replace")
            wait = retry_after(response.headers.get("Retry-After"))
            return response.status, answer.replace("\0", "")[:MAX_ANSWER_LENGTH], wait
        finally:
            if response.length_remaining != 0 and not response.closed:
                # There is more to read, so no other answer can follow on this connection.
                response.close()
            response.release_conn()

    def _connections(self) -> HTTPConnectionPool:
        with self._opening:
            if self._pool is None:
                self._pool = guard.open_pool(self.subscription.url, size=self.parallel)
            return self._pool


def signature(secrets: Sequence[str], message_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature for each secret."""
    now = datetime.now(UTC)
    signatures = [Webhook(each).sign(message_id, now, body.decode()) for each in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most a day (RFC 9110)."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:10])
    else:
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (until.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0), MAX_RETRY_AFTER)


def _is_slow(error: Exception) -> bool:
    # urllib3 counts a refused connection as a timeout, too.
    is_timeout = isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError)
    return is_timeout and not isinstance(error, NewConnectionError)


def _reason(error: Exception) -> str:
    """Return the reason for a failed request, without addresses of the internal network."""
    match error:
        case SSLError():
            return "The certificate of the receiver is not valid, or TLS failed."
        case ProtocolError() | NewConnectionError() | OSError():
            return "No connection to the receiver, or it closed the connection."
        case _:
            return "The answer of the receiver is not valid HTTP."
