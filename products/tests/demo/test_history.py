"""The demo data: thirty days of changes, written through `products.stock`."""

from datetime import UTC, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from products import daily_totals, demo, stock
from products.demo import history
from products.models import Product, Reservation, StockEvent
from products.tests.factories import ProductFactory
from products.tests.flush import truncate

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def load() -> str:
    truncate()
    output = StringIO()
    call_command("load_demo_data", stdout=output)
    return output.getvalue()


def test_the_ledger_explains_the_demo_data() -> None:
    said = load()

    assert said.startswith("Loaded 1,455 products, ")
    assert Product.objects.count() == 1_455
    assert list(stock.differences()) == []


def test_a_small_share_of_the_products_is_low() -> None:
    load()

    low = Product.objects.active().low_stock().count()
    out = Product.objects.active().out_of_stock().count()

    assert 20 < low < 150
    assert 2 < out < low
    assert Product.objects.filter(archived=True).exists()


def test_there_are_reservations_of_every_state() -> None:
    load()

    reservations = Reservation.objects.all()
    is_open = reservations.filter(status="open")
    assert set(reservations.values_list("status", flat=True)) == set(Reservation.Status.values)
    assert reservations.overdue().count() == 2
    assert reservations.expiring_within(3600).count() >= 2
    assert is_open.filter(expires_at__gt=timezone.now() + timedelta(days=1)).exists()
    assert is_open.filter(expires_at=None, lines__fulfilled=0).exists()
    assert is_open.filter(expires_at=None, lines__fulfilled__gt=0).exists()
    assert reservations.filter(status="fulfilled", lines__released__gt=0).exists()


def test_the_orders_are_the_real_ones() -> None:
    load()

    placed = Reservation.objects.filter(reference__startswith="order-")
    references = set(placed.values_list("reference", flat=True))
    assert references <= {f"order-{number}" for number in demo.read_orders()}
    assert len(references) > 200


def test_every_event_type_is_shown() -> None:
    load()

    assert set(StockEvent.objects.values_list("type", flat=True)) == set(StockEvent.Type.values)


def test_all_times_lie_within_thirty_days_and_follow_the_versions() -> None:
    before = timezone.now()
    load()
    start, end = before - timedelta(days=30), timezone.now()

    last: dict[int, StockEvent] = {}
    for event in StockEvent.objects.order_by("product", "version"):
        assert start <= event.occurred_at <= end
        if event.product_id in last:
            assert last[event.product_id].occurred_at <= event.occurred_at
        last[event.product_id] = event
    for product in Product.objects.all():
        assert start <= product.created_at <= product.updated_at <= end
        assert product.updated_at == last[product.pk].occurred_at
    for reservation in Reservation.objects.prefetch_related("events"):
        assert reservation.created_at == min(e.occurred_at for e in reservation.events.all())


def test_followers_of_the_feed_read_the_events_in_the_order_of_time() -> None:
    load()

    times = list(StockEvent.objects.order_by("pk").values_list("occurred_at", flat=True))
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_holds_expire_within_a_minute_of_their_end() -> None:
    load()

    expired = StockEvent.objects.filter(reason="expired").select_related("reservation")
    assert expired.exists()
    for event in expired:
        assert event.reservation
        assert event.reservation.expires_at
        late = event.occurred_at - event.reservation.expires_at
        assert timedelta(0) <= late <= timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
def test_the_chart_of_thirty_days_is_filled() -> None:
    load()
    daily_totals.catch_up()

    days = daily_totals.of_last_days(30)

    assert sum(day.units_in > 0 for day in days) > 20
    assert sum(day.units_out > 0 for day in days) > 20
    # The opening stock lies before the first day of the chart.
    assert max(day.units_in for day in days) < 10_000
    assert days[-1].day == timezone.now().astimezone(UTC).date()


def test_levels_of_the_past_can_be_asked_for(api: APIClient) -> None:
    load()
    product = Product.objects.order_by("-version")[0]
    two_weeks_ago = timezone.now() - timedelta(days=14)

    response = api.get(f"/v1/products/{product.sku}", {"as_of": two_weeks_ago.isoformat()}).json()

    last = StockEvent.objects.filter(product=product, occurred_at__lte=two_weeks_ago).latest("pk")
    assert 1 < response["version"] == last.version < product.version
    assert response["quantity"] == last.quantity


def test_the_same_time_gives_the_same_history() -> None:
    now = timezone.now()

    truncate()

    def events() -> list[Any]:
        with transaction.atomic():
            history.load(now=now)
            loaded = StockEvent.objects.order_by("pk")
            rows = list(loaded.values_list("sku", "version", "type", "quantity", "occurred_at"))
            transaction.set_rollback(True)
        return rows

    assert events() == events()


def test_a_database_with_products_is_left_as_it_is() -> None:
    ProductFactory.create(sku="MINE")
    output = StringIO()

    call_command("load_demo_data", stdout=output)

    said = output.getvalue()
    assert said == "The database has products. Demo data needs an empty database.\n"
    assert list(Product.objects.values_list("sku", flat=True)) == ["MINE"]


def test_a_load_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history._History, "_count", lambda history, at: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        load()

    assert not Product.objects.exists()
    assert not StockEvent.objects.exists()
