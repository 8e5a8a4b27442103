"""The production server: `python -m inventory_project.server`.

HOST, PORT and WEB_CONCURRENCY (the number of worker processes) come from the environment.
"""

import os

from granian import Granian
from granian.constants import HTTPModes, Interfaces

# Four times as many as connections in a worker's pool: while the database keeps all of those
# waiting, the others still say so, and answer /health/live.
THREADS_PER_WORKER = 8
SECONDS_TO_FINISH = 15


def main() -> None:
    Granian(
        "inventory_project.wsgi:application",
        interface=Interfaces.WSGI,
        address=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        workers=int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1),
        blocking_threads=THREADS_PER_WORKER,
        # A worker that dies is replaced, unless it does so twice within seconds: then all end.
        respawn_failed_workers=True,
        # One that does not end by itself is ended: what it had not committed, it had not answered.
        workers_kill_timeout=SECONDS_TO_FINISH,
        # In HTTP/2 a body without a length cannot be told from an empty one by WSGI.
        http=HTTPModes.http1,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main()
