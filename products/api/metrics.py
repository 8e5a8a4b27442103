"""`GET /metrics`: the figures for Prometheus. `docs/reference/metrics.md` describes them."""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Count, Min
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from products import feed, metrics, shared_metrics
from products.api.drf import AllowMixin
from products.db import deadline
from products.db.connection import drain_pool_after
from products.db.pool_metrics import record_pool
from products.db.sqlite import is_sqlite
from products.models import Reservation, Subscription
from products.publishing.figures import MAX_WAITING, waiting

logger = logging.getLogger(__name__)

MAX_OVERDUE = 1_000
"""Overdue reservations are counted up to this number."""
STATEMENT_SECONDS = 2
"""The longest time of a statement on PostgreSQL."""
READ_SECONDS = 5
"""All waits for the database together. Prometheus waits 10 seconds for a scrape."""
SUBSCRIPTIONS_SECONDS = 3
"""After this time, the next subscription is not read."""

_LABELS = ("subscription",)
# PostgreSQL hides the waits of other users' sessions.
_WAITING_FOR_LOCKS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class DatabaseCollector(Collector):
    """The figures that are read from the database for each scrape.

    Without the database, `inventory_database_up` is 0, and the figures not yet read are missing.
    """

    def collect(self) -> Iterator[Metric]:
        found: list[Metric] = []
        up = GaugeMetricFamily(
            "inventory_database_up", "1 if the database has answered this scrape in time, else 0."
        )
        try:
            with deadline.within(READ_SECONDS):
                self._read(found)
        except (DatabaseError, InterfaceError) as error:
            drain_pool_after(error)
            logger.warning("metrics without the database: %s", error)
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield from (up, *found)

    def _read(self, found: list[Metric]) -> None:
        # On SQLite, a transaction would wait for other writers.
        with nullcontext() if is_sqlite() else _short_statements():
            for read in _FIGURES:
                found += read()


@contextmanager
def _short_statements() -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        yield


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _feed() -> Iterator[Metric]:
    settled, drawn = feed.last_settled_id(), feed.last_id_drawn()
    yield CounterMetricFamily(
        "inventory_event_ids",
        "Ids drawn for stock events. Changes that were rolled back have used some of them.",
        value=drawn,
    )
    yield _gauge(
        "inventory_feed_unsettled_events",
        "Ids of events that the feed does not show yet.",
        drawn - settled,
    )
    yield _gauge(
        "inventory_feed_held_up_seconds",
        "Age of the oldest open transaction that holds up the feed, or 0.",
        feed.seconds_held_up(),
    )


def _locks() -> Iterator[Metric]:
    if is_sqlite():
        return
    with connection.cursor() as cursor:
        cursor.execute(_WAITING_FOR_LOCKS)
        (sessions,) = cursor.fetchone()
    yield _gauge(
        "inventory_database_lock_waits", "Database sessions that wait for a lock now.", sessions
    )


def _overdue() -> Iterator[Metric]:
    # Ordered by the index, so that the database reads no more rows than it counts.
    oldest = Reservation.objects.overdue().order_by("expires_at").values("expires_at")
    found = oldest[:MAX_OVERDUE].aggregate(number=Count("*"), since=Min("expires_at"))
    since = found["since"]
    yield _gauge(
        "inventory_overdue_reservations",
        f"Overdue reservations that still hold units, counted up to {MAX_OVERDUE}.",
        found["number"],
    )
    yield _gauge(
        "inventory_overdue_reservation_seconds",
        "Time since the expiry of the oldest overdue reservation, or 0.",
        max((timezone.now() - since).total_seconds(), 0) if since else 0,
    )


def _subscriptions() -> Iterator[Metric]:
    """Return the figures of each webhook, and of the broker. The label is the id."""
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
    started = time.monotonic()
    for subscription in Subscription.objects.order_by("pk"):
        if time.monotonic() > started + SUBSCRIPTIONS_SECONDS:
            raise DatabaseError("The figures of the subscriptions took too long.")
        found = waiting(subscription)
        seconds = (now - found.since).total_seconds() if found.since else 0
        label = [str(subscription.pk)]
        events.add_metric(label, found.events)
        age.add_metric(label, max(seconds, 0))
        parked.add_metric(label, subscription.state == Subscription.State.PARKED)
        delivered.add_metric(label, subscription.delivered)
        failed.add_metric(label, subscription.failed)
    yield from (events, age, parked, delivered, failed)


_FIGURES: tuple[Callable[[], Iterable[Metric]], ...] = (_feed, _locks, _overdue, _subscriptions)


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
        record_pool()
        registry = shared_metrics.all_metrics(metrics.REGISTRY)
        registry.register(DatabaseCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
