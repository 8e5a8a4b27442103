"""What the rows of a file of stock changes mean, by command and in the back office."""

import itertools
import json
import random
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from openpyxl import Workbook
from rest_framework.test import APIClient

from products import stock
from products.files import bulk
from products.models import BulkRefusal, Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CASES = Path(__file__).parent / "cases"


class Result(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    output: str


def bulk_adjust(file: str | Path, *options: str) -> Result:
    output = StringIO()
    try:
        call_command("bulk_adjust", str(file), *options, stdout=output)
    except CommandError as error:
        return Result(error.returncode, f"{output.getvalue()}{error}")
    except SystemExit as end:
        return Result(int(str(end.code)), output.getvalue())
    return Result(0, output.getvalue())


@pytest.fixture
def adjust(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs `bulk_adjust` on a file with this content."""

    def run(content: str, *options: str) -> Result:
        path = tmp_path / "lines.csv"
        path.write_text(content, encoding="utf-8")
        return bulk_adjust(path, *options)

    return run


@pytest.fixture
def shop() -> None:
    """Load the products of the cases."""
    call_command("import_products", str(CASES / "00-fixture.csv"), stdout=StringIO())


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *("view_product", "add_product", "change_product"),
                      *("operate_stock", "adjust_stock"))  # fmt: skip


@pytest.fixture(params=[1, 2, 3])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the sizes of batches to a few lines."""
    monkeypatch.setattr(bulk, "WHOLE_BATCH", request.param)
    monkeypatch.setattr(bulk, "SHORT_BATCH", request.param)


def level(sku: str) -> int:
    return Product.objects.get(sku=sku).quantity


def upload(client: Client, content: str | bytes, kind: str = "adjustments", **fields: str) -> Any:
    data = content.encode() if isinstance(content, str) else content
    url = reverse("admin:products_product_import", args=[kind])
    return client.post(url, {"file": SimpleUploadedFile("rows.csv", data), **fields})


def xlsx(rows: list[list[Any]]) -> bytes:
    workbook, file = Workbook(), BytesIO()
    for row in rows:
        workbook.worksheets[0].append(row)
    workbook.save(file)
    return file.getvalue()


def confirm(client: Client, preview: Any) -> Any:
    pending = preview.context["pending"]
    assert pending, preview.content.decode()
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    return client.post(url, follow=True)


def problems_of(preview: Any) -> list[tuple[int, str]]:
    return [
        (row.line.number, problem.code)
        for row in preview.context["rows"]
        for problem in row.line.problems
    ]


def events_of(sku: str) -> list[tuple[str, int, str]]:
    """Return type, change and reason of the events of a product after its creation."""
    events = StockEvent.objects.filter(sku=sku, version__gt=1).order_by("version")
    return [
        (event.type, event.quantity_change, event.reason)
        for event in events
        if event.type.startswith("Inventory")
    ]


# -------------------------------------------------------------------------------- repeated counts

TWO_SHELVES = "sku,quantity,reason\nSKU-1,6,shelf A\nSKU-2,15,shelf A\nSKU-1,5,shelf B\n"
REPEATED = (
    "SKU-1 is already counted on line 2. Delete one of the counts, or add up repeated counts "
    "(--sum-repeated)."
)


@pytest.mark.usefixtures("shop", "batch")
@pytest.mark.parametrize(
    ("name", "options", "line"),
    [("01-count-two-shelves.csv", [], 4),
     ("01-stock_sources.csv", ["--ignore-other-columns", "--reason", "stocktake"], 3)],
)  # fmt: skip
def test_a_second_count_is_refused_and_names_the_first(
    name: str, options: list[str], line: int
) -> None:
    before = stored()

    ended = bulk_adjust(CASES / name, *options)

    assert ended.status == 1
    assert f"{line}\tSKU-1\trepeated_count\t{REPEATED}" in ended.output
    assert "Nothing was changed." in ended.output
    assert stored() == before
    assert bulk_adjust(CASES / name, *options, "--dry-run") == ended


@pytest.mark.usefixtures("shop", "batch")
def test_a_second_count_is_refused_by_a_run_that_keeps_going(tmp_path: Path) -> None:
    rejects = tmp_path / "refused.csv"
    options = ["--keep-going", "--reference", "count-1", "--rejects", str(rejects)]

    ended = bulk_adjust(CASES / "01-count-two-shelves.csv", *options)

    assert ended.status == 1
    assert (level("SKU-1"), level("SKU-2")) == (6, 15)
    [refusal] = BulkRefusal.objects.all()
    assert (refusal.line, refusal.code, refusal.detail) == (4, "repeated_count", REPEATED)
    assert "shelf B,4,repeated_count" in rejects.read_text(encoding="utf-8")


@pytest.mark.usefixtures("shop", "batch")
@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "count-1"]])
def test_repeated_counts_are_added_up(how: list[str]) -> None:
    ended = bulk_adjust(CASES / "01-count-two-shelves.csv", "--sum-repeated", *how)

    assert ended.status == 0
    assert "repeated counts                                     1" in ended.output
    assert (level("SKU-1"), level("SKU-2")) == (11, 15)
    assert events_of("SKU-1") == [("InventoryAdjusted", 1, "shelf A; shelf B")]

    ended = bulk_adjust(
        CASES / "01-stock_sources.csv",
        "--sum-repeated", "--ignore-other-columns", "--reason", "stocktake",
    )  # fmt: skip

    assert ended.status == 0
    assert (level("SKU-1"), level("SKU-2")) == (11, 48)


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("more", [[], ["--sum-repeated"]])
@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "count-1"]])
def test_adds_removes_and_one_count_stay_in_order(
    adjust: Callable[..., Result], how: list[str], more: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,add,remove,quantity\nCUP,1,,\nCUP,,2,\nCUP,,,9\nCUP,,1,\nCUP,3,,\n"

    ended = adjust(content, "--reason", "count", *how, *more)

    assert ended.status == 0
    assert level("CUP") == 11


@pytest.mark.usefixtures("batch")
@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "count-1"]])
def test_all_counts_of_a_sum_are_refused_together(
    adjust: Callable[..., Result], how: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="JUG", quantity=5)
    ProductFactory.create(sku="POT", quantity=9)
    stock.reserve(sku="POT", amount=8, by=ACTOR)
    content = (
        "sku,add,quantity,expected_quantity\n"
        "POT,,3,\nCUP,,6,\nJUG,,2,5\nPOT,,4,\nCUP,,six,\nJUG,,2,\nCUP,,1,\nPAN,,1,\nPAN,,1,\n"
    )

    ended = adjust(content, "--sum-repeated", "--reason", "count", *how)

    assert ended.status == 1
    refused = [line.split("\t")[:3] for line in ended.output.splitlines() if "\t" in line]
    assert refused == [
        ["2", "POT", "below_reserved"],
        ["3", "CUP", "invalid"],
        ["4", "JUG", "invalid"],
        ["5", "POT", "below_reserved"],
        ["6", "CUP", "invalid"],
        ["7", "JUG", "invalid"],
        ["8", "CUP", "invalid"],
        ["9", "PAN", "product_not_found"],
        ["10", "PAN", "product_not_found"],
    ]
    assert (level("CUP"), level("JUG"), level("POT")) == (5, 5, 9)


@pytest.mark.usefixtures("batch")
def test_counts_around_another_change_are_not_added_up(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,remove,quantity\nCUP,,6\nCUP,2,\nCUP,,5\nCUP,,1\n"

    ended = adjust(content, "--sum-repeated", "--reason", "count")

    assert ended.status == 1
    assert "4\tCUP\trepeated_count\tCUP is already counted on line 2." in ended.output
    assert "\n5\tCUP\t" in ended.output
    assert level("CUP") == 5


def test_expected_quantities_of_a_sum_are_added_up(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,quantity,expected_quantity\nCUP,6,3\nCUP,1,{}\n"

    assert adjust(content.format(3), "--sum-repeated", "--reason", "count").status == 1
    assert adjust(content.format(2), "--sum-repeated", "--reason", "count").status == 0
    assert level("CUP") == 7


def test_an_interrupted_run_still_refuses_a_second_count(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SHORT_BATCH", 1)
    ProductFactory.create(sku="CUP", quantity=5)
    calls = itertools.count()
    apply_batch = bulk._apply_batch

    def interrupted(batch: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return apply_batch(batch)

    monkeypatch.setattr(bulk, "_apply_batch", interrupted)
    options = ("--reason", "count", "--keep-going", "--reference", "c-1")
    content = "sku,quantity\nCUP,6\nCUP,1\n"
    assert "Interrupted" in adjust(content, *options).output
    assert level("CUP") == 6

    assert adjust(content, *options).status == 1
    assert level("CUP") == 6


@pytest.mark.usefixtures("shop")
def test_the_back_office_refuses_a_second_count_or_adds_it_up(manager: Client) -> None:
    preview = upload(manager, TWO_SHELVES)

    assert problems_of(preview) == [(4, "repeated_count")]
    assert "on line 2" in preview.content.decode()
    assert preview.context["pending"] is None

    preview = upload(manager, TWO_SHELVES, sum_repeated="on")

    labels = [(row.line.number, row.label) for row in preview.context["rows"]]
    assert labels == [(2, "Set to 11"), (3, "Set to 15"), (4, "Added to line 2")]
    confirm(manager, preview)
    assert (level("SKU-1"), level("SKU-2")) == (11, 15)
    assert events_of("SKU-1") == [("InventoryAdjusted", 1, "shelf A; shelf B")]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "rows",
    ["SKU-1,,6\nSKU-1,2,\nSKU-1,,5\nSKU-1,,1\n",
     "SKU-1,,6\nSKU-1,,six\n", "SKU-1,,1000000000\nSKU-1,,1\n"],
)  # fmt: skip
def test_the_back_office_refuses_counts_that_cannot_be_added_up(manager: Client, rows: str) -> None:
    preview = upload(manager, f"sku,remove,quantity\n{rows}", sum_repeated="on", reason="count")

    assert problems_of(preview)
    assert preview.context["pending"] is None


def test_a_request_counts_a_product_once(api: APIClient) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="POT", quantity=5)
    before = stored()
    count = {"operation": "adjust", "sku": "CUP", "quantity": 6, "reason": "shelf A"}
    others = [
        {"operation": "add", "sku": "CUP", "amount": 1},
        {"operation": "remove", "sku": "CUP", "amount": 2},
        {"operation": "adjust", "sku": "POT", "quantity": 2, "reason": "shelf A"},
    ]

    def send(*operations: Any) -> Any:
        return api.post("/v1/operations", {"operations": operations}, format="json")

    body = assert_problem(send(count, *others, {**count, "quantity": 5}), 409, "repeated_count")

    assert body["lines"] == [{"index": 4, "sku": "CUP", "code": "repeated_count"}]
    assert "CUP is already counted by operation 0." in json.dumps(body)
    assert stored() == before

    assert send(others[0], count, *others[1:]).status_code == 200
    assert (level("CUP"), level("POT")) == (4, 2)


# -------------------------------------------------------------------------------- mapped amounts


def figures_of(output: str) -> dict[str, int]:
    """Return the numbers in the summary by label."""
    lines = [line.rsplit(maxsplit=1) for line in output.splitlines() if "\t" not in line]
    return {label: int(number) for label, number in filter(is_figure, lines)}


def is_figure(words: list[str]) -> bool:
    return len(words) == 2 and words[1].isdigit()


MAPPED = ["--ignore-other-columns", "--reason", "stocktake"]


@pytest.mark.usefixtures("shop", "batch")
@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "c1"]])
def test_rows_without_a_count_are_passed_over(how: list[str], tmp_path: Path) -> None:
    columns = ["--sku-column", "items.item_code", "--amount-column", "items.qty"]
    rejects = [f"--rejects={tmp_path / 'r.csv'}"] if how else []

    ended = bulk_adjust(
        CASES / "13-reconciliation-template.csv",
        *columns, "--operation", "adjust", *MAPPED, *how, *rejects,
    )  # fmt: skip

    assert ended.status == 0
    assert figures_of(ended.output) == {
        "lines": 4,
        "applied": 2,
        "passed over: without an amount": 2,
    }
    assert [level(sku) for sku in ("SKU-1", "SKU-2", "SKU-3", "TEE-RED-S")] == [9, 20, 31, 5]
    assert events_of("SKU-2") == []


@pytest.mark.usefixtures("shop")
def test_a_row_without_a_count_is_passed_over_before_its_other_cells_are_judged() -> None:
    ended = bulk_adjust(
        CASES / "50-shopify-inventory.csv",
        "--sku-column", "SKU",
        "--amount-column", "On hand (new)",
        "--expected-quantity-column", "On hand (current)",
        "--operation", "adjust",
        *MAPPED,
    )  # fmt: skip

    assert ended.status == 0
    assert figures_of(ended.output)["passed over: without an amount"] == 4
    assert (level("TEE-RED-S"), level("TEE-RED-M")) == (7, 5)


@pytest.mark.usefixtures("shop")
def test_the_amount_of_an_amazon_inventory_loader() -> None:
    options = ["--amount-column", "quantity", "--operation", "adjust", *MAPPED]

    ended = bulk_adjust(
        CASES / "57-amazon-inventory-loader.txt", *options, "--keep-going", "--reference", "a-1"
    )

    assert figures_of(ended.output)["passed over: without an amount"] == 1
    assert (level("SKU-1"), level("SKU-2")) == (9, 20)


def test_only_the_mapped_column_holds_amounts(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="POT", quantity=5)
    content = "sku,Units,add,remove,quantity,change\nCUP,2,x,1,-9,0\nPOT,,1,,4,\n"
    options = ["--amount-column", "Units", "--operation", "remove"]

    assert adjust(content, *options).status == 2

    ended = adjust(content, *options, "--ignore-other-columns")

    assert ended.status == 0
    assert (level("CUP"), level("POT")) == (3, 5)
    assert figures_of(ended.output)["passed over: without an amount"] == 1


@pytest.mark.parametrize("blank", ["", "  ", "\N{NO-BREAK SPACE}"])
def test_a_row_that_fills_in_none_of_our_columns_is_passed_over(
    adjust: Callable[..., Result], manager: Client, blank: str
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = f"sku,add,remove,quantity,expected_quantity\nCUP,{blank},,3,\nnot a sku,,,{blank},x\n"

    ended = adjust(content, "--reason", "count")

    assert ended.status == 0
    assert figures_of(ended.output) == {
        "lines": 2,
        "applied": 1,
        "passed over: without an amount": 1,
    }
    assert level("CUP") == 3

    preview = upload(manager, content.replace(",3,", ",4,"), reason="count")

    assert "1 row passed over: without an amount." in preview.content.decode()
    confirm(manager, preview)
    assert level("CUP") == 4


def test_a_file_without_any_amount_is_refused(
    adjust: Callable[..., Result], manager: Client
) -> None:
    content = "sku,quantity,change\nCUP,,\nCUP,,0\n"

    ended = adjust(content)

    assert ended.status == 2
    assert ended.output.endswith(
        "No line requests a change: 1 without an amount and 1 change of 0. Check the names of the "
        "columns."
    )
    preview = upload(manager, content)
    assert preview.context["pending"] is None
    assert "This file changes nothing." in preview.content.decode()


def test_a_value_outside_the_columns_is_refused_without_an_amount_too(
    adjust: Callable[..., Result],
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust("sku,quantity\nCUP,,7\n")

    assert ended.status == 1
    assert "A column without a name has a value." in ended.output


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.usefixtures("shop")
def test_signed_changes_add_and_remove(manager: Client) -> None:
    path = CASES / "14a-signed-ledger.tsv"

    ended = bulk_adjust(
        path, "--amount-column", "quantity", "--operation", "change", "--ignore-other-columns"
    )

    assert ended.status == 0
    assert (level("SKU-1"), level("SKU-2")) == (8, 23)
    assert events_of("SKU-1") == [("InventoryRemoved", -2, "M")]

    rows = path.read_text(encoding="utf-8").replace("quantity", "change")
    cut = "\n".join("\t".join(line.split("\t")[2:5]) for line in rows.splitlines())
    confirm(manager, upload(manager, cut))

    assert (level("SKU-1"), level("SKU-2")) == (6, 26)


@pytest.mark.usefixtures("batch")
def test_a_change_may_have_a_plus_sign_and_0_is_passed_over(
    adjust: Callable[..., Result], manager: Client
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = "sku,change,quantity\nCUP,+3,\nCUP,-2,\nCUP,'+4,\nCUP,'-1,\nCUP,0,\nCUP,,20\nCUP,5,\n"

    ended = adjust(content, "--reason", "count")

    assert ended.status == 0
    assert figures_of(ended.output)["passed over: change of 0"] == 1
    changes = [change for _, change, _ in events_of("CUP")]
    assert changes == [3, -2, 4, -1, 11, 5]

    preview = upload(manager, content, reason="count")

    assert "1 row passed over: change of 0." in preview.content.decode()
    confirm(manager, preview)
    assert [change for _, change, _ in events_of("CUP")][6:] == [3, -2, 4, -1, -9, 5]


@pytest.mark.parametrize("cell", ["+-3", "--3", "+", "-", "3+", "+3.5", "++3"])
def test_a_wrong_change_is_refused(adjust: Callable[..., Result], cell: str) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    ended = adjust(f"sku,change\nCUP,{cell}\n")

    assert (ended.status, level("CUP")) == (1, 5)


@pytest.mark.parametrize("column", ["add", "remove", "quantity"])
def test_only_a_change_may_have_a_plus_sign(adjust: Callable[..., Result], column: str) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    assert adjust(f"sku,{column}\nCUP,+3\n", "--reason", "count").status == 1
    assert level("CUP") == 5


@pytest.mark.usefixtures("shop")
def test_a_negative_level_is_called_that(manager: Client) -> None:
    ended = bulk_adjust(
        CASES / "14b-woo-negative.csv",
        *("--sku-column", "SKU", "--amount-column", "Stock", "--operation", "adjust"),
        *("--reason", "opening", "--ignore-other-columns"),
    )

    told = "-7 is a negative level. Enter 0 or more, or leave the cell empty."
    assert ended.status == 1
    assert f"2\tSKU-1\tinvalid\tquantity: {told}" in ended.output
    assert (level("SKU-1"), level("SKU-2")) == (10, 20)

    preview = upload(manager, "sku,quantity,reason\nSKU-1,'-7,opening\n")
    assert told in preview.content.decode()
    preview = upload(manager, "sku,name,minimum_stock_level\nSKU-1,Bag,-7\n", kind="products")
    assert told in preview.content.decode()


@pytest.mark.usefixtures("shop")
def test_signed_changes_and_counts_of_a_workbook(manager: Client) -> None:
    rows: list[list[Any]] = [
        ["sku", "change", "quantity"],
        ["SKU-1", -2, None],
        ["SKU-1", "+3", None],
        ["SKU-2", 0, None],
        ["SKU-3", None, None],
        ["SKU-3", None, 6],
    ]

    preview = upload(manager, xlsx([*rows, ["SKU-3", None, 5]]), reason="count")
    assert problems_of(preview) == [(7, "repeated_count")]
    preview = upload(manager, xlsx([*rows, ["SKU-2", None, -5]]), reason="count")
    assert "-5 is a negative level." in preview.content.decode()

    confirm(manager, upload(manager, xlsx(rows), reason="count"))

    assert [level(sku) for sku in ("SKU-1", "SKU-2", "SKU-3")] == [11, 20, 6]
    assert [change for _, change, _ in events_of("SKU-1")] == [-2, 3]
    assert events_of("SKU-2") == []


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("operation", ["add", "remove"])
def test_a_negative_amount_names_the_operation_for_signed_numbers(operation: str) -> None:
    ended = bulk_adjust(
        CASES / "14a-signed-ledger.tsv",
        *("--amount-column", "quantity", "--operation", operation, "--ignore-other-columns"),
    )

    assert ended.status == 1
    assert "-2 is a negative amount. For changes with a sign, use the column change" in ended.output
    assert (level("SKU-1"), level("SKU-2")) == (10, 20)


# ----------------------------------------------------------------------------- confirmed as shown


def differences_of(preview: Any) -> list[tuple[Any, ...]]:
    """Return the first difference of each row."""
    return [tuple(row.differences[0]) for row in preview.context["rows"]]


@pytest.mark.usefixtures("shop")
def test_a_count_is_shown_again_if_units_were_sold_since_the_preview(manager: Client) -> None:
    preview = upload(manager, (CASES / "02-count.csv").read_bytes())
    assert differences_of(preview) == [("On hand", 20, 20)]
    call_command("adjust_stock", "SKU-2", "--remove", "3", stdout=StringIO())
    before = stored()

    again = confirm(manager, preview)

    page = again.content.decode()
    assert "Nothing was imported: 1 row would change other values than the preview showed." in page
    assert "SKU-2 has 17 on hand, not 20." in page
    assert differences_of(again) == [("On hand", 17, 20)]
    assert stored() == before

    # The old preview cannot be confirmed any more, and the new one can.
    assert (
        "already applied, or its preview has expired" in confirm(manager, preview).content.decode()
    )
    confirm(manager, again)
    assert level("SKU-2") == 20
    assert events_of("SKU-2") == [
        ("InventoryRemoved", -3, ""),
        ("InventoryAdjusted", 3, "stocktake"),
    ]


def test_a_count_that_moves_twice_is_shown_twice(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    preview = upload(manager, "sku,quantity\nCUP,8\n", reason="count")

    for left in (9, 8, 7):
        stock.remove(sku="CUP", amount=1, by=ACTOR)
        preview = confirm(manager, preview)
        assert differences_of(preview) == [("On hand", left, 8)]

    confirm(manager, preview)
    assert level("CUP") == 8


def test_adds_and_removes_are_imported_at_any_level(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    ProductFactory.create(sku="POT", quantity=10)
    rows = "sku,add,remove,quantity\nCUP,5,,\nCUP,,2,\nPOT,,,4\n"
    preview = upload(manager, rows, reason="count")
    stock.remove(sku="CUP", amount=3, by=ACTOR)
    stock.reserve(sku="POT", amount=4, by=ACTOR)

    confirm(manager, preview)

    assert (level("CUP"), level("POT")) == (10, 4)


def test_a_count_after_other_rows_of_its_product_expects_the_level_between(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    rows = "sku,add,quantity\nCUP,5,\nCUP,,7\nCUP,1,\n"
    moved = upload(manager, rows, reason="count")
    confirm(manager, upload(manager, rows, reason="count"))
    assert level("CUP") == 8

    again = confirm(manager, moved)

    assert again.context["moved"] == [3]
    assert level("CUP") == 8
    confirm(manager, again)
    assert level("CUP") == 8


def test_a_sum_of_counts_is_shown_again_too(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    rows = "sku,quantity\nCUP,5\nCUP,6\n"
    preview = upload(manager, rows, reason="count", sum_repeated="on")
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    again = confirm(manager, preview)

    assert differences_of(again) == [("On hand", 9, 11)]
    confirm(manager, again)
    assert level("CUP") == 11


def test_a_count_with_its_own_expected_quantity_cannot_be_confirmed_again(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    preview = upload(manager, "sku,quantity,expected_quantity\nCUP,5,10\n", reason="count")
    stock.remove(sku="CUP", amount=1, by=ACTOR)

    again = confirm(manager, preview)

    assert problems_of(again) == [(2, "quantity_changed")]
    assert again.context["pending"] is None
    assert level("CUP") == 9


def test_a_moved_count_beside_a_refused_row_is_not_imported(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    ProductFactory.create(sku="POT", quantity=10)
    preview = upload(manager, "sku,remove,quantity\nCUP,,5\nPOT,9,\n", reason="count")
    for sku in ("CUP", "POT"):
        stock.remove(sku=sku, amount=2, by=ACTOR)

    again = confirm(manager, preview)

    assert problems_of(again) == [(3, "insufficient_stock")]
    assert (level("CUP"), level("POT")) == (8, 8)


@pytest.mark.parametrize(
    ("edited", "shown"),
    [
        ({"name": "Mega cup"}, ("Name", "Mega cup", "Cup")),
        ({"minimum_stock_level": 3}, ("Minimum", 3, 7)),
    ],
)
def test_an_edit_is_shown_again_if_the_product_was_edited_since_the_preview(
    manager: Client, edited: dict[str, Any], shown: tuple[Any, ...]
) -> None:
    """The name in the file was the name at the preview, so the preview did not show it."""
    ProductFactory.create(sku="CUP", name="Cup", minimum_stock_level=0)
    rows = "sku,name,minimum_stock_level\nCUP,Cup,7\nMUG,Mug,\n"
    preview = upload(manager, rows, kind="products")
    stock.edit(sku="CUP", **edited, by=ACTOR)
    before = stored()

    again = confirm(manager, preview)

    assert again.context["moved"] == [2]
    assert differences_of(again)[0] == shown
    assert "CUP was edited" in again.content.decode()
    assert stored() == before
    confirm(manager, again)
    product = Product.objects.get(sku="CUP")
    assert (product.name, product.minimum_stock_level) == ("Cup", 7)
    assert Product.objects.filter(sku="MUG").exists()


def test_an_edit_is_imported_after_changes_that_the_preview_did_not_show(manager: Client) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=5)
    preview = upload(manager, "sku,name\nCUP,Big cup\n", kind="products")
    stock.add(sku="CUP", amount=2, by=ACTOR)
    stock.edit(sku="CUP", minimum_stock_level=3, by=ACTOR)

    confirm(manager, preview)

    product = Product.objects.get(sku="CUP")
    assert (product.name, product.levels) == ("Big cup", (7, 0, 3))


# --------------------------------------------------------------------------------- random sheets


class Sheet:
    """A sheet of random rows for three products, and the levels that its author means."""

    def __init__(self, seed: int, *, adds_up: bool) -> None:
        chance = random.Random(seed)
        self.rows: list[tuple[str, str, str]] = []
        """SKU, column and cell of each row. Line 2 is the first one."""
        for _ in range(chance.randint(1, 9)):
            column = chance.choice(["add", "remove", "quantity", "quantity", "change"])
            cell = {"change": chance.choice(["+4", "-1", "0", "3"])}.get(column, "2")
            if chance.random() < 0.2:
                cell = chance.choice(["", " "])
            self.rows.append((chance.choice(["CUP", "POT", "JUG"]), column, cell))
        self.adds_up = adds_up
        self.asks = any(cell.strip() not in ("", "0") for *_, cell in self.rows)
        """Whether any row requests a change."""
        self.refused: set[int] = set()
        self.levels = {}
        for sku in ("CUP", "POT", "JUG"):
            self.levels[sku] = self._level(sku, adds_up=adds_up)

    @property
    def text(self) -> str:
        columns = ("add", "remove", "quantity", "change")
        lines = [
            ",".join([sku, *(cell if column == name else "" for name in columns)])
            for sku, column, cell in self.rows
        ]
        return "\n".join([",".join(["sku", *columns]), *lines, ""])

    def _level(self, sku: str, *, adds_up: bool) -> int:
        level, counted, is_run = 100, False, False
        for line, (of, column, cell) in enumerate(self.rows, start=2):
            if of != sku or not cell.strip() or (column, cell) == ("change", "0"):
                continue
            number = int(cell)
            if column == "quantity" and counted and not (adds_up and is_run):
                self.refused.add(line)
            elif column == "quantity":
                level = number + (level if counted else 0)
                counted = is_run = True
                continue
            else:
                level += -number if column == "remove" else number
            is_run = False
        return level


SHEETS = pytest.mark.parametrize(
    "sheet", [Sheet(seed, adds_up=adds_up) for seed in range(16) for adds_up in (False, True)]
)


def create_products_of(sheet: Sheet) -> None:
    for sku in sheet.levels:
        ProductFactory.create(sku=sku, quantity=100)


def levels_of(sheet: Sheet) -> dict[str, int]:
    return {sku: level(sku) for sku in sheet.levels}


@SHEETS
def test_the_command_does_what_the_author_of_a_random_sheet_meant(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, sheet: Sheet
) -> None:
    monkeypatch.setattr(bulk, "WHOLE_BATCH", 2)
    create_products_of(sheet)
    before = levels_of(sheet)

    ended = adjust(sheet.text, "--reason", "count", *(["--sum-repeated"] if sheet.adds_up else []))

    assert ended.status == (1 if sheet.refused else 0 if sheet.asks else 2)
    assert levels_of(sheet) == (before if sheet.refused else sheet.levels)


@SHEETS
def test_the_back_office_does_what_the_author_of_a_random_sheet_meant(
    manager: Client, sheet: Sheet
) -> None:
    create_products_of(sheet)
    options = {"sum_repeated": "on"} if sheet.adds_up else {}

    preview = upload(manager, sheet.text, reason="count", **options)

    assert {line for line, _ in problems_of(preview)} >= sheet.refused
    assert bool(preview.context["pending"]) == (sheet.asks and not sheet.refused)
    if preview.context["pending"]:
        confirm(manager, preview)
        assert levels_of(sheet) == sheet.levels
