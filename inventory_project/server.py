"""The production server: `python -m inventory_project.server`.

HOST, PORT and WEB_CONCURRENCY (the number of worker processes) come from the environment.
"""

import os
from pathlib import Path

from inventory_project import program

# More threads than connections in a worker's pool: if all connections wait for the database, the
# other threads can still respond with 503.
THREADS_PER_WORKER = 8
LIVE = Path(__file__).with_name("live")
"""The file that the server sends for /health/live without using a thread."""
# How long to wait for workers of a server that was killed, which end within a second.
_PATIENCE_SECONDS = 5


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    from django.conf import settings
    from granian.constants import HTTPModes, Interfaces

    from inventory_project.workers import SECONDS_TO_FINISH, Server
    from products import shared_metrics

    # Wrong settings fail here, before any worker starts.
    host, *others = program.ip_addresses(settings.HOST)
    if others:
        program.say(f"HOST={settings.HOST}: listening on {host}, not on {', '.join(others)}.")
    port = settings.PORT
    live = [f"{prefix}/health/live" for prefix in {"", settings.PATH_PREFIX}]
    claim = program.claim_address(
        host, port, hint="Set HOST and PORT to a free address.", patience=_PATIENCE_SECONDS
    )
    # Workers that outlive this process do not block the port.
    os.register_at_fork(after_in_child=claim.close)
    server = Server(
        "inventory_project.workers:application",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=settings.WEB_CONCURRENCY,
        blocking_threads=THREADS_PER_WORKER,
        static_path_route=live,
        static_path_mount=[LIVE for _ in live],
        static_path_dir_to_file="index.json",
        static_path_expires=0,
        respawn_failed_workers=True,
        # It is safe to kill a worker: it commits a change before it responds.
        workers_kill_timeout=SECONDS_TO_FINISH,
        # WSGI cannot distinguish an HTTP/2 body without a length from an empty body.
        http=HTTPModes.http1,
        websockets=False,
    )
    if settings.METRICS_TOKEN:
        with shared_metrics.shared_folder():
            server.serve()
    else:
        os.environ.pop(shared_metrics.VARIABLE, None)
        server.serve()


if __name__ == "__main__":
    program.run(main)
