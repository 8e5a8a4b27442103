"""The worker processes of the production server."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from granian.server import MPServer

from inventory_project import tracing
from products import shared_metrics

SECONDS_TO_FINISH = 15
"""How long a worker that has to stop may work on its last requests."""
# Workers that crash again and again do not keep the processors busy.
_RESPAWN_SECONDS = 0.5
_LOOK_SECONDS = 0.5


class Server(MPServer):
    """Granian, which replaces workers however often they are killed or crash.

    Granian itself ends if a worker dies twice within seconds. This server ends only if a worker
    cannot start.
    """

    def _respawn_workers(self, workers: Sequence[int], *args: Any, **options: Any) -> None:
        if any((self.wrks[worker].inner.exitcode or 0) > 0 for worker in workers):
            self.interrupt_children.extend(workers)
            self.signal_handler_interrupt()
            return
        time.sleep(_RESPAWN_SECONDS)
        super()._respawn_workers(workers, *args, **options)
        self.respawned_wrks.clear()


def application() -> Any:
    """Return the WSGI application in a worker process, which ends when the server has died."""
    server = multiprocessing.parent_process()
    if server is not None:
        threading.Thread(target=_end_without, args=[server.pid], daemon=True).start()
    # Before anything imports the metrics.
    is_replacement = shared_metrics.share()
    tracing.start()
    from inventory_project.wsgi import application
    from products import metrics
    from products.db.pool_metrics import watch_pool

    metrics.worker_restarts.inc(is_replacement)
    watch_pool()
    return application


def _end_without(server: int) -> None:
    """Wait until the server has been killed. Then end as if it had sent SIGTERM."""
    # No portable signal tells that the parent has died.
    while os.getppid() == server:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_FINISH)
    os.kill(os.getpid(), signal.SIGKILL)
