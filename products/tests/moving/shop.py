"""Fill the test database with rows in every table and values of every kind."""

import uuid
from datetime import UTC, date, datetime

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.utils import timezone
from rest_framework_api_key.models import APIKey

from products import feed, stock
from products.models import (
    BulkRefusal,
    BulkRun,
    DailyTotal,
    DailyTotalsCursor,
    DeliveryAttempt,
    IdempotencyKey,
    ImportedFile,
    LowStockCursor,
    PendingImport,
    Product,
    StockEvent,
    Subscription,
    ThrottleBucket,
)
from products.stock import Add, Line
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory

# Quotes, a backslash, a tab, a line break, the end mark of COPY, and characters of 2 to 4 bytes.
HARD_TEXT = "Caf\u00e9 \"x\" 'y' \\N \\. \\\\\t\u4e2d\u6587 \U0001f600\r\n\\."
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)


def fill(*, products: int = 30) -> None:
    """Fill all tables by the functions of stock where there is one, else directly."""
    _fill_stock(products)
    _fill_others()
    empty = [model._meta.label for model in _models() if not model._default_manager.exists()]
    assert not empty, f"No rows in {empty}."


def _models() -> list[type[Model]]:
    return apps.get_models(include_auto_created=True)


def _fill_stock(number: int) -> None:
    for index in range(number):
        ProductFactory.create(
            sku=f"TEE-{index:05}",
            name=f"T-Shirt {HARD_TEXT if index % 7 == 0 else index}"[:40].splitlines()[0],
            description=HARD_TEXT,
            quantity=index % 5 * 10,
            minimum_stock_level=10,
        )
    stock.edit(sku="TEE-00001", name="\u00c9t\u00e9", by=ACTOR)
    stock.edit(sku="TEE-00002", archived=True, by=ACTOR)
    stock.adjust(sku="TEE-00003", quantity=7, reason=HARD_TEXT[:20], by=ACTOR)
    stock.apply([Add(sku="TEE-00004", amount=1)] * 1_200, by=ACTOR)
    held = stock.reserve_lines(
        lines=[Line("TEE-00004", 3), Line("TEE-00003", 2)],
        reference="order-1",
        by=ACTOR,
    )
    stock.fulfill(reservation_id=held.pk, lines=[Line("TEE-00004", 1)], by=ACTOR)
    stock.reserve(sku="TEE-00004", amount=2, reference="order-2", expires_in=3600, by=ACTOR)
    stock.undo(StockEvent.objects.filter(type=StockEvent.Type.ADDED)[0], by=ACTOR)


def _fill_others() -> None:
    user = User.objects.create_user("ada", "ada@example.com", "a long password", is_staff=True)
    user.groups.add(*Group.objects.all())
    user.user_permissions.add(*Permission.objects.all()[:3])
    gone = Group.objects.create(name="gone")
    Group.objects.create(name=HARD_TEXT).permissions.add(*Permission.objects.all()[:2])
    gone.delete()  # Its id must not be used again.
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Product),
        object_id="1",
        object_repr="TEE-00001",
        action_flag=CHANGE,
        change_message='[{"changed": {"fields": ["name"]}}]',
    )
    Session.objects.create(session_key="a" * 32, session_data="x", expire_date=MOMENT)
    APIKey.objects.create_key(name="old", expiry_date=MOMENT)
    ApiKeyFactory.create(issued_by="ada", last_used_at=MOMENT, revoked=True)
    ThrottleBucket.objects.create(name="key:1", used_until=2**62)
    IdempotencyKey.objects.create(
        source="api",
        caller="client",
        key=HARD_TEXT[:30],
        fingerprint="0" * 64,
        status=201,
        body=bytes(range(256)),
        headers={"ETag": '"1"', "A": None},
    )
    run = BulkRun.objects.create(reference="run-1", fingerprint="1" * 64, ended_at=MOMENT)
    BulkRefusal.objects.create(run=run, line=2, sku="X", code="invalid", detail=HARD_TEXT)
    PendingImport.objects.create(
        user=user, kind="product", changes=[{"a": [1, 2.5, True, None, HARD_TEXT]}], notes=[]
    )
    ImportedFile.objects.create(kind="product", content_hash="2" * 64, request_id="request-2")
    DailyTotal.objects.create(day=date(2024, 2, 29), units_in=2**40, units_out=0)
    DailyTotalsCursor.objects.create(last_id=3, time_zone="Europe/Berlin")
    cursor = feed.latest().cursor
    LowStockCursor.objects.create(cursor=cursor, claim=uuid.uuid4(), claimed_until=MOMENT)
    subscription = Subscription.objects.create(
        url="https://shop.example.com/hook",
        types=[StockEvent.Type.ADDED],
        batch=True,
        cursor=cursor,
        ahead=[2**53 + 1],
        created_by="ada",
    )
    DeliveryAttempt.objects.create(
        subscription=subscription,
        event_id=cursor,
        event_count=1,
        started_at=timezone.now(),
        milliseconds=12,
        answer=HARD_TEXT,
    )
