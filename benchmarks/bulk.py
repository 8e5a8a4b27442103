"""Compare the speed and memory of `bulk_adjust` with plain SQL.

    python -m benchmarks.bulk [LINES] [ROUNDS]

Starts its own PostgreSQL with one product per line of the file (default: 100,000 lines). Each round
removes units of all products in three ways:

- `bulk_adjust`, all lines or none;
- `bulk_adjust --keep-going`;
- plain SQL in one transaction: COPY into a temporary table, one UPDATE ... FROM, and one INSERT of
  the events.

Prints for each way the lines per second (the median of the rounds), the ratio to plain SQL, and the
memory of the process. Fails if `verify_stock` finds a difference afterwards.
"""

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.terms import terms_sql
from products.tests.postgres import running_postgres

LINES = 100_000
ROUNDS = 3
UNITS = 1_000
TAKEN = 3

FILL = [
    """
    INSERT INTO products_product (sku, name, search_terms, description, quantity, reserved_quantity,
                                  minimum_stock_level, version)
    SELECT 'SKU-' || n, 'Product ' || n, {terms}, '',
           %(units)s, 0, 0, 1
    FROM generate_series(1, %(lines)s) n
    """.replace("{terms}", terms_sql("'SKU-' || n", "'product ' || n")),
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id)
    SELECT id, sku, 1, 'ProductCreated', quantity, 0, quantity, 0, '', '', 'fill', 'command', ''
    FROM products_product ORDER BY id
    """,
    "VACUUM ANALYZE",
]

PLAIN = [
    """
    UPDATE products_product AS product
    SET quantity = quantity - line.remove, version = version + 1, updated_at = now()
    FROM line WHERE line.sku = product.sku
    """,
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id)
    SELECT product.id, product.sku, version, 'InventoryRemoved', -remove, 0, quantity,
           reserved_quantity, line.reason, '', 'plain SQL', 'command', ''
    FROM line JOIN products_product AS product USING (sku) ORDER BY product.id
    """,
]


def main(lines: int, rounds: int) -> None:
    with running_postgres(fsync=True) as url, tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DATABASE_STATEMENT_TIMEOUT": "0",
            "SECRET_KEY": "only-for-this-benchmark",
        }
        measured_command(["migrate", "--verbosity", "0"], environment)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in FILL:
                connection.execute(statement, {"lines": lines, "units": UNITS}, prepare=False)
        file = Path(folder) / "lines.csv"
        _write(file, lines)
        ways: dict[str, Callable[[int], tuple[float, int]]] = {
            "plain SQL": lambda _: _plain_sql(url, file),
            "bulk_adjust": lambda _: measured_command(["bulk_adjust", str(file)], environment),
            "bulk_adjust --keep-going": lambda number: measured_command(
                ["bulk_adjust", str(file), "--keep-going", "--reference", f"run-{number}"],
                environment,
            ),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        memory = dict.fromkeys(ways, 0)
        for number in range(rounds):
            for way, run in ways.items():
                taken, kibibytes = run(number)
                seconds[way].append(taken)
                memory[way] = max(memory[way], kibibytes)
        measured_command(["verify_stock"], environment)
    print(f"{lines:,} lines, {rounds} rounds       lines/s     share         spread    memory")
    for way, each in seconds.items():
        shares = [
            plain_sql / own for plain_sql, own in zip(seconds["plain SQL"], each, strict=True)
        ]
        used = f"{memory[way] // 1024:>6} MB" if memory[way] else ""
        print(
            f"{way:27} {lines / statistics.median(each):>11,.0f}  {statistics.median(shares):>8.2f}"
            f"   {min(shares):.2f} to {max(shares):.2f} {used}"
        )


def _write(file: Path, lines: int) -> None:
    """Write the lines in an order that differs from the order of the products."""
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["sku", "remove", "reason"])
        step = 7919
        writer.writerows([f"SKU-{n * step % lines + 1}", TAKEN, "sold"] for n in range(lines))


COMMAND = """
import os, resource, sys, time, django
django.setup()
from django.core.management import call_command
start = time.perf_counter()
call_command(*sys.argv[1:], stdout=open(os.devnull, "w"))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured_command(arguments: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Run a command in a process. Return the seconds and the peak memory in KiB."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**environment, "DJANGO_SETTINGS_MODULE": "inventory_project.settings"},
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds, kibibytes = ended.stdout.split()
    return float(seconds), int(kibibytes)


def _plain_sql(url: str, file: Path) -> tuple[float, int]:
    start = time.perf_counter()
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE line (sku varchar(50), remove bigint, reason text) "
            "ON COMMIT DROP"
        )
        with cursor.copy("COPY line FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(file.read_bytes())
        for statement in PLAIN:
            cursor.execute(statement)
    return time.perf_counter() - start, 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*[*given, *[LINES, ROUNDS][len(given) :]])
