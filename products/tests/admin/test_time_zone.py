"""Times of the back office in its own time zone. Everything else is in UTC."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from products import daily_totals
from products.admin.dialogs import TimeField
from products.models import ApiKey, DailyTotal, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import product_with_past

pytestmark = pytest.mark.django_db

LEDGER = reverse("admin:products_stockevent_changelist")
KOLKATA = "Asia/Kolkata"  # Half an hour off: UTC+5:30.


@pytest.fixture
def staff() -> Client:
    return browser_of("Ada", "view_stockevent", "view_product", "view_apikey")


def versions(client: Client, first: str, last: str) -> list[int]:
    """Return the versions of the events of these days, oldest first."""
    page = client.get(LEDGER, {"occurred_at_from": first, "occurred_at_to": last})
    return sorted(event.version for event in page.context["cl"].result_list)


@pytest.mark.parametrize(
    ("time_zone", "day", "start", "hours"),
    [
        ("UTC", "2026-03-29", datetime(2026, 3, 29, tzinfo=UTC), 24),
        (KOLKATA, "2026-03-29", datetime(2026, 3, 28, 18, 30, tzinfo=UTC), 24),
        ("America/New_York", "2026-03-28", datetime(2026, 3, 28, 4, tzinfo=UTC), 24),
        # Summer time begins and ends.
        ("Europe/Berlin", "2026-03-29", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        ("Europe/Berlin", "2026-10-25", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        # There is no midnight on this day: the clock goes from 23:59 to 1:00.
        ("Africa/Cairo", "2026-04-24", datetime(2026, 4, 23, 22, tzinfo=UTC), 23),
    ],
)
def test_a_day_of_the_ledger_is_a_day_of_the_time_zone(
    staff: Client,
    settings: Settings,
    time_zone: str,
    day: str,
    start: datetime,
    hours: int,
) -> None:
    settings.BACK_OFFICE_TIME_ZONE = time_zone
    end, moment = start + timedelta(hours=hours), timedelta(microseconds=1)
    product_with_past("CUP", [(time, 1) for time in (start - moment, start, end - moment, end)])

    assert versions(staff, day, day) == [2, 3]


def test_times_and_charts_are_shown_in_the_time_zone(staff: Client, settings: Settings) -> None:
    settings.BACK_OFFICE_TIME_ZONE = KOLKATA
    cup = product_with_past("CUP", [(datetime(2026, 3, 1, 18, 30, tzinfo=UTC), 1)])

    assert "2026-03-02 00:00:00" in staff.get(LEDGER).content.decode()
    page = staff.get(reverse("admin:products_product_change", args=[cup.pk])).content.decode()
    assert "2026-03-02 00:00:00" in page
    assert "2026-03-02 00:00&quot;" in page


def test_the_api_and_exports_stay_in_utc(staff: Client, settings: Settings) -> None:
    settings.BACK_OFFICE_TIME_ZONE = KOLKATA
    product_with_past("CUP", [(datetime(2026, 3, 1, 18, 30, tzinfo=UTC), 1)])
    key = ApiKey.issue(name="shop", role="read").text

    exported = staff.get(reverse("admin:products_stockevent_export")).getvalue().decode()
    answer = staff.get("/v1/products/CUP/events", headers={"Authorization": f"Bearer {key}"}).json()

    assert "2026-03-01T18:30:00Z" in exported
    assert answer["results"][0]["occurred_at"] == "2026-03-01T18:30:00Z"


def test_dates_have_one_format_on_all_pages(staff: Client, settings: Settings) -> None:
    settings.BACK_OFFICE_TIME_ZONE = KOLKATA
    expiry = datetime(2030, 1, 1, 18, 30, tzinfo=UTC)
    ApiKey.issue(name="shop", role="read", expiry_date=expiry)

    page = staff.get(reverse("admin:products_apikey_changelist")).content.decode()

    assert "2030-01-02 00:00" in page


def test_an_entered_time_is_in_the_time_zone() -> None:
    with timezone.override(ZoneInfo(KOLKATA)):
        time = TimeField(label="Until").clean("2026-11-20T18:00")

    assert time.astimezone(UTC) == datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_the_totals_of_days_start_anew_after_a_change_of_the_time_zone(
    settings: Settings,
) -> None:
    product_with_past(
        "CUP",
        [
            (datetime(2026, 2, 1, tzinfo=UTC), 0),
            (datetime(2026, 3, 1, 18, 29, tzinfo=UTC), 1),
            (datetime(2026, 3, 1, 18, 30, tzinfo=UTC), 2),
        ],
    )
    assert StockEvent.objects.count() == 3

    def totals() -> dict[date, int]:
        assert daily_totals.catch_up()
        found = DailyTotal.objects.filter(units_in__gt=0)
        return dict(found.values_list("day", "units_in"))

    assert totals() == {date(2026, 3, 1): 3}
    settings.BACK_OFFICE_TIME_ZONE = KOLKATA
    assert totals() == totals() == {date(2026, 3, 1): 1, date(2026, 3, 2): 2}
    settings.BACK_OFFICE_TIME_ZONE = "UTC"
    assert totals() == {date(2026, 3, 1): 3}
