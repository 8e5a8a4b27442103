"""Stage the lines of a file in a temporary table, ordered by SKU.

The table keeps memory use constant. The order is by SKU, so that a product created during the run
does not change it. The table belongs to the database connection, so connect directly: a
transaction-mode pooler would lose the table.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

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
    """A staged line of the file."""

    place: int
    line: int
    sku: str
    """Empty if the line has no valid SKU."""
    content: Any
    code: str
    """The error code of a line that could not be read, else empty."""
    detail: str
    """The error message of a line that could not be read, else empty."""


NewLine = tuple[int, str, Any, str, str]
"""The fields of `Staged` without `place`."""


class Codec(NamedTuple):
    """Converts the content of a line to text, and many texts back to contents."""

    encode: Callable[[Any], str]
    decode: Callable[[Sequence[str]], list[Any]]


class Staging:
    """The staged lines of a file."""

    def __init__(self, codec: Codec) -> None:
        self.lines = 0
        """The number of lines."""
        self.invalid = 0
        """The number of lines that could not be read."""
        self._codec = codec

    def fill(self, lines: Iterable[NewLine]) -> None:
        """Store the lines of a file and sort them."""
        encoded = self._encoded(lines)
        with connection.cursor() as cursor:
            _drop()
            cursor.execute(_CREATE.format(collation=_COLLATIONS[connection.vendor]))
            if connection.vendor == "postgresql":
                # A file that cannot be read aborts this transaction or savepoint.
                with (
                    transaction.atomic(),
                    connection.wrap_database_errors,
                    cursor.copy(_COPY) as copy,
                ):
                    for row in encoded:
                        copy.write_row(row)
            else:
                while rows := list(islice(encoded, _INSERTED_AT_ONCE)):
                    cursor.execute(_INSERT, [json.dumps(rows)])
            for statement in _SORT:
                cursor.execute(statement)

    def _encoded(self, lines: Iterable[NewLine]) -> Iterator[tuple[int, str, str, str, str]]:
        """Yield the rows of the table, and count them."""
        for line, sku, content, code, detail in lines:
            self.lines += 1
            self.invalid += bool(code)
            yield line, sku, self._codec.encode(content), code, detail

    def products(self) -> QuerySet[Product]:
        """Return the products named by the lines."""
        return Product.objects.filter(sku__in=RawSQL("SELECT sku FROM bulk_order", []))

    def after(self, place: int, *, count: int) -> list[Staged]:
        """Return the lines after a place, by SKU and then in file order. Place 0 is the start."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT place, line, sku, content, code, detail FROM bulk_order "
                "WHERE place > %s ORDER BY place LIMIT %s",
                [place, count],
            )
            rows = cursor.fetchall()
        contents = self._codec.decode([row[3] for row in rows])
        return [
            Staged(place, line, sku, content, code, detail)
            for (place, line, sku, _, code, detail), content in zip(rows, contents, strict=True)
        ]

    def drop_decided(self, run: BulkRun) -> None:
        """Delete the lines that a run has already applied or refused."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM bulk_order WHERE (sku, line) <= (%s, %s)",
                [run.last_sku, run.last_line],
            )


@contextmanager
def staging(codec: Codec) -> Iterator[Staging]:
    """Yield an empty staging, and drop its tables at the end."""
    try:
        yield Staging(codec)
    finally:
        if connection.is_usable():
            _drop()


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bulk_line")
        cursor.execute("DROP TABLE IF EXISTS bulk_order")
