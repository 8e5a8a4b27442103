"""How fast our service is: against the reference, and against what the database can do.

    python -m benchmarks.throughput [--quick] [--cases remove-hot ...] [--connections 32 ...]

Starts a PostgreSQL of its own that waits for the disk, our production server, the reference of
`benchmarks/reference.py`, and pgbench, and lets them work in turns: in each round everybody does
every case for some seconds, so that what else the machine does meets all of them. Ratios are made
within a round. Afterwards the sums in every database are checked.

`--ours-env "WEB_CONCURRENCY=1"` measures our server once more with such variables, to compare
settings; `DATABASE_URL=?prepare_threshold=5` adds to the address. Needs Linux, for the CPU time.
"""

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path

import psycopg

from benchmarks import load, pgbench
from benchmarks.processes import cpu_seconds
from benchmarks.results import DATABASE, OURS, REFERENCE, Measurement, Results
from benchmarks.services import (
    Client,
    Contestant,
    Database,
    create_tables_of_reference,
    running_ours,
    running_reference,
)
from benchmarks.shop import CASES, Case
from products.tests.postgres import running_postgres

ROUNDS, SECONDS = 5, 3
QUICK_ROUNDS, QUICK_SECONDS = 2, 1
WARM_UP_SECONDS = 1

CLIENTS: dict[str, Client] = {"wrk": load.wrk, "own": load.closed_loop}


def main(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # So that everything is cleared up.
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(fsync=True))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(_machine(url, options), flush=True)
        contestants = _start(stack, url, logs, options)
        results = _measure(contestants, _postmaster(url), options)
        print("", *results.table(), "", *results.comparisons(), sep="\n")
        print("", *(contestant.check() for contestant in contestants), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(m) for m in results.measurements], indent=1))


def _start(stack: ExitStack, url: str, logs: Path, options: argparse.Namespace) -> list[Contestant]:
    """Start everybody, each on a database of its own in the one server."""
    client = CLIENTS[options.client]
    database = _create_database(url, DATABASE)
    create_tables_of_reference(database)
    reference = _create_database(url, REFERENCE, template=DATABASE)
    log = logs / REFERENCE
    contestants: list[Contestant] = [
        stack.enter_context(running_reference(reference, client=client, log=log)),
        Database(DATABASE, database),
    ]
    for number, text in enumerate(["", *options.ours_env]):
        variables = dict(item.split("=", 1) for item in shlex.split(text))
        ours = running_ours(
            f"{OURS} {text}".rstrip(),
            _create_database(url, f"{OURS}_{number}"),
            client=client,
            log=logs / f"{OURS}_{number}",
            variables=variables,
        )
        contestants.append(stack.enter_context(ours))
    return contestants


def _measure(
    contestants: Sequence[Contestant], postmaster: int, options: argparse.Namespace
) -> Results:
    results = Results([contestant.name for contestant in contestants])
    for round_number in range(options.rounds + 1):
        # The first round only warms up: connections, prepared statements, plans.
        seconds = options.seconds if round_number else WARM_UP_SECONDS
        for case, connections in _cells(options):
            able = [contestant for contestant in contestants if contestant.takes(case)]
            first = round_number % len(able)
            for contestant in (*able[first:], *able[:first]):
                measurement = _turn(
                    contestant, case, connections, seconds, postmaster, round_number
                )
                if round_number:
                    results.measurements.append(measurement)
        print(f"round {round_number} of {options.rounds}", file=sys.stderr, flush=True)
    return results


def _turn(
    contestant: Contestant,
    case: Case,
    connections: int,
    seconds: int,
    postmaster: int,
    round_number: int,
) -> Measurement:
    app_before = cpu_seconds(contestant.pid) if contestant.pid else 0
    database_before = cpu_seconds(postmaster)
    seen = contestant.run(case, connections=connections, seconds=seconds)
    return Measurement(
        round=round_number,
        case=case.name,
        connections=connections,
        contestant=contestant.name,
        load=seen,
        app_cpu=(cpu_seconds(contestant.pid) if contestant.pid else 0) - app_before,
        database_cpu=cpu_seconds(postmaster) - database_before,
    )


def _cells(options: argparse.Namespace) -> list[tuple[Case, int]]:
    return [
        (case, connections)
        for case in map(CASES.__getitem__, options.cases)
        for connections in case.connections
        if connections in options.connections
    ]


def _create_database(url: str, name: str, template: str = "template1") -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{url.rpartition('/')[0]}/{name}"


def _postmaster(url: str) -> int:
    with psycopg.connect(url) as connection:
        [(content,)] = connection.execute("SELECT pg_read_file('postmaster.pid')")
        return int(content.split()[0])


def _machine(url: str, options: argparse.Namespace) -> str:
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10_000
    limit = pgbench.program() or "psycopg in place of pgbench"
    return (
        f"{date.today()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, "
        f"Python {platform.python_version()}, PostgreSQL {version}, fsync on\n"
        f"client: {options.client}; {Path(limit).name}; {options.rounds} rounds of "
        f"{options.seconds} s each; `of limit`: speed as a part of pgbench's"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.throughput", description=__doc__)
    counts = sorted({count for case in CASES.values() for count in case.connections})
    parser.add_argument("--quick", action="store_true", help="few, short rounds")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--connections", nargs="+", type=int, choices=counts, default=counts)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each turn")
    parser.add_argument("--client", choices=CLIENTS, default="wrk" if load.has_wrk() else "own")
    parser.add_argument(
        "--ours-env", action="append", default=[], metavar="VARIABLES", help="ours once more"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every measurement")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    return options


if __name__ == "__main__":
    main(_options())
