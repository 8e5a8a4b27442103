"""`bulk_adjust`: all lines or none, or every valid line; once, even after a crash."""

import csv
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from products import demo, stock
from products.files import bulk
from products.models import BulkRefusal, BulkRun, Product, Reservation, StockEvent
from products.stock import Line
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory
from products.tests.live import database_url_of_test, manage
from products.tests.management.bulk_adjust import (
    Result,
    bulk_adjust,
    figures_of,
    killed,
    levels,
)
from products.tests.real_orders import create_products_for_all_orders

pytestmark = pytest.mark.django_db


@pytest.fixture
def adjust(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs `bulk_adjust` on a file with this content."""

    def run(content: str | bytes, *options: str) -> Result:
        path = tmp_path / "lines.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return bulk_adjust(str(path), *options)

    return run


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the batch sizes to two lines."""
    monkeypatch.setattr(bulk, "WHOLE_BATCH", 2)
    monkeypatch.setattr(bulk, "SHORT_BATCH", 2)


# ---------------------------------------------------------------------------------- applied lines


REAL_COLUMNS = ("--sku-column=sku", "--amount-column=amount", "--operation=remove")


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["--keep-going", "--reference=real"]])
def test_removes_real_order_lines(mode: list[str]) -> None:
    create_products_for_all_orders()
    before = levels()
    stock.apply([stock.Add(sku=sku, amount=7) for sku in before], by=ACTOR)

    ended = bulk_adjust(str(demo.ORDERS_FILE), *REAL_COLUMNS, "--ignore-other-columns", *mode)

    with demo.ORDERS_FILE.open(encoding="utf-8", newline="") as file:
        asked: Counter[str] = Counter()
        for row in csv.DictReader(file):
            asked[row["sku"]] += int(row["amount"])
    assert ended.status == 0
    assert StockEvent.objects.filter(type="InventoryRemoved").count() == 4_688
    assert levels() == {sku: before[sku] + 7 - asked[sku] for sku in before}


def test_records_one_event_per_line_in_file_order(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5, minimum_stock_level=4)
    ProductFactory.create(sku="POT", quantity=5)
    content = (
        "sku,add,remove,quantity,reason,reference,expected_quantity\n"
        "POT,3,,,,,\n"
        "CUP,,2,,sold,order-1,\n"
        "CUP,,,9,counted,,3\n"
        "CUP,1,,,,,\n"
    )

    ended = adjust(content, "--reason", "delivery", "--reference", "po-7", "--actor", "Ada")

    assert ended == (0, f"{'lines':<40}{4:>13}\n{'applied':<40}{4:>13}\n")
    assert levels() == {"CUP": 10, "POT": 8}
    events = StockEvent.objects.filter(version__gt=1, reason__gt="").order_by("id")
    assert list(
        events.values_list("sku", "type", "quantity_change", "reason", "reference", "actor")
    ) == [
        ("CUP", "InventoryRemoved", -2, "sold", "order-1", "Ada"),
        ("CUP", "InventoryAdjusted", 6, "counted", "po-7", "Ada"),
        ("CUP", "InventoryAdded", 1, "delivery", "po-7", "Ada"),
        ("POT", "InventoryAdded", 3, "delivery", "po-7", "Ada"),
    ]
    assert set(events.values_list("source", flat=True)) == {"command"}
    assert len(set(events.values_list("request_id", flat=True))) == 1
    assert StockEvent.objects.filter(sku="CUP", type__startswith="LowStock").count() == 2


@pytest.mark.parametrize(
    "content",
    [
        "sku,add\nCUP,4\n",
        "\ufeffsku,add\r\nCUP,4\r\n",
        "sku;add\nCUP;4",
        "\n\nadd\tsku\n4\tCUP\n\n\n",
        'sku,add,reason\n"CUP","4","a\nb"\n',
        "sku,add,remove,quantity\nCUP,4,,\n,,,\n",
    ],
)
def test_reads_each_supported_csv_dialect(adjust: Callable[..., Result], content: str) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    assert adjust(content).status == 0
    assert levels() == {"CUP": 9}


def test_options_name_the_columns(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust(
        "StockCode,Counted,Was,Why,Order,Country\nCUP,7,5,stocktake,st-1,DE\n",
        *("--sku-column=StockCode", "--amount-column=Counted", "--operation=adjust"),
        *("--expected-quantity-column=Was", "--reason-column=Why", "--reference-column=Order"),
        "--ignore-other-columns",
    )

    event = StockEvent.objects.get(version=2)
    assert ended.status == 0
    assert (event.type, event.quantity, event.reason, event.reference) == (
        "InventoryAdjusted",
        7,
        "stocktake",
        "st-1",
    )


@pytest.mark.parametrize("operation", ["add", "remove", "adjust"])
@pytest.mark.parametrize("column", ["add", "remove", "quantity", "reference"])
def test_operation_option_wins_over_the_name_of_the_amount_column(
    adjust: Callable[..., Result], column: str, operation: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust(
        f"sku,{column}\nCUP,2\n",
        *(f"--amount-column={column}", f"--operation={operation}", "--reason=delivery"),
    )

    assert ended.status == 0
    assert levels() == {"CUP": {"add": 7, "remove": 3, "adjust": 2}[operation]}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_reads_standard_input() -> None:
    ended = manage("bulk_adjust", "-", input="sku,add\nCUP,4\n")

    assert (ended.returncode, ended.stdout.splitlines()[0]) == (
        1,
        "2\tCUP\tproduct_not_found\tProduct CUP does not exist.",
    )


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("mode", "label"), [([], "can be applied"), (["--keep-going", "--reference=r"], "applied")]
)
def test_prints_the_summary_on_standard_error_after_a_broken_pipe(
    tmp_path: Path, closed_pipe: int, mode: list[str], label: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\nCUP,4\nNONE,1\n")

    ended = manage("bulk_adjust", str(path), *mode, stdout=closed_pipe)

    assert ended.returncode == 1
    assert ended.stderr.startswith("Standard output cannot be written: Broken pipe.\nlines  ")
    assert figures_of(ended.stderr)[label] == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_escapes_characters_that_the_terminal_cannot_show() -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url_of_test(),
        "PYTHONIOENCODING": "ascii",
    }

    ended = manage("bulk_adjust", "-", input="sku,add\nCUP,\u0665\n", env=environment)

    assert ended.returncode == 1
    assert "add: '\\u0665' is not a whole number." in ended.stdout


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_applies_a_file_without_standard_output() -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = manage("bulk_adjust", "-", input="sku,add\nCUP,4\n", preexec_fn=lambda: os.close(1))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert levels() == {"CUP": 9}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_writes_rejects_of_a_pipe(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    options = ("--keep-going", "--reference=pipe", f"--rejects={rejects}")

    ended = manage("bulk_adjust", "/dev/stdin", *options, input="sku,add\nCUP,4\n")

    assert ended.returncode == 1
    assert rejects.read_text().splitlines()[1].startswith("CUP,4,2,product_not_found,")


# ------------------------------------------------------------------------------------ all or none


REFUSED = (
    "sku,add,remove,quantity,reason,expected_quantity\n"
    "CUP,1,,,,\n"
    "CUP,,9,,,\n"
    "NONE,1,,,,\n"
    "POT,,,2,stocktake,4\n"
    "OLD,1,,,,\n"
    "CUP,1000000000,,,,\n"
    "JAR,,,2,stocktake,\n"
    "CUP,,1,,,\n"
)
REASONS = [
    "3\tCUP\tinsufficient_stock\t9 of CUP requested, 6 available.",
    "4\tNONE\tproduct_not_found\tProduct NONE does not exist.",
    "5\tPOT\tquantity_changed\tPOT has 5 on hand, not 4. Check the count and try again.",
    "6\tOLD\tproduct_archived\tOLD is archived. Restore it to add or reserve units.",
    "7\tCUP\tstock_limit_exceeded\tCUP has 6 on hand. "
    "Adding 1000000000 would exceed the limit of 1000000000.",
    "8\tJAR\tbelow_reserved\tJAR cannot be set to 2: 3 are reserved. Release reservations first.",
]


@pytest.fixture
def some_products() -> None:
    for sku in ("CUP", "POT", "OLD", "JAR"):
        ProductFactory.create(sku=sku, quantity=5)
    stock.reserve(sku="JAR", amount=3, by=ACTOR)
    stock.edit(sku="OLD", archived=True, by=ACTOR)


@pytest.mark.usefixtures("some_products")
@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--reference=count-1"]])
@pytest.mark.parametrize("batch", [2, 1000])
def test_one_refused_line_prevents_all_and_each_refusal_is_printed(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, options: list[str], batch: int
) -> None:
    monkeypatch.setattr(bulk, "WHOLE_BATCH", batch)
    before = stored()

    ended = adjust(REFUSED, *options)

    assert stored() == before
    assert ended.status == 1
    assert ended.output.splitlines()[:6] == REASONS
    assert figures_of(ended.output) == {
        "lines": 8,
        "can be applied": 2,
        **{f"refused: {reason.split()[2]}": 1 for reason in REASONS},
    }
    assert ended.output.endswith("Nothing was changed.\n")


def test_an_invalid_line_is_refused_without_locking_products(
    adjust: Callable[..., Result],
) -> None:
    ProductFactory.create(sku="CUP")

    with CaptureQueriesContext(connection) as captured:
        ended = adjust("sku,add\nCUP,1\nCUP,one\nNONE,1\n")

    assert ended.status == 1
    assert ended.output.splitlines()[:2] == [
        "3\tCUP\tinvalid\tadd: 'one' is not a whole number. Write digits only, such as 1000.",
        "4\tNONE\tproduct_not_found\tProduct NONE does not exist.",
    ]
    assert not [query for query in captured if "FOR NO KEY UPDATE" in query["sql"]]


def test_stops_at_the_maximum_of_reported_refusals(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_REPORTED", 3)
    monkeypatch.setattr(bulk, "WHOLE_BATCH", 3)

    ended = adjust("sku,add\n" + "NONE,1\n" * 20)

    assert ended.output.count("product_not_found\t") == 3
    assert figures_of(ended.output) == {
        "lines": 20,
        "can be applied": 0,
        "refused: product_not_found": 3,
        "not checked": 17,
    }


@pytest.mark.usefixtures("small_batches")
def test_a_dry_run_changes_nothing_and_predicts_the_run(
    adjust: Callable[..., Result],
) -> None:
    """The lines of one product span several batches."""
    ProductFactory.create(sku="CUP", quantity=3)
    content = "sku,remove\n" + "CUP,1\n" * 5
    before = stored()

    dry_run = adjust(content, "--dry-run")
    same = stored()
    ran = adjust(content, "--keep-going", "--reference=sale")

    assert same == before
    assert dry_run.output.splitlines()[:2] == ran.output.splitlines()[:2]
    assert figures_of(dry_run.output)["can be applied"] == figures_of(ran.output)["applied"] == 3
    assert levels() == {"CUP": 0}


# ------------------------------------------------------------------------------------- keep going


@pytest.mark.usefixtures("some_products")
@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_keep_going_applies_valid_lines_and_rejects_can_be_imported(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int
) -> None:
    monkeypatch.setattr(bulk, "SHORT_BATCH", batch)
    rejects = tmp_path / "rejects.csv"

    ended = adjust(REFUSED, "--keep-going", "--reference=count-1", f"--rejects={rejects}")

    assert ended.status == 1
    assert (figures_of(ended.output)["applied"], levels()["CUP"]) == (2, 5)
    refused = [f"{row['refused_line']}\t" for row in csv.DictReader(StringIO(rejects.read_text()))]
    assert refused == [reason[:2] for reason in REASONS]

    stock.add(sku="CUP", amount=4, by=ACTOR)
    left = tmp_path / "left.csv"
    again = bulk_adjust(str(rejects), "--keep-going", "--reference=2", f"--rejects={left}")

    assert (figures_of(again.output)["applied"], levels()["CUP"]) == (2, 1_000_000_000)
    assert left.read_text().splitlines()[0] == (
        REFUSED.splitlines()[0] + ",refused_line,refused_code,refused_because"
    )
    assert len(left.read_text().splitlines()) == 5


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_prints_the_summary_when_rejects_cannot_be_written(
    tmp_path: Path,
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\nCUP,4\nNONE,1\n")
    words = "bulk_adjust", str(path), "--keep-going", "--reference=r"

    full = manage(*words, "--rejects=/dev/full")
    again = manage(*words, f"--rejects={tmp_path / 'rejects.csv'}")

    assert full.returncode == again.returncode == 1
    assert "/dev/full cannot be written: No space left on device. Run the same" in full.stderr
    assert figures_of(full.stdout)["applied"] == figures_of(again.stdout)["applied"] == 1
    assert "NONE,1,3,product_not_found" in (tmp_path / "rejects.csv").read_text()
    assert levels() == {"CUP": 9}


def test_writes_invalid_lines_to_rejects(adjust: Callable[..., Result], tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    rejects = tmp_path / "rejects.csv"

    ended = adjust(
        "sku;add;reason\nCUP;1;\ncup;1;\nCUP;1;;9\nCUP;1.5;\nCUP;2;=SUM(A1)\n",
        *("--keep-going", "--reference=r", f"--rejects={rejects}"),
    )

    assert (ended.status, levels()) == (1, {"CUP": 8})
    assert [row[:5] for row in csv.reader(StringIO(rejects.read_text()))] == [
        ["sku", "add", "reason", "refused_line", "refused_code"],
        ["cup", "1", "", "3", "invalid"],
        ["CUP", "1", "", "4", "invalid"],
        ["CUP", "1.5", "", "5", "invalid"],
    ]


def test_a_row_with_too_many_cells_stays_refused_when_rejects_are_imported(
    adjust: Callable[..., Result], tmp_path: Path
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    keep_going = ("--keep-going", "--reference")
    adjust("sku,add\nCUP,1,000\n", *keep_going, "first", f"--rejects={first}")

    ended = bulk_adjust(str(first), *keep_going, "second", f"--rejects={second}")

    assert (ended.status, levels()) == (1, {"CUP": 5})
    [_, row] = csv.reader(StringIO(second.read_text()))
    assert (row[:4], row[5:]) == (["CUP", "1", "2", "invalid"], ["000"])
    assert row[4].startswith("line: A column without a name has a value.")


def test_rejects_escape_formulas_and_keep_their_meaning(
    adjust: Callable[..., Result], tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.csv"
    reasons = ["=1+1", "'=1+1", "''=1+1", "-1", "@x", "'quoted'", "é"]
    content = "".join(f"CUP,1,,{reason}\n" for reason in reasons) + "CUP,,-0,none left\n"
    refused = adjust(
        f"sku,add,quantity,reason\n{content}",
        *("--keep-going", "--reference=first", f"--rejects={rejects}"),
    )
    assert refused.status == 1
    ProductFactory.create(sku="CUP", quantity=0)

    ended = bulk_adjust(str(rejects), "--keep-going", "--reference=second")

    rows = list(csv.DictReader(StringIO(rejects.read_text())))
    written = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in written)
    assert ended.status == 0
    events = StockEvent.objects.filter(sku="CUP", version__gt=1).order_by("version")
    assert [(event.reason, event.quantity) for event in events] == [
        *(("=1+1", 1), ("=1+1", 2), ("'=1+1", 3), ("-1", 4), ("@x", 5), ("'quoted'", 6), ("é", 7)),
        ("none left", 0),
    ]


def test_a_batch_locks_only_its_own_products(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch takes the same number of queries, independent of its size."""
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}", quantity=50)
    content = "sku,remove\n" + "".join(f"CUP-{number},1\n" for number in range(20))

    def queries_of(batch: int) -> int:
        monkeypatch.setattr(bulk, "SHORT_BATCH", batch)
        with CaptureQueriesContext(connection) as captured:
            assert adjust(content, "--keep-going", f"--reference={batch}").status == 0
        return len(captured)

    one, two, four = queries_of(20), queries_of(10), queries_of(5)

    assert four - two == 2 * (two - one)
    assert set(levels().values()) == {47}


def test_lines_short_of_stock_take_no_extra_queries(
    adjust: Callable[..., Result],
) -> None:
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}", quantity=5)

    def queries_of(lines: int) -> int:
        content = "sku,remove\n" + "".join(f"CUP-{number},9\n" for number in range(lines))
        with CaptureQueriesContext(connection) as captured:
            assert adjust(content, "--keep-going", f"--reference={lines}").status == 1
        return len(captured)

    assert queries_of(2) == queries_of(20)


# ------------------------------------------------------------------------------------- overdue


@pytest.mark.parametrize("mode", [[], ["--keep-going", "--reference=r"]])
def test_removes_units_of_overdue_reservations(
    adjust: Callable[..., Result], mode: list[str], small_batches: None
) -> None:
    for sku in ("CUP", "POT", "JUG"):
        ProductFactory.create(sku=sku, quantity=5)
    lines = [Line(sku, 5) for sku in ("CUP", "POT", "JUG")]
    held = stock.reserve_lines(lines=lines, expires_in=60, by=ACTOR)
    Reservation.objects.filter(pk=held.pk).update(expires_at=held.created_at)
    content = "sku,remove\nCUP,2\nCUP,1\nPOT,5\nCUP,3\nCUP,2\n"
    before = stored()

    dry_run = adjust(content, "--dry-run")

    assert stored() == before
    assert dry_run.output.startswith(
        "5\tCUP\tinsufficient_stock\t3 of CUP requested, 2 available.\n"
    )
    assert figures_of(dry_run.output)["can be applied"] == 4

    ended = adjust(content.replace("CUP,3\n", ""), *mode)

    assert ended.status == 0
    assert levels() == {"CUP": 0, "POT": 0, "JUG": 5}
    assert Product.objects.get(sku="JUG").reserved_quantity == 5


# -------------------------------------------------------------------------------------- reference


@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_applies_a_file_once_per_reference(
    adjust: Callable[..., Result], tmp_path: Path, mode: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,add\nCUP,4\n"

    first = adjust(content, "--reference=po-7", *mode)
    second = adjust(content, "--reference=po-7", *mode)
    without = adjust(content)

    assert (first.status, second.status, without.status) == (0, 0, 0)
    assert figures_of(second.output) == figures_of(first.output) == {"lines": 1, "applied": 1}
    assert "This file was already applied at " in second.output
    assert levels() == {"CUP": 13}


def test_reports_the_refused_lines_again_on_a_second_run(
    adjust: Callable[..., Result], tmp_path: Path
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,remove\nCUP,4\nNONE,1\nCUP,4\n"
    rejects = tmp_path / "rejects.csv"

    first = adjust(content, "--keep-going", "--reference=po-7")
    second = adjust(content, "--keep-going", "--reference=po-7", f"--rejects={rejects}")

    assert (first.status, second.status) == (1, 1)
    assert figures_of(second.output) == figures_of(first.output)
    assert [line.split(",")[0] for line in rejects.read_text().splitlines()] == [
        "sku",
        "NONE",
        "CUP",
    ]


@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("sku,add\nCUP,5\n", []),
        ("sku,add\nCUP,4\n", ["--reason=other"]),
        ("sku,add\nCUP,4\n", ["--amount-column=add", "--operation=remove"]),
    ],
)
def test_refuses_a_reference_of_another_file_or_other_options(
    adjust: Callable[..., Result], mode: list[str], content: str, options: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,4\n", "--reference=po-7", *mode)

    ended = adjust(content, "--reference=po-7", *mode, *options)

    assert ended.status == 2
    assert ended.output.startswith(
        "Reference po-7 was used for another file or with other options."
    )
    assert levels() == {"CUP": 9}


def test_a_refused_file_can_be_applied_later_under_its_reference(
    adjust: Callable[..., Result],
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,remove\nCUP,9\n"
    refused = adjust(content, "--reference=sale")
    stock.add(sku="CUP", amount=4, by=ACTOR)

    ended = adjust(content, "--reference=sale")

    assert (refused.status, ended.status) == (1, 0)
    assert levels() == {"CUP": 0}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_concurrent_runs_apply_a_file_once(
    tmp_path: Path, mode: list[str], small_batches: None
) -> None:
    for number in range(10):
        ProductFactory.create(sku=f"CUP-{number}", quantity=5)
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\n" + "".join(f"CUP-{number},1\n" for number in range(10)))

    ended = at_once([partial(bulk_adjust, str(path), "--reference=r", *mode)] * 4)

    assert set(levels().values()) == {6}
    assert BulkRun.objects.get().applied == 10
    for end in ended:
        assert isinstance(end, Result)
        assert end.status == 0 or "Another process is applying the file" in end.output
    assert Result(0, f"{'lines':<40}{10:>13}\n{'applied':<40}{10:>13}\n") in ended


# --------------------------------------------------------------------------- concurrent requests


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [[], ["--keep-going", "--reference=r"]])
def test_concurrent_orders_lose_no_unit(
    tmp_path: Path, mode: list[str], small_batches: None
) -> None:
    skus = [f"CUP-{number}" for number in range(8)]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=100)
    path = tmp_path / "lines.csv"
    path.write_text("sku,remove\n" + "".join(f"{sku},1\n" for sku in skus * 20))

    def order() -> None:
        for _ in range(10):
            lines = [Line(sku, 1) for sku in random.sample(skus, 3)]
            reservation = stock.reserve_lines(lines=lines, by=ACTOR)
            stock.fulfill(reservation_id=reservation.pk, by=ACTOR)

    outcomes = at_once([partial(bulk_adjust, str(path), *mode), *[order] * 5])

    assert outcomes[0] == (0, f"{'lines':<40}{160:>13}\n{'applied':<40}{160:>13}\n")
    assert outcomes[1:] == [None] * 5
    assert sum(levels().values()) == 800 - 160 - 150


# ---------------------------------------------------------------------------------- interruptions


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_a_killed_run_is_never_half_applied_and_can_be_resumed(
    tmp_path: Path, mode: list[str]
) -> None:
    skus = [f"CUP-{number}" for number in range(20)]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=100)
    path = tmp_path / "lines.csv"
    path.write_text("sku,remove\n" + "".join(f"{sku},{n}\n" for n in (1, 2) for sku in skus))
    whole = killed(0, 0, str(path), "--reference=whole", *mode)
    statements = random.sample(range(1, int(whole.stderr.split()[0]) + 1), 10)
    assert set(levels().values()) == {97}

    for statement in statements:
        ended = killed(statement, signal.SIGKILL, str(path), f"--reference=at-{statement}", *mode)

        assert ended.returncode == -signal.SIGKILL
        assert list(stock.differences()) == [], statement
        run = BulkRun.objects.filter(reference=f"at-{statement}").first()
        events = StockEvent.objects.filter(reference=f"at-{statement}")
        assert events.count() == (run.applied if run else 0)
        assert events.count() % 5 == 0 if mode else events.count() in (0, 40)

        again = bulk_adjust(str(path), f"--reference=at-{statement}", *mode)

        assert again.status == 0
        assert events.count() == 40

    assert set(levels().values()) == {100 - 3 * 11}


@pytest.mark.django_db(transaction=True)
def test_a_failure_before_any_statement_decides_each_line_once(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    """Also in a batch that has both valid lines and lines of unknown products."""
    for sku in ("CUP", "JUG", "POT"):
        ProductFactory.create(sku=sku)
    content = "sku,add\nCUP,1\nNONE,1\nJUG,1\nNO-ONE,1\nPOT,1\nNOBODY,1\n"

    def interrupted_before(statement: int) -> Result:
        statements = itertools.count(1)

        def interrupt(execute: Any, *arguments: Any) -> Any:
            if next(statements) == statement:
                raise OperationalError
            return execute(*arguments)

        with connection.execute_wrapper(interrupt):
            return adjust(content, "--keep-going", f"--reference=at-{statement}")

    broken_off = 0
    while interrupted_before(broken_off + 1).status == 3:
        broken_off += 1
        reference = f"at-{broken_off}"

        again = adjust(content, "--keep-going", f"--reference={reference}")

        figures = figures_of(again.output)
        assert (figures["applied"], figures["refused: product_not_found"]) == (3, 3), reference
        assert StockEvent.objects.filter(reference=reference).count() == 3
        assert BulkRefusal.objects.filter(run__reference=reference).count() == 3

    assert broken_off > 20


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server")
def test_applies_a_file_after_the_server_dropped_prepared_statements(
    adjust: Callable[..., Result],
) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    lines = "sku,add\nCUP,1\nPOT,1\n"
    adjust(lines)
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")

    assert adjust(lines).status == 0
    assert levels() == {"CUP": 7, "POT": 7}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_ctrl_c_says_how_to_resume(tmp_path: Path, mode: list[str]) -> None:
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}", quantity=5)
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\n" + "".join(f"CUP-{number},1\n" for number in range(20)))
    whole = killed(0, 0, str(path), "--reference=whole", *mode)
    half = int(whole.stderr.split()[0]) // 2

    ended = killed(half, signal.SIGINT, str(path), "--reference=half", *mode)

    assert "Interrupted. With --reference, run the same command again" in ended.stderr
    applied = sum(levels().values()) - 20 * 6
    assert 0 < applied < 20 if mode else applied == 0
    assert bulk_adjust(str(path), "--reference=half", *mode).status == 0
    assert set(levels().values()) == {7}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_products_created_before_a_resume_are_decided_once(
    tmp_path: Path,
) -> None:
    for number in range(20):
        ProductFactory.create(sku=f"CUP-{number}", quantity=5)
    path = tmp_path / "lines.csv"
    rows = "".join(f"CUP-{number},1\n" for number in range(20))
    path.write_text(f"sku,add\nZIP,1\nAXE,1\n{rows}")
    options = (str(path), "--keep-going", "--reference=r")
    whole = killed(0, 0, *options[:2], "--reference=whole")
    half = int(whole.stderr.split()[0]) // 2

    killed(half, signal.SIGKILL, *options)
    for sku in ("ZIP", "AXE"):
        ProductFactory.create(sku=sku, quantity=5)
    ended = bulk_adjust(*options)

    assert figures_of(ended.output) == {
        "lines": 22,
        "applied": 21,
        "refused: product_not_found": 1,
    }
    assert levels() == {**{f"CUP-{n}": 7 for n in range(20)}, "ZIP": 6, "AXE": 5}


# ----------------------------------------------------------------------------------- invalid files


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("CUP,0", "add: At least 1 unit is required."),
        ("CUP,-1", "add: -1 is a negative amount. For changes with a sign, use the column change"),
        ("CUP,1000000001", "add: At most 1000000000 units are allowed."),
        ("CUP,999999999999999999999999", "add: '999999999999999999999999' is not a whole number."),
        ("CUP,1.5", "add: '1.5' has a fraction. Units are whole numbers."),
        ("CUP,1_000", "add: '1_000' is not a whole number. Write digits only, such as 1000."),
        ("CUP, 5", "add: ' 5' is not a whole number. Write digits only, such as 1000."),
        ("CUP,\u0665", "add: '\u0665' is not a whole number. Write digits only, such as 1000."),
        ("CUP,=1+1", "add: '=1+1' is not a whole number. Write digits only, such as 1000."),
        ("CUP,1,1", "remove: Fill in exactly one of add, remove, quantity and change."),
        ("CUP,,,3", "reason: This text may not be blank."),
        ("CUP,,,-3,counted", "quantity: -3 is a negative level."),
        (
            "CUP,1,,,,,4",
            "expected_quantity: Only a row with a quantity can have",
        ),
        ("CUP,,,1,counted,,-4", "expected_quantity: -4 is a negative level."),
        ("CUP,1,,,\0", "reason: NUL and surrogate characters are not allowed."),
        ("CUP,1,,,,\0", "reference: NUL and surrogate characters are not allowed."),
        (f"CUP,1,,,{'x' * 256}", "reason: At most 255 characters are allowed."),
        ("CUP,1,,,,,,9", "line: A column without a name has a value."),
        (",1", "sku: The SKU is missing."),
        ("cup,1", "sku: A SKU has 1 to 50 characters"),
        ("C UP,1", "sku: A SKU has 1 to 50 characters"),
        ("CUP\0,1", "sku: NUL and surrogate characters are not allowed."),
        (f"{'C' * 51},1", "sku: At most 50 characters are allowed."),
        (
            "CUP,x,,,,,y",
            "add: 'x' is not a whole number. Write digits only, such as 1000. exp",
        ),
    ],
)
def test_reports_an_invalid_line_with_its_number_and_problem(
    adjust: Callable[..., Result], row: str, problem: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = 'sku,add,remove,quantity,reason,reference,expected_quantity\nCUP,1,,,"two\nlines"\n\n'

    ended = adjust(f"{content}{row}\nCUP,1\n")

    assert ended.status == 1
    [refusal] = [line for line in ended.output.splitlines() if "\tinvalid\t" in line]
    assert refusal.startswith("5\t")
    assert refusal.split("\t")[-1].startswith(problem)
    assert figures_of(ended.output)["can be applied"] == 2
    assert levels() == {"CUP": 5}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "Missing column: 'sku'."),
        (b"\n\n", "Missing column: 'sku'."),
        (b"sku,add\n", "The file has no rows below the header."),
        (b"sku,add\n,\n", "The file has no rows below the header."),
        (b"sku,amount\nCUP,1\n", "Unknown column: 'amount'."),
        (b"sku,add,expected_quanity\nCUP,1,1\n", "Unknown column: 'expected_quanity'."),
        (b"sku,add,add\nCUP,1,1\n", "Repeated column: 'add'."),
        (b'sku,add\nCUP,1\n"CUP,1\n', "Line 3 is not valid CSV: unexpected end of data."),
        (b'sku,add\nCUP,1\n"CUP"x,1\n', "Line 3 is not valid CSV: "),
        (b"sku,add\nCUP,1\n\xff\xfe,1\n", "Line 3 is not UTF-8 text"),
        (b"\xff\xfes\0\xd8\0\xd8", "Line 1 is not UTF-16 text"),
        (b"PK\3\4\xff", "The file is an XLSX workbook or a ZIP archive, not CSV."),
        (
            b"sku,add\nCUP," + b"1" * 200_000,
            "not valid CSV: field larger than",
        ),
        (
            b"sku,add\nCUP," + b"1" * 10_000_000,
            "Line 2 is too long: a line must have",
        ),
        (
            b'sku,add\nCUP,"' + b"1\n" * 1_000_000,
            "not valid CSV: field larger than",
        ),
    ],
)
@pytest.mark.parametrize("mode", [[], ["--keep-going", "--reference=r"]])
def test_refuses_an_unreadable_file(
    adjust: Callable[..., Result], mode: list[str], content: bytes, complaint: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust(content, *mode)

    assert ended.status == 2
    assert complaint in ended.output
    assert levels() == {"CUP": 5}
    assert not BulkRun.objects.exists()


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["--amount-column=Quantity", "--operation=add"], "column: 'Quantity'"),
        (["--expected-quantity-column=Was"], "column: 'Was'"),
        (["--reason-column=Why", "--reference-column=Order"], "columns: 'Why', 'Order'"),
    ],
)
def test_refuses_a_file_without_a_column_named_by_an_option(
    adjust: Callable[..., Result], options: list[str], missing: str
) -> None:
    ended = adjust("sku,add\nCUP,1\n", *options, "--ignore-other-columns")

    assert ended.status == 2
    assert f"Missing {missing}." in ended.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/nowhere/lines.csv"], "/nowhere/lines.csv cannot be read: No such file or directory."),
        (["/"], "/ cannot be read: Is a directory."),
        ([__file__, "--keep-going"], "--keep-going requires --reference"),
        ([__file__, "--rejects=x.csv"], "--rejects requires --keep-going"),
        ([__file__, "--keep-going", "--dry-run", "--rejects=x"], "--rejects requires --keep-going"),
        (
            [__file__, "--keep-going", "--reference=r", "--rejects=-"],
            "--rejects requires a file name",
        ),
        ([__file__, "--keep-going", "--reference=r", "--rejects=/nowhere/x"], "/nowhere/x cannot"),
        ([__file__, "--amount-column=x"], "--amount-column and --operation must be used together."),
        ([__file__, "--operation=add"], "--amount-column and --operation must be used together."),
        (
            [__file__, "--amount-column=x", "--operation=add", "--sku-column=x"],
            "Two options name the same column.",
        ),
        ([__file__, "--keep-going", "--reference=r", f"--rejects={__file__}"], "--rejects would"),
        ([__file__, "--reason=\0"], "--reason: NUL and surrogate characters are not allowed."),
        ([__file__, f"--reference={'x' * 256}"], "--reference: At most 255 characters"),
        ([__file__, "--reference=\udcff"], "--reference: NUL and surrogate characters are not"),
        ([__file__, "--reference="], "--reference cannot be blank."),
        ([__file__, "--reference= "], "--reference cannot be blank."),
    ],
)
def test_refuses_invalid_arguments(arguments: list[str], complaint: str) -> None:
    ended = bulk_adjust(*arguments)

    assert ended.status == 2
    assert complaint in ended.output


def test_a_thousand_lines_of_one_product_are_a_thousand_events(
    adjust: Callable[..., Result],
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust("sku,add\n" + "CUP,1\n" * 1_000)

    assert ended.status == 0
    assert Product.objects.get().version == 1_001
    assert levels() == {"CUP": 1_005}
