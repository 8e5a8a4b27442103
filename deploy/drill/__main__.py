"""Break a database cluster under load, and count the lost and doubled changes.

    python -m deploy.drill [FAULT ...] [--output FOLDER]
    python -m deploy.drill --table FILE ...

Starts etcd, three PostgreSQL nodes under Patroni and the production server on 127.0.0.1. Runs each
fault, or those named, under load, and prints a row for each. Appends the figures to
`results.jsonl` in the folder, which also gets the logs. Ends all that it started, also after
Ctrl-C. `--table` prints the table of such files instead.

Exits with 1 if a target was missed. It needs Linux, and root for faults of the network.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.drill import figures, network, service
from deploy.drill.clients import Clients
from deploy.drill.cluster import DATABASE, PATRONI, Cluster, Node
from deploy.drill.faults import FAULTS, Fault, Lab
from deploy.drill.programs import AS_SERVER_USER, PATH, POSTGRESQL, PROJECT

SECONDS_BEFORE, SECONDS_AFTER = 5, 8
MOST_SECONDS = 60
"""The longest time for which a fault goes on while the clients are not served."""
SECONDS_TO_START, SECONDS_OF_A_FAULT = 120, 400


def main(options: argparse.Namespace) -> None:
    if options.table:
        lines = [line for path in options.table for line in path.read_text().splitlines()]
        print(figures.table(map(json.loads, lines)))
        return
    names = [fault.name for fault in FAULTS]
    if unknown := set(options.faults) - set(names):
        sys.exit(f"Unknown fault: {', '.join(unknown)}. Known: {', '.join(names)}.")
    faults = [fault for fault in FAULTS if fault.name in (options.faults or names)]
    _check_programs(faults)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Interrupted."))  # The stack cleans up.
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("The drill takes too long."))
    options.output.mkdir(exist_ok=True)
    results, has_failed = [], False
    with ExitStack() as stack:
        signal.alarm(SECONDS_TO_START)
        cluster = _running_cluster(stack, options.output)
        key = _prepare(cluster)
        for fault in faults:
            if fault.needs_root and os.geteuid():
                _say(f"Skipped {fault.name}: it needs root, to drop packets.")
                continue
            signal.alarm(SECONDS_OF_A_FAULT)
            _say(f"{datetime.now():%H:%M:%S} {fault.name}")
            try:
                result = _run(fault, cluster, key, stack).as_json()
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                _say(f"  failed: {error}")
                has_failed = True
                continue
            results.append(result)
            with (options.output / "results.jsonl").open("a") as file:
                file.write(json.dumps(result) + "\n")
            _say(*(f"  missed: {miss}" for miss in result["misses"]))
        signal.alarm(0)
    print(figures.table(results))
    sys.exit(has_failed or any(result["misses"] for result in results))


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _check_programs(faults: list[Fault]) -> None:
    """Exit with one line if a program is missing, or if a server cannot run it."""
    needed = {"etcd", "setpriv", *(program for fault in faults for program in fault.needs)}
    missing = sorted(program for program in needed if not shutil.which(program, path=PATH))
    if not (POSTGRESQL / "initdb").exists():
        missing.append("postgresql")
    if missing or not PATRONI.exists():
        sys.exit(f"Run `make drill`, which installs {', '.join(missing) or 'Patroni'}.")
    command = [*AS_SERVER_USER, PATRONI, "--version"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        sys.exit(
            f"{PATRONI} must be readable for every user. Move the checkout to a public folder."
        )


def _running_cluster(stack: ExitStack, output: Path) -> Cluster:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory-drill-")))
    folder.chmod(0o711)  # The user of the servers must reach it.
    if os.geteuid() == 0 and shutil.which("iptables", path=PATH):
        network.remove_rules()
    cluster = Cluster(folder, output)
    stack.callback(cluster.end)
    _say("Starting etcd and three nodes. This takes about 30 seconds.")
    cluster.start()
    return cluster


def _prepare(cluster: Cluster) -> str:
    """Create the tables, and return an API key."""
    service.manage(cluster.url(), "migrate", "--verbosity", "0")
    return service.manage(cluster.url(), "create_api_key", "drill", "--role", "manage")


def _run(fault: Fault, cluster: Cluster, key: str, stack: ExitStack) -> figures.Figures:
    """Run one fault under load, and return its figures."""
    cluster.settle()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inventory-drill-")))
    folder.chmod(0o755)
    lab = Lab(cluster, folder)
    with fault.serve(lab):
        clients = Clients(lab.address, key, f"{fault.name}-{secrets.token_hex(3)}")
        clients.create_products()
        try:
            clients.start()
            time.sleep(SECONDS_BEFORE)
            fault_at = clients.now()
            with fault.inject(lab):
                clients.wait_until_served(clients.now(), MOST_SECONDS)
            clients.wait_until_served(clients.now(), MOST_SECONDS)
            time.sleep(SECONDS_AFTER)
            clients.finish()
        finally:
            clients.abandon()
        verified = _verify(lab)
    cluster.settle()
    return figures.Figures(
        fault=fault.name,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=_commit(),
        most_away=fault.most_away,
        may_fail=fault.may_fail,
        verify_stock=verified,
        notes=lab.notes,
        **figures.times(clients.answers, fault_at),
        **figures.ledger_counts(
            _ledger(cluster.leader(), clients.run), clients.acknowledged, clients.seen
        ),
    )


def _verify(lab: Lab) -> str:
    """Return `ok`, or what `verify_stock` says. It uses the same URL as the service."""
    try:
        service.manage(lab.database_url, "verify_stock")
    except RuntimeError as error:
        return str(error)
    return "ok"


def _ledger(node: Node, run: str) -> list[tuple[int, str]]:
    rows: list[Any] = node.execute(
        f"SELECT id, reference FROM products_stockevent WHERE reference LIKE '{run}-%'", DATABASE
    )
    return rows


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(
        command, cwd=PROJECT, check=False, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    parser.add_argument(
        "--output", type=Path, default=Path(".drill"), help="folder of logs and figures"
    )
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FILE", help="print the table of these figures"
    )
    main(parser.parse_args())
