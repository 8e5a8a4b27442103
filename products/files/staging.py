"""The lines of a file, staged in a temporary table in the order of products.

So memory does not grow with the file. The order is by SKU, which no product that is created
meanwhile can change. The table belongs to the database connection: a pooler that shares
connections between transactions would lose it.
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
    """A line of the file."""

    place: int
    line: int
    sku: str
    """Empty where it is no SKU."""
    content: Any
    code: str
    """Of what is wrong with the line in itself, or empty, as `detail`, which says it."""
    detail: str


NewLine = tuple[int, str, Any, str, str]
"""The fields of `Staged` from `line` on."""


class Form(NamedTuple):
    """How the content of a line becomes text and is made of it again; many at once."""

    pack: Callable[[Any], str]
    unpack: Callable[[Sequence[str]], list[Any]]


class Staging:
    """The staged lines."""

    def __init__(self, form: Form) -> None:
        self.lines = 0
        self.faulty = 0
        """Lines that are wrong in themselves."""
        self._form = form

    def fill(self, lines: Iterable[NewLine]) -> None:
        """Take in the lines of a file, and put them in order."""
        packed = self._packed(lines)
        with connection.cursor() as cursor:
            _drop()
            cursor.execute(_CREATE.format(collation=_COLLATIONS[connection.vendor]))
            if connection.vendor == "postgresql":
                # In a transaction of its own, or a savepoint: a bad file breaks it off.
                with (
                    transaction.atomic(),
                    connection.wrap_database_errors,
                    cursor.copy(_COPY) as copy,
                ):
                    for row in packed:
                        copy.write_row(row)
            else:
                while some := list(islice(packed, _INSERTED_AT_ONCE)):
                    cursor.execute(_INSERT, [json.dumps(some)])
            for statement in _SORT:
                cursor.execute(statement)

    def _packed(self, lines: Iterable[NewLine]) -> Iterator[tuple[int, str, str, str, str]]:
        """Yield the lines as the table holds them, and count them."""
        for line, sku, content, code, detail in lines:
            self.lines += 1
            self.faulty += bool(code)
            yield line, sku, self._form.pack(content), code, detail

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
            rows = cursor.fetchall()
        contents = self._form.unpack([row[3] for row in rows])
        return [
            Staged(place, line, sku, content, code, detail)
            for (place, line, sku, _, code, detail), content in zip(rows, contents, strict=True)
        ]

    def drop_decided(self, run: BulkRun) -> None:
        """Drop the lines that a run has applied or refused."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM bulk_order WHERE (sku, line) <= (%s, %s)",
                [run.last_sku, run.last_line],
            )


@contextmanager
def staging(form: Form) -> Iterator[Staging]:
    """Make a place for lines, until the end of the context."""
    try:
        yield Staging(form)
    finally:
        if connection.is_usable():
            _drop()


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bulk_line")
        cursor.execute("DROP TABLE IF EXISTS bulk_order")
