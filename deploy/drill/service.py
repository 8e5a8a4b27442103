"""Run the production server, and the proxies before it and before the database."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import requests

from deploy.drill.cluster import DATABASE, USER, Cluster
from deploy.drill.programs import AS_SERVER_USER, PROJECT, Program
from products.tests.nginx import running_nginx

PORTS = (8600, 8601)
HAPROXY_PORT, PGBOUNCER_PORT = 5600, 5601
WORKERS = 2
SECONDS_FOR_A_COMMAND = 120
SECRET_KEY = secrets.token_urlsafe(50)


class Server:
    """The production server on a port, with a database."""

    def __init__(
        self, database_url: str, logs: Path, port: int = PORTS[0], /, **variables: str
    ) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._variables = environment(database_url, PORT=str(port), **variables)
        self._logs = logs
        self._port = port
        self._program: Program | None = None
        self.folder = PROJECT
        """The checkout that the server runs from, at its next start."""

    def start(self) -> None:
        self._program = Program(
            f"server-{self._port}",
            [sys.executable, "-m", "inventory_project.server"],
            logs=self._logs,
            variables=self._variables,
            folder=self.folder,
        )
        self._program.wait_until(self._is_live)

    def end(self) -> None:
        if self._program is not None:
            self._program.end()

    def _is_live(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.address}/health/live", timeout=2).status_code == 200
        return False


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.end)  # Also if it is interrupted while it starts.
            server.start()
        yield


def environment(database_url: str, **variables: str) -> dict[str, str]:
    """Return the settings of the service, for the server and for commands."""
    return {
        "ALLOWED_HOSTS": "127.0.0.1,inventory.example.com",
        "API_THROTTLE_RATE": "",
        "DATABASE_URL": database_url,
        "DEBUG": "off",
        "HOST": "127.0.0.1",
        "SECRET_KEY": SECRET_KEY,
        "SECURE_SSL_REDIRECT": "off",
        "WEB_CONCURRENCY": str(WORKERS),
        **variables,
    }


def manage(database_url: str, *arguments: str, **variables: str) -> str:
    """Run a command of `manage.py`, and return its output.

    Raises `RuntimeError` with the output if it fails or takes two minutes.
    """
    try:
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env={**os.environ, **environment(database_url, **variables)},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS_FOR_A_COMMAND,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{arguments[0]} takes too long") from None
    if result.returncode:
        raise RuntimeError(
            f"{arguments[0]} ended with {result.returncode}: "
            f"{(result.stderr or result.stdout).strip()[-500:]}"
        )
    return result.stdout.strip()


@contextmanager
def running_haproxy(cluster: Cluster, folder: Path) -> Iterator[int]:
    """Run HAProxy before the nodes, and yield the port that leads to the primary."""
    servers = "\n".join(
        f"    server {node.name} 127.0.0.1:{node.port} check port {node.api_port}"
        for node in cluster.nodes
    )
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_template("haproxy.cfg").format(port=HAPROXY_PORT, servers=servers))
    haproxy = Program("haproxy", ["haproxy", "-f", configuration], logs=cluster.logs)
    try:
        yield HAPROXY_PORT
    finally:
        haproxy.kill()


@contextmanager
def running_pgbouncer(cluster: Cluster, folder: Path, server_port: int) -> Iterator[int]:
    """Run PgBouncer in transaction mode before a PostgreSQL port, and yield its port."""
    users = folder / "pgbouncer-users"
    users.write_text(f'"{USER}" "{cluster.password}"\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _template("pgbouncer.ini").format(
            database=DATABASE, server_port=server_port, port=PGBOUNCER_PORT, users=users
        )
    )
    command = [*AS_SERVER_USER, os.environ.get("PGBOUNCER") or "pgbouncer", configuration]
    pgbouncer = Program("pgbouncer", command, logs=cluster.logs)
    try:
        yield PGBOUNCER_PORT
    finally:
        pgbouncer.kill()


@contextmanager
def running_proxy(servers: list[Server], folder: Path) -> Iterator[str]:
    """Run nginx with `deploy/nginx.conf` before the servers, and yield its address."""
    folder.mkdir(exist_ok=True)
    ports = [int(server.address.rpartition(":")[2]) for server in servers]
    with running_nginx(folder, *ports) as port:
        yield f"http://127.0.0.1:{port}"


def _template(name: str) -> str:
    return Path(__file__).with_name(name).read_text()
