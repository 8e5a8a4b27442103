"""Choose how the database finds the products of a search (ADR 22).

The first page of a list must not take long, however many products match:

- If many match, the database reads the products in the order of the list until the page is full.
- If few match, the index finds them, and they are sorted.

Matches among the first products of the list show which of the two is faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connection, transaction

from products.db.sqlite import is_sqlite
from products.models.search import Search

# `ProductQuerySet`, which imports this module.
Products = Any

HEAD = 5_000
"""Products at the start of the list in which matches are counted."""

FREQUENT = 25
"""Matches in the head from which reading in the order of the list fills a page soon."""

VERY_FREQUENT = 100
"""Matches in the head from which it soon finds enough to count, too."""

MOST = 500
"""Matches in the head from which reading all products is faster than the index."""

MAX_FOUND_BY_INDEX = 10_000


class Found(NamedTuple):
    """The products that match a text, in two forms."""

    products: Products
    countable: Products
    """The same products, or the first 10,000, in a form that is quick to count."""


def find(products: Products, text: str, order: str | None) -> Found:
    """Return the products that match a text. They can be filtered and sorted like others.

    `order` is the unique column by which the list will be sorted. It is None if the list is sorted
    by something else. The database reads all matches of such a list.
    """
    search = Search(text)
    if search.is_empty:
        return _both(products.none())
    if listed := _listed(products, search):
        return _both(products.filter(pk__few_of=listed))
    matching = products.filter(search.condition)
    head = _matches_in_head(products, matching, order or "sku")
    if head is None or head >= (VERY_FREQUENT if order else MOST):
        return _both(matching)
    in_index = matching.filter(search_terms__in_index=search.query)
    if head >= FREQUENT:
        return Found(matching, in_index) if order else Found(in_index, matching)
    start = search.start
    # SQLite cannot use an index for `__startswith`. SKUs are ASCII.
    at_start = products.filter(capitals__gte=start, capitals__lt=f"{start}\x7f")
    has_start = bool(start) and at_start.exists()
    elsewhere = matching.filter(search_terms__in_index=search.query_elsewhere)
    if has_start and not _exists(elsewhere):
        # The second condition lets pages by SKU start at the first match.
        return _both(at_start.filter(sku__gte=start))
    with _without_table_scans():
        ids = list(in_index.order_by().values_list("pk", flat=True)[: MAX_FOUND_BY_INDEX + 1])
    found = products.filter(pk__few_of=ids)
    if len(ids) <= MAX_FOUND_BY_INDEX:
        return _both(found)
    if order == "sku" and has_start and not _exists(elsewhere.filter(sku__lt=start)):
        matching = matching.filter(sku__gte=start)
    return Found(matching, found)


def _both(products: Products) -> Found:
    return Found(products, countable=products)


def _listed(products: Products, search: Search) -> list[int]:
    """Return the ids of the products of a list of SKUs, or none if the text is no such list.

    Each item must be a SKU. With commas, two SKUs are enough.
    """
    if not search.listed:
        return []
    ids = list(products.model.objects.with_skus(search.listed).values_list("pk", flat=True))
    enough = 2 if search.has_commas else len({sku.upper() for sku in search.listed})
    return ids if len(ids) >= enough else []


def _matches_in_head(products: Products, matching: Products, order: str) -> int | None:
    """Return the number of matches at the start of the list, or None if the list is short."""
    column = order.lstrip("-")
    ordered = products.order_by(order).values_list(column, flat=True)
    last = ordered[HEAD - 1 : HEAD].first()
    if last is None:
        return None
    bound = f"{column}__gte" if order.startswith("-") else f"{column}__lte"
    in_head: Any = matching.order_by().filter(**{bound: last})
    return int(in_head[:MOST].count())


def _exists(products: Products) -> bool:
    with _without_table_scans():
        return bool(products.order_by().exists())


@contextmanager
def _without_table_scans() -> Iterator[None]:
    """Make PostgreSQL use the index of terms.

    It cannot estimate how often two words meet, and would read the table until the limit.
    """
    if is_sqlite():
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        yield
        cursor.execute("RESET enable_seqscan; RESET enable_indexscan")
