"""`bulk_adjust --undo`: a run is taken back once, all or nothing."""

import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from products import daily_totals, stock
from products.events import stock_event
from products.files import bulk, undo
from products.models import BulkRun, Product, Reservation, StockEvent
from products.tests.checks import ledger_of, stored
from products.tests.concurrency import at_once, in_another_thread
from products.tests.factories import ACTOR, ProductFactory
from products.tests.management.bulk_adjust import (
    Result,
    bulk_adjust,
    figures_of,
    killed,
    levels,
)

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


@pytest.fixture
def adjust(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that applies a file with this content under the reference `run-1`."""
    path = tmp_path / "lines.csv"

    def run(content: str, *options: str) -> Result:
        path.write_text(content)
        return bulk_adjust(str(path), "--reference=run-1", *options)

    return run


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the batch sizes to two lines."""
    monkeypatch.setattr(bulk, "WHOLE_BATCH", 2)
    monkeypatch.setattr(bulk, "SHORT_BATCH", 2)


def undo_run(*options: str, reference: str = "run-1") -> Result:
    return bulk_adjust("--undo", reference, *options)


def summary(**figures: int) -> str:
    names = {name: name.replace("_", " ") for name in figures}
    return "".join(f"{names[name]:<40}{figures[name]:>13,}\n" for name in figures)


# --------------------------------------------------------------------------------------- the events


def test_writes_the_opposite_of_each_event(adjust: Callable[..., Result]) -> None:
    cup = ProductFactory.create(sku="CUP", quantity=5)
    pot = ProductFactory.create(sku="POT", quantity=5, minimum_stock_level=4)
    adjust(
        "sku,add,remove,quantity,reason,reference\n"
        "CUP,3,,,,\nPOT,,2,,,order-1\nCUP,,,6,stocktake,\nPOT,,,3,stocktake,\n",
        "--reason=delivery",
    )
    run = list(StockEvent.objects.filter(source="command", version__gt=1).order_by("id"))

    ended = undo_run("--actor=Ada")

    assert ended == (0, summary(events=3, undone=3))
    assert levels() == {"CUP": 5, "POT": 5}
    changes = {(event.sku, event.type): event for event in run}
    undone = StockEvent.objects.exclude(undoes=None).order_by("id")
    assert list(
        undone.values_list(
            *("type", "quantity_change", "undoes_id", "reason", "reference", "actor", "source")
        )
    ) == [
        (type_, change, changes[of].pk, "undo of run-1", reference, "Ada", "command")
        for of, type_, change, reference in [
            (("CUP", Type.ADJUSTED), Type.ADJUSTED, 2, "run-1"),
            (("CUP", Type.ADDED), Type.REMOVED, -3, "run-1"),
            (("POT", Type.REMOVED), Type.ADDED, 2, "order-1"),
        ]
    ]
    [request_id] = set(undone.values_list("request_id", flat=True))
    assert request_id not in {event.request_id for event in run}
    assert ledger_of(cup)[1:] == [
        *((Type.ADDED, 3, 0), (Type.ADJUSTED, -2, 0)),
        *((Type.ADJUSTED, 2, 0), (Type.REMOVED, -3, 0)),
    ]
    # The count of POT changed nothing, so it needs no event.
    assert ledger_of(pot)[1:] == [
        (Type.REMOVED, -2, 0),
        (Type.LOW_STOCK_DETECTED, 0, 0),
        (Type.ADJUSTED, 0, 0),
        (Type.ADDED, 2, 0),
        (Type.LOW_STOCK_RESOLVED, 0, 0),
    ]


def test_the_api_serves_the_id_of_the_undone_event(
    adjust: Callable[..., Result], api: APIClient
) -> None:
    ProductFactory.create(sku="CUP")
    adjust("sku,add\nCUP,3\n")
    undo_run()

    removed, added, created = api.get("/v1/products/CUP/events").json()["results"]

    assert (removed["type"], removed["undoes"]) == ("InventoryRemoved", added["id"])
    assert "undoes" not in added.keys() | created.keys()


@pytest.mark.parametrize(
    ("given", "written"), [("wrong file", "wrong file"), (" ", "undo of run-1")]
)
def test_a_reason_replaces_the_default(
    adjust: Callable[..., Result], given: str, written: str
) -> None:
    ProductFactory.create(sku="CUP")
    adjust("sku,add\nCUP,3\n")

    undo_run(f"--reason={given}")

    assert StockEvent.objects.get(type=Type.REMOVED).reason == written


def test_the_reason_of_a_long_reference_is_cut(tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP")
    path = tmp_path / "lines.csv"
    path.write_text("sku,add\nCUP,3\n")
    reference = "r" * 255
    bulk_adjust(str(path), "--reference", reference)

    assert undo_run(reference=reference).status == 0
    assert StockEvent.objects.get(type=Type.REMOVED).reason == f"undo of {'r' * 247}"


def test_a_dry_run_changes_nothing_and_predicts_the_undo(adjust: Callable[..., Result]) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    adjust("sku,add\nCUP,3\nCUP,4\nPOT,1\n")
    possible = undo_run("--dry-run")
    stock.remove(sku="CUP", amount=10, by=ACTOR)
    before = stored()

    refused = undo_run("--dry-run")

    assert possible == (0, summary(events=3, can_be_undone=3) + "Nothing was changed.\n")
    assert stored() == before
    assert BulkRun.objects.get().undone_at is None
    assert refused == undo_run()
    assert figures_of(refused.output)["refused: insufficient_stock"] == 2


@pytest.mark.django_db(transaction=True)
def test_receivers_are_told_which_event_is_undone(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5, minimum_stock_level=6)
    adjust("sku,add\nCUP,3\n")
    received: list[StockEvent] = []

    def receive(event: StockEvent, **_: Any) -> None:
        received.append(event)

    stock_event.connect(receive)
    undo_run()
    stock_event.disconnect(receive)

    added = StockEvent.objects.get(type=Type.ADDED)
    assert [(event.type, event.undoes_id) for event in received] == [
        (Type.REMOVED, added.pk),
        (Type.LOW_STOCK_DETECTED, None),
    ]


@pytest.mark.django_db(transaction=True)
def test_units_in_and_out_of_the_day_include_the_undo(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\n")
    undo_run()

    while not daily_totals.catch_up():
        pass

    [today] = daily_totals.of_last_days(1)
    assert (today.units_in, today.units_out) == (3, 3)


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.usefixtures("small_batches")
def test_refuses_all_if_goods_are_gone_and_names_each(adjust: Callable[..., Result]) -> None:
    for sku in ("CUP", "POT", "JAR", "OLD", "MAX", "FINE"):
        ProductFactory.create(sku=sku, quantity=5)
    adjust(
        "sku,add,remove,quantity,reason\n"
        "FINE,3,,,\nCUP,3,,,\nPOT,3,,,\nJAR,,,9,stocktake\nOLD,,2,,\nMAX,,2,,\n"
    )
    ids = dict(StockEvent.objects.filter(version=2).values_list("sku", "pk"))
    stock.remove(sku="CUP", amount=6, by=ACTOR)
    stock.reserve(sku="POT", amount=7, by=ACTOR)
    stock.reserve(sku="JAR", amount=6, by=ACTOR)
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    stock.adjust(sku="MAX", quantity=999_999_999, reason="stocktake", by=ACTOR)
    before = stored()

    ended = undo_run()

    assert stored() == before
    assert BulkRun.objects.get().undone_at is None
    refused = [
        ("CUP", "insufficient_stock", "3 of CUP requested, 2 available."),
        ("JAR", "insufficient_stock", "4 of JAR requested, 3 available."),
        (
            "MAX",
            "stock_limit_exceeded",
            "MAX has 999999999 on hand. Adding 2 would exceed the limit of 1000000000.",
        ),
        ("OLD", "product_archived", "OLD is archived. Restore it to add or reserve units."),
        ("POT", "insufficient_stock", "3 of POT requested, 1 available."),
    ]
    assert ended.status == 1
    assert sorted(ended.output.splitlines()[:5]) == sorted(
        "\t".join([str(ids[sku]), sku, *why]) for sku, *why in refused
    )
    assert ended.output.endswith("Nothing was changed.\n")

    stock.add(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="OLD", archived=False, by=ACTOR)
    stock.adjust(sku="MAX", quantity=5, reason="stocktake", by=ACTOR)
    stock.release_product(sku="POT", amount=7, by=ACTOR)
    stock.release_product(sku="JAR", amount=6, by=ACTOR)

    assert undo_run() == (0, summary(events=6, undone=6))
    assert levels() == {"CUP": 0, "FINE": 5, "JAR": 5, "MAX": 7, "OLD": 5, "POT": 5}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_no_level_between_is_refused_if_the_last_one_is_possible(
    adjust: Callable[..., Result], options: list[str]
) -> None:
    """In the order of the run or in reverse, fewer units than are reserved would be left."""
    ProductFactory.create(sku="CUP", quantity=10)
    adjust("sku,add,remove\nCUP,,4\nCUP,4,\nCUP,,5\nCUP,6,\n")
    stock.reserve(sku="CUP", amount=10, by=ACTOR)

    ended = undo_run(*options)

    assert ended.status == 0
    assert levels() == {"CUP": 11 if options else 10}


def test_undoes_events_up_to_the_limit(adjust: Callable[..., Result]) -> None:
    """Adding all removed units first would exceed the limit."""
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=0)
    rows = "CUP,900000000\nCUP,-900000000\n" * 2
    adjust(f"sku,change\n{rows}POT,1\n")

    assert undo_run().status == 0
    assert levels() == {"CUP": 0, "POT": 0}


def test_an_archived_product_may_lose_units_but_not_gain_any(
    adjust: Callable[..., Result],
) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    adjust("sku,add,remove\nCUP,,2\nCUP,5,\nPOT,,2\nPOT,1,\n")
    for sku in ("CUP", "POT"):
        stock.edit(sku=sku, archived=True, by=ACTOR)

    refused = undo_run()
    stock.edit(sku="POT", archived=False, by=ACTOR)
    ended = undo_run()

    assert refused.status == 1
    assert figures_of(refused.output)["refused: product_archived"] == 1
    assert "\tPOT\tproduct_archived\t" in refused.output
    assert ended.status == 0
    assert levels() == {"CUP": 5, "POT": 5}


@pytest.mark.usefixtures("small_batches")
def test_releases_overdue_reservations_if_units_are_missing(adjust: Callable[..., Result]) -> None:
    for sku in ("CUP", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    adjust("sku,add\nCUP,4\nPOT,1\n")
    held = stock.reserve(sku="CUP", amount=9, expires_in=60, by=ACTOR)
    refused = undo_run("--dry-run")
    Reservation.objects.filter(pk=held.pk).update(expires_at=held.created_at)

    possible = undo_run("--dry-run")
    ended = undo_run()

    assert (refused.status, possible.status, ended.status) == (1, 0, 0)
    assert levels() == {"CUP": 5, "POT": 5}
    held.refresh_from_db()
    assert held.status == Reservation.Status.EXPIRED


# --------------------------------------------------------------------------------------------- once


def test_an_undo_can_be_repeated_and_changes_nothing(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\nCUP,2\n")
    undo_run()
    before = stored()

    for options in ([], ["--dry-run"]):
        again = undo_run(*options)

        assert stored() == before
        assert again.status == 0
        assert again.output.startswith(
            summary(events=2, undone=2) + "This run was already undone at 20"
        )
        assert again.output.endswith(" UTC. This command changed nothing.\n")


@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_an_undone_file_needs_a_new_reference(
    adjust: Callable[..., Result], tmp_path: Path, mode: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\n", *mode)
    undo_run()

    again = adjust("sku,add\nCUP,3\n", *mode)
    other = adjust("sku,add\nCUP,4\n", *mode)

    assert (again.status, other.status, levels()) == (2, 2, {"CUP": 5})
    for ended in (again, other):
        assert ended.output.startswith("The run with reference run-1 was undone at 20")
        assert ended.output.endswith(" UTC. To apply the file again, choose another reference.")
    assert bulk_adjust(str(tmp_path / "lines.csv"), "--reference=run-2").status == 0
    assert levels() == {"CUP": 9}


def test_a_run_without_changes_is_undone_without_events(adjust: Callable[..., Result]) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,quantity\nCUP,5\n", "--reason=stocktake")
    before = stored()

    assert undo_run() == (0, summary(events=0, undone=0))
    assert stored() == before
    assert "already undone" in undo_run().output
    assert adjust("sku,quantity\nCUP,5\n", "--reason=stocktake").status == 2


# ------------------------------------------------------------------------------------- other events


def test_does_not_undo_requests_that_send_the_request_id_of_the_run(
    adjust: Callable[..., Result], api: APIClient
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\n")
    request_id = BulkRun.objects.get().request_id
    body = {"amount": 2, "reference": "run-1"}
    response = api.post(
        "/v1/products/CUP/add", body, format="json", headers={"X-Request-ID": request_id}
    )

    ended = undo_run()

    assert response.status_code == 200
    assert set(StockEvent.objects.of_request(request_id).values_list("source", flat=True)) == {
        "command",
        "api",
    }
    assert ended == (0, summary(events=1, undone=1))
    assert levels() == {"CUP": 7}


def test_does_not_undo_other_files(adjust: Callable[..., Result], tmp_path: Path) -> None:
    """Not even one whose lines have the same reference."""
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\n")
    other = tmp_path / "other.csv"
    other.write_text("sku,add,reference\nCUP,2,run-1\n")
    bulk_adjust(str(other))
    bulk_adjust(str(other), "--reference=run-2")

    assert undo_run() == (0, summary(events=1, undone=1))
    assert levels() == {"CUP": 9}


@pytest.mark.parametrize("mode", [[], ["--keep-going"]])
def test_refuses_a_run_of_an_earlier_version(
    adjust: Callable[..., Result], mode: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    adjust("sku,add\nCUP,3\n", *mode)
    BulkRun.objects.update(request_id="")

    ended = undo_run()

    assert ended.status == 2
    assert ended.output.startswith("The run with reference run-1 was applied by an earlier version")
    assert levels() == {"CUP": 8}


def test_a_run_that_an_earlier_version_began_cannot_be_undone_in_part(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    for sku in ("CUP", "JUG", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    content = "sku,add\nCUP,3\nJUG,3\nPOT,3\n"
    interrupted_after_one_batch(adjust, content)
    BulkRun.objects.update(request_id="")

    ended = adjust(content, "--keep-going")

    assert (ended.status, set(levels().values())) == (0, {8})
    assert undo_run().status == 2


def interrupted_after_one_batch(adjust: Callable[..., Result], content: str) -> None:
    """Apply a file with `--keep-going` and lose the database after one batch."""
    apply_batch, batches = bulk._apply_batch, []

    def apply_one(batch: Any) -> BulkRun:
        batches.append(batch)
        if len(batches) > 1:
            raise OperationalError
        return apply_batch(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_apply_batch", apply_one)
        assert adjust(content, "--keep-going").status == 3


# --------------------------------------------------------------------------------------- keep going


def test_undoes_what_an_interrupted_run_has_applied(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    for sku in ("CUP", "JUG", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    content = "sku,add\nCUP,3\nJUG,3\nPOT,3\n"
    interrupted_after_one_batch(adjust, content)
    applied = levels()

    ended = undo_run()
    resumed = adjust(content, "--keep-going")

    assert applied == {"CUP": 8, "JUG": 8, "POT": 5}
    assert ended == (0, summary(events=2, undone=2))
    assert resumed.status == 2
    assert resumed.output.startswith("The run with reference run-1 was undone at 20")
    assert set(levels().values()) == {5}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_undoes_all_batches_of_a_run_that_was_killed_and_resumed(tmp_path: Path) -> None:
    skus = [f"CUP-{number}" for number in range(20)]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=100)
    path = tmp_path / "lines.csv"
    path.write_text("sku,remove\n" + "".join(f"{sku},{n}\n" for n in (1, 2) for sku in skus))
    arguments = str(path), "--reference=run-1", "--keep-going"
    whole = killed(0, 0, str(path), "--reference=whole", "--keep-going")
    half = int(whole.stderr.split()[0]) // 2
    ended = killed(half, signal.SIGKILL, *arguments)
    applied = StockEvent.objects.filter(reference="run-1").count()

    resumed = bulk_adjust(*arguments)

    assert ended.returncode == -signal.SIGKILL
    assert 0 < applied < 40
    assert (resumed.status, set(levels().values())) == (0, {94})
    assert undo_run() == (0, summary(events=40, undone=40))
    assert set(levels().values()) == {97}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_undo_changes_nothing_or_all(tmp_path: Path) -> None:
    skus = [f"CUP-{number}" for number in range(10)]
    for sku in skus:
        ProductFactory.create(sku=sku, quantity=100)
    path = tmp_path / "lines.csv"
    path.write_text("sku,remove\n" + "".join(f"{sku},1\n" for sku in skus))
    bulk_adjust(str(path), "--reference=whole")
    whole = killed(0, 0, "--undo=whole")
    assert set(levels().values()) == {100}

    for statement in range(1, int(whole.stderr.split()[0]) + 1, 3):
        reference = f"at-{statement}"
        bulk_adjust(str(path), f"--reference={reference}")

        ended = killed(statement, signal.SIGKILL, f"--undo={reference}")

        assert ended.returncode == -signal.SIGKILL
        assert set(levels().values()) in ({99}, {100})
        assert undo_run(reference=reference).status == 0
        assert set(levels().values()) == {100}


# ---------------------------------------------------------------------------------- concurrent runs


@pytest.mark.django_db(transaction=True)
def test_concurrent_undos_take_a_run_back_once(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    """On PostgreSQL this fails if the undo does not lock the run."""
    for number in range(10):
        ProductFactory.create(sku=f"CUP-{number}", quantity=5)
    adjust("sku,add\n" + "".join(f"CUP-{number},1\n" for number in range(10)))

    ended = at_once([undo_run] * 4)

    assert set(levels().values()) == {5}
    assert StockEvent.objects.exclude(undoes=None).count() == 10
    done = summary(events=10, undone=10)
    outputs = [end.output if isinstance(end, Result) and end.status == 0 else end for end in ended]
    assert outputs.count(done) == 1
    assert sum(str(output).startswith(f"{done}This run was already") for output in outputs) == 3


@pytest.mark.django_db(transaction=True)
def test_an_undo_and_a_sale_never_take_the_same_unit(adjust: Callable[..., Result]) -> None:
    """On PostgreSQL this fails with the plant `no-lock`."""
    ProductFactory.create(sku="CUP", quantity=0)
    adjust("sku,add\nCUP,10\n")
    sell = partial(stock.remove, sku="CUP", amount=1, by=ACTOR)

    undone, *sold = at_once([undo_run, *[sell] * 8])

    assert isinstance(undone, Result)
    assert {type(end) for end in sold} <= {Product, stock.InsufficientStock}
    units = sum(isinstance(end, Product) for end in sold)
    assert (undone.status, units, levels()) in [(0, 0, {"CUP": 0}), (1, 8, {"CUP": 2})]


@pytest.mark.django_db(transaction=True)
def test_a_run_stops_if_it_is_undone_while_it_is_applied(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    for sku in ("CUP", "JUG", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    undone: list[Result] = []
    apply_batch = bulk._apply_batch

    def apply_and_undo(batch: Any) -> BulkRun:
        run = apply_batch(batch)
        if not undone:
            in_another_thread(lambda: undone.append(undo_run()))
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_apply_batch", apply_and_undo)
        ended = adjust("sku,add\nCUP,3\nJUG,3\nPOT,3\n", "--keep-going")

    assert undone == [(0, summary(events=2, undone=2))]
    assert ended.status == 2
    assert ended.output.startswith("The run with reference run-1 was undone at 20")
    assert set(levels().values()) == {5}


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_undone_after_its_last_line_does_not_report_success(
    adjust: Callable[..., Result],
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    apply_batch = bulk._apply_batch

    def apply_and_undo(batch: Any) -> BulkRun:
        run = apply_batch(batch)
        in_another_thread(undo_run)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_apply_batch", apply_and_undo)
        ended = adjust("sku,add\nCUP,3\n", "--keep-going")

    assert ended.status == 2
    assert levels() == {"CUP": 5}


@pytest.mark.django_db(transaction=True)
def test_an_undo_does_not_miss_a_batch_that_is_applied_meanwhile(
    adjust: Callable[..., Result], small_batches: None
) -> None:
    """The batch ends after the undo has read the events and before it locks the run."""
    for sku in ("CUP", "JUG", "POT"):
        ProductFactory.create(sku=sku, quantity=5)
    content = "sku,add\nCUP,3\nJUG,3\nPOT,3\n"
    interrupted_after_one_batch(adjust, content)
    stage = undo.stage

    def stage_and_resume(*arguments: Any) -> None:
        stage(*arguments)
        in_another_thread(lambda: adjust(content, "--keep-going"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(undo, "stage", stage_and_resume)
        ended = undo_run()

    assert ended.status == 2
    assert ended.output.startswith("Another process is applying the file with reference run-1.")
    assert set(levels().values()) == {8}
    assert undo_run().status == 0
    assert set(levels().values()) == {5}


# ---------------------------------------------------------------------------------- invalid options


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Name a file, or the run to undo (--undo REFERENCE)."),
        ([__file__, "--undo=run-1"], "FILE and --undo cannot be combined. Leave one out."),
        (["-", "--undo=run-1"], "FILE and --undo cannot be combined. Leave one out."),
        (["--undo=run-1", "--reason=\0"], "--reason: NUL and surrogate characters"),
        (["--undo=none"], "No file was applied under reference none. Give the --reference of"),
        *(
            (["--undo=run-1", option], f"--undo cannot be combined with {option.split('=')[0]},")
            for option in (
                *("--keep-going", "--rejects=x.csv", "--reference=r", "--reference="),
                *("--sku-column=x", "--amount-column=x", "--operation=add", "--sum-repeated"),
                *("--reason-column=x", "--reference-column=x", "--expected-quantity-column=x"),
                *("--ignore-other-columns", "--header-line=2"),
            )
        ),
    ],
)
def test_refuses_invalid_arguments(arguments: list[str], complaint: str) -> None:
    ended = bulk_adjust(*arguments)

    assert ended.status == 2
    assert ended.output.startswith(complaint)
    assert "\n" not in ended.output


@pytest.mark.parametrize("reference", ["", " ", "a\0b", "\udcff", "x" * 256])
def test_refuses_an_invalid_reference(reference: str) -> None:
    with pytest.raises(CommandError, match=r"^Error: argument --undo: "):
        call_command("bulk_adjust", f"--undo={reference}")


# ----------------------------------------------------------------------------------------- any file


COLUMNS = ("add", "remove", "quantity")
AMOUNTS = st.integers(1, 20) | st.integers(1, 1_000_000_000)
LINES = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(COLUMNS), AMOUNTS),
    min_size=1,
    max_size=12,
)


@given(lines=LINES, is_whole=st.booleans())
def test_an_undo_restores_the_levels_before_the_file(
    lines: list[tuple[str, str, int]], is_whole: bool
) -> None:
    with transaction.atomic(), tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        for sku, quantity in {"A": 0, "B": 10, "C": 1_000_000_000}.items():
            ProductFactory.create(sku=sku, quantity=quantity, minimum_stock_level=10)
        stock.reserve(sku="B", amount=4, by=ACTOR)
        before = levels()
        file.write(f"sku,{','.join(COLUMNS)},reason\n")
        for sku, column, amount in lines:
            cells = [
                str(amount) if column == name else "" for name in ("add", "remove", "quantity")
            ]
            file.write(f"{sku},{','.join(cells)},file\n")
        file.flush()
        applied = bulk_adjust(file.name, "--reference=r", *[] if is_whole else ["--keep-going"])

        ended = undo_run(reference="r")

        assert ended.status == (2 if is_whole and applied.status else 0)
        assert levels() == before
        assert list(stock.differences()) == []
        transaction.set_rollback(True)
