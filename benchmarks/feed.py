"""Measure the database time of a page of the change feed in a large ledger.

    python -m benchmarks.feed [EVENTS]

Starts its own PostgreSQL with 100,000 products and EVENTS events (at least 100,000; default:
10,000,000). Reads pages at the start, in the middle and at the end, while eight open transactions
have each written an event. Prints the time that EXPLAIN ANALYZE reports for the statements of a
page, in milliseconds: the median and the worst of several readings.
"""

import os
import re
import statistics
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.terms import terms_sql
from products.tests.postgres import running_postgres

PRODUCTS = 100_000
EVENTS = 10_000_000
WRITERS = 8
READINGS = 50

FILL = [
    """
    INSERT INTO products_product (sku, name, search_terms, description, quantity, reserved_quantity,
                                  minimum_stock_level, version)
    SELECT 'SKU-' || n, 'Product ' || n, {terms}, '',
           1000, 0, 0, %(versions)s
    FROM generate_series(1, %(products)s) n
    """.replace("{terms}", terms_sql("'SKU-' || n", "'product ' || n")),
    # Each version visits the products in another order, so that the events of a page belong to
    # products that are far apart in the table.
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id)
    SELECT (n::bigint * 7919 + version * 31) %% %(products)s + 1,
           'SKU-' || (n::bigint * 7919 + version * 31) %% %(products)s + 1, version,
           'InventoryAdded', 1, 0, 1000, 0, 'delivery', 'order-' || n, 'webshop', 'api',
           md5(n::text)
    FROM generate_series(1, %(versions)s) version, generate_series(1, %(products)s) n
    """,
    "VACUUM ANALYZE",
]


WRITE = """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id)
    SELECT id, sku, version + 1 + pg_backend_pid(), 'InventoryAdded', 1, 0, 1001, 0, '', '',
           'webshop', 'api', ''
    FROM products_product LIMIT 1
"""


def main(events: int) -> None:
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
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            for statement in FILL:
                cursor.execute(statement, {"products": PRODUCTS, "versions": events // PRODUCTS})
        open_transactions = [_open_transaction() for _ in range(WRITERS)]
        _print_table(events)
        for writer in open_transactions:
            writer.close()


def _open_transaction() -> Any:
    from django.db import connections

    writer = connections.create_connection("default")
    writer.set_autocommit(False)
    with writer.cursor() as cursor:
        cursor.execute(WRITE)
    return writer


def _print_table(events: int) -> None:
    print(f"{events:,} events, {PRODUCTS:,} products, {WRITERS} open transactions")
    print(f"{'page':>8} {'after':>12} {'median ms':>10} {'worst ms':>9}")
    for limit in (100, 1_000):
        for after in (0, events // 2, events - limit - 1, events):
            times = [_database_milliseconds(_cursor_after(after), limit) for _ in range(READINGS)]
            print(f"{limit:>8,} {after:>12,} {statistics.median(times):>10.2f} {max(times):>9.2f}")


def _cursor_after(event_id: int) -> str:
    from products import feed
    from products.models import StockEvent

    if event_id == 0:
        return feed.START
    return feed.cursor_after(StockEvent.objects.get(pk=event_id))


def _database_milliseconds(after: str, limit: int) -> float:
    """Return the time of the statements of a page in the database, including planning."""
    from django.db import connection

    from products import feed

    statements: list[tuple[str, Any]] = []

    def record(execute: Callable[..., object], sql: str, parameters: Any, *rest: Any) -> object:
        statements.append((sql, parameters))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(record):
        feed.read(after=after, limit=limit)
    plans = []
    for sql, parameters in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON) {sql}", parameters)
            plans.append("\n".join(row[0] for row in cursor.fetchall()))
    return sum(float(ms) for plan in plans for ms in re.findall(r"Time: ([0-9.]+) ms", plan))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
