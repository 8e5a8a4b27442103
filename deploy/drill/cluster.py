"""Run etcd and three PostgreSQL nodes under Patroni on 127.0.0.1.

The first node becomes the primary. One of the others is a synchronous standby, so that a change
which was acknowledged is on two nodes.
"""

import json
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import requests

from benchmarks import processes
from deploy.drill.programs import AS_SERVER_USER, POSTGRESQL, PROJECT, Program, send

ETCD = "127.0.0.1:23790"
ETCD_PEERS = "127.0.0.1:23800"
PATRONI = PROJECT / ".venv-drill/bin/patroni"
DATABASE, USER = "inventory", "inventory"
SECONDS_TO_SETTLE = 120

# The recommended times, in seconds. Patroni wants loop_wait + 2 * retry_timeout <= ttl. A primary
# loses its role when it has not renewed it for `ttl`.
TIMES = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}


class Node:
    """PostgreSQL and its Patroni, which share the fate of one machine."""

    def __init__(self, name: str, port: int, api_port: int, cluster: "Cluster") -> None:
        self.name = name
        self.port = port
        self.api_port = api_port
        self._cluster = cluster
        self.folder = cluster.folder / name
        self._configuration = cluster.folder / f"{name}.json"
        self.program: Program

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700)
            self._configuration.touch(mode=0o600)
            self._configuration.write_text(json.dumps(self._settings()))
            if AS_SERVER_USER:
                for path in (self.folder, self._configuration):
                    shutil.chown(path, "nobody", "nogroup")
        command = [*AS_SERVER_USER, PATRONI, self._configuration]
        self.program = Program(self.name, command, logs=self._cluster.logs)

    def postgres_pids(self) -> set[int]:
        """Return the ids of PostgreSQL's processes."""
        postmaster = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        return {postmaster, *processes.descendants(postmaster)}

    def patroni_pids(self) -> set[int]:
        return self.program.pids() - self.postgres_pids()

    def is_primary(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.api}/primary", timeout=2).status_code == 200
        return False

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database on this node, for its superuser."""
        return f"postgres://postgres:{self._cluster.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement on this node as the superuser."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=3) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _settings(self) -> dict[str, Any]:
        password = self._cluster.password
        api = f"127.0.0.1:{self.api_port}"
        address = f"127.0.0.1:{self.port}"
        postgresql = {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "max_connections": 60,
                "shared_buffers": "64MB",
                "wal_keep_size": "256MB",
                "password_encryption": "scram-sha-256",
            },
        }
        return {
            "scope": "drill",
            "name": self.name,
            "restapi": {"listen": api, "connect_address": api},
            "etcd3": {"host": ETCD},
            "bootstrap": {
                "dcs": {
                    **TIMES,
                    "maximum_lag_on_failover": 1048576,
                    "synchronous_mode": True,
                    "failsafe_mode": True,
                    "postgresql": postgresql,
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": address,
                "connect_address": address,
                "data_dir": str(self.folder / "data"),
                "bin_dir": str(POSTGRESQL),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": password},
                    "replication": {"username": "replicator", "password": password},
                    "rewind": {"username": "rewind", "password": password},
                },
                "pg_hba": [
                    "local all all trust",
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                    "host all all 127.0.0.1/32 scram-sha-256",
                ],
                "parameters": {"unix_socket_directories": str(self.folder)},
            },
        }


class Cluster:
    """etcd and three nodes, with an empty database of the service."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.logs = logs
        self.password = secrets.token_hex(12)
        self.nodes = [Node(f"node{n}", 5500 + n, 8500 + n, self) for n in (1, 2, 3)]
        self._etcd: Program

    def start(self) -> None:
        self.start_etcd()
        first, *others = self.nodes
        first.start()
        first.program.wait_until(first.is_primary)
        for node in others:
            node.start()
        self.settle()
        first.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'")
        first.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")

    def end(self) -> None:
        for node in self.nodes:
            if hasattr(node, "program"):
                node.program.kill()
        if hasattr(self, "_etcd"):
            self._etcd.kill()

    def start_etcd(self) -> None:
        data = self.folder / "etcd"
        if not data.exists():
            data.mkdir(mode=0o700)
            if AS_SERVER_USER:
                shutil.chown(data, "nobody", "nogroup")
        clients, peers = f"http://{ETCD}", f"http://{ETCD_PEERS}"
        command = [
            *(*AS_SERVER_USER, "etcd", "--name", "drill", "--data-dir", data),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"drill={peers}"),
        ]
        self._etcd = Program("etcd", command, logs=self.logs)
        self._etcd.wait_until(lambda: _responds(f"{clients}/health"))

    def end_etcd(self) -> None:
        self._etcd.end()

    def url(self, hosts: str = "") -> str:
        """Return the `DATABASE_URL` with all nodes, or with other hosts."""
        hosts = hosts or ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgres://{USER}:{self.password}@{hosts}/{DATABASE}"

    def leader(self) -> Node:
        return self._node("leader")

    def synchronous_standby(self) -> Node:
        return self._node("sync_standby")

    def settle(self) -> None:
        """Start the nodes that were killed, and wait until all nodes follow one primary."""
        for node in self.nodes:
            if not node.program.is_running:
                node.start()
        end = time.monotonic() + SECONDS_TO_SETTLE
        while not self._is_settled():
            if time.monotonic() > end:
                raise RuntimeError(f"The cluster did not settle: {self._members()}")
            time.sleep(0.5)

    def switch_over(self) -> None:
        """Make the synchronous standby the primary, as `patronictl switchover` does."""
        leader, candidate = self.leader(), self.synchronous_standby()
        answer = requests.post(
            f"{leader.api}/switchover",
            json={"leader": leader.name, "candidate": candidate.name},
            timeout=60,
        )
        if answer.status_code != 200:
            raise RuntimeError(f"The switchover failed: {answer.text}")

    def _is_settled(self) -> bool:
        members = self._members()
        roles = sorted(member["role"] for member in members)
        is_running = all(member["state"] in ("running", "streaming") for member in members)
        return roles == ["leader", "replica", "sync_standby"] and is_running

    def _node(self, role: str) -> Node:
        """Return the node with the role. Raises `RuntimeError` unless it is one."""
        names = [member["name"] for member in self._members() if member["role"] == role]
        if len(names) != 1:
            raise RuntimeError(f"{len(names)} nodes have the role {role}: {self._members()}")
        return next(node for node in self.nodes if node.name == names[0])

    def _members(self) -> list[dict[str, Any]]:
        for node in self.nodes:
            with suppress(requests.RequestException):
                members: list[dict[str, Any]] = requests.get(
                    f"{node.api}/cluster", timeout=2
                ).json()["members"]
                return members
        return []


@contextmanager
def stopped(pids: Callable[[], set[int]]) -> Iterator[None]:
    """Freeze processes for the time of the block."""
    frozen = pids()
    send(signal.SIGSTOP, frozen)
    try:
        yield
    finally:
        send(signal.SIGCONT, frozen)


def _responds(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(url, timeout=2).status_code == 200
    return False
