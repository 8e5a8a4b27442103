"""Late counts in files, by command and in the back office."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import Workbook

from products import stock
from products.files import bulk
from products.models import Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.factories import ACTOR, at

pytestmark = pytest.mark.django_db

EVENING = datetime(2026, 11, 20, 18, tzinfo=UTC)
MOMENT = "2026-11-20T18:00:00Z"
COUNT = f"sku,quantity,reason,counted_at\nCUP,8,stocktake,{MOMENT}\n"


@pytest.fixture(autouse=True)
def _products() -> None:
    """Create products with 9 on hand in the evening, and 7 now."""
    for sku in ("CUP", "MUG", "POT"):
        stock.create(sku=sku, name=sku, quantity=9, by=at(EVENING - timedelta(days=1)))
        stock.remove(sku=sku, amount=2, by=at(EVENING + timedelta(minutes=1)))


class Result(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    output: str


@pytest.fixture
def adjust(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs `bulk_adjust` on a file with this content."""

    def run(content: str, *options: str) -> Result:
        path, output = tmp_path / "lines.csv", StringIO()
        path.write_text(content, encoding="utf-8")
        try:
            call_command("bulk_adjust", str(path), *options, stdout=output)
        except CommandError as error:
            return Result(error.returncode, f"{output.getvalue()}{error}")
        except SystemExit as end:
            return Result(int(str(end.code)), output.getvalue())
        return Result(0, output.getvalue())

    return run


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *("view_product", "add_product", "change_product"),
                      *("operate_stock", "adjust_stock", "view_stockevent"))  # fmt: skip


def upload(client: Client, content: str | bytes, **fields: str) -> Any:
    data = content.encode() if isinstance(content, str) else content
    url = reverse("admin:products_product_import", args=["adjustments"])
    return client.post(url, {"file": SimpleUploadedFile("rows", data), **fields})


def confirm(client: Client, preview: Any) -> Any:
    pending = preview.context["pending"]
    assert pending, preview.content.decode()
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    return client.post(url, follow=True)


def problems_of(preview: Any) -> list[tuple[int, str, str]]:
    return [
        (row.line.number, problem.code, problem.detail)
        for row in preview.context["rows"]
        for problem in row.line.problems
    ]


def levels() -> dict[str, int]:
    return dict(Product.objects.order_by("sku").values_list("sku", "quantity"))


def details() -> list[Any]:
    events = StockEvent.objects.filter(type=StockEvent.Type.ADJUSTED).order_by("sku")
    return list(events.values_list("sku", "details"))


# ---------------------------------------------------------------------------------------- the cell


@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "count-1"]])
def test_a_file_enters_late_counts(adjust: Callable[..., Result], how: list[str]) -> None:
    rows = (
        "sku,quantity,add,reason,counted_at\n"
        "CUP,8,,stocktake,2026-11-20T19:00:00+01:00\n"
        "MUG,8,,stocktake,\n"
        "POT,8,,stocktake,  2026-11-20T18:01:00.5Z \n"
        "CUP,,3,delivery,\n"
    )

    dry = adjust(rows, "--dry-run")
    result = adjust(rows, *how)

    assert (dry.status, result.status) == (0, 0), (dry, result)
    assert levels() == {"CUP": 9, "MUG": 8, "POT": 8}
    assert details() == [
        ("CUP", {"counted_at": MOMENT}),
        ("MUG", {}),
        ("POT", {"counted_at": "2026-11-20T18:01:00.500000Z"}),
    ]


@pytest.mark.parametrize("counted_at", ["", "9999-01-01T00:00:00Z"])
def test_an_option_is_the_time_of_counts_without_one(
    adjust: Callable[..., Result], counted_at: str
) -> None:
    rows = f"sku,quantity,add,Zeit\nCUP,8,,{MOMENT}\nMUG,8,,{counted_at}\nPOT,,1,\n"
    options = ("--counted-at-column", "Zeit", "--counted-at", "2026-11-20T18:01:00Z")

    result = adjust(rows, *options, "--reason", "stocktake")

    if counted_at:
        assert (result.status, levels()["CUP"]) == (1, 7)
    else:
        assert levels() == {"CUP": 6, "MUG": 8, "POT": 8}


@pytest.mark.parametrize(
    ("time", "detail"),
    [
        ("2026-11-20T18:00:00", "'2026-11-20T18:00:00' has no UTC offset. Write a time such as"),
        ("2026-11-20 18:00", "'2026-11-20 18:00' has no UTC offset."),
        ("2026-11-20", "'2026-11-20' has no UTC offset."),
        ("20.11.2026 18:00", "'20.11.2026 18:00' is not a time. Write it with its UTC offset"),
        ("18:00", "'18:00' is not a time."),
        ("46345.75", "'46345.75' is not a time."),
        ("2026-11-20 18:00:00+01:00", "'2026-11-20 18:00:00+01:00' is not a time."),
        ("yesterday\xa0", "'yesterday' is not a time."),
        ("#N/A", "The cell has '#N/A' instead of a value."),
        ("9999-01-01T00:00:00Z", "9999-01-01T00:00:00Z is in the future."),
        ("2026-11-01T00:00:00Z", "CUP did not exist at 2026-11-01T00:00:00Z."),
    ],
)
def test_a_wrong_time_is_refused(
    adjust: Callable[..., Result], manager: Client, time: str, detail: str
) -> None:
    before = stored()
    rows = COUNT.replace(MOMENT, time)

    dry, result, preview = adjust(rows, "--dry-run"), adjust(rows), upload(manager, rows)

    assert (dry.status, result.status) == (1, 1)
    assert result.output.startswith(f"2\tCUP\tinvalid\tcounted_at: {detail}"), result.output
    assert dry.output == result.output
    [(line, code, shown)] = problems_of(preview)
    assert (line, code) == (2, "invalid")
    assert shown.startswith(detail)
    assert stored() == before


def test_a_date_cell_has_no_time_zone(manager: Client) -> None:
    workbook, file = Workbook(), BytesIO()
    sheet = workbook.worksheets[0]
    for row in [
        ["sku", "quantity", "reason", "counted_at"],
        ["CUP", 8, "stocktake", datetime(2026, 11, 20, 18)],
        ["MUG", 8, "stocktake", MOMENT],
        ["POT", 8, "stocktake", 46345],
    ]:
        sheet.append(row)
    workbook.save(file)

    preview = upload(manager, file.getvalue())

    advice = (
        "A date cell has no time zone, so a time must be a text: format the column as text, then "
        "enter a time such as 2026-11-20T18:00:00Z."
    )
    date = "Unsupported value: 2026-11-20 18:00:00. Enter text or a whole number."
    assert problems_of(preview) == [
        (2, "invalid", f"{date} {advice}"),
        (4, "invalid", f"The cell holds a number. {advice}"),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        (
            f"sku,add,counted_at\nCUP,8,{MOMENT}\n",
            [],
            "counted_at: Only a row with a quantity can have the time of a count. Empty the cell.",
        ),
        (
            f"sku,quantity,counted_at,expected_quantity\nCUP,8,{MOMENT},9\n",
            [],
            "counted_at: A late count has no expected quantity.",
        ),
        (
            "sku,quantity,expected_quantity\nCUP,8,9\n",
            ["--counted-at", MOMENT],
            "counted_at: A late count has no expected quantity.",
        ),
    ],
)
def test_a_row_without_a_late_count_has_no_time(
    adjust: Callable[..., Result], rows: str, options: list[str], problem: str
) -> None:
    before = stored()

    result = adjust(rows, "--reason", "stocktake", *options)

    assert result.status == 1
    assert result.output.startswith(f"2\tCUP\tinvalid\t{problem}"), result.output
    assert stored() == before


def test_an_option_without_an_offset_is_refused(adjust: Callable[..., Result]) -> None:
    result = adjust(COUNT, "--counted-at", "2026-11-20T18:00:00")

    assert result.status != 0
    assert "--counted-at: A time with a UTC offset is required" in result.output


def test_a_similar_name_of_the_column_is_refused(adjust: Callable[..., Result]) -> None:
    result = adjust(COUNT.replace("counted_at", "Counted at"), "--ignore-other-columns")

    assert result.status == 2
    assert "The name 'Counted at' is almost 'counted_at'." in result.output


# ------------------------------------------------------------------------------------- repetitions


def test_a_file_under_a_reference_is_applied_once(adjust: Callable[..., Result]) -> None:
    rows, options = "sku,quantity\nCUP,8\n", ("--reason", "stocktake", "--reference", "count-1")

    first = adjust(rows, *options, "--counted-at", MOMENT)
    again = adjust(rows, *options, "--counted-at", "2026-11-20T19:00:00+01:00")
    other = adjust(rows, *options, "--counted-at", "2026-11-20T18:00:01Z")

    assert (first.status, again.status, other.status) == (0, 0, 2)
    assert "This run changed nothing." in again.output
    assert levels()["CUP"] == 6


def test_a_late_count_is_refused_the_second_time(adjust: Callable[..., Result]) -> None:
    adjust(COUNT)

    for options in (["--dry-run"], []):
        again = adjust(COUNT, *options)

        assert again.status == 1
        assert again.output.startswith("2\tCUP\tquantity_changed\tCUP was counted again at 20")
    assert levels()["CUP"] == 6


@pytest.mark.parametrize(("other", "level"), [(MOMENT, 9), ("2026-11-20T18:00:01Z", 7), ("", 7)])
def test_counts_of_one_moment_are_added_up(
    adjust: Callable[..., Result], manager: Client, other: str, level: int
) -> None:
    rows = f"{COUNT}CUP,3,shelf B,{other}\n"

    refused = adjust(rows)
    preview = upload(manager, rows, sum_repeated="on")
    summed = adjust(rows, "--sum-repeated")

    assert "3\tCUP\trepeated_count" in refused.output
    assert levels()["CUP"] == level
    problems = problems_of(preview)
    if other == MOMENT:
        assert (summed.status, problems) == (0, [])
    else:
        detail = "The counts of CUP are of different times, so they cannot be added up."
        assert summed.status == 1
        assert f"2\tCUP\tinvalid\tcounted_at: {detail}" in summed.output
        assert problems[0][2].startswith(detail)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("how", [[], ["--keep-going", "--reference", "count-1"]])
def test_changes_around_a_late_count_are_kept_across_batches(
    adjust: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, batch: int, how: list[str]
) -> None:
    monkeypatch.setattr(bulk, "WHOLE_BATCH", batch)
    monkeypatch.setattr(bulk, "SHORT_BATCH", batch)
    rows = (
        "sku,add,remove,quantity,reason,counted_at\n"
        "CUP,,7,,sold,\n"
        "CUP,2,,,delivery,\n"
        f"CUP,,,8,stocktake,{MOMENT}\n"
        "CUP,,1,,sold,\n"
        f"MUG,,,0,stocktake,{MOMENT}\n"
    )

    dry = adjust(rows, "--dry-run")
    result = adjust(rows, *how)

    assert "5\tCUP" not in dry.output
    assert "6\tMUG\tbelow_reserved\tMUG cannot be set to -2: more units have left" in dry.output
    assert "6\tMUG\tbelow_reserved" in result.output
    assert levels()["CUP"] == (0 if how else 7)


def test_files_without_late_counts_send_no_more_statements(
    adjust: Callable[..., Result],
) -> None:
    def statements_about_events(rows: str) -> int:
        with CaptureQueriesContext(connection) as sent:
            adjust(rows)
        return sum("moment" in each["sql"] for each in sent)

    assert statements_about_events("sku,add,quantity,reason\nCUP,1,,x\nMUG,,8,x\n") == 0
    assert statements_about_events(COUNT) == 1


# --------------------------------------------------------------------------------- the back office


def differences_of(preview: Any) -> list[tuple[Any, ...]]:
    return [(row.label, *map(tuple, row.differences[:1])) for row in preview.context["rows"]]


def test_a_late_count_is_imported_although_units_were_sold_since_the_preview(
    manager: Client,
) -> None:
    preview = upload(manager, COUNT)
    stock.remove(sku="CUP", amount=1, by=ACTOR)
    page = confirm(manager, preview).content.decode()

    label = "Counted 8 at 2026-11-20 18:00:00 UTC"
    assert differences_of(preview) == [(label, ("On hand", 7, 6))]
    assert "Imported 1 row." in page
    assert levels()["CUP"] == 5
    assert details() == [("CUP", {"counted_at": MOMENT})]


def test_a_late_count_is_refused_if_the_product_was_counted_since_the_preview(
    manager: Client,
) -> None:
    preview = upload(manager, COUNT)
    stock.adjust(sku="CUP", quantity=7, reason="stocktake", by=ACTOR)

    again = confirm(manager, preview)

    assert [(line, code) for line, code, _ in problems_of(again)] == [(2, "quantity_changed")]
    assert "Nothing was imported" in again.content.decode()
    assert again.context["pending"] is None
    assert levels()["CUP"] == 7


def test_a_form_has_the_time_of_counts_without_one(manager: Client) -> None:
    rows = f"Artikel,Menge,Zeit\nCUP,8,\nMUG,8,{MOMENT}\n"
    fields = {
        "sku_column": "Artikel",
        "amount_column": "Menge",
        "operation": "adjust",
        "counted_at_column": "Zeit",
        "reason": "stocktake",
    }

    preview = upload(manager, rows, **fields, counted_at="2026-11-20T18:01")
    confirm(manager, preview)

    assert levels() == {"CUP": 8, "MUG": 6, "POT": 7}
    wrong = upload(manager, rows, **fields, counted_at="yesterday")
    assert wrong.context["form"].errors["counted_at"] == [
        "Enter a date and a time, such as 2026-11-20T18:00."
    ]


def test_the_ledger_shows_and_exports_the_moment(
    manager: Client, adjust: Callable[..., Result]
) -> None:
    adjust(COUNT)
    event = StockEvent.objects.latest("pk")
    ledger = reverse("admin:products_stockevent_changelist")
    output = StringIO()

    def page(name: str, pk: int) -> str:
        url = reverse(f"admin:products_{name}_change", args=[pk])
        text: str = manager.get(url).content.decode()
        return text

    pages = [manager.get(ledger).content.decode(), page("product", event.product_id)]
    detail = page("stockevent", event.pk)
    call_command("export_events", "-", stdout=output)

    assert all("Counted at 2026-11-20 18:00:00: " in shown for shown in pages)
    assert all("stocktake" in shown for shown in pages)
    assert "Counted at" in detail
    assert "2026-11-20 18:00:00" in detail
    assert MOMENT in output.getvalue()
