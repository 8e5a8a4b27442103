"""The faults: each one breaks something, waits where it must, and repairs it."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from deploy.drill import service
from deploy.drill.cluster import Cluster, stopped
from deploy.drill.network import lost_packets
from deploy.drill.programs import POSTGRESQL, PROJECT, send
from deploy.drill.service import PORTS, Server
from products.tests.moving.previous import NoHistory, migrations_of, unpack_previous_release

# Seconds without a change, as the targets of the drill.
SWITCHOVER, KILLED_POSTGRES, LOST_MACHINE = 5.0, 8.0, 25.0
SECONDS_WITHOUT_ETCD = 30
SECONDS_READ_ONLY = 10
DEAD_HOST = "127.0.0.9"


@dataclass
class Lab:
    """What a fault can break."""

    cluster: Cluster
    folder: Path
    """For the files of one fault."""
    notes: list[str] = field(default_factory=list)
    """Facts that a fault found out."""
    servers: list[Server] = field(default_factory=list)
    address: str = ""
    """The address that the clients use."""
    database_url: str = ""
    """The database as the servers reach it."""


Step = Callable[[Lab], AbstractContextManager[None]]


class Fault(NamedTuple):
    """A fault, and the service that it needs."""

    name: str
    inject: Step
    """Breaks something. Repairs it after the block, in which the clients go on."""
    most_away: float | None
    """The most seconds that a change may take, or None if it depends on the length of the fault."""
    serve: Step
    """Runs the service."""
    needs: tuple[str, ...] = ()
    """Programs besides PostgreSQL, Patroni and etcd."""
    needs_root: bool = False
    may_fail: bool = True
    """Whether requests may fail."""


# ---------------------------------------------------------------------------------------- service


@contextmanager
def _plain(lab: Lab) -> Iterator[None]:
    """Run the service with the three nodes in its URL, and nothing else."""
    with _server(lab, lab.cluster.url()):
        yield


@contextmanager
def _with_a_dead_host(lab: Lab) -> Iterator[None]:
    """Run the service with another host first in its URL, which does not answer."""
    nodes = ",".join(f"127.0.0.1:{node.port}" for node in lab.cluster.nodes)
    url = lab.cluster.url(f"{DEAD_HOST}:5500,{nodes}")
    with lost_packets(f"-d {DEAD_HOST}"), _server(lab, url):
        yield


@contextmanager
def _behind_pgbouncer(lab: Lab) -> Iterator[None]:
    """Run the service with PgBouncer before HAProxy, which finds the primary."""
    with (
        service.running_haproxy(lab.cluster, lab.folder) as haproxy,
        service.running_pgbouncer(lab.cluster, lab.folder, haproxy) as pgbouncer,
        _server(lab, lab.cluster.url(f"127.0.0.1:{pgbouncer}")),
    ):
        yield


@contextmanager
def _two_servers(lab: Lab, folder: Path = PROJECT) -> Iterator[None]:
    """Run two servers behind nginx."""
    url = lab.cluster.url()
    lab.servers = [Server(url, lab.cluster.logs, port) for port in PORTS]
    for server in lab.servers:
        server.folder = folder
    lab.database_url = url
    with (
        service.running(*lab.servers),
        service.running_proxy(lab.servers, lab.folder / "nginx") as lab.address,
    ):
        yield


@contextmanager
def _two_previous_servers(lab: Lab) -> Iterator[None]:
    """Run two servers of the previous release behind nginx, without the migrations after it."""
    previous = lab.folder / "previous"
    try:
        unpack_previous_release(previous)
    except NoHistory as reason:
        raise RuntimeError(str(reason)) from None
    last = migrations_of(previous)[-1]
    service.manage(lab.cluster.url(), "migrate", "products", last, "--verbosity", "0")
    try:
        with _two_servers(lab, folder=previous):
            yield
    finally:
        service.manage(lab.cluster.url(), "migrate", "--verbosity", "0")


@contextmanager
def _server(lab: Lab, url: str, **variables: str) -> Iterator[None]:
    server = Server(url, lab.cluster.logs, **variables)
    lab.servers, lab.address, lab.database_url = [server], server.address, url
    with service.running(server):
        yield


# ----------------------------------------------------------------------------------------- faults


@contextmanager
def _kill_primary_host(lab: Lab) -> Iterator[None]:
    lab.cluster.leader().program.kill()
    yield


@contextmanager
def _kill_postgres(lab: Lab) -> Iterator[None]:
    send(signal.SIGKILL, lab.cluster.leader().postgres_pids())
    yield


@contextmanager
def _switch_over(lab: Lab) -> Iterator[None]:
    lab.cluster.switch_over()
    yield


@contextmanager
def _kill_standby(lab: Lab) -> Iterator[None]:
    lab.cluster.synchronous_standby().program.kill()
    yield


@contextmanager
def _freeze_postgres(lab: Lab) -> Iterator[None]:
    with stopped(lab.cluster.leader().postgres_pids):
        yield


@contextmanager
def _freeze_host(lab: Lab) -> Iterator[None]:
    with stopped(lab.cluster.leader().program.pids):
        yield


@contextmanager
def _lose_host(lab: Lab) -> Iterator[None]:
    """Drop all packets of the primary's host. Its Patroni may not reach etcd either."""
    node = lab.cluster.leader()
    ports = [
        f"--{side} {port}" for port in (node.port, node.api_port) for side in ("dport", "sport")
    ]
    with lost_packets(*ports), stopped(node.patroni_pids):
        yield


@contextmanager
def _stop_etcd(lab: Lab) -> Iterator[None]:
    lab.cluster.end_etcd()
    time.sleep(SECONDS_WITHOUT_ETCD)
    lab.cluster.start_etcd()
    yield


@contextmanager
def _set_read_only(lab: Lab) -> Iterator[None]:
    """Set the primary read-only for some seconds, as some hosts do with a full disk."""
    node = lab.cluster.leader()
    node.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    node.execute("SELECT pg_reload_conf()")
    time.sleep(SECONDS_READ_ONLY)
    node.execute("ALTER SYSTEM RESET default_transaction_read_only")
    node.execute("SELECT pg_reload_conf()")
    yield


@contextmanager
def _restart_servers(lab: Lab) -> Iterator[None]:
    for server in lab.servers:
        server.end()
        server.start()
    yield


@contextmanager
def _upgrade(lab: Lab) -> Iterator[None]:
    """Migrate under load, and then replace one server after the other by this release."""
    service.manage(lab.database_url, "migrate", "--verbosity", "0")
    for server in lab.servers:
        server.end()
        server.folder = PROJECT
        server.start()
    yield


@contextmanager
def _dump_and_restore(lab: Lab) -> Iterator[None]:
    """Dump the database under load, restore it, and check the copy."""
    node, dump, copy = lab.cluster.leader(), lab.folder / "dump", "restored"
    node.execute(f"DROP DATABASE IF EXISTS {copy}")
    node.execute(f"CREATE DATABASE {copy}")
    _run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={node.url()}")
    _run("pg_restore", "--jobs=2", f"--dbname={node.url(copy)}", str(dump))
    checked = service.manage(node.url(copy), "verify_stock")
    [(events,)] = node.execute("SELECT count(*) FROM products_stockevent", copy)
    lab.notes.append(f"the copy has {events} events; verify_stock: {checked.splitlines()[-1]}")
    node.execute(f"DROP DATABASE {copy}")
    yield


def _run(program: str, *arguments: str) -> None:
    subprocess.run([POSTGRESQL / program, *arguments], check=True, timeout=120)


FAULTS = [
    Fault("switchover", _switch_over, SWITCHOVER, _plain),
    Fault("postgres-killed", _kill_postgres, KILLED_POSTGRES, _plain),
    Fault("host-killed", _kill_primary_host, LOST_MACHINE, _plain),
    Fault("standby-killed", _kill_standby, LOST_MACHINE, _plain),
    Fault("postgres-frozen", _freeze_postgres, LOST_MACHINE, _plain),
    Fault("host-frozen", _freeze_host, LOST_MACHINE, _plain),
    Fault("host-vanished", _lose_host, LOST_MACHINE, _plain, ("iptables",), needs_root=True),
    Fault(
        "dead-first-host",
        _switch_over,
        SWITCHOVER,
        _with_a_dead_host,
        ("iptables",),
        needs_root=True,
    ),
    Fault("etcd-stopped", _stop_etcd, SWITCHOVER, _plain),
    Fault("read-only", _set_read_only, None, _plain),
    Fault("pgbouncer", _switch_over, None, _behind_pgbouncer, ("haproxy", "pgbouncer")),
    Fault(
        "rolling-restart", _restart_servers, SWITCHOVER, _two_servers, ("nginx",), may_fail=False
    ),
    Fault("upgrade", _upgrade, SWITCHOVER, _two_previous_servers, ("nginx",), may_fail=False),
    Fault("dump-and-restore", _dump_and_restore, SWITCHOVER, _plain),
]
