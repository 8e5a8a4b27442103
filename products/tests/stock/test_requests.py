"""Invalid values are refused before rows are locked."""

import pytest

from products import stock
from products.models import StockEvent
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


@pytest.mark.parametrize("amount", [0, -1, 1_000_000_001, 2**64, True, 1.0, "1", None])
def test_an_amount_must_be_a_whole_number_of_units(amount: object) -> None:
    product = ProductFactory.create()

    with pytest.raises(stock.Invalid) as refused:
        stock.add(sku=product.sku, amount=amount, by=ACTOR)  # type: ignore[arg-type]  # On purpose.

    assert refused.value.field == "amount"


@pytest.mark.parametrize("sku", ["", "a", "-A", "A B", "A\n", "A" * 51, "Ä", "A\0", None, 7])
def test_a_sku_must_have_a_valid_form(sku: object) -> None:
    with pytest.raises(stock.Invalid) as refused:
        stock.create(sku=sku, name="x", by=ACTOR)  # type: ignore[arg-type]  # On purpose.

    assert refused.value.field == "sku"


@pytest.mark.parametrize("text", ["x" * 256, "a\0b", "\ud800", 5, None])
def test_a_reason_must_be_a_text_that_every_database_can_store(text: object) -> None:
    product = ProductFactory.create()

    with pytest.raises(stock.Invalid) as refused:
        stock.remove(sku=product.sku, amount=1, reason=text, by=ACTOR)  # type: ignore[arg-type]  # On purpose.

    assert refused.value.field == "reason"


def test_an_adjustment_needs_a_reason() -> None:
    product = ProductFactory.create()

    with pytest.raises(stock.Invalid) as refused:
        stock.adjust(sku=product.sku, quantity=1, reason=" ", by=ACTOR)

    assert refused.value.field == "reason"


def test_a_request_without_lines_is_refused() -> None:
    with pytest.raises(stock.Invalid):
        stock.reserve_lines(lines=[], by=ACTOR)
