"""Stage the lines of a file in a temporary table, ordered by SKU.

The table keeps memory use constant. The order is by SKU, so that a product created during the run
does not change it. SKUs that differ by case alone are adjacent.

The table belongs to the database connection, so a connection through a pooler is refused.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from products.db.pooler import refuse_pooler
from products.db.prepared import array
from products.files.adjustments import counted_before, incomplete_sum
from products.files.lines import describe
from products.models import BulkRun, Product

_INSERTED_AT_ONCE = 5_000

_CREATE = """
    CREATE TEMPORARY TABLE bulk_line (
        line bigint, sku varchar(50) {collation}, content text, code text, detail text,
        is_count smallint
    )
"""
_COLLATIONS = {"postgresql": 'COLLATE "C"', "sqlite": ""}

_FIND = {
    "postgresql": "SELECT sku, line FROM bulk_order WHERE sku = ANY(%s)",
    "sqlite": "SELECT sku, line FROM bulk_order WHERE sku IN (SELECT value FROM json_each(%s))",
}

_COPY = "COPY bulk_line FROM STDIN"
_INSERT = """
    INSERT INTO bulk_line
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
           json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
    FROM json_each(%s)
"""

_SORT = [
    """
    CREATE TEMPORARY TABLE bulk_order AS
    SELECT
        row_number() OVER (ORDER BY upper(sku), sku, line) AS place,
        line, sku, content, code, detail,
        CASE WHEN is_count = 1 THEN min(CASE WHEN is_count = 1 THEN line END) OVER (
            PARTITION BY upper(sku), sku ORDER BY line ROWS UNBOUNDED PRECEDING
        ) END AS first_count
    FROM bulk_line
    """,
    "CREATE UNIQUE INDEX bulk_order_place ON bulk_order (place)",
    "DROP TABLE bulk_line",
]

_SELECT = """
    INSERT INTO bulk_order (place, line, sku, content, code, detail)
    SELECT selected.*, '', '' FROM ({}) AS selected
"""


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
    first_count: int | None = None
    """The line of the first count of this SKU. None if this line is not a count."""

    def follows(self, earlier: "Staged") -> bool:
        """Return whether both lines are counts of one SKU. `earlier` is the line before."""
        return bool(self.first_count and earlier.first_count) and self.sku == earlier.sku


NewLine = tuple[int, str, Any, str, str, int]
"""The fields of `Staged` up to `detail` without `place`, and 1 for a count, else 0.

A line without a valid SKU is not a count.
"""


class Codec(NamedTuple):
    """Converts the content of a line to text, and many texts back to contents."""

    encode: Callable[[Any], str]
    decode: Callable[[Sequence[str]], list[Any]]


class Staging:
    """The staged lines of a file."""

    def __init__(self, codec: Codec, *, adds_up: bool = False) -> None:
        self.lines = 0
        """The number of lines."""
        self.invalid = 0
        """The number of lines that could not be read."""
        self.repeated = 0
        """The number of counts of a SKU that has an earlier count."""
        self.adds_up = adds_up
        """Whether repeated counts are added up. Otherwise they are refused."""
        self._codec = codec

    def fill(self, lines: Iterable[NewLine]) -> None:
        """Store the lines of a file and sort them. Raises `ImproperlyConfigured` for a pooler."""
        refuse_pooler()
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
            cursor.execute("SELECT count(*) FROM bulk_order WHERE first_count < line")
            self.repeated = cursor.fetchone()[0]

    def fill_from(self, rows: "QuerySet[Any, Any]") -> None:
        """Store the rows of a query, without reading them: place, line, SKU and encoded content."""
        self.fill([])
        query, parameters = rows.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(_SELECT.format(query), parameters)
            self.lines = cursor.rowcount

    def _encoded(self, lines: Iterable[NewLine]) -> Iterator[tuple[int, str, str, str, str, int]]:
        """Yield the rows of the table, and count them."""
        for line, sku, content, code, detail, is_count in lines:
            self.lines += 1
            self.invalid += bool(code)
            yield line, sku, self._codec.encode(content), code, detail, is_count

    def products(self) -> QuerySet[Product]:
        """Return the products named by the lines."""
        return Product.objects.filter(sku__in=RawSQL("SELECT sku FROM bulk_order", []))

    def find(self, skus: Collection[str]) -> list[tuple[str, int]]:
        """Return the SKU and the line number of the lines of some products. Reads all lines."""
        with connection.cursor() as cursor:
            cursor.execute(_FIND[connection.vendor], [array(sorted(skus))])
            found: list[tuple[str, int]] = cursor.fetchall()
        return found

    def after(self, place: int, *, count: int) -> list[Staged]:
        """Return the lines after a place, by SKU and then in file order. Place 0 is the start.

        A repeated count has an error code. If counts are added up, counts of one SKU with no other
        line of the SKU between them are always returned together, so there may be more lines.
        """
        lines = self._read(place, count)
        if not self.repeated:
            return lines
        if not self.adds_up:
            return [_once(line) for line in lines]
        while lines and (more := self._read(lines[-1].place, 1)) and more[0].follows(lines[-1]):
            lines += more
        return _checked(lines)

    def _read(self, place: int, count: int) -> list[Staged]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT place, line, sku, content, code, detail, first_count FROM bulk_order "
                "WHERE place > %s ORDER BY place LIMIT %s",
                [place, count],
            )
            rows = cursor.fetchall()
        contents = self._codec.decode([row[3] for row in rows])
        return [
            Staged(place, line, sku, content, code, detail, first_count)
            for (place, line, sku, _, code, detail, first_count), content in zip(
                rows, contents, strict=True
            )
        ]

    def drop_decided(self, run: BulkRun) -> None:
        """Delete the lines that a run has already applied or refused."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM bulk_order WHERE (upper(sku), sku, line) <= (%s, %s, %s)",
                [run.last_sku.upper(), run.last_sku, run.last_line],
            )


@contextmanager
def staging(codec: Codec, *, adds_up: bool = False) -> Iterator[Staging]:
    """Yield an empty staging, and drop its tables at the end."""
    try:
        yield Staging(codec, adds_up=adds_up)
    finally:
        if connection.is_usable():
            _drop()


def _once(line: Staged) -> Staged:
    """Refuse a line that repeats a count."""
    if line.code or line.first_count in (None, line.line):
        return line
    problem = counted_before(line.sku, line.first_count)
    return line._replace(code=problem.code, detail=problem.detail)


def _checked(lines: Sequence[Staged]) -> list[Staged]:
    """Refuse counts that cannot be added up.

    Counts with another line of the SKU between them cannot, nor can counts next to a refused one.
    """
    runs: list[list[Staged]] = []
    for line in lines:
        if runs and line.follows(runs[-1][-1]):
            runs[-1].append(line)
        else:
            runs.append([_once(line)])
    return [line for run in runs for line in _all_or_none(run)]


def _all_or_none(run: list[Staged]) -> list[Staged]:
    """Refuse all counts of a run if one is refused."""
    refused = next((line for line in run if line.code), None)
    if refused is None:
        return run
    problem = incomplete_sum(refused.sku, refused.line)
    return [
        line if line.code else line._replace(code=problem.code, detail=describe(problem))
        for line in run
    ]


def _drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bulk_line")
        cursor.execute("DROP TABLE IF EXISTS bulk_order")
