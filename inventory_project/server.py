"""The production server: `python -m inventory_project.server`.

HOST, PORT and WEB_CONCURRENCY (the number of worker processes) come from the environment.
"""

import os

from inventory_project import program

# More threads than connections in a worker's pool: if all connections wait for the database, the
# other threads can still respond with 503, and serve /health/live.
THREADS_PER_WORKER = 8
SECONDS_TO_FINISH = 15


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    from django.conf import settings
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    # Wrong settings fail here, before any worker starts.
    host, port, workers = settings.HOST, settings.PORT, settings.WEB_CONCURRENCY
    program.require_free_address(host, port, hint="Set HOST and PORT to a free address.")
    Granian(
        "inventory_project.wsgi:application",
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=THREADS_PER_WORKER,
        # Replaces a worker that dies. If it dies twice within seconds, the server ends.
        respawn_failed_workers=True,
        # It is safe to kill a worker: it commits a change before it responds.
        workers_kill_timeout=SECONDS_TO_FINISH,
        # WSGI cannot distinguish an HTTP/2 body without a length from an empty body.
        http=HTTPModes.http1,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    program.run(main)
