"""Run PgBouncer in transaction mode, with the configuration that the documentation names."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from products.tests.live import free_port
from products.tests.postgres import server_user

# Debian installs it in a folder that is not on the PATH of every user.
PGBOUNCER = os.environ.get("PGBOUNCER") or shutil.which(
    "pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
)
END_SECONDS = 20


def version() -> tuple[int, int]:
    assert PGBOUNCER
    shown = subprocess.run([PGBOUNCER, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"PgBouncer (\d+)\.(\d+)", shown.stdout)
    assert found, shown.stdout
    return int(found[1]), int(found[2])


@contextmanager
def running_pgbouncer(database_url: str) -> Iterator[str]:
    """Run PgBouncer in front of a database, and yield the URL of the database through it.

    Each transaction gets the server connection that was idle for the longest time.
    """
    assert PGBOUNCER
    server, port, user = urlsplit(database_url), free_port(), server_user()
    with tempfile.TemporaryDirectory(prefix="inventory-pgbouncer-") as name:
        folder = Path(name)
        lines = [
            "[databases]",
            f"* = host={server.hostname} port={server.port}",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
            f"auth_type = scram-sha-256\nauth_file = {folder}/users",
            "default_pool_size = 4\nserver_round_robin = 1",
            "pool_mode = transaction\nignore_startup_parameters = options",
            "max_prepared_statements = 200" if version() >= (1, 21) else "",
        ]
        (folder / "pgbouncer.ini").write_text("\n".join(lines))
        (folder / "users").touch(mode=0o600)
        (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
        if user:  # PgBouncer refuses to run as root.
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [PGBOUNCER, folder / "pgbouncer.ini"],
                stderr=output,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
        try:
            _wait_until_it_runs(process, log)
            yield database_url.replace(f":{server.port}/", f":{port}/")
        finally:
            process.kill()
            process.wait(END_SECONDS)


def _wait_until_it_runs(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + END_SECONDS
    while "process up" not in log.read_text():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"PgBouncer did not start: {log.read_text()}")
        time.sleep(0.05)
