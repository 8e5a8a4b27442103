"""Fill the database of our service with a large shop, in addition to the small one.

Each product was created. Then, in several rounds, one unit of each product was removed and added
again, each round in another order. Half of the products are or were reserved once. One busy product
has one percent of all events: reservations with the same reference.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import psycopg

from benchmarks.shop import PRODUCTS as SMALL
from benchmarks.terms import terms_sql

BUSY_SKU = f"SKU-{SMALL + 3}"
BUSY_REFERENCE = "subscription"
OPEN_RESERVATION = 2
OVERDUE_SKU = f"SKU-{SMALL + 2}"
OVERDUE_QUANTITY = 999_999
IDEMPOTENCY_KEYS = 200_000


class Size(NamedTuple):
    """The approximate size of the shop."""

    products: int
    events: int

    @property
    def versions(self) -> int:
        """The number of events of each product before its reservation. It is even."""
        return max(2, self.events // self.products // 2 * 2)

    @property
    def reservations(self) -> int:
        """The number of reservations of all products except the busy one."""
        return (self.products - SMALL) // 2

    @property
    def busy_reservations(self) -> int:
        """The number of reservations of the busy product, with two events each."""
        return self.events // 200

    def skus(self, chance: Random) -> Iterator[str]:
        """Yield random SKUs of products that can be removed and reserved."""
        while True:
            number = chance.randint(1, self.products)
            if number % 100 > 1:  # Neither archived nor out of stock.
                yield f"SKU-{number}"


_FILL = [
    """
    CREATE TEMPORARY TABLE hold AS
    SELECT r AS id, CASE WHEN rank > 0 THEN %(small)s + 3 ELSE %(small)s + 2 * r END AS n,
           greatest(rank, 1) AS rank, rank > 0 AS is_busy, r %% 5000 = 1 AS is_overdue,
           CASE WHEN rank > 0 THEN 'fulfilled' WHEN r %% 5000 = 1 OR r %% 25 = 2 THEN 'open'
                WHEN r %% 50 = 3 THEN 'expired' WHEN r %% 50 = 4 THEN 'released'
                ELSE 'fulfilled' END AS status
    FROM generate_series(1, %(held)s + %(busy)s) r, LATERAL (SELECT r - %(held)s AS rank) ranked
    """,
    # One product in 100 is archived, one in 500 out of stock, one in 5,000 low.
    """
    CREATE TEMPORARY TABLE plan AS
    SELECT n, opening, fulfilled, held, %(versions)s + 2 * reservations - held AS version
    FROM generate_series(%(small)s + 1, %(products)s) n
    LEFT JOIN (SELECT n, count(*) AS reservations,
                      count(*) FILTER (WHERE status = 'fulfilled') AS fulfilled,
                      count(*) FILTER (WHERE status = 'open') AS held
               FROM hold GROUP BY n) summed USING (n),
    LATERAL (SELECT CASE WHEN n %% 500 = 1 THEN 1 ELSE 1000000 END AS opening) opened
    """,
    """
    INSERT INTO products_product (sku, name, search_terms, description, quantity, reserved_quantity,
                                  minimum_stock_level, version, archived, created_at, updated_at)
    SELECT 'SKU-' || n, initcap(words), {terms}, '',
           opening - 1 - coalesce(fulfilled, 0), coalesce(held, 0),
           CASE WHEN n %% 5000 = 2 THEN 2000000 ELSE 0 END, coalesce(version, %(versions)s),
           n %% 100 = 0, now() - interval '1 year', now() - interval '2 days'
    FROM plan,
         LATERAL (SELECT (ARRAY['red', 'blue', 'green', 'large', 'small'])[1 + n %% 5] || ' '
                         || (ARRAY['mug', 'pen', 'lamp', 'chair', 'box', 'bag'])[1 + n %% 6]
                         || ' model' || n / 30 AS words) named
    ORDER BY n
    """.replace("{terms}", terms_sql("'SKU-' || n", "words")),
    """
    INSERT INTO products_reservation (reference, status, expires_at, created_at)
    SELECT CASE WHEN is_busy THEN %(reference)s ELSE 'order-' || id END, status,
           CASE WHEN is_overdue THEN now() - interval '1 hour'
                WHEN id %% 2 = 0 THEN now() + interval '1 day' END, now() - interval '1 day'
    FROM hold ORDER BY id
    """,
    """
    INSERT INTO products_reservationline (reservation_id, product_id, amount, fulfilled, released,
                                          expired, open)
    SELECT id, n, 1, (status = 'fulfilled')::int, (status = 'released')::int,
           (status = 'expired')::int, (status = 'open')::int
    FROM hold ORDER BY id
    """,
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reason,
                                     reference, actor, source, request_id, occurred_at)
    SELECT n, 'SKU-' || n, version,
           CASE WHEN version = 1 THEN 'ProductCreated' WHEN version %% 2 = 0 THEN 'InventoryRemoved'
                ELSE 'InventoryAdded' END,
           CASE WHEN version = 1 THEN opening WHEN version %% 2 = 0 THEN -1 ELSE 1 END, 0,
           opening - (version + 1) %% 2, 0, '', 'move-' || shuffled, 'webshop', 'api',
           md5(n::text || '-' || version),
           now() - interval '2 days' - (%(versions)s - version + 1 - number::float / %(products)s)
                                       * (interval '360 days' / %(versions)s)
    FROM generate_series(1, %(versions)s) version,
         generate_series(1, %(products)s - %(small)s) number,
         LATERAL (SELECT (number * 7919::bigint + version * 31) %% (%(products)s - %(small)s)
                         AS shuffled) shuffled,
         LATERAL (SELECT %(small)s + 1 + shuffled AS n) numbered,
         LATERAL (SELECT CASE WHEN n %% 500 = 1 THEN 1 ELSE 1000000 END AS opening) opened
    """,
    """
    INSERT INTO products_stockevent (product_id, sku, version, type, quantity_change,
                                     reserved_change, quantity, reserved_quantity, reservation_id,
                                     reason, reference, actor, source, request_id, occurred_at)
    SELECT n, 'SKU-' || n, %(versions)s + 2 * rank - 2 + step,
           CASE WHEN step = 1 THEN 'InventoryReserved' WHEN status = 'fulfilled'
                THEN 'InventoryFulfilled' ELSE 'InventoryReleased' END,
           CASE WHEN step = 2 AND status = 'fulfilled' THEN -1 ELSE 0 END,
           CASE WHEN step = 1 THEN 1 ELSE -1 END,
           opening - 1 - CASE WHEN status = 'fulfilled' THEN rank - 2 + step ELSE 0 END, 2 - step,
           hold.id, CASE WHEN status = 'expired' AND step = 2 THEN 'expired' ELSE '' END,
           CASE WHEN is_busy THEN %(reference)s ELSE 'order-' || hold.id END, 'webshop', 'api',
           md5('hold-' || hold.id || '-' || step),
           now() - interval '2 days' + interval '1 day' * hold.id / (%(held)s + %(busy)s)
    FROM hold JOIN plan USING (n), generate_series(1, 2) step
    WHERE step = 1 OR status <> 'open'
    ORDER BY hold.id, step
    """,
    """
    INSERT INTO products_idempotencykey (source, caller, key, fingerprint, status, body, headers,
                                         created_at)
    SELECT 'api', (SELECT name FROM products_apikey), 'order-' || n, md5(n::text), 200,
           convert_to(repeat('x', 400), 'utf8'), '{}', now() - n * interval '24.4 hours' / %(keys)s
    FROM generate_series(1, %(keys)s) n
    """,
]


def fill(url: str, size: Size) -> None:
    """Add the large shop to the small one.

    Foreign keys are not checked. Non-unique indexes are created afterwards, which is much faster.
    """
    values = {
        "small": SMALL,
        "products": size.products,
        "versions": size.versions,
        "held": size.reservations,
        "busy": size.busy_reservations,
        "reference": BUSY_REFERENCE,
        "keys": min(IDEMPOTENCY_KEYS, size.events),
    }
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'")
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'products_%' "
            "AND indexdef NOT LIKE 'CREATE UNIQUE %'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for statement in _FILL:
            connection.execute(statement, values)
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
