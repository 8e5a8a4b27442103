"""`adjust_stock`: changes one product or reports why it cannot."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from products import stock
from products.models import MAX_ACTOR_LENGTH, Product, StockEvent
from products.tests.checks import stored
from products.tests.factories import ACTOR, ProductFactory, at
from products.tests.live import manage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def cup(db: None) -> Product:
    """A product with 25 units on hand and 4 reserved units."""
    ProductFactory.create(sku="CUP", quantity=25)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    return Product.objects.get(sku="CUP")


def adjust(*words: str) -> str:
    output = StringIO()
    call_command("adjust_stock", *words, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize(
    ("change", "event_type", "quantity_change", "levels"),
    [
        (["--add", "5"], "InventoryAdded", 5, "30 on hand, 4 reserved, 26 available"),
        (["--remove", "21"], "InventoryRemoved", -21, "4 on hand, 4 reserved, 0 available"),
        (["--set", "7"], "InventoryAdjusted", -18, "7 on hand, 4 reserved, 3 available"),
    ],
)
def test_records_and_prints_a_change(
    cup: Product, change: list[str], event_type: str, quantity_change: int, levels: str
) -> None:
    output = adjust("CUP", *change, "--reason", "é→", "--reference", "=po-7", "--actor", "Ada L.")

    assert output == f"CUP: {levels}, version {cup.version + 1}\n"
    event = StockEvent.objects.get(product=cup, version=cup.version + 1)
    assert (event.type, event.quantity_change) == (event_type, quantity_change)
    assert (event.reason, event.reference) == ("é→", "=po-7")
    assert (event.actor, event.source) == ("Ada L.", "command")


def test_the_actor_defaults_to_the_command(cup: Product) -> None:
    adjust("CUP", "--add", "1")

    assert cup.events.latest("version").actor == "adjust_stock"


def test_an_archived_product_can_be_counted(cup: Product) -> None:
    stock.edit(sku="CUP", archived=True, by=ACTOR)

    assert "5 on hand" in adjust("CUP", "--set", "5", "--reason", "stocktake")


def test_sets_the_count_if_the_level_is_as_expected() -> None:
    output = adjust("CUP", "--set", "5", "--reason", "stocktake", "--expected-quantity", "25")

    assert "5 on hand" in output


def test_applies_a_late_count_to_the_level_of_now() -> None:
    evening = datetime(2026, 11, 20, 18, tzinfo=UTC)
    stock.create(sku="MUG", name="Mug", quantity=9, by=at(evening))
    stock.remove(sku="MUG", amount=2, by=ACTOR)
    words = ("MUG", "--set", "8", "--reason", "stocktake", "--counted-at", "2026-11-20T18:00:00Z")

    assert adjust(*words).startswith("MUG: 6 on hand")

    with pytest.raises(CommandError, match="quantity_changed: MUG was counted again at") as refusal:
        adjust(*words)
    assert refusal.value.returncode == REFUSED


REFUSED, BAD_INPUT = 1, 2

LATE = ["CUP", "--set", "9", "--reason", "count", "--counted-at"]


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (["CUP", "--remove", "22"], "insufficient_stock", REFUSED),
        (["CUP", "--set", "3", "--reason", "count"], "below_reserved", REFUSED),
        (["CUP", "--add", "1000000000"], "stock_limit_exceeded", REFUSED),
        (["POT", "--add", "1"], "product_not_found", REFUSED),
        (["OLD", "--add", "1"], "product_archived", REFUSED),
        (
            ["CUP", "--set", "9", "--reason", "count", "--expected-quantity", "24"],
            "quantity_changed",
            REFUSED,
        ),
        (["CUP", "--set", "9"], "invalid: reason", BAD_INPUT),
        (["CUP", "--set", "9", "--reason", " "], "invalid: reason", BAD_INPUT),
        (["CUP", "--add", "0"], "invalid: amount", BAD_INPUT),
        (["CUP", "--add", "1", "--reason", "x" * 256], "invalid: reason", BAD_INPUT),
        (["CUP", "--add", "1", "--reference", "a\0"], "invalid: reference", BAD_INPUT),
        (["cup", "--add", "1"], "product_not_found", REFUSED),
        (["C/P", "--add", "1"], "invalid: sku", BAD_INPUT),
        (["", "--add", "1"], "invalid: sku", BAD_INPUT),
        (["CUP\n", "--add", "1"], "invalid: sku", BAD_INPUT),
        (["CUP", "--add", "1", "--expected-quantity", "25"], "--expected-quantity", BAD_INPUT),
        (["CUP", "--add", "1", "--counted-at", "2026-11-20T18:00:00Z"], "--counted-at", BAD_INPUT),
        ([*LATE, "9999-01-01T00:00:00Z"], "invalid: counted_at", BAD_INPUT),
        ([*LATE, "2000-01-01T00:00:00Z"], "invalid: counted_at", BAD_INPUT),
        (
            [*LATE, "2000-01-01T00:00:00Z", "--expected-quantity", "25"],
            "invalid: counted_at",
            BAD_INPUT,
        ),
    ],
)
def test_a_refused_change_changes_nothing(words: list[str], code: str, status: int) -> None:
    ProductFactory.create(sku="OLD")
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    before = stored()

    with pytest.raises(CommandError, match=rf"^{code}\b.*\.$") as refusal:
        adjust(*words)

    assert refusal.value.returncode == status
    assert stored() == before


@pytest.mark.parametrize(
    "words",
    [
        ["CUP"],
        ["CUP", "--add", "1", "--remove", "1"],
        ["CUP", "--set", "1", "--add", "1", "--reason", "count"],
        ["CUP", "--add", "+1"],
        ["CUP", "--add", "-1"],
        ["CUP", "--remove", "1_000"],
        ["CUP", "--set", "\u0665", "--reason", "count"],
        ["CUP", "--add", "1000000001"],
        ["CUP", "--ad", "1"],
        ["CUP", "--set", "1", "--reason", "count", "--counted-at", "2026-11-20T18:00:00"],
        ["CUP", "MUG", "--add", "1"],
        ["CUP", "--add", "1", "--actor", ""],
        ["CUP", "--add", "1", "--actor", "x" * (MAX_ACTOR_LENGTH + 1)],
        ["--add", "1"],
    ],
)
def test_an_invalid_argument_changes_nothing(words: list[str]) -> None:
    before = stored()

    with pytest.raises(CommandError, match=r"^Error: "):
        adjust(*words)

    assert stored() == before


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["CUP", "--remove", "22"], REFUSED),
        (["CUP", "--add", "1_000"], BAD_INPUT),
        # Bytes that are not UTF-8, as Python decodes them from the command line.
        (["\udcff", "--add", "1"], BAD_INPUT),
        (["CUP", "--add", "\udcff"], BAD_INPUT),
        (["CUP", "--add", "1", "--reason", "\udcff"], BAD_INPUT),
        (["CUP", "--add", "1", "--reference", "\udcff"], BAD_INPUT),
        (["CUP", "--add", "1", "--actor", "\udcff"], BAD_INPUT),
    ],
)
def test_the_exit_status_tells_refusals_from_bad_input(words: list[str], status: int) -> None:
    before = stored()

    ended = manage("adjust_stock", *words)

    assert (ended.returncode, ended.stdout) == (status, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    assert stored() == before


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_change_is_applied_even_if_its_output_cannot_be_written(
    cup: Product, closed_pipe: int
) -> None:
    ended = manage("adjust_stock", "CUP", "--add", "5", stdout=closed_pipe)

    assert ended.returncode == 0
    assert ended.stderr.startswith("CUP: 30 on hand")
    cup.refresh_from_db()
    assert cup.quantity == 30
