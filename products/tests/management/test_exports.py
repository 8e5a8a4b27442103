"""`low_stock`, `export_products` and `export_events`: complete, consistent, without formulas."""

import csv
import io
import json
import os
import resource
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from products import stock
from products.api.serializers import StockEventSerializer
from products.files import exports
from products.files.cells import escape_formula
from products.models import StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.admin.test_export import FORMULAS, HEADER, csv_of, export
from products.tests.admin.test_import import changes_of, upload
from products.tests.concurrency import in_another_thread
from products.tests.factories import ACTOR, ProductFactory, product_with_past
from products.tests.live import database_url_of_test, manage

pytestmark = pytest.mark.django_db

BAD_INPUT = 2


def run(*words: str) -> str:
    output = StringIO(newline="")
    call_command(*words, stdout=output)
    return output.getvalue()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def objects_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# -------------------------------------------------------------------------------------- low stock


@pytest.fixture
def _some_low() -> None:
    ProductFactory.create(sku="POT", name="Pot", quantity=3, minimum_stock_level=10)
    stock.reserve(sku="POT", amount=2, by=ACTOR)
    ProductFactory.create(sku="CUP", name="Blue, \x1b[31mcup " + "x" * 90, minimum_stock_level=26)
    ProductFactory.create(sku="FULL", quantity=5, minimum_stock_level=5)
    ProductFactory.create(sku="OLD", quantity=1, minimum_stock_level=5)
    stock.edit(sku="OLD", archived=True, by=ACTOR)


@pytest.mark.usefixtures("_some_low")
def test_low_stock_prints_a_table() -> None:
    # A control character in a name must not reach the terminal.
    shown = f"Blue, \N{REPLACEMENT CHARACTER}[31mcup {'x' * 24}\N{HORIZONTAL ELLIPSIS}"

    assert run("low_stock").splitlines() == [
        "SKU                    On hand  Reserved Available   Minimum   Missing  To order  Name",
        f"CUP {25:>26} {0:>9} {25:>9} {26:>9} {1:>9} {27:>9}  {shown}",
        "POT                          3         2         1        10         9        19  Pot",
        "2 products low on stock.",
    ]


@pytest.mark.usefixtures("_some_low")
def test_low_stock_prints_csv_and_json_lines() -> None:
    objects = objects_of(run("low_stock", "--format", "jsonl"))
    rows = rows_of(run("low_stock", "--format", "csv"))

    assert objects[1] == {
        "sku": "POT",
        "name": "Pot",
        "quantity": 3,
        "reserved_quantity": 2,
        "available_quantity": 1,
        "minimum_stock_level": 10,
        "missing": 9,
        "to_order": 19,
    }
    assert rows == [{name: str(value) for name, value in each.items()} for each in objects]


def test_low_stock_without_products() -> None:
    assert run("low_stock").endswith("\n0 products low on stock.\n")
    assert run("low_stock", "--format", "jsonl") == ""


# --------------------------------------------------------------------------------------- products


TEXTS = [*FORMULAS, 'a, "b";\nc', " spaced ", "é→😀", "'quoted'", "\u2028\x07"]


@pytest.fixture
def _products() -> None:
    for number, text in enumerate(TEXTS):
        ProductFactory.create(
            sku=f"SKU-{number}", name=text, description=text, minimum_stock_level=3 * number
        )
    stock.reserve(sku="SKU-0", amount=4, by=ACTOR)
    stock.edit(sku="SKU-1", archived=True, by=ACTOR)


@pytest.mark.usefixtures("_products")
def test_exports_products_with_the_columns_of_the_admin() -> None:
    exported = run("export_products")

    header, *rows = csv_of(export(browser_of("Vera", "view_product")))
    assert header == HEADER
    mine = [list(row.values()) for row in rows_of(exported)]
    archived = [row for row in mine if row[8] == "true"]
    assert [row[0] for row in archived] == ["SKU-1"]
    assert [row for row in mine if row not in archived] == sorted(rows)
    assert list(rows_of(exported)[0]) == header


@pytest.mark.usefixtures("_products")
def test_importing_exported_products_changes_nothing() -> None:
    manager = browser_of("Ada", "view_product", "add_product", "change_product")

    preview = upload(manager, "products", run("export_products"))

    assert {label for _, label in changes_of(preview)} == {"Unchanged"}
    assert len(changes_of(preview)) == len(TEXTS)


@pytest.mark.usefixtures("_products")
def test_escapes_formulas_only_in_csv() -> None:
    rows = rows_of(run("export_products"))
    objects = objects_of(run("export_products", "--format", "jsonl"))

    assert {row["name"] for row in rows} == {escape_formula(text) for text in TEXTS}
    assert {each["name"] for each in objects} == set(TEXTS)


def test_a_json_product_matches_the_api(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", name="Cup")

    [exported] = objects_of(run("export_products", "--format", "jsonl"))

    response = api.get("/v1/products/CUP").json()
    assert set(exported) == set(HEADER)
    assert exported.pop("to_order") == 0
    assert exported.items() <= response.items()


# ----------------------------------------------------------------------------------------- events


@pytest.fixture
def _events() -> None:
    ProductFactory.create(sku="CUP", minimum_stock_level=5)
    ProductFactory.create(sku="POT")
    stock.reserve(sku="CUP", amount=4, reference="=1+1", by=ACTOR)
    other = replace(ACTOR, request_id="request-2")
    stock.adjust(sku="POT", quantity=7, reason="-1", by=other)
    stock.remove(sku="CUP", amount=20, by=ACTOR)


@pytest.mark.usefixtures("_events")
def test_json_events_match_the_api(api: APIClient) -> None:
    exported = run("export_events", "--sku", "CUP", "--format", "jsonl")

    newest_first = api.get("/v1/products/CUP/events").json()["results"]
    assert objects_of(exported) == newest_first[::-1]


@pytest.mark.usefixtures("_events")
def test_csv_events_have_the_fields_of_the_api() -> None:
    rows = rows_of(run("export_events"))

    assert list(rows[0]) == list(StockEventSerializer().fields)
    assert [int(row["id"]) for row in rows] == list(
        StockEvent.objects.order_by("pk").values_list("pk", flat=True)
    )
    reserved, adjusted = rows[2], rows[3]
    assert (reserved["reference"], reserved["reserved_change"]) == ("'=1+1", "4")
    assert (adjusted["reason"], adjusted["quantity_change"]) == ("'-1", "-18")
    assert adjusted["reservation"] == ""
    assert adjusted["occurred_at"].endswith("Z")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--sku", "POT"], [("POT", 1), ("POT", 2)]),
        (["--type", "ProductCreated"], [("CUP", 1), ("POT", 1)]),
        (["--type", "LowStockDetected", "--sku", "CUP"], [("CUP", 4)]),
        (["--type", "LowStockDetected", "--sku", "POT"], []),
        (["--reference", "=1+1"], [("CUP", 2)]),
        (["--reference", "=1+1", "--sku", "POT"], []),
        (["--reference", "unknown"], []),
        (["--request-id", "request-2"], [("POT", 2)]),
        (["--request-id", "request-2", "--type", "InventoryRemoved"], []),
        (["--request-id", "unknown"], []),
    ],
)
@pytest.mark.usefixtures("_events")
def test_filters_events(words: list[str], wanted: list[tuple[str, int]]) -> None:
    events = objects_of(run("export_events", "--format", "jsonl", *words))

    assert [(event["sku"], event["version"]) for event in events] == wanted


def test_adjacent_periods_share_no_event() -> None:
    times = ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]
    past = [(datetime.fromisoformat(time), 1) for time in times]
    product_with_past("CUP", past)
    export = partial(run, "export_events", "--format", "jsonl")

    first = objects_of(export("--until", times[1]))
    # The same time in another time zone.
    second = objects_of(export("--since", "2026-03-02T05:30:00+05:30", "--until", times[2]))
    third = objects_of(export("--since", times[2]))

    assert [[event["version"] for event in events] for events in (first, second, third)] == [
        [1],
        [2],
        [3],
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "2026-03-01"],
        ["--since", "2026-03-01T00:00:00"],
        ["--since", "2026-02-30T00:00:00Z"],
        ["--until", "0001-01-01T00:00:00+23:00"],
        ["--until", "now"],
        ["--since", "2026-03-02T00:00:00Z", "--until", "2026-03-02T00:00:00Z"],
        ["--type", "inventoryadded"],
        ["--sku", "cup"],
        ["--sku", "CUP\0"],
        ["--sku", ""],
        ["--reference", ""],
        ["--reference", " "],
        ["--reference", "a\0b"],
        ["--reference", "x" * 256],
        ["--request-id", ""],
        ["--request-id", "\udcff"],
        ["--format", "xlsx"],
        ["a", "b"],
    ],
)
def test_refuses_invalid_filters(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        run("export_events", *words)


def test_refuses_an_unknown_product(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"

    with pytest.raises(CommandError, match=r"^product_not_found: ") as refusal:
        run("export_events", str(file), "--sku", "CUP")

    assert refusal.value.returncode == 1
    assert not file.exists()


class CallingBack(StringIO):
    """A file that calls a function when the first row is written."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback
        self._was_called = False

    def write(self, text: str) -> int:
        if self.tell() and not self._was_called:
            self._was_called = True
            self._callback()
        return super().write(text)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_events")
def test_an_export_is_a_consistent_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 1)
    before = objects_of(run("export_events", "--format", "jsonl"))
    add = partial(stock.add, sku="CUP", amount=1, by=ACTOR)
    output = CallingBack(lambda: in_another_thread(add))

    call_command("export_events", "--format", "jsonl", stdout=output)

    assert StockEvent.objects.count() == len(before) + 1
    assert objects_of(output.getvalue()) == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_events")
def test_an_export_uses_a_holdable_cursor() -> None:
    cursors: list[Any] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT is_holdable FROM pg_cursors")
            cursors.extend(cursor.fetchall())

    call_command("export_events", stdout=CallingBack(look))

    assert cursors == [(True,)]


# ------------------------------------------------------------------------------------ destinations


@pytest.mark.usefixtures("_events")
def test_a_file_has_the_same_content_as_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"

    output = run("export_events", str(file))

    assert file.read_bytes().decode() == run("export_events") == run("export_events", "-")
    assert output == f"{StockEvent.objects.count()} rows written.\n"
    assert os.listdir(tmp_path) == ["events.csv"]


@pytest.mark.usefixtures("_events")
def test_replaces_the_target_of_a_link_and_keeps_its_mode(tmp_path: Path) -> None:
    file, link = tmp_path / "file.csv", tmp_path / "link.csv"
    file.write_text("old")
    file.chmod(0o604)
    link.symlink_to(file)

    run("export_products", str(link))

    assert link.is_symlink()
    assert file.read_text().startswith("sku,")
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_writes_to_a_pipe_without_replacing_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as reader:
        run("export_products", str(pipe))

        assert reader.read().startswith("sku,")
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["nowhere/products.csv", "", "x" * 300])
def test_names_a_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"

    with pytest.raises(CommandError, match=r"cannot be written: .+\.$") as refusal:
        run("export_products", path)

    assert refusal.value.returncode == BAD_INPUT
    assert str(refusal.value).startswith(path)
    assert os.listdir(tmp_path) == []


def _limit_file_size() -> None:
    """Limit the files of this process to 1 KB, to simulate a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="the limit would also apply to the database file"
)
@pytest.mark.usefixtures("_products")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text("old")

    ended = manage("export_products", str(file), preexec_fn=_limit_file_size)

    assert ended.returncode == BAD_INPUT
    assert ended.stderr == f"CommandError: {file} cannot be written: File too large.\n"
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["products.csv"]


KILLED_HALFWAY = """
import os, signal
from django.core.management import call_command
from products.management import output

def write_half(file, names, rows):
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

output.FORMATS["csv"] = write_half
call_command("export_products", {path!r})
"""


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_export_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text("old")

    ended = manage("shell", "--command", KILLED_HALFWAY.format(path=str(file)))

    assert ended.returncode == -9
    assert file.read_text() == "old"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_broken_pipe_ends_an_export_quietly(closed_pipe: int) -> None:
    # More than a buffer, so that the pipe breaks between rows.
    for _ in range(10):
        ProductFactory.create(description="x" * 1_000)

    for command in ("export_products", "export_events", "low_stock"):
        ended = manage(command, stdout=closed_pipe)

        assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_exports_are_utf_8_in_every_locale() -> None:
    ProductFactory.create(sku="CUP", name="é→", quantity=0, minimum_stock_level=1)
    environment = {
        **os.environ,
        "DATABASE_URL": database_url_of_test(),
        "PYTHONIOENCODING": "latin-1",
    }

    for command in ("export_products", "low_stock"):
        ended = manage(command, env=environment)

        assert "é→" in ended.stdout
