"""Take the screenshots in docs/screenshots of the demo data, with `make screenshots`."""

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.sync_api import Page

from products.models import Product
from products.tests.browser.steps import choose_import, log_in, open_dialog, open_product

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)

FOLDER = Path(settings.BASE_DIR, "docs", "screenshots")
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
def busy_product(db: None) -> Product:
    """Load the demo data, and return a product with many events and an open reservation."""
    call_command("load_demo_data", stdout=StringIO())
    held = Product.objects.filter(reserved_quantity__gt=0)
    return held.order_by("-version")[0]


@pytest.mark.parametrize(
    ("color_scheme", "width", "suffix", "pages"),
    [
        ("light", 1280, "", list(PAGES)),
        ("dark", 1280, "-dark", ["front-page"]),
        ("light", 800, "-narrow", ["products"]),
    ],
)
def test_take_pictures(
    page: Page,
    ada: User,
    busy_product: Product,
    color_scheme: str,
    width: int,
    suffix: str,
    pages: list[str],
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, ada)
    for name in pages:
        page.goto(PAGES[name])
        _take(page, name + suffix)
    choose_import(page, "Import stock changes", IMPORT)
    _take(page, f"import-preview{suffix}")
    open_product(page, busy_product.sku)
    _take(page, f"product{suffix}", height=1400)
    dialog = open_dialog(page, "Count stock")
    dialog.get_by_label("Counted").fill(str(busy_product.quantity - 1))
    _take(page, f"adjust{suffix}")


def _take(page: Page, name: str, *, height: int = 800) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled", caret="hide")
