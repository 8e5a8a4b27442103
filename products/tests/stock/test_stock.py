"""What each verb of `products.stock` does to levels, ledger and reservations."""

import pytest

from products import stock
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.stock import Line
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

Type = StockEvent.Type


def ledger_of(product: Product) -> list[tuple[str, int, int]]:
    """Return type, quantity change and reserved change of each event, oldest first."""
    events = StockEvent.objects.filter(product=product).order_by("version")
    return [(event.type, event.quantity_change, event.reserved_change) for event in events]


def levels_of(product: Product) -> tuple[int, int]:
    """Return what the database says is on hand and reserved."""
    return Product.objects.values_list("quantity", "reserved_quantity").get(pk=product.pk)


def line_of(reservation: Reservation, product: Product) -> ReservationLine:
    return ReservationLine.objects.get(reservation=reservation, product=product)


# ----------------------------------------------------------------------------------------- create


def test_create_records_the_opening_stock() -> None:
    product = stock.create(sku="A-1", name="Cup", quantity=25, by=ACTOR)

    assert levels_of(product) == (25, 0)
    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 25, 0)]
    assert product.version == 1


def test_create_without_stock_records_an_opening_of_zero() -> None:
    product = stock.create(sku="A-1", name="Cup", by=ACTOR)

    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 0, 0)]


def test_create_below_the_minimum_is_detected_at_once() -> None:
    product = stock.create(sku="A-1", name="Cup", quantity=2, minimum_stock_level=5, by=ACTOR)

    assert ledger_of(product) == [(Type.PRODUCT_CREATED, 2, 0), (Type.LOW_STOCK_DETECTED, 0, 0)]
    assert product.version == 2


def test_create_many_refuses_every_taken_or_repeated_sku_and_creates_none() -> None:
    ProductFactory.create(sku="TAKEN")
    wanted = [stock.NewProduct(sku=sku, name=sku) for sku in ("NEW", "TAKEN", "NEW")]

    with pytest.raises(stock.DuplicateSku) as refused:
        stock.save_products(wanted, by=ACTOR)

    assert [(index, error.sku) for index, error in refused.value.lines] == [
        (1, "TAKEN"),
        (2, "NEW"),
    ]
    assert not Product.objects.filter(sku="NEW").exists()


def test_event_says_who_why_and_through_what() -> None:
    product = ProductFactory.create()

    stock.add(sku=product.sku, amount=1, reason="delivery", reference="po-7", by=ACTOR)

    event = StockEvent.objects.get(product=product, version=2)
    assert (event.reason, event.reference) == ("delivery", "po-7")
    assert (event.actor, event.source, event.request_id) == ("tester", "command", "request-1")


# --------------------------------------------------------------------------- add, remove, adjust


def test_add_and_remove_change_what_is_on_hand() -> None:
    product = ProductFactory.create(quantity=25)

    stock.add(sku=product.sku, amount=5, by=ACTOR)
    after = stock.remove(sku=product.sku, amount=3, by=ACTOR)

    assert (after.quantity, after.version) == (27, 3)
    assert levels_of(product) == (27, 0)
    assert ledger_of(product)[1:] == [(Type.ADDED, 5, 0), (Type.REMOVED, -3, 0)]


def test_returned_product_is_what_the_database_holds() -> None:
    product = ProductFactory.create()

    returned = stock.remove(sku=product.sku, amount=3, by=ACTOR)

    stored = Product.objects.get(pk=product.pk)
    assert returned.levels == stored.levels
    assert (returned.version, returned.updated_at) == (stored.version, stored.updated_at)


def test_remove_takes_only_what_is_available() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=20, by=ACTOR)

    with pytest.raises(stock.InsufficientStock) as refused:
        stock.remove(sku=product.sku, amount=6, by=ACTOR)

    assert (refused.value.requested, refused.value.available) == (6, 5)
    assert refused.value.lines == []
    assert levels_of(product) == (25, 20)


def test_add_past_the_limit_is_refused() -> None:
    product = ProductFactory.create(quantity=999_999_999)

    with pytest.raises(stock.StockLimitExceeded):
        stock.add(sku=product.sku, amount=2, by=ACTOR)

    assert levels_of(product) == (999_999_999, 0)
    stock.add(sku=product.sku, amount=1, by=ACTOR)
    assert levels_of(product) == (1_000_000_000, 0)


def test_adjust_sets_the_counted_quantity() -> None:
    product = ProductFactory.create(quantity=25)

    stock.adjust(sku=product.sku, quantity=21, reason="stocktake", by=ACTOR)

    assert ledger_of(product)[-1] == (Type.ADJUSTED, -4, 0)


def test_adjust_that_finds_the_same_quantity_is_recorded() -> None:
    product = ProductFactory.create(quantity=25)

    stock.adjust(sku=product.sku, quantity=25, reason="stocktake", by=ACTOR)

    assert ledger_of(product)[-1] == (Type.ADJUSTED, 0, 0)


def test_adjust_below_what_is_reserved_is_refused() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=20, by=ACTOR)

    with pytest.raises(stock.BelowReserved) as refused:
        stock.adjust(sku=product.sku, quantity=19, reason="stocktake", by=ACTOR)

    assert "are reserved." in refused.value.detail
    assert levels_of(product) == (25, 20)


def test_adjust_with_an_outdated_expectation_is_refused() -> None:
    product = ProductFactory.create(quantity=25)

    with pytest.raises(stock.QuantityChanged):
        stock.adjust(
            sku=product.sku, quantity=20, expected_quantity=24, reason="stocktake", by=ACTOR
        )

    assert levels_of(product) == (25, 0)


def test_apply_starts_each_operation_where_the_one_before_ended() -> None:
    product = ProductFactory.create(quantity=0)

    stock.apply(
        [
            stock.Add(sku=product.sku, amount=10),
            stock.Remove(sku=product.sku, amount=4),
            stock.Adjust(sku=product.sku, quantity=5, reason="stocktake"),
        ],
        by=ACTOR,
    )

    assert [change for _, change, _ in ledger_of(product)] == [0, 10, -4, -1]


def test_apply_names_every_refused_operation_and_applies_none() -> None:
    product = ProductFactory.create(quantity=5)

    with pytest.raises(stock.InsufficientStock) as refused:
        stock.apply(
            [
                stock.Add(sku=product.sku, amount=1),
                stock.Remove(sku=product.sku, amount=7),
                stock.Remove(sku="UNKNOWN", amount=1),
            ],
            by=ACTOR,
        )

    assert [(index, error.code) for index, error in refused.value.lines] == [
        (1, "insufficient_stock"),
        (2, "product_not_found"),
    ]
    assert levels_of(product) == (5, 0)


# ----------------------------------------------------------------------------------- reservations


def test_reserve_holds_units_without_moving_them() -> None:
    product = ProductFactory.create(quantity=25)

    reservation = stock.reserve(sku=product.sku, amount=4, reference="order-1", by=ACTOR)

    assert levels_of(product) == (25, 4)
    assert ledger_of(product)[-1] == (Type.RESERVED, 0, 4)
    assert (reservation.status, reservation.reference) == ("open", "order-1")
    event = StockEvent.objects.get(product=product, type=Type.RESERVED)
    assert (event.reservation_id, event.reference) == (reservation.pk, "order-1")


def test_an_order_is_reserved_whole_and_repeated_skus_are_summed() -> None:
    first, second = ProductFactory.create(quantity=5), ProductFactory.create(quantity=5)

    reservation = stock.reserve_lines(
        lines=[Line(second.sku, 1), Line(first.sku, 2), Line(second.sku, 3)], by=ACTOR
    )

    assert [(line.product.sku, line.amount) for line in reservation.loaded_lines] == [
        (second.sku, 4),
        (first.sku, 2),
    ]
    assert levels_of(first) == (5, 2)
    assert levels_of(second) == (5, 4)


def test_an_order_that_is_short_of_one_product_holds_nothing_of_the_others() -> None:
    enough, short = ProductFactory.create(quantity=5), ProductFactory.create(quantity=1)

    with pytest.raises(stock.InsufficientStock):
        stock.reserve_lines(lines=[Line(enough.sku, 5), Line(short.sku, 2)], by=ACTOR)

    assert Product.objects.get(pk=enough.pk).reserved_quantity == 0
    assert not Reservation.objects.exists()


def test_an_order_that_is_short_names_every_short_line_and_holds_nothing() -> None:
    enough, short = ProductFactory.create(quantity=5), ProductFactory.create(quantity=1)

    with pytest.raises(stock.ProductNotFound) as refused:
        stock.reserve_lines(
            lines=[Line("UNKNOWN", 1), Line(enough.sku, 5), Line(short.sku, 2)], by=ACTOR
        )

    assert [(index, error.code, error.available) for index, error in refused.value.lines] == [
        (0, "product_not_found", None),
        (2, "insufficient_stock", 1),
    ]
    assert levels_of(enough) == (5, 0)
    assert not Reservation.objects.exists()


def test_fulfill_ships_what_was_held() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    fulfilled = stock.fulfill(reservation_id=reservation.pk, by=ACTOR)

    assert fulfilled.status == "fulfilled"
    assert levels_of(product) == (21, 0)
    assert ledger_of(product)[-1] == (Type.FULFILLED, -4, -4)


def test_release_gives_back_what_was_held() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    released = stock.release(reservation_id=reservation.pk, by=ACTOR)

    assert released.status == "released"
    assert levels_of(product) == (25, 0)
    assert ledger_of(product)[-1] == (Type.RELEASED, 0, -4)


def test_a_reservation_may_end_in_parts() -> None:
    product = ProductFactory.create(quantity=25)
    other = ProductFactory.create(quantity=25)
    reservation = stock.reserve_lines(
        lines=[Line(product.sku, 5), Line(other.sku, 1)], reference="order-1", by=ACTOR
    )

    partly = stock.fulfill(reservation_id=reservation.pk, lines=[Line(product.sku, 2)], by=ACTOR)
    assert partly.status == "open"
    stock.release(reservation_id=reservation.pk, lines=[Line(product.sku, 1)], by=ACTOR)
    ended = stock.release(reservation_id=reservation.pk, by=ACTOR)

    line = line_of(reservation, product)
    assert (line.fulfilled, line.released, line.open) == (2, 3, 0)
    assert ended.status == Reservation.objects.get(pk=reservation.pk).status == "fulfilled"
    assert levels_of(product) == (23, 0)


def test_a_unit_of_a_reservation_ends_once() -> None:
    product = ProductFactory.create(quantity=25)
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)
    stock.fulfill(reservation_id=reservation.pk, by=ACTOR)

    with pytest.raises(stock.ReservationClosed):
        stock.fulfill(reservation_id=reservation.pk, by=ACTOR)
    with pytest.raises(stock.ReservationClosed):
        stock.release(reservation_id=reservation.pk, lines=[Line(product.sku, 1)], by=ACTOR)

    assert levels_of(product) == (21, 0)


def test_more_than_is_open_cannot_end_and_every_such_line_is_named() -> None:
    product, other = ProductFactory.create(), ProductFactory.create()
    reservation = stock.reserve(sku=product.sku, amount=4, by=ACTOR)

    with pytest.raises(stock.InsufficientReserved) as refused:
        stock.fulfill(
            reservation_id=reservation.pk,
            lines=[Line(product.sku, 5), Line(other.sku, 1), Line("UNKNOWN", 1)],
            by=ACTOR,
        )

    assert [(index, error.code, error.available) for index, error in refused.value.lines] == [
        (0, "insufficient_reserved", 4),
        (1, "insufficient_reserved", 0),
        (2, "product_not_found", None),
    ]
    assert levels_of(product) == (25, 4)


def test_an_unknown_reservation_is_refused() -> None:
    with pytest.raises(stock.ReservationNotFound):
        stock.fulfill(reservation_id=12345, by=ACTOR)


def test_release_of_a_product_takes_the_oldest_reservations_without_a_reference() -> None:
    product = ProductFactory.create(quantity=25)
    order = stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)
    oldest = stock.reserve(sku=product.sku, amount=2, by=ACTOR)
    newer = stock.reserve(sku=product.sku, amount=3, by=ACTOR)

    after = stock.release_product(sku=product.sku, amount=4, by=ACTOR)

    assert after.reserved_quantity == 6
    assert line_of(order, product).open == 5
    assert line_of(oldest, product).open == 0
    assert line_of(newer, product).open == 1
    assert Reservation.objects.get(pk=oldest.pk).status == "released"
    assert Reservation.objects.get(pk=newer.pk).status == "open"


def test_release_of_a_product_never_takes_from_an_order_that_is_not_named() -> None:
    product = ProductFactory.create(quantity=25)
    stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)
    stock.reserve(sku=product.sku, amount=2, by=ACTOR)

    with pytest.raises(stock.InsufficientReserved) as refused:
        stock.release_product(sku=product.sku, amount=3, by=ACTOR)

    assert (refused.value.requested, refused.value.available) == (3, 2)
    assert levels_of(product) == (25, 7)


def test_release_of_a_product_from_a_named_reservation() -> None:
    product = ProductFactory.create(quantity=25)
    order = stock.reserve(sku=product.sku, amount=5, reference="order-1", by=ACTOR)

    after = stock.release_product(sku=product.sku, amount=3, reservation_id=order.pk, by=ACTOR)

    assert after.levels == Product.objects.get(pk=product.pk).levels
    assert line_of(order, product).open == 2


# -------------------------------------------------------------------------------------- low stock


def test_low_stock_is_recorded_on_crossing_only() -> None:
    product = ProductFactory.create(quantity=10, minimum_stock_level=8)

    stock.remove(sku=product.sku, amount=2, by=ACTOR)  # 8 available: not below 8
    stock.reserve(sku=product.sku, amount=1, by=ACTOR)  # 7: low
    stock.remove(sku=product.sku, amount=1, by=ACTOR)  # 6: still low
    stock.add(sku=product.sku, amount=2, by=ACTOR)  # 8: no longer

    assert [event_type for event_type, _, _ in ledger_of(product)] == [
        Type.PRODUCT_CREATED,
        Type.REMOVED,
        Type.RESERVED,
        Type.LOW_STOCK_DETECTED,
        Type.REMOVED,
        Type.ADDED,
        Type.LOW_STOCK_RESOLVED,
    ]


def test_a_changed_minimum_counts_as_a_change() -> None:
    product = ProductFactory.create(quantity=10)

    raised = stock.edit(sku=product.sku, minimum_stock_level=11, by=ACTOR)
    lowered = stock.edit(sku=product.sku, minimum_stock_level=10, by=ACTOR)
    stock.edit(sku=product.sku, minimum_stock_level=9, by=ACTOR)

    assert (raised.is_low_stock, lowered.is_low_stock) == (True, False)
    assert [event_type for event_type, _, _ in ledger_of(product)] == [
        Type.PRODUCT_CREATED,
        Type.PRODUCT_EDITED,
        Type.LOW_STOCK_DETECTED,
        Type.PRODUCT_EDITED,
        Type.LOW_STOCK_RESOLVED,
        Type.PRODUCT_EDITED,
    ]
    assert Product.objects.get(pk=product.pk).minimum_stock_level == 9


def test_low_stock_query_agrees_with_the_levels() -> None:
    low = ProductFactory.create(quantity=4, minimum_stock_level=5)
    ProductFactory.create(quantity=5, minimum_stock_level=5)

    assert list(Product.objects.low_stock()) == [low]


# ------------------------------------------------------------------------------------------- edit


def test_edit_changes_what_is_given_and_no_stock() -> None:
    product = ProductFactory.create(name="Red cup", quantity=25)

    edited = stock.edit(sku=product.sku, name="Blue cup", description="big", by=ACTOR)

    stored = Product.objects.get(pk=product.pk)
    assert (stored.name, stored.description, stored.levels) == ("Blue cup", "big", product.levels)
    assert stored.updated_at == edited.updated_at > product.updated_at
    assert list(Product.objects.search("blue")) == [product]


def test_edit_of_an_unknown_product_is_refused() -> None:
    with pytest.raises(stock.ProductNotFound):
        stock.edit(sku="UNKNOWN", name="x", by=ACTOR)


def test_products_are_created_and_edited_in_one_go() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)

    saved = stock.save_products(
        [
            stock.NewProduct(sku="MUG", name="Mug", quantity=3),
            stock.Edit(sku="CUP", name="Big cup", minimum_stock_level=11),
        ],
        by=ACTOR,
    )

    assert [product.sku for product in saved] == ["MUG", "CUP"]
    cup.refresh_from_db()
    assert (cup.name, cup.levels) == ("Big cup", (10, 0, 11))
    assert ledger_of(cup)[1:] == [(Type.PRODUCT_EDITED, 0, 0), (Type.LOW_STOCK_DETECTED, 0, 0)]
    assert ledger_of(saved[0]) == [(Type.PRODUCT_CREATED, 3, 0)]


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (stock.NewProduct(sku="CUP", name="Cup"), stock.DuplicateSku),
        (stock.Edit(sku="UNKNOWN", name="x"), stock.ProductNotFound),
    ],
)
def test_one_refused_product_and_none_is_created_or_edited(
    refused: stock.NewProduct | stock.Edit, error: type[stock.StockError]
) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    new, edited = stock.NewProduct(sku="MUG", name="Mug"), stock.Edit(sku="CUP", name="Big cup")

    with pytest.raises(error) as refusal:
        stock.save_products([new, edited, refused], by=ACTOR)

    assert [index for index, _ in refusal.value.lines] == [2]
    assert list(Product.objects.values_list("sku", "name")) == [("CUP", "Cup")]


# ---------------------------------------------------------------------------------------- preview


def test_a_preview_says_what_each_operation_would_do_and_does_nothing() -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    operations = [
        stock.Remove(sku="CUP", amount=5),
        stock.Remove(sku="CUP", amount=2),
        stock.Add(sku="MUG", amount=1),
        stock.Adjust(sku="CUP", quantity=4, reason="count"),
    ]

    removed, short, unknown, counted = stock.preview(operations, by=ACTOR)

    assert removed == ((10, 4, 0), (5, 4, 0))
    assert isinstance(short, stock.InsufficientStock)
    assert (short.requested, short.available) == (2, 1)
    assert isinstance(unknown, stock.ProductNotFound)
    assert counted == ((5, 4, 0), (4, 4, 0))
    assert levels_of(cup) == (10, 4)
    assert len(ledger_of(cup)) == 2


# ------------------------------------------------------------------------------------- wrong values


@pytest.mark.parametrize("amount", [0, -1, 1_000_000_001, 2**64, True, 1.0, "1", None])
def test_an_amount_must_be_a_whole_number_of_units(amount: object) -> None:
    product = ProductFactory.create()

    with pytest.raises(stock.Invalid) as refused:
        stock.add(sku=product.sku, amount=amount, by=ACTOR)  # type: ignore[arg-type]  # On purpose.

    assert refused.value.field == "amount"


@pytest.mark.parametrize("sku", ["", "a", "-A", "A B", "A\n", "A" * 51, "Ä", "A\0", None, 7])
def test_a_sku_must_have_its_form(sku: object) -> None:
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


def test_a_request_of_no_lines_is_refused() -> None:
    with pytest.raises(stock.Invalid):
        stock.reserve_lines(lines=[], by=ACTOR)
