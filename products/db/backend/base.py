"""Django's backend for PostgreSQL, with a pool that keeps the deadline of a request (ADR 24)."""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import IsolationLevel

from products.db import deadline


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that waits for the pool until the deadline at most."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        pool = self.pool
        if pool is None:
            return super().get_new_connection(conn_params)
        self.isolation_level = IsolationLevel.READ_COMMITTED
        pool.open()
        return pool.getconn(timeout=deadline.limit(pool.timeout))
