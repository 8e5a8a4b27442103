"""Check that the service stays fast with 1,000,000 products and 10,000,000 stock events.

    python -m benchmarks.growth [--products N] [--events N] [--rounds N] [--seconds N]

Starts its own PostgreSQL with `fsync`, and two production servers: one with a small shop of 1,000
products, and one with a large shop. Exits with 1 and a list of the missed targets, if there are
any. The targets:

- Operations on random products, in turns: the large shop makes at least 0.85 times as many removes
  per second as the small one, and 95 % of the updates of products are HOT. Reserves are printed
  for comparison.

- Pages: the last page of each list of the API takes at most 1.5 times as long as the first.

- Statements of lists, operations, `expire_reservations` and `prune`: none reads more than 20,000
  rows, sorts more than 5,000 rows, or counts rows.

- Statements of the back office: none reads more than 100,000 rows. It counts up to 10,000.

At the end, `verify_stock` must find no difference.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from functools import partial
from http.client import HTTPConnection
from io import StringIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import psycopg

from benchmarks import load
from benchmarks.bulk import measured_command
from benchmarks.large import (
    BUSY_REFERENCE,
    BUSY_SKU,
    OPEN_RESERVATION,
    OVERDUE_QUANTITY,
    OVERDUE_SKU,
    Size,
    fill,
)
from benchmarks.plans import Plan, explained
from benchmarks.services import Ours, create_database, running_ours
from benchmarks.shop import PRODUCTS, REMOVED, RESERVED, Case, Request
from products.tests.postgres import running_postgres

PRODUCTS_OF_LARGE, EVENTS_OF_LARGE = 1_000_000, 10_000_000
MIN_PRODUCTS, MIN_EVENTS = 20_000, 200_000  # Enough for full lists in the back office.
ROUNDS, SECONDS = 9, 4
CONNECTIONS = 8
REQUESTS_OF_A_TURN = 20_000
READINGS = 31
STATISTICS_DELAY_SECONDS = 12  # PostgreSQL reports statistics after 10 idle seconds.

LEAST_SPEED = 0.85
LEAST_HOT = 0.95
LONGEST_LAST_PAGE = 1.5
MOST_READ, MOST_READ_BY_BACK_OFFICE = 20_000, 100_000
MOST_SORTED = 5_000

HEADINGS = f"{'read':>9}{'sorted':>9}"

BACK_OFFICE = {
    "product": [
        *("", "p=2", "p=200", "stock=low", "stock=out", "stock=reserved"),
        *("updated=1", "updated=168", "archived=only", "archived=all"),
        *("q=SKU-9", "q=red", "q=model777", "q=zzz"),
    ],
    "reservation": [
        *("", "p=200", "status__exact=open", "status__exact=expired"),
        *(f"q={BUSY_REFERENCE}", "q=77", "q=zzz"),
    ],
    "stockevent": [
        *("", "p=200", "type__exact=InventoryRemoved", "type__exact=InventoryAdjusted"),
        *("source__exact=api", "source__exact=admin", "actor=webshop", "actor=nobody"),
        *(f"q={BUSY_REFERENCE}", f"q={BUSY_SKU}", "q=SKU-5003", "q=zzz"),
    ],
}

KNOWN = ("stock=reserved", "updated=1", "q=SKU-9", f"q={BUSY_SKU}")
"""Pages that may read many products, or all events of a product. The README says why."""

misses: list[str] = []


def main(options: argparse.Namespace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("Interrupted."))  # The stack cleans up.
    size = Size(options.products, options.events)
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres(fsync=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        small, large = (
            stack.enter_context(
                running_ours(
                    name,
                    create_database(url, name),
                    client=load.wrk if load.has_wrk() else load.closed_loop,
                    log=folder / f"{name}.log",
                )
            )
            for name in ("small", "large")
        )
        started = time.perf_counter()
        fill(large.database_url, size)
        _print(f"{date.today()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, fsync on")
        _print(*_sizes(large.database_url), f"filled in {time.perf_counter() - started:,.0f} s\n")
        _operations(small, large, size, options)
        _set_django_up(large)
        _pages(large, size)
        _statements(large)
        seconds, kibibytes = measured_command(["verify_stock"], _environment(large))
        _print(f"verify_stock finds no difference: {seconds:,.0f} s, {kibibytes // 1024} MB")
    _print(*(f"missed: {miss}" for miss in misses))
    sys.exit(bool(misses))


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def _expect(is_met: bool, text: str) -> str:
    """Return the text. If the target is not met, mark the text and record a miss."""
    if not is_met:
        misses.append(text)
    return text if is_met else f"{text}  MISSED"


def _sizes(url: str) -> Iterator[str]:
    with psycopg.connect(url) as connection:
        for table in ("product", "stockevent", "reservation"):
            name = f"products_{table}"
            [(rows, size)] = connection.execute(
                f"SELECT count(*), pg_size_pretty(pg_total_relation_size('{name}')) FROM {name}"
            )
            yield f"{rows:>12,} rows, {size:>8}  {name}"


# ------------------------------------------------------------------------------------- operations


def _operations(small: Ours, large: Ours, size: Size, options: argparse.Namespace) -> None:
    _print("operations        small per s   large per s    ratio           spread      HOT")
    shops = {small: Size(PRODUCTS, PRODUCTS), large: size}
    for verb, units in {"remove": REMOVED, "reserve": RESERVED}.items():
        before = _updates(large)
        speeds: dict[Ours, list[float]] = {small: [], large: []}
        for number in range(options.rounds + 1):
            for shop in list(shops)[:: 1 if number % 2 else -1]:
                requests = partial(_requests, verb, shops[shop], number)
                case = Case(f"{verb} {number}", (CONNECTIONS,), requests, units)
                seen = shop.run(case, connections=CONNECTIONS, seconds=options.seconds)
                if number:  # The first round warms up.
                    speeds[shop].append(seen.per_second)
        ratios = [of_large / of_small for of_small, of_large in zip(*speeds.values(), strict=True)]
        ratio = statistics.median(ratios)
        after = _updates(large)
        hot = (after.hot - before.hot) / (after.all - before.all)
        medians = [f"{statistics.median(each):>14,.0f}" for each in speeds.values()]
        line = (
            f"{verb:<14}{''.join(medians)}{ratio:>9.2f}"
            f"{f'{min(ratios):.2f} to {max(ratios):.2f}':>17}{hot:>9.1%}"
        )
        is_met = ratio >= LEAST_SPEED and hot >= LEAST_HOT
        _print(_expect(is_met or verb != "remove", line))


def _requests(verb: str, size: Size, seed: int) -> list[Request]:
    return [
        Request("POST", f"/products/{sku}/{verb}", {"amount": 1})
        for sku in islice(size.skus(Random(seed)), REQUESTS_OF_A_TURN)
    ]


class _Updates(NamedTuple):
    """The numbers of all updates and of HOT updates of products so far."""

    all: int
    hot: int


def _updates(shop: Ours) -> _Updates:
    time.sleep(STATISTICS_DELAY_SECONDS)
    with psycopg.connect(shop.database_url) as connection:
        [row] = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
            "WHERE relname = 'products_product'"
        )
        return _Updates(*row)


# ------------------------------------------------------------------------------------------ pages


def _lists(size: Size) -> Iterator[tuple[str, str]]:
    """Yield the path of each list with each filter, and the column that orders the list."""
    from products.api.filters import PRODUCT_ORDERS

    skus = ",".join(islice(size.skus(Random(4)), 200))
    filters = [
        *("low_stock=true", "low_stock=false", "in_stock=true", "in_stock=false"),
        *("archived=true", "archived=all", f"sku={skus}"),
    ]
    for name, order in PRODUCT_ORDERS.items():
        for chosen in ("", *filters):
            yield f"/v1/products?ordering={name}&{chosen}".rstrip("&"), order
    for text in ("SKU-1", "SKU-9", "red", "model777"):
        yield f"/v1/products?search={text}", "sku"
    yield "/v1/products/low-stock", "sku"
    for chosen in (
        *("", "type=InventoryReserved", "type=InventoryAdded", "type=LowStockDetected"),
        f"reference={BUSY_REFERENCE}",
    ):
        yield f"/v1/products/{BUSY_SKU}/events?{chosen}".rstrip("?"), "-version"
    for chosen in (
        *("", "status=open", "status=fulfilled", "status=expired", "status=released"),
        *(f"reference={BUSY_REFERENCE}", f"sku={BUSY_SKU}", f"sku={OVERDUE_SKU}&status=open"),
    ):
        order = "-line_order" if "sku=" in chosen else "-id"
        yield f"/v1/reservations?{chosen}".rstrip("?"), order


class _Reader:
    """A client that reads lists over one HTTP connection."""

    def __init__(self, shop: Ours) -> None:
        self._client = HTTPConnection("127.0.0.1", shop.port, timeout=60)
        self._headers = dict(shop.headers)

    def get(self, path: str) -> Any:
        self._client.request("GET", path, headers=self._headers)
        response = self._client.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} returned status {response.status}: {body!r}")
        return json.loads(body)

    def last_page(self, path: str, order: str) -> str:
        """Return the path of the last page, which is `path` if there is only one page."""
        behind_all = {"sku": "Z" * 50, "id": "9" * 18}.get(order, "0")
        cursor = b64encode(urlencode({"r": 1, "p": f"{order} {behind_all}"}).encode()).decode()
        end = self.get(path + ("&" if "?" in path else "?") + urlencode({"cursor": cursor}))
        if end["previous"] is None:
            return path
        return _target(self.get(_target(end["previous"]))["next"])

    def milliseconds(self, *paths: str) -> list[float]:
        """Return the median time of each path, read in turns."""
        taken: list[list[float]] = [[] for _ in paths]
        for _ in range(READINGS):
            for path, each in zip(paths, taken, strict=True):
                started = time.perf_counter()
                self.get(path)
                each.append(1000 * (time.perf_counter() - started))
        return [statistics.median(each) for each in taken]


def _target(link: str) -> str:
    return urlsplit(link)._replace(scheme="", netloc="").geturl()


def _pages(shop: Ours, size: Size) -> None:
    """Compare the first and the last page of each list, and check their statements."""
    from django.test import Client

    from products import feed
    from products.models import StockEvent

    reader, client = _Reader(shop), Client(headers=dict(shop.headers))
    pages = [(path, reader.last_page(path, order)) for path, order in _lists(size)]
    last_read = StockEvent.objects.order_by("-pk")[100]
    pages.append(("/v1/events", f"/v1/events?after={feed.cursor_after(last_read)}"))
    _print("", f"{'page':<58}{'first ms':>9}{'last ms':>9}{'ratio':>7}{HEADINGS}")
    for first, last in pages:
        of_first, of_last = reader.milliseconds(first, last)
        plans = [plan for page in (first, last) for plan in _plans(partial(client.get, page))]
        ratio = of_last / of_first
        line = f"{first[:56]:<58}{of_first:>9.1f}{of_last:>9.1f}{ratio:>7.2f}{_most(plans)}"
        _print(_expect(ratio <= LONGEST_LAST_PAGE and _are_steady(plans), line))


# ------------------------------------------------------------------------------------- statements


def _statements(shop: Ours) -> None:
    """Check the statements of changes, commands and the back office."""
    from django.core.management import call_command
    from django.test import Client

    from benchmarks.admin import stock_manager
    from products import daily_totals

    api, staff = Client(headers=dict(shop.headers)), stock_manager()
    _print("", f"{'statements':<83}{HEADINGS}")
    for title, path, body in _changes():
        headers = {"Idempotency-Key": title.replace(" ", "-")}
        post = partial(api.post, path, body, "application/json", headers=headers)
        plans = [*_plans(post), *_plans(post)]  # The second request is a replay.
        _print(_expect(_are_steady(plans), f"{title:<83}{_most(plans)}"))
    for command in ("expire_reservations", "prune"):
        plans = _plans(partial(call_command, command, stdout=StringIO()))
        _print(_expect(_are_steady(plans), f"{command:<83}{_most(plans)}"))
    while not daily_totals.catch_up():
        pass  # The front page does the same, one step per visit.
    for page in _pages_of_back_office():
        plans = _plans(partial(staff.get, page))
        are_bounded = max(plan.rows_read for plan in plans) <= MOST_READ_BY_BACK_OFFICE
        line = f"{page:<83}{_most(plans)}"
        _print(f"{line}  known" if page.endswith(KNOWN) else _expect(are_bounded, line))


def _plans(run: Callable[[], Any]) -> list[Plan]:
    with explained() as plans:
        response = run()
    if getattr(response, "status_code", 200) >= 300:
        raise RuntimeError(f"{response.status_code}: {response.content!r}")
    return plans


def _most(plans: list[Plan]) -> str:
    read = max(plan.rows_read for plan in plans)
    return f"{read:>9,}{max(plan.rows_sorted for plan in plans):>9,}"


def _are_steady(plans: list[Plan]) -> bool:
    return all(
        plan.rows_read <= MOST_READ
        and plan.rows_sorted <= MOST_SORTED
        and not plan.sql.startswith("SELECT COUNT")
        for plan in plans
    )


def _set_django_up(shop: Ours) -> None:
    """Set Django up in this process, where the statements of a request can be explained."""
    os.environ |= _environment(shop)
    import django

    django.setup()
    from django.conf import settings

    # DEBUG provided the secret key. Queries must run as in production.
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]


def _environment(shop: Ours) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": shop.database_url,
        "DATABASE_POOL_SIZE": "0",
        "DATABASE_STATEMENT_TIMEOUT": "0",
        "DEBUG": "on",
        "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
        "LOG_LEVEL": "ERROR",
    }


def _changes() -> Iterator[tuple[str, str, Any]]:
    """Yield requests that change stock: title, path and body."""
    lines = [{"sku": f"SKU-{number}", "amount": 1} for number in range(1_003, 1_008)]
    product = f"/v1/products/{BUSY_SKU}"
    yield "remove", f"{product}/remove", {"amount": 1}
    yield "reserve", f"{product}/reserve", {"amount": 2}
    yield "release", f"{product}/release", {"amount": 1}
    yield "an order", "/v1/reservations", {"lines": lines}
    yield "a fulfillment", f"/v1/reservations/{OPEN_RESERVATION}/fulfill", {}
    yield (
        "operations",
        "/v1/operations",
        {"operations": [{"operation": "add", **one} for one in lines]},
    )
    # All units on hand. An overdue reservation holds one unit.
    everything = {"amount": OVERDUE_QUANTITY}
    yield "remove of overdue units", f"/v1/products/{OVERDUE_SKU}/remove", everything


def _pages_of_back_office() -> Iterator[str]:
    yield "/admin/"
    for model, queries in BACK_OFFICE.items():
        for query in queries:
            yield f"/admin/products/{model}/?{query}".rstrip("?")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--products", type=int, default=PRODUCTS_OF_LARGE, help="products of the large shop"
    )
    parser.add_argument(
        "--events", type=int, default=EVENTS_OF_LARGE, help="events of the large shop, at least"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds to measure")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="seconds of each turn")
    options = parser.parse_args()
    if options.products < MIN_PRODUCTS or options.events < MIN_EVENTS:
        parser.error(f"Use at least {MIN_PRODUCTS:,} products and {MIN_EVENTS:,} events.")
    return options


if __name__ == "__main__":
    main(_options())
