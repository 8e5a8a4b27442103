"""Deliver events by signed HTTP requests, as Standard Webhooks describes them."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django.conf import settings
from standardwebhooks.webhooks import Webhook

from products.models import Subscription
from products.publishing.client import Client, RequestFailed, in_background
from products.publishing.envelopes import BATCH_CONTENT_TYPE, CONTENT_TYPE, Envelope, batch_of
from products.publishing.publishers import DeliveryError, Publisher, Receipt

BATCH_BYTES = 20_000
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
        self._client = Client(subscription.url, connections=self.parallel)

    def publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        return in_background(self._publish(envelopes)).result()

    def start(self, envelopes: Sequence[Envelope], executor: Executor) -> Future[Receipt]:
        return in_background(self._publish(envelopes))

    def close(self) -> None:
        in_background(self._client.close()).result()

    async def _publish(self, envelopes: Sequence[Envelope]) -> Receipt:
        if self.subscription.batch:
            ids = ",".join(envelope.id for envelope in envelopes)
            message_id = f"batch-{hashlib.sha256(ids.encode()).hexdigest()[:32]}"
            return await self._post(message_id, BATCH_CONTENT_TYPE, batch_of(list(envelopes)))
        [envelope] = envelopes
        return await self._post(envelope.id, CONTENT_TYPE, envelope.body)

    async def _post(self, message_id: str, content_type: str, body: bytes) -> Receipt:
        headers = {
            "Content-Type": content_type,
            **signature(self.subscription.secrets, message_id, body),
        }
        try:
            answer = await self._client.post(body, headers, seconds=self.seconds)
        except RequestFailed as error:
            raise DeliveryError(str(error)) from None
        status, text = answer.status, answer.text
        if 200 <= status < 300:
            return Receipt(status, text)
        if status == 410:
            raise DeliveryError(_GONE, status=status, answer=text, is_gone=True)
        if 300 <= status < 400:
            raise DeliveryError(_NOT_FOLLOWED, status=status)
        reason, wait = f"The receiver answered {status}.", retry_after(answer.retry_after)
        raise DeliveryError(reason, status=status, answer=text, retry_after=wait)


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
