"""Deliver events by signed HTTP requests, as Standard Webhooks describes them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from django.conf import settings
from requests_hardened.ip_filter import InvalidIPAddress
from standardwebhooks.webhooks import Webhook
from urllib3.exceptions import HTTPError

from products.models import MAX_ANSWER_LENGTH, Subscription
from products.publishing import guard
from products.publishing.envelopes import BATCH_CONTENT_TYPE, CONTENT_TYPE, Envelope, batch_of
from products.publishing.publishers import DeliveryError, Publisher, Receipt

BATCH_BYTES = 20_000
MAX_RETRY_AFTER = 24 * 60 * 60

_NOT_FOLLOWED = "The receiver redirects. Change the URL of the webhook."
_NOT_ALLOWED = "Requests to this address are not allowed. See WEBHOOK_ALLOWED_NETWORKS."
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
        self._session = guard.session()

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        if self.subscription.batch:
            ids = ",".join(envelope.id for envelope in envelopes)
            message_id = f"batch-{hashlib.sha256(ids.encode()).hexdigest()[:32]}"
            return self._post(message_id, BATCH_CONTENT_TYPE, batch_of(list(envelopes)))
        [envelope] = envelopes
        return self._post(envelope.id, CONTENT_TYPE, envelope.body)

    def close(self) -> None:
        self._session.close()

    def _post(self, message_id: str, content_type: str, body: bytes) -> Receipt:
        headers = {
            "Content-Type": content_type,
            "User-Agent": "inventory-service",
            **signature(self.subscription.secrets, message_id, body),
        }
        with guard.deadline(self.seconds) as limit:
            try:
                status, answer, wait = self._request(body, headers)
            except InvalidIPAddress:
                raise DeliveryError(_NOT_ALLOWED) from None
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                is_slow = limit.is_over or isinstance(error, requests.Timeout)
                raise DeliveryError(self._too_slow if is_slow else _reason(error)) from None
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
        with self._session.post(
            self.subscription.url,
            data=body,
            headers=headers,
            timeout=(min(guard.CONNECT_SECONDS, self.seconds), self.seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            # The connection is used again if nothing is left to read.
            raw = response.raw.read(4 * MAX_ANSWER_LENGTH)
            answer = raw.decode(errors="replace").replace("\0", "")[:MAX_ANSWER_LENGTH]
            wait = retry_after(response.headers.get("Retry-After"))
            return response.status_code, answer, wait


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


def _reason(error: Exception) -> str:
    """Return the reason for a failed request, without addresses of the internal network."""
    match error:
        case requests.exceptions.SSLError():
            return "The certificate of the receiver is not valid, or TLS failed."
        case requests.ConnectionError():
            return "No connection to the receiver, or it closed the connection."
        case _:
            return "The answer of the receiver is not valid HTTP."
