"""Reads that may be a moment old, from a copy of the database (`DATABASE_REPLICA_URL`)."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, connections

from products.db.connection import drain_pool_after
from products.db.errors import STATEMENT_TIMEOUT, is_busy, is_unavailable, sqlstate_of

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

REPLICA = "replica"
"""The name of the copy in `DATABASES`."""
AWAY_SECONDS = 5
"""How long nothing is read from a copy that has failed."""

_away_until = 0.0


def read_from_replica(
    read: Callable[[str], Result], *, is_recent: Callable[[Result], bool] = lambda result: True
) -> Result:
    """Call `read` with the name of a database, and return its result: the replica, if possible.

    It is called again with the name of the primary if the replica fails, or is behind, as
    `is_recent` tells. Without a replica, only the primary is used.
    """
    if REPLICA in connections.settings and time.monotonic() >= _away_until:
        try:
            result = read(REPLICA)
        except Error as error:
            if not is_unavailable(error) or sqlstate_of(error) == STATEMENT_TIMEOUT:
                raise
            _note_failure(error)
        else:
            if is_recent(result):
                return result
    return read(DEFAULT_DB_ALIAS)


def _note_failure(error: Exception) -> None:
    global _away_until
    if not is_busy(error):  # A replica that is busy ends single statements.
        _away_until = time.monotonic() + AWAY_SECONDS
        drain_pool_after(error, database=REPLICA)
    logger.warning("the replica failed: %s", error)
