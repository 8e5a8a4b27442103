"""Run nginx with the configuration in `deploy/nginx.conf`."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from products.tests.live import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx.conf"
# Debian installs nginx in a folder that is not on the PATH of every user.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
END_SECONDS = 20

# The default paths belong to the nginx of the system.
_TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running_nginx(folder: Path, *server_ports: int) -> Iterator[int]:
    """Run nginx before the servers on these ports, and yield the port of nginx.

    `folder` takes its files. Those of uploads and downloads are in `folder/temporary`.
    """
    port = free_port()
    text = CONFIGURATION.read_text()
    for shipped, own in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "server 127.0.0.1:8000 max_fails=0;": " ".join(
            f"server 127.0.0.1:{each} max_fails=0;" for each in server_ports
        ),
    }.items():
        assert text.count(shipped) == 1
        text = text.replace(shipped, own)
    with running_configuration(folder, text, port):
        yield port


@contextmanager
def running_configuration(folder: Path, text: str, port: int) -> Iterator[None]:
    """Run nginx with a configuration that listens on a port."""
    assert NGINX
    (folder / "inventory.conf").write_text(text)
    temporary = folder / "temporary"
    temporary.mkdir()
    main = folder / "nginx.conf"
    main.write_text("\n".join(_main_configuration(folder, temporary)))
    process = subprocess.Popen([NGINX, "-p", folder, "-c", main], stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_listens(process, port, folder / "error.log")
        yield
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def _main_configuration(folder: Path, temporary: Path) -> Iterator[str]:
    if os.geteuid() == 0:
        yield "user root;"  # The default user could not write to the folder.
    yield f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
    yield "events { worker_connections 1024; }"
    yield "http { access_log off;"
    for name in _TEMPORARY_PATHS:
        yield f"{name}_temp_path {temporary}/{name};"
    yield f"include {folder}/inventory.conf; }}"


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + END_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=END_SECONDS).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    process.terminate()
    raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else ''}")
