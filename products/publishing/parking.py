"""Tell people by e-mail that a subscription is parked."""

import logging

from django.db import Error
from django.urls import reverse

from products import alerts
from products.models import Subscription
from products.publishing.reading import database

logger = logging.getLogger(__name__)


def report() -> None:
    """Send one e-mail about each newly parked subscription.

    If the mail server refuses it, the next report tries again.
    """
    try:
        with database():
            untold = Subscription.objects.parked().filter(is_alerted=False)
            for subscription in untold:
                # Another relay may report at the same time.
                if untold.filter(pk=subscription.pk).update(is_alerted=True):
                    _tell(subscription)
    except Error as error:
        logger.warning("the database failed: %s", error)


def _tell(subscription: Subscription) -> None:
    about = {"subscription": subscription.pk}
    logger.error("a webhook is parked: %s", subscription.parked_because, extra=about)
    page = alerts.link(reverse("admin:products_subscription_change", args=[subscription.pk]))
    body = [
        f"{subscription} gets no events any more.",
        f"Reason: {subscription.parked_because}",
        f"Last delivery: {subscription.delivered_at or 'never'}",
        "No event is lost. When the receiver works again, resume the webhook: it goes on where it "
        "stopped.",
        *([page] if page else []),
    ]
    parked_at = subscription.parked_at
    key = f"parked-{subscription.pk}-{int(parked_at.timestamp()) if parked_at else 0}"
    try:
        alerts.send(f"Webhook parked: {subscription}", "\n\n".join(body), key=key)
    except alerts.NotConfigured:
        return  # The log and the front page tell.
    except alerts.NotSent as error:
        logger.warning("%s", error, extra=about)
        Subscription.objects.filter(pk=subscription.pk).update(is_alerted=False)
