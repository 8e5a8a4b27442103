"""Measure the search for products on both databases.

    python -m benchmarks.search [PRODUCTS]

Fills a SQLite file and a PostgreSQL of its own with PRODUCTS products (default: 1,000,000). Prints
for each kind of search the number of products that it counts, and the median and the worst time of
several readings in milliseconds. A reading chooses how to search, counts up to 1,000 products and
reads the first page, which is what the database does for a page of the back office. The first
reading does not count. The target is 100 ms.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.admin import SEARCHES
from products.tests.postgres import running_postgres

PRODUCTS = 1_000_000
READINGS = 9
MOST_MILLISECONDS = 100
MOST_COUNTED = 1_000
PAGE = 50

COLOURS = ("red", "blue", "green", "large", "small")
THINGS = ("mug", "pen", "lamp", "chair", "box", "bag")


def main(products: int) -> None:
    with TemporaryDirectory() as folder:
        _measure_in_process(f"sqlite:///{Path(folder) / 'search.sqlite3'}", products)
    with running_postgres() as url:
        _measure_in_process(url, products)


def _measure_in_process(url: str, products: int) -> None:
    settings = {
        "DATABASE_URL": url,
        "DATABASE_STATEMENT_TIMEOUT": "0",
        "DEBUG": "on",
        "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
    }
    command = [sys.executable, "-m", "benchmarks.search", "--here", str(products)]
    subprocess.run(command, env=os.environ | settings, check=True)


def measure(products: int) -> None:
    """Fill the configured database and print its table."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    settings.DEBUG = False  # Statements would be kept in memory.
    call_command("migrate", verbosity=0)
    _fill(products)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    print(f"{connection.vendor}, {products:,} products")
    print(f"{'search':<38} {'text':<14} {'found':>6} {'median ms':>10} {'worst ms':>9}")
    for kind, text in SEARCHES.items():
        found, times = 0, []
        for _ in range(READINGS + 1):
            started = time.perf_counter()
            found = _search(text)
            times.append((time.perf_counter() - started) * 1000)
        median, worst = statistics.median(times[1:]), max(times[1:])
        missed = "  MISSED" if median > MOST_MILLISECONDS else ""
        shown = f"{found:,}" if found <= MOST_COUNTED else f"{MOST_COUNTED:,}+"
        print(f"{kind:<38} {text:<14} {shown:>6} {median:>10.0f} {worst:>9.0f}{missed}", flush=True)


def _search(text: str) -> int:
    """Search as the first page of the back office does, and return the number that it counts."""
    from products.models import Product

    found = Product.objects.active().search(text)
    list(found.order_by("sku").values_list("pk")[:PAGE])
    return int(found.countable.order_by()[: MOST_COUNTED + 1].count())


def _fill(products: int) -> None:
    from products.models import Product

    Product.objects.bulk_create(
        (
            Product(
                sku=f"SKU-{n}",
                name=f"{COLOURS[n % 5]} {THINGS[n % 6]} model{n // 30}".capitalize(),
                quantity=1000,
            )
            for n in range(1, products + 1)
        ),
        batch_size=5_000,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        measure(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else PRODUCTS)
