"""A temporary table that holds the lines of a file, and gives them in the order of products.

So memory does not grow with the file. The order is by SKU, which no product that is created
meanwhile can change. The table is of the database connection: a pooler that shares connections
between transactions would lose it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from products.models import BulkRun, Product

_INSERTED_AT_ONCE = 5_000

_CREATE = """
    CREATE TEMPORARY TABLE bulk_line (
        line bigint, sku varchar(50) {collation}, content text, code text, detail text
    )
"""
_COLLATIONS = {"postgresql": 'COLLATE "C"', "sqlite": ""}

_COPY = "COPY bulk_line FROM STDIN"
_INSERT = """
    INSERT INTO bulk_line
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
           json_extract(value, '$[3]'), json_extract(value, '$[4]')
    FROM json_each(%s)
"""

_SORT = [
    """
    CREATE TEMPORARY TABLE bulk_order AS
    SELECT row_number() OVER (ORDER BY sku, line) AS place, bulk_line.* FROM bulk_line
    """,
    "CREATE UNIQUE INDEX bulk_order_place ON bulk_order (place)",
    "DROP TABLE bulk_line",
]


class Staged(NamedTuple):
    """A line of the file."""

    place: int
    line: int
    sku: str
    """Empty where it is no SKU."""
    content: str
    code: str
    """Of what is wrong with the line in itself, or empty, as `detail`, which says it."""
    detail: str


NewLine = tuple[int, str, str, str, str]
"""The fields of `Staged` from `line` on."""


class Staging:
    """The staged lines."""

    def __init__(self) -> None:
        self.lines = 0
        self.faulty = 0
        """Lines that are wrong in themselves."""

    def fill(self, lines: Iterable[NewLine]) -> None:
        """Take in the lines of a file, and put them in order."""
        counted = self._counted(lines)
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # In a transaction of its own, or a savepoint: a bad file breaks it off.
                with (
                    transaction.atomic(),
                    connection.wrap_database_errors,
                    cursor.copy(_COPY) as copy,
                ):
                    for line in counted:
                        copy.write_row(line)
            else:
                while some := list(islice(counted, _INSERTED_AT_ONCE)):
                    cursor.execute(_INSERT, [json.dumps(some)])
            for statement in _SORT:
                cursor.execute(statement)

    def _counted(self, lines: Iterable[NewLine]) -> Iterator[NewLine]:
        for line in lines:
            self.lines += 1
            self.faulty += bool(line[3])
            yield line

    def products(self) -> QuerySet[Product]:
        """Return the products of all lines."""
        return Product.objects.filter(sku__in=RawSQL("SELECT sku FROM bulk_order", []))

    def after(self, place: int, *, count: int) -> list[Staged]:
        """Return the next lines after a place, 0 for the first: by SKU, then as in the file."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT place, line, sku, content, code, detail FROM bulk_order "
                "WHERE place > %s ORDER BY place LIMIT %s",
                [place, count],
            )
            return [Staged(*row) for row in cursor.fetchall()]

    def drop_decided(self, run: BulkRun) -> None:
        """Drop the lines that a run has applied or refused."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM bulk_order WHERE (sku, line) <= (%s, %s)",
                [run.last_sku, run.last_line],
            )


@contextmanager
def staging() -> Iterator[Staging]:
    """Make the table, and drop it at the end of the context."""
    _drop()
    with connection.cursor() as cursor:
        cursor.execute(_CREATE.format(collation=_COLLATIONS[connection.vendor]))
    try:
        yield Staging()
    finally:
        if connection.is_usable():
            _drop()


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bulk_line")
        cursor.execute("DROP TABLE IF EXISTS bulk_order")
