"""Takes the pictures in docs/screenshots, of the demo data after two weeks: `make screenshots`."""

from datetime import timedelta
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Page

from products import demo, stock, triggers
from products.models import Reservation, StockEvent
from products.tests.browser.steps import choose_import, log_in, open_dialog, open_product

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)

FOLDER = Path(settings.BASE_DIR, "docs", "screenshots")
SKU = "22197"
"""The product whose page is shown."""
ORDERS = 60
DAYS = 14

IMPORT = """\
sku,add,remove,quantity,reason,reference
22197,50,,,delivery,po-71
21754,,3,,breakage,
21755,,,200,stocktake,
84946,,900,,internal use,
"""

PAGES = {
    "front-page": "/admin/",
    "products": "/admin/products/product/",
    "reservations": "/admin/products/reservation/",
    "ledger": "/admin/products/stockevent/",
}


@pytest.fixture
def _two_weeks_of_trade(db: None) -> None:
    """The first of the demo's orders, most of them shipped, and some more of one product."""
    call_command("load_demo_data", stdout=StringIO())
    for number, (order, lines) in enumerate(islice(demo.read_orders().items(), ORDERS)):
        _trade(f"order-{order}", [stock.Line(line.sku, line.amount) for line in lines], number)
        _trade(f"order-9{number:05}", [stock.Line(SKU, 1 + number % 4)], number)
        if number % 12 == 11:
            by = stock.Actor("warehouse", StockEvent.Source.API)
            stock.add(sku=SKU, amount=30, reason="delivery", reference=f"po-{number}", by=by)
    _spread_over_days()


def _trade(order: str, lines: list[stock.Line], number: int) -> None:
    """Reserve for an order, and ship it; every ninth is cancelled, some of the latest are held."""
    shop = stock.Actor("webshop", StockEvent.Source.API)
    warehouse = stock.Actor("warehouse", StockEvent.Source.API)
    expires_in = None if number % 3 else 48 * 60 * 60
    held = stock.reserve_lines(lines=lines, reference=order, expires_in=expires_in, by=shop)
    if number % 9 == 8:
        stock.release(reservation_id=held.pk, reason="cancelled", by=shop)
    elif number < ORDERS - 12 or number % 3 == 1:
        stock.fulfill(reservation_id=held.pk, reason="shipped", by=warehouse)


def _spread_over_days() -> None:
    """Let the ledger look as if all of that had taken so long, up to an hour ago."""
    end = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    opening = StockEvent.objects.filter(actor="load_demo_data")
    later = list(StockEvent.objects.exclude(actor="load_demo_data").order_by("pk"))
    for index, event in enumerate(later, start=1):
        event.occurred_at = end - timedelta(days=DAYS) * (1 - index / len(later))
    triggers.remove(connection)
    opening.update(occurred_at=end - timedelta(days=DAYS + 30))  # Not in the front page's chart.
    StockEvent.objects.bulk_update(later, ["occurred_at"], batch_size=500)
    triggers.install(connection)
    for event in later:
        if event.type == StockEvent.Type.RESERVED:
            Reservation.objects.filter(events=event).update(created_at=event.occurred_at)


@pytest.mark.parametrize(
    ("color_scheme", "width", "suffix", "pages"),
    [
        ("light", 1280, "", list(PAGES)),
        ("dark", 1280, "-dark", ["front-page"]),
        ("light", 800, "-narrow", ["products"]),
    ],
)
@pytest.mark.usefixtures("_two_weeks_of_trade")
def test_take_pictures(
    page: Page, ada: User, color_scheme: str, width: int, suffix: str, pages: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, ada)
    for name in pages:
        page.goto(PAGES[name])
        _take(page, name + suffix)
    choose_import(page, "Import adjustments", IMPORT)
    _take(page, f"import-preview{suffix}")
    open_product(page, SKU)
    _take(page, f"product{suffix}", height=1400)
    dialog = open_dialog(page, "Adjust to a count")
    dialog.get_by_label("Counted on hand").fill("290")
    _take(page, f"adjust{suffix}")


def _take(page: Page, name: str, *, height: int = 800) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled", caret="hide")
