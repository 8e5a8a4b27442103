"""Which publisher a subscription has."""

from django.conf import settings

from products.models import Subscription
from products.publishing.publishers import LogPublisher, Publisher, memory
from products.publishing.webhooks import WebhookPublisher

WEBHOOKS_ONLY = "webhook:"


def publisher_of(subscription: Subscription) -> Publisher:
    """Return a new publisher for a subscription."""
    if subscription.url:
        return WebhookPublisher(subscription)
    match settings.PUBLISHER_URL:
        case "log:":
            return LogPublisher()
        case "memory:":
            return memory
        case url:
            # The only module that needs kombu.
            from products.publishing.broker import BrokerPublisher

            return BrokerPublisher(url)


def has_publisher() -> bool:
    """Return whether the settings name a publisher besides webhooks."""
    return settings.PUBLISHER_URL != WEBHOOKS_ONLY
