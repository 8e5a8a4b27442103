"""Figures for Prometheus, read from the database for each scrape."""

import secrets
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from products.api.drf import AllowMixin
from products.models import Subscription
from products.publishing.figures import MAX_WAITING, waiting

_LABELS = ("subscription",)


class SubscriptionCollector(Collector):
    """The figures of each webhook, and of the broker. The label is the id."""

    def collect(self) -> Iterator[Metric]:
        events = GaugeMetricFamily(
            "inventory_subscription_waiting_events",
            f"Events that the receiver has not accepted, counted up to {MAX_WAITING}.",
            labels=_LABELS,
        )
        age = GaugeMetricFamily(
            "inventory_subscription_oldest_waiting_seconds",
            "Age of the oldest of these events, or 0.",
            labels=_LABELS,
        )
        parked = GaugeMetricFamily(
            "inventory_subscription_parked", "1 if the subscription is parked.", labels=_LABELS
        )
        delivered = CounterMetricFamily(
            "inventory_subscription_delivered_events", "Accepted events.", labels=_LABELS
        )
        failed = CounterMetricFamily(
            "inventory_subscription_failed_requests", "Failed requests.", labels=_LABELS
        )
        now = timezone.now()
        for subscription in Subscription.objects.order_by("pk"):
            found = waiting(subscription)
            seconds = (now - found.since).total_seconds() if found.since else 0
            label = [str(subscription.pk)]
            events.add_metric(label, found.events)
            age.add_metric(label, max(seconds, 0))
            parked.add_metric(label, subscription.state == Subscription.State.PARKED)
            delivered.add_metric(label, subscription.delivered)
            failed.add_metric(label, subscription.failed)
        yield from (events, age, parked, delivered, failed)


class MetricsView(AllowMixin, APIView):
    """Returns the figures to a client that sends the `METRICS_TOKEN`."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get_authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="metrics"'

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        token = settings.METRICS_TOKEN
        if not token:
            raise NotFound
        sent = request.META.get("HTTP_AUTHORIZATION", "").encode()
        if not secrets.compare_digest(sent, f"Bearer {token}".encode()):
            raise NotAuthenticated("Send the METRICS_TOKEN as Authorization: Bearer <token>.")
        registry = CollectorRegistry()
        registry.register(SubscriptionCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
