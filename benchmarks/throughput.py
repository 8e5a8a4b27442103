"""Compare the speed of our service with a reference service and with the bare database.

    python -m benchmarks.throughput [--quick] [--cases remove-hot ...] [--connections 32 ...]

Starts its own PostgreSQL with `fsync`, our production server, the reference service of
`benchmarks/reference.py`, and pgbench. They take turns: in each round, every contestant runs every
case for some seconds, so that other programs disturb all of them alike. Ratios are within a round.

Then it counts the statements of a request, sends 100 requests per second to our server on
PostgreSQL and on SQLite (the case `steady`), and checks the sums in every database. It needs Linux
to measure CPU time.

To compare settings, `--ours-env "WEB_CONCURRENCY=1"` measures our server again with this variable.
`DATABASE_URL=?prepare_threshold=5` is appended to the address. To compare code, `--ours-in FOLDER`
measures the server of another checkout.
"""

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import load, pgbench, statements
from benchmarks.processes import cpu_seconds, cpu_seconds_of_the_machine
from benchmarks.results import DATABASE, OURS, REFERENCE, Measurement, Results
from benchmarks.services import (
    Client,
    Contestant,
    Database,
    Ours,
    Service,
    create_database,
    create_tables_of_reference,
    running_ours,
    running_reference,
)
from benchmarks.shop import CASES, Case
from products.tests.postgres import running_postgres

ROUNDS, SECONDS = 7, 2
QUICK_ROUNDS, QUICK_SECONDS = 2, 1
WARM_UP_SECONDS = 1

STEADY = "steady"
STEADY_RATE, STEADY_CONNECTIONS = 100, 64
STEADY_SECONDS, QUICK_STEADY_SECONDS = 60, 5

CLIENTS: dict[str, Client] = {"wrk": load.wrk, "own": load.closed_loop}


def main(options: argparse.Namespace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Interrupted."))  # The stack cleans up.
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(fsync=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _print_part(_machine(url, options))
        contestants = _start(stack, url, folder, options)
        results = _measure(contestants, _postmaster(url), options)
        _print_part(results.table())
        _print_part([*results.comparisons(), *results.variants(), results.disturbance()])
        services = [one for one in contestants if isinstance(one, Service)]
        found = _statements(services, url, options)
        _print_part(_table_of_statements(services, found))
        if STEADY in options.cases:
            steady = [one for one in services if isinstance(one, Ours)]
            steady.append(_start_on_sqlite(stack, folder, options))
            _print_part(_steady(steady, options))
            contestants.append(steady[-1])
        _print_part(contestant.check() for contestant in contestants)
    if options.json:
        measurements = [asdict(measurement) for measurement in results.measurements]
        everything = {"statements": found, "measurements": measurements}
        options.json.write_text(json.dumps(everything, indent=1))


def _print_part(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
    print(flush=True)


def _machine(url: str, options: argparse.Namespace) -> list[str]:
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10_000
    variants = [shlex.join(f"{k}={v}" for k, v in one.items()) for one in options.ours_env]
    variants += map(str, options.ours_in)
    clients = f"{options.client}, {'pgbench' if pgbench.program() else 'psycopg for pgbench'}"
    return [
        f"{date.today()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, "
        f"Python {platform.python_version()}, PostgreSQL {version}, fsync on",
        f"{options.rounds} rounds of {options.seconds} s each; clients: {clients}",
        *(f"{OURS} {number}: {variant}" for number, variant in enumerate(variants, start=2)),
    ]


# ------------------------------------------------------------------------------------- contestants


def _start(
    stack: ExitStack, url: str, folder: Path, options: argparse.Namespace
) -> list[Contestant]:
    """Start all contestants, each on its own database in the same PostgreSQL server."""
    client = CLIENTS[options.client]
    for_database = create_database(url, DATABASE)
    create_tables_of_reference(for_database)
    for_reference = create_database(url, REFERENCE, template=DATABASE)
    contestants: list[Contestant] = [
        stack.enter_context(
            running_reference(for_reference, client=client, log=folder / "reference.log")
        ),
        Database(DATABASE, for_database),
    ]
    variants: list[dict[str, Any]] = [
        {},
        *({"variables": variables} for variables in options.ours_env),
        *({"folder": checkout} for checkout in options.ours_in),
    ]
    for number, variant in enumerate(variants, start=1):
        name = OURS if number == 1 else f"{OURS} {number}"
        for_ours = create_database(url, f"{OURS}_{number}")
        log = folder / f"{OURS}-{number}.log"
        ours = running_ours(name, for_ours, client=client, log=log, **variant)
        contestants.append(stack.enter_context(ours))
    return contestants


def _start_on_sqlite(stack: ExitStack, folder: Path, options: argparse.Namespace) -> Ours:
    return stack.enter_context(
        running_ours(
            f"{OURS} on SQLite",
            f"sqlite:///{folder}/shop.sqlite3",
            client=CLIENTS[options.client],
            log=folder / "ours-sqlite.log",
        )
    )


def _postmaster(url: str) -> int:
    with psycopg.connect(url) as connection:
        [(content,)] = connection.execute("SELECT pg_read_file('postmaster.pid')")
        return int(content.split()[0])


# ------------------------------------------------------------------------------------ measurements


def _measure(
    contestants: Sequence[Contestant], postmaster: int, options: argparse.Namespace
) -> Results:
    results = Results([contestant.name for contestant in contestants])
    for round_number in range(options.rounds + 1):
        # The first round only warms up connections, prepared statements and plans.
        seconds = options.seconds if round_number else WARM_UP_SECONDS
        for case in _cases(options):
            able = [contestant for contestant in contestants if contestant.takes(case)]
            first = round_number % len(able)
            for connections in case.connections:
                if connections not in options.connections:
                    continue
                for contestant in (*able[first:], *able[:first]):
                    measurement = _turn(contestant, case, connections, seconds, postmaster)
                    if round_number:
                        results.measurements.append(measurement)
        print(f"round {round_number} of {options.rounds}", file=sys.stderr, flush=True)
    return results


def _cases(options: argparse.Namespace) -> list[Case]:
    return [CASES[name] for name in options.cases if name != STEADY]


def _turn(
    contestant: Contestant, case: Case, connections: int, seconds: int, postmaster: int
) -> Measurement:
    started, machine = time.perf_counter(), cpu_seconds_of_the_machine()
    app = cpu_seconds(contestant.pid) if contestant.pid else 0
    database, everything = cpu_seconds(postmaster), cpu_seconds(os.getpid())
    seen = contestant.run(case, connections=connections, seconds=seconds)
    database = cpu_seconds(postmaster) - database
    ours = cpu_seconds(os.getpid()) - everything + database
    machine = cpu_seconds_of_the_machine() - machine
    available = (time.perf_counter() - started) * (os.cpu_count() or 1)
    return Measurement(
        case=case.name,
        connections=connections,
        contestant=contestant.name,
        load=seen,
        app_cpu=cpu_seconds(contestant.pid) - app if contestant.pid else 0,
        database_cpu=database,
        others=max(0, machine - ours) / available,
    )


Statements = dict[str, dict[str, list[str]]]
"""The statements by case and service."""


def _statements(services: Sequence[Service], url: str, options: argparse.Namespace) -> Statements:
    with statements.logged(url) as read:
        return {
            case.name: {
                service.name: service.statements(case, read)
                for service in services
                if service.takes(case)
            }
            for case in _cases(options)
        }


def _table_of_statements(services: Sequence[Service], found: Statements) -> Iterable[str]:
    yield f"{'statements':<16}" + "".join(f"  {service.name:<24}" for service in services)
    for case, by_service in found.items():
        counts = [len(by_service.get(service.name, ())) or "-" for service in services]
        yield f"{case:<16}" + "".join(f"  {count:<24}" for count in counts)


def _steady(services: Sequence[Ours], options: argparse.Namespace) -> Iterable[str]:
    seconds = QUICK_STEADY_SECONDS if options.quick else STEADY_SECONDS
    yield (
        f"{STEADY_RATE} removes per second for {seconds} s over {STEADY_CONNECTIONS} connections: "
        "latency in ms from the time at which a request was due"
    )
    for service in services:
        seen = service.run_at(
            STEADY_RATE,
            CASES["remove-uniform"],
            connections=STEADY_CONNECTIONS,
            seconds=seconds,
        )
        yield (
            f"{service.name:<24} p50 {seen.p50:.1f}  p95 {seen.p95:.1f}  p99 {seen.p99:.1f}  "
            f"{seen.answered:,} responses, {seen.failed:,} errors"
        )


def _variables(text: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in shlex.split(text))


def _folder(name: str) -> Path:
    return Path(name).resolve(strict=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*CASES, STEADY]
    counts = sorted({count for case in CASES.values() for count in case.connections})
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of {QUICK_SECONDS} s"
    )
    parser.add_argument(
        "--cases", nargs="+", choices=names, default=names, help="only these (default: all)"
    )
    parser.add_argument(
        "--connections",
        nargs="+",
        type=int,
        choices=counts,
        default=counts,
        help="only these numbers of connections (default: all)",
    )
    parser.add_argument("--rounds", type=int, help=f"rounds to measure (default: {ROUNDS})")
    parser.add_argument("--seconds", type=int, help=f"seconds of each turn (default: {SECONDS})")
    parser.add_argument(
        "--client",
        choices=CLIENTS,
        default="wrk" if load.has_wrk() else "own",
        help="default: wrk if it is installed, else own",
    )
    again: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument(
        "--ours-env",
        type=_variables,
        metavar="VARIABLES",
        help="measure our server again with these variables",
        **again,
    )
    parser.add_argument(
        "--ours-in",
        type=_folder,
        metavar="FOLDER",
        help="measure the server of another checkout",
        **again,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to FILE")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    return options


if __name__ == "__main__":
    main(_options())
