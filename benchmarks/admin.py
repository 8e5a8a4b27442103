"""Measure the pages of the back office in a large shop.

    python -m benchmarks.admin [PRODUCTS EVENTS]

Starts its own PostgreSQL with PRODUCTS products and EVENTS events of the last 30 days (default:
1,000,000 and 5,000,000). Logs in as a stock manager and opens each page with Django's test client,
which runs all of the server's code without the network. Prints for each page the number of
queries, and the median and the worst time of several readings in milliseconds. The first reading
does not count. The target for the median is 300 ms.
"""

import os
import statistics
import sys
import time
from typing import Any
from urllib.parse import quote_plus

from benchmarks.terms import terms_sql
from products.tests.postgres import running_postgres

PRODUCTS = 1_000_000
EVENTS = 5_000_000
RESERVATIONS = 100_000
READINGS = 15
MOST_MILLISECONDS = 300

# The numbers of the columns in the address.
SORTS = {"SKU": 1, "name": 2, "on hand": 3, "available": 5, "shortage": 8}

SEARCHES = {
    "none": "zzz",
    "a SKU and its beginnings": "SKU-12345",
    "part of a SKU": "2345",
    "few": "model777 lamp",
    "two frequent words": "red mug",
    "one in six": "lamp",
    "nearly all": "sku",
}
"""Searches that find none, few, a hundredth and nearly all products."""

# One product in 50 is low on stock, one in 100 is out of stock, and one in 100 is archived. Half of
# the events belong to one percent of the products, because few products sell well.
FILL = [
    """
    INSERT INTO products_product (sku, name, search_terms, description, quantity, reserved_quantity,
                                  minimum_stock_level, version, archived)
    SELECT 'SKU-' || n, initcap(words), {terms}, '',
           CASE WHEN n %% 100 = 0 THEN 0 ELSE 1000 END, 0,
           CASE WHEN n %% 50 = 0 THEN 1001 ELSE 5 END, 1, n %% 100 = 7
    FROM generate_series(1, %(products)s) n,
         LATERAL (SELECT (ARRAY['red', 'blue', 'green', 'large', 'small'])[1 + n %% 5] || ' '
                         || (ARRAY['mug', 'pen', 'lamp', 'chair', 'box', 'bag'])[1 + n %% 6]
                         || ' model' || n / 30 AS words) named
    """.replace("{terms}", terms_sql("'SKU-' || n", "words")),
    """
    INSERT INTO products_reservation (reference, status, expires_at)
    SELECT 'order-' || n, CASE WHEN n %% 10 = 0 THEN 'open' ELSE 'fulfilled' END,
           now() + (n %% 300 - 20) * interval '1 minute'
    FROM generate_series(1, %(reservations)s) n
    """,
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id, occurred_at)
    SELECT id, 'SKU-' || id, n, type, CASE type WHEN 'InventoryAdded' THEN 5 ELSE -1 END, 0, 1000,
           0, 'delivery', 'order-' || n, CASE WHEN n %% 1000 = 0 THEN 'Ada' ELSE 'webshop' END,
           CASE WHEN n %% 1000 = 0 THEN 'admin' ELSE 'api' END, md5(n::text),
           now() - (%(events)s - n) * (interval '30 days' / %(events)s)
    FROM generate_series(1, %(events)s) n,
         LATERAL (SELECT CASE WHEN n %% 2 = 0 THEN 1 + n::bigint * 7919 %% %(products)s
                              ELSE 1 + n::bigint * 7919 %% (%(products)s / 100) END AS id,
                         CASE WHEN n %% 5000 = 0 THEN 'InventoryAdjusted'
                              WHEN n %% 4 = 0 THEN 'InventoryAdded'
                              ELSE 'InventoryFulfilled' END AS type) made
    """,
]


def main(products: int, events: int) -> None:
    with running_postgres() as url:
        os.environ |= {
            "DATABASE_URL": url,
            "DATABASE_POOL_SIZE": "0",
            "DATABASE_STATEMENT_TIMEOUT": "0",
            "DEBUG": "on",
            "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
        }
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connection

        # DEBUG provided the secret key. Templates and queries must run as in production.
        settings.DEBUG = False
        settings.ALLOWED_HOSTS = ["testserver"]
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            _fill(cursor, products, events)
        _print_table(products, events)


def _fill(cursor: Any, products: int, events: int) -> None:
    """Fill the tables without checks of foreign keys and without non-unique indexes.

    It is much faster to create those indexes afterwards.
    """
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'products_%' "
        "AND indexdef NOT LIKE 'CREATE UNIQUE %'"
    )
    indexes = cursor.fetchall()
    cursor.execute("SET session_replication_role = replica; SET maintenance_work_mem = '512MB'")
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    for statement in FILL:
        cursor.execute(
            statement, {"products": products, "events": events, "reservations": RESERVATIONS}
        )
    for _, definition in indexes:
        cursor.execute(definition)
    cursor.execute("RESET session_replication_role")
    cursor.execute("VACUUM ANALYZE")


def _print_table(products: int, events: int) -> None:
    from products import daily_totals
    from products.models import DailyTotal, DailyTotalsCursor

    client = stock_manager()
    steps = 0
    started = time.perf_counter()
    while not daily_totals.catch_up():
        steps += 1
    seconds = time.perf_counter() - started
    print(f"{products:,} products, {events:,} events of 30 days, {RESERVATIONS:,} reservations")
    print(f"first sum of the whole ledger for the chart: {seconds:.1f} s in {steps + 1} steps")
    print(f"{'page':<44} {'queries':>7} {'median ms':>10} {'worst ms':>9}")

    def a_day_behind() -> None:
        DailyTotalsCursor.objects.update(last_id=events - events // 30)
        DailyTotal.objects.filter(pk=DailyTotal.objects.latest("day").day).delete()

    _print_row(client, "front page, first of the day", "/admin/", before=a_day_behind)
    _print_row(client, "front page", "/admin/")
    for title, path in _pages(products, events):
        _print_row(client, title, f"/admin/products/{path}")


def stock_manager() -> Any:
    """Create a stock manager and return a client that is logged in."""
    from django.contrib.auth.models import Permission, User
    from django.test import Client

    manager = User.objects.create_user(username="Ada", is_staff=True)
    manager.user_permissions.set(Permission.objects.filter(content_type__app_label="products"))
    client = Client()
    client.force_login(manager)
    return client


def _pages(products: int, events: int) -> list[tuple[str, str]]:
    from products.models import Product, StockEvent

    busy = Product.objects.get(pk=StockEvent.objects.get(pk=events - 1).product_id)
    quiet = Product.objects.get(sku=f"SKU-{products - 3}")
    day = StockEvent.objects.get(pk=events // 2).occurred_at.date()
    ledger = "stockevent/?"
    products_list = "product/?"
    return [
        ("products", "product/"),
        ("products, page 2", f"{products_list}p=2"),
        ("products, last page", f"{products_list}p=200"),
        ("products, low stock", f"{products_list}stock=low"),
        ("products, out of stock", f"{products_list}stock=out"),
        ("products, reserved", f"{products_list}stock=reserved"),
        ("products, updated in the last hour", f"{products_list}updated=1"),
        ("products, archived", f"{products_list}archived=only"),
        *(
            (f"products, sorted by {column}{way}", f"{products_list}o={sign}{number}")
            for column, number in SORTS.items()
            for way, sign in (("", ""), (", descending", "-"))
        ),
        ("products, low stock, by shortage", f"{products_list}stock=low&o={SORTS['shortage']}"),
        *(
            (f"products, search: {kind}", f"{products_list}list=1&q={quote_plus(text)}")
            for kind, text in SEARCHES.items()
        ),
        ("products, search sorted by level", f"{products_list}q=red+mug&o={SORTS['available']}"),
        ("products, search of low stock", f"{products_list}q=red+mug&stock=low"),
        ("products, to print", "product/print/?stock=low"),
        ("completion of a word", "product/complete/?q=lam"),
        ("completion of a part of a SKU", "product/complete/?q=2345"),
        ("new product", "product/add/"),
        ("receive", "product/receive/"),
        ("count", "product/count/"),
        ("count of a list", "product/count/list/?stock=low"),
        ("import", "product/import/products/"),
        ("product, quiet", f"product/{quiet.pk}/change/"),
        ("product, busy", f"product/{busy.pk}/change/"),
        ("reservations", "reservation/"),
        ("reservations, overdue", "reservation/?expiry=overdue"),
        ("reservations, open", "reservation/?status__exact=open"),
        ("reservations, search: reference", "reservation/?q=order-777"),
        ("reservations, search: SKU", f"reservation/?q={busy.sku}"),
        ("new reservation", "reservation/new/"),
        ("a reservation", f"reservation/{RESERVATIONS // 2}/change/"),
        ("ledger", "stockevent/"),
        ("ledger, last page", f"{ledger}p=200"),
        ("ledger, by type, frequent", f"{ledger}type__exact=InventoryFulfilled"),
        ("ledger, by type, rare", f"{ledger}type__exact=InventoryAdjusted"),
        ("ledger, by type, none", f"{ledger}type__exact=LowStockDetected"),
        ("ledger, by source", f"{ledger}source__exact=admin"),
        ("ledger, by source, none", f"{ledger}source__exact=command"),
        ("ledger, by actor", f"{ledger}actor=Ada"),
        ("ledger, one day", f"{ledger}occurred_at_from={day}&occurred_at_to={day}"),
        (
            "ledger, one day, by type and actor",
            f"{ledger}occurred_at_from={day}&occurred_at_to={day}"
            "&type__exact=InventoryAdjusted&actor=Ada",
        ),
        ("ledger, search: SKU, busy", f"{ledger}q={busy.sku}"),
        ("ledger, search: SKU, quiet", f"{ledger}q={quiet.sku}"),
        ("ledger, search: reference", f"{ledger}q=order-{events // 2}"),
        ("ledger, search: nothing", f"{ledger}q=zzz"),
        ("an event", f"stockevent/{events // 2}/change/"),
    ]


def _print_row(client: Any, title: str, path: str, before: Any = lambda: None) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times = []
    for _ in range(READINGS + 1):
        before()
        started = time.perf_counter()
        response = client.get(path)
        times.append((time.perf_counter() - started) * 1000)
        if response.status_code != 200:
            raise SystemExit(f"{path} returned status {response.status_code}.")
    before()
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    median, worst = statistics.median(times[1:]), max(times[1:])
    missed = "  MISSED" if median > MOST_MILLISECONDS else ""
    print(f"{title:<44} {len(queries):>7} {median:>10.0f} {worst:>9.0f}{missed}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3])) if len(sys.argv) > 2 else main(PRODUCTS, EVENTS)
