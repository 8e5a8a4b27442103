"""The verbs."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Count, Min, QuerySet, Sum

from products import ledger, validators
from products.db.clock import SecondsFromNow
from products.db.connection import per_sku_queue

# Callers know these as `stock.Actor`, `stock.LevelChange` and `stock.transactional`.
from products.ledger import Actor as Actor
from products.ledger import LevelChange as LevelChange
from products.ledger import transactional as transactional
from products.models import Levels, Product, Reservation, ReservationLine, StockEvent, words_of
from products.stock import audit
from products.stock.errors import (
    BelowReserved,
    CannotReconcile,
    DuplicateSku,
    InsufficientReserved,
    InsufficientStock,
    Invalid,
    ProductArchived,
    ProductNotFound,
    ReservationClosed,
    ReservationExpired,
    ReservationNotFound,
    StockError,
)
from products.stock.requests import (
    Add,
    Adjust,
    Edit,
    Line,
    NewProduct,
    Operation,
    Remove,
    check,
    check_note,
)
from products.validators import MAX_UNITS

R = TypeVar("R")


class _Refusals:
    """The lines of a request that cannot be met, each with its index."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, StockError]] = []

    def add(self, index: int, error: StockError) -> None:
        self._lines.append((index, error))

    def raise_any(self) -> None:
        if self._lines:
            self._lines.sort(key=lambda line: line[0])
            error = self._lines[0][1]
            error.lines = self._lines
            raise error


@contextmanager
def _only_line() -> Iterator[None]:
    """Report a refusal of a request that has no lines as just that."""
    try:
        yield
    except StockError as error:
        error.lines = []
        raise


# ---------------------------------------------------------------------------------------- products


def create(
    *,
    sku: str,
    name: str,
    description: str = "",
    quantity: int = 0,
    minimum_stock_level: int = 0,
    by: Actor,
) -> Product:
    """Create a product with its opening stock.

    Raises `DuplicateSku`.
    """
    product = NewProduct(
        sku=sku,
        name=name,
        description=description,
        quantity=quantity,
        minimum_stock_level=minimum_stock_level,
    )
    with _only_line():
        return create_many([product], by=by)[0]


def create_many(products: Sequence[NewProduct], *, by: Actor) -> list[Product]:
    """Create several products, all or none. See `save_products`."""
    return save_products(products, by=by)


def edit(
    *,
    sku: str,
    name: str | None = None,
    description: str | None = None,
    minimum_stock_level: int | None = None,
    archived: bool | None = None,
    by: Actor,
) -> Product:
    """Change what describes a product; what is not given stays. Never changes stock.

    One that is `archived` is retired: see `ProductArchived`. A changed minimum may make the product
    low on stock or end that, which is recorded. Raises `ProductNotFound`.
    """
    edited = Edit(
        sku=sku,
        name=name,
        description=description,
        minimum_stock_level=minimum_stock_level,
        archived=archived,
    )
    with _only_line():
        return save_products([edited], by=by)[0]


def save_products(changes: Sequence[NewProduct | Edit], *, by: Actor) -> list[Product]:
    """Create and edit several products, all or none, and return the product of each change.

    A new one gets its opening stock, an edited one keeps its stock. Raises `DuplicateSku` for a new
    SKU that exists or is repeated, `ProductNotFound` for an edit of none, with every refused line.
    """
    try:
        return _save_products(changes, by=by)
    except IntegrityError:
        # Somebody else created one of them between the check and the insert.
        _refuse_duplicates(changes)
        raise


@ledger.transactional
def _save_products(changes: Sequence[NewProduct | Edit], *, by: Actor) -> list[Product]:
    products = ledger.lock_products(edit.sku for edit in changes if isinstance(edit, Edit))
    _refuse_duplicates(changes)
    _refuse_unknown(changes, products)
    posting = ledger.Posting(by=by)
    saved = []
    changed_fields: dict[Product, set[str]] = {}
    for change in changes:
        if isinstance(change, NewProduct):
            product = _open(change, posting)
        else:
            product = products[change.sku]
            changed_fields.setdefault(product, set()).update(_describe(product, change, posting))
        saved.append(product)
    posting.write()
    ledger.save_descriptions(changed_fields)
    return saved


def _refuse_duplicates(changes: Sequence[NewProduct | Edit]) -> None:
    new = [(index, made.sku) for index, made in enumerate(changes) if isinstance(made, NewProduct)]
    skus = [sku for _, sku in new]
    taken = set(Product.objects.filter(sku__in=skus).values_list("sku", flat=True))
    refusals = _Refusals()
    for index, sku in new:
        if sku in taken:
            refusals.add(index, DuplicateSku(sku))
        taken.add(sku)
    refusals.raise_any()


def _refuse_unknown(changes: Sequence[NewProduct | Edit], products: dict[str, Product]) -> None:
    refusals = _Refusals()
    for index, change in enumerate(changes):
        if isinstance(change, Edit) and change.sku not in products:
            refusals.add(index, ProductNotFound(change.sku))
    refusals.raise_any()


def _open(new: NewProduct, posting: ledger.Posting) -> Product:
    product = Product(
        sku=new.sku,
        name=new.name,
        name_words=_name_words(new.name),
        description=new.description,
        quantity=new.quantity,
        minimum_stock_level=new.minimum_stock_level,
    )
    posting.open(product, reason=new.reason, reference=new.reference)
    return product


def _describe(product: Product, edit: Edit, posting: ledger.Posting) -> list[str]:
    """Change a locked product in memory, and return the fields that are different now."""
    fields = []
    if edit.name is not None and edit.name != product.name:
        product.name, product.name_words = edit.name, _name_words(edit.name)
        fields += ["name", "name_words"]
    if edit.description is not None and edit.description != product.description:
        product.description = edit.description
        fields.append("description")
    if edit.archived is not None and edit.archived != product.archived:
        product.archived = edit.archived
        fields.append("archived")
    minimum = edit.minimum_stock_level
    if minimum is not None and minimum != product.minimum_stock_level:
        posting.set_minimum(product, minimum)
        fields.append("minimum_stock_level")
    return fields


def _name_words(name: str) -> str:
    return f" {' '.join(words_of(name))} "


def lock_all(products: QuerySet[Product]) -> None:
    """Lock products for a transaction that changes them step by step, none before the last.

    Raises Django's `TransactionManagementError` outside a transaction, which would end at once.
    """
    ledger.lock_rows(products)


@ledger.transactional
def lock(*, sku: str) -> Product:
    """Lock a product and return it as it is, for a caller who decides on that in a transaction.

    Raises `ProductNotFound`.
    """
    product = ledger.lock_products([sku]).get(sku)
    if product is None:
        raise ProductNotFound(sku)
    return product


# ------------------------------------------------------------------------------- what is on hand


def add(*, sku: str, amount: int, reason: str = "", reference: str = "", by: Actor) -> Product:
    """Take `amount` units in.

    Raises `ProductNotFound`, `ProductArchived`, `StockLimitExceeded`.
    """
    return _apply_one(Add(sku=sku, amount=amount, reason=reason, reference=reference), by=by)


def remove(*, sku: str, amount: int, reason: str = "", reference: str = "", by: Actor) -> Product:
    """Take `amount` units out, from what is available.

    Raises `ProductNotFound`, `InsufficientStock`.
    """
    return _apply_one(Remove(sku=sku, amount=amount, reason=reason, reference=reference), by=by)


def adjust(
    *,
    sku: str,
    quantity: int,
    reason: str,
    reference: str = "",
    expected_quantity: int | None = None,
    by: Actor,
) -> Product:
    """Set what is on hand to the `quantity` that was counted, and record it even if it is equal.

    Raises `ProductNotFound`, `BelowReserved`, and `QuantityChanged` where the level is not the
    `expected_quantity`.
    """
    operation = Adjust(
        sku=sku,
        quantity=quantity,
        expected_quantity=expected_quantity,
        reason=reason,
        reference=reference,
    )
    return _apply_one(operation, by=by)


def _apply_one(operation: Operation, *, by: Actor) -> Product:
    with _only_line(), per_sku_queue(operation.sku):
        return apply([operation], by=by)[0]


@ledger.transactional
def apply(operations: Sequence[Operation], *, by: Actor) -> list[Product]:
    """Apply several operations in their order, all or none, as one event each.

    Returns the product of each, as it is after all of them. Raises as `add`, `remove` and
    `adjust` do, with every refused line.
    """

    def plan(products: dict[str, Product], posting: ledger.Posting) -> list[Product]:
        refusals = _Refusals()
        for index, outcome in enumerate(_post(operations, products, posting)):
            if isinstance(outcome, StockError):
                refusals.add(index, outcome)
        refusals.raise_any()
        posting.finish()
        return [products[operation.sku] for operation in operations]

    return _lock_and(plan, [operation.sku for operation in operations], by=by)


def _post(
    operations: Sequence[Operation], products: dict[str, Product], posting: ledger.Posting
) -> list[LevelChange | StockError]:
    """Post operations in memory, in their order, and return what each does or why it cannot."""
    outcomes: list[LevelChange | StockError] = []
    for operation in operations:
        product = products.get(operation.sku)
        if product is None:
            outcomes.append(ProductNotFound(operation.sku))
            continue
        try:
            quantity_change = operation.quantity_change(product)
        except StockError as error:
            outcomes.append(error)
            continue
        change = posting.record(
            product,
            operation.event_type,
            quantity_change=quantity_change,
            reason=operation.reason,
            reference=operation.reference,
        )
        outcomes.append(change)
    return outcomes


def apply_possible(
    batches: Iterable[Sequence[Operation]], *, by: Actor
) -> Iterator[list[LevelChange | StockError]]:
    """Apply, in the caller's transaction, those operations that can be, as one event each.

    Yields for each batch, in order, what each operation does or why it cannot, which leaves the
    others alone. Of a product that is short, all that is overdue is given back first.

    While the database writes a batch, the next is decided. The last is written at the end.
    """
    products: dict[str, Product] = {}
    posting = ledger.Posting(by=by)
    for operations in batches:
        skus = [operation.sku for operation in operations]
        # What the last batch has changed is in memory alone.
        products = {sku: products[sku] for sku in skus if sku in products}
        products |= ledger.lock_products(set(skus) - products.keys(), levels_only=True)
        posting.write(waits=False)
        posting = ledger.Posting(by=by)
        outcomes = _post(operations, products, posting)
        short = _short(outcome for outcome in outcomes if isinstance(outcome, StockError))
        overdue = _overdue_of_short(short, products, Counter(skus), whole=False)
        if overdue:
            products, posting = ledger.lock_products(skus, levels_only=True), ledger.Posting(by=by)
            # To wait for a reservation would be out of order: earlier batches hold others.
            _expire(overdue, products.values(), posting, skip_locked=True)
            outcomes = _post(operations, products, posting)
        posting.prepare()
        yield outcomes
    posting.write()


def preview(
    operations: Sequence[Operation], *, levels: Mapping[str, Levels] | None = None, by: Actor
) -> list[LevelChange | StockError]:
    """Return what each operation would do if `apply` were called now, or why it could not.

    Only reads: it waits for nobody, and nobody waits for it. What it says may be over a moment
    later, so `apply` decides anew. `levels` are those that products have after what was previewed
    before, by SKU.
    """
    skus = Counter(operation.sku for operation in operations)
    products = _products_at(levels or {}, skus)
    outcomes = _post(operations, products, ledger.Posting(by=by))
    short = _short(outcome for outcome in outcomes if isinstance(outcome, StockError))
    overdue = _overdue_of_short(short, products, skus, whole=False)
    if not overdue:
        return outcomes
    given_back: Counter[str] = Counter()
    for line in ReservationLine.objects.filter(pk__in=overdue).select_related("product"):
        given_back[line.product.sku] += line.open
    products = _products_at(levels or {}, skus, given_back)
    return _post(operations, products, ledger.Posting(by=by))


def _products_at(
    levels: Mapping[str, Levels], skus: Iterable[str], given_back: Mapping[str, int] | None = None
) -> dict[str, Product]:
    """Return the products of `skus`, with known levels, and after units were given back."""
    products = {product.sku: product for product in Product.objects.filter(sku__in=set(skus))}
    for sku, units in (given_back or {}).items():
        products[sku].reserved_quantity -= units
    for sku in levels.keys() & products.keys():
        products[sku].quantity = levels[sku].quantity
        # Less, if some of what is given back was so in the known levels already.
        products[sku].reserved_quantity = min(
            products[sku].reserved_quantity, levels[sku].reserved_quantity
        )
    return products


def _short(errors: Iterable[StockError]) -> list[InsufficientStock | BelowReserved]:
    """Return those of the errors that units of overdue reservations might end."""
    return [error for error in errors if isinstance(error, InsufficientStock | BelowReserved)]


def _lock_and(plan: Callable[..., R], skus: Collection[str], *, by: Actor) -> R:
    """Lock the products and carry out `plan`, which writes nothing before it refuses.

    Where it is refused for lack of stock, what is overdue of the short products is given back
    first, as much as is needed, and the plan is tried again.
    """
    try:
        return plan(ledger.lock_products(skus), ledger.Posting(by=by))
    except StockError as refused:
        short = _short(error for _, error in refused.lines)
        if not short:
            raise
        # Locked already; read again, because the plan has moved the levels in memory.
        products, posting = ledger.lock_products(skus), ledger.Posting(by=by)
        overdue = _overdue_of_short(short, products, Counter(iter(skus)), whole=True)
        if not overdue:
            raise
        # A savepoint: if the plan is refused again, nothing of this stays.
        with transaction.atomic():
            if not _expire(overdue, products.values(), posting):
                raise
            return plan(products, posting)


def _overdue_of_short(
    short: Sequence[InsufficientStock | BelowReserved],
    products: dict[str, Product],
    times_asked: Counter[str],
    *,
    whole: bool,
) -> list[int]:
    """Return the overdue lines, the oldest first, that may end the shortage; none if they cannot,
    or, of a request that need not be met as a `whole`, those that may end a part of it.

    A product that the request names once needs what it misses. What several operations on one
    product need depends on each other, so that all that is overdue of it is given back.
    """
    # One query for all of them: most often nothing is overdue.
    of_short = ReservationLine.objects.overdue().filter(
        product__in={products[_sku_of(error)].pk for error in short}
    )
    overdue = dict(of_short.values_list("product_id").annotate(Sum("open"))) if short else {}
    chosen: list[int] = []
    for sku, errors in groupby(sorted(short, key=_sku_of), key=_sku_of):
        missing = max(error.missing for error in errors)
        product = products[sku]
        is_enough = overdue.get(product.pk, 0) >= missing
        if whole and not is_enough:
            return []
        once = times_asked[sku] == 1
        if product.pk not in overdue or (once and not is_enough):
            continue
        lines = of_short.filter(product=product)
        units = missing if once else MAX_UNITS
        chosen += [line.pk for line in _oldest_covering(lines, units)]
    return chosen


def _sku_of(error: StockError) -> str:
    return error.sku or ""


# ----------------------------------------------------------------------------------- reservations


def reserve(
    *, sku: str, amount: int, reference: str = "", expires_in: int | None = None, by: Actor
) -> Reservation:
    """Hold `amount` units of one product. See `reserve_lines`."""
    with _only_line(), per_sku_queue(sku):
        return reserve_lines(
            lines=[Line(sku, amount)], reference=reference, expires_in=expires_in, by=by
        )


@ledger.transactional
def reserve_lines(
    *, lines: Sequence[Line], reference: str = "", expires_in: int | None = None, by: Actor
) -> Reservation:
    """Hold the units of all lines for one order, or of none; repeated SKUs are summed.

    They are held for `expires_in` seconds, or without an end. Returns the reservation with its
    `loaded_lines`, each with its product as it is now. Raises `ProductNotFound`,
    `ProductArchived`, `InsufficientStock`, with every refused line.
    """
    check_note("", reference)
    if expires_in is not None:
        check("expires_in", expires_in, validators.DURATION)
    wanted = _sum(lines)

    def plan(products: dict[str, Product], posting: ledger.Posting) -> Reservation:
        refusals = _Refusals()
        for sku, (index, amount) in wanted.items():
            product = products.get(sku)
            if product is None:
                refusals.add(index, ProductNotFound(sku))
            elif product.archived:
                refusals.add(index, ProductArchived(product, amount))
            elif amount > product.available_quantity:
                refusals.add(index, InsufficientStock(sku, amount, product.available_quantity))
        refusals.raise_any()

        reservation = Reservation(reference=reference)
        reservation.loaded_lines = [
            ReservationLine(product=products[sku], amount=amount, open=amount)
            for sku, (_, amount) in wanted.items()
        ]
        posting.reserve(reservation, expires_in=expires_in)
        for line in reservation.loaded_lines:
            posting.record(
                line.product,
                StockEvent.Type.RESERVED,
                reserved_change=line.amount,
                reservation=reservation,
                reference=reference,
            )
        posting.finish()
        return reservation

    return _lock_and(plan, wanted, by=by)


def _sum(lines: Sequence[Line]) -> dict[str, tuple[int, int]]:
    """Return each SKU's first index and total amount, in the order of the lines."""
    if not lines:
        raise Invalid("lines", "At least one line is required.")
    sums: dict[str, tuple[int, int]] = {}
    for index, line in enumerate(lines):
        first, amount = sums.get(line.sku, (index, 0))
        sums[line.sku] = (first, amount + line.amount)
    return sums


class _Ending(NamedTuple):
    """A way in which held units end: the part of the line that they go to, and the event."""

    part: str
    event_type: StockEvent.Type
    quantity_per_unit: int


_FULFILL = _Ending("fulfilled", StockEvent.Type.FULFILLED, quantity_per_unit=-1)
_RELEASE = _Ending("released", StockEvent.Type.RELEASED, quantity_per_unit=0)
_EXPIRE = _Ending("expired", StockEvent.Type.RELEASED, quantity_per_unit=0)


def fulfill(
    *,
    reservation_id: int,
    lines: Sequence[Line] | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
) -> Reservation:
    """Ship what a reservation holds, all of it or the given lines; on hand and reserved fall.

    Returns the reservation with its `loaded_lines`. Raises `ReservationNotFound`,
    `ReservationClosed`, `ReservationExpired`, `ProductNotFound`, `InsufficientReserved`, with
    every refused line.
    """
    return _end(_FULFILL, reservation_id, lines, reason=reason, reference=reference, by=by)


def release(
    *,
    reservation_id: int,
    lines: Sequence[Line] | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
) -> Reservation:
    """Give back what a reservation holds, all of it or the given lines. Otherwise as `fulfill`."""
    return _end(_RELEASE, reservation_id, lines, reason=reason, reference=reference, by=by)


@ledger.transactional
def _end(
    ending: _Ending,
    reservation_id: int,
    lines: Sequence[Line] | None,
    *,
    reason: str,
    reference: str,
    by: Actor,
) -> Reservation:
    check_note(reason, reference)
    # A reservation's set of products never changes, so it is found unlocked; what is open of
    # each is read under the lock.
    of_reservation = ReservationLine.objects.filter(reservation_id=reservation_id)
    wanted = None if lines is None else _sum(lines)
    products = ledger.lock_products(
        of_reservation.values_list("product__sku", flat=True) if wanted is None else wanted
    )
    reservation = _lock_open(reservation_id)
    reservation.loaded_lines = list(of_reservation.select_related("product").order_by("pk"))
    for line in reservation.loaded_lines:
        line.reservation = reservation
        line.product = products.get(line.product.sku, line.product)
    portions = _portions(reservation, products, wanted)
    posting = ledger.Posting(by=by)
    _end_portions(ending, portions, posting, reason=reason, reference=reference)
    posting.finish()
    return reservation


def _lock_open(reservation_id: int) -> Reservation:
    """Lock a reservation, after its products, that units can still be taken from."""
    reservation = ledger.lock_reservations([reservation_id]).get(reservation_id)
    if reservation is None:
        raise ReservationNotFound(reservation_id)
    if reservation.status != Reservation.Status.OPEN:
        if reservation.lines.filter(expired__gt=0).exists():
            raise ReservationExpired(reservation)
        raise ReservationClosed(reservation)
    if reservation.expires_at and Reservation.objects.overdue().filter(pk=reservation.pk).exists():
        raise ReservationExpired(reservation)
    return reservation


def _portions(
    reservation: Reservation,
    products: dict[str, Product],
    wanted: dict[str, tuple[int, int]] | None,
) -> list[tuple[ReservationLine, int]]:
    """Return the lines to end and how many units of each: all that is open, or what is wanted."""
    held = {line.product.sku: line for line in reservation.loaded_lines}
    if wanted is None:
        return [(line, line.open) for line in held.values() if line.open]
    refusals = _Refusals()
    for sku, (index, amount) in wanted.items():
        available = held[sku].open if sku in held else 0
        if sku not in products:
            refusals.add(index, ProductNotFound(sku))
        elif amount > available:
            where = f"in reservation {reservation.pk}"
            refusals.add(index, InsufficientReserved(sku, amount, available, where=where))
    refusals.raise_any()
    return [(held[sku], amount) for sku, (_, amount) in wanted.items()]


def release_product(
    *,
    sku: str,
    amount: int,
    reservation_id: int | None = None,
    reason: str = "",
    reference: str = "",
    by: Actor,
) -> Product:
    """Give back `amount` units of one product, and return it.

    They come from the reservation that is named, else from those that carry no reference, oldest
    first. Raises as `release` does.
    """
    line = Line(sku, amount)
    with _only_line(), per_sku_queue(sku):
        if reservation_id is None:
            return _release_oldest(line, reason=reason, reference=reference, by=by)
        reservation = release(
            reservation_id=reservation_id, lines=[line], reason=reason, reference=reference, by=by
        )
        return next(held.product for held in reservation.loaded_lines if held.product.sku == sku)


@ledger.transactional
def _release_oldest(line: Line, *, reason: str, reference: str, by: Actor) -> Product:
    check_note(reason, reference)
    product = lock(sku=line.sku)
    # Nobody else can change a line of a locked product.
    held_without_reference = ReservationLine.objects.holding().filter(
        product=product, reservation__reference=""
    )
    portions: list[tuple[ReservationLine, int]] = []
    missing, last_id = line.amount, 0
    while missing:
        oldest = _oldest_covering(held_without_reference.filter(reservation__gt=last_id), missing)
        if not oldest:
            found = line.amount - missing
            where = "in reservations without a reference"
            raise InsufficientReserved(line.sku, line.amount, found, where=where)
        reservations = ledger.lock_reservations(held.reservation_id for held in oldest)
        # Read again under the lock: the time of one may be over by now, and the next is needed.
        still_held = held_without_reference.filter(reservation__in=reservations)
        for held in still_held.order_by("reservation_id"):
            held.product, held.reservation = product, reservations[held.reservation_id]
            portions.append((held, min(held.open, missing)))
            missing -= portions[-1][1]
        last_id = oldest[-1].reservation_id
    posting = ledger.Posting(by=by)
    _end_portions(_RELEASE, portions, posting, reason=reason, reference=reference)
    posting.finish()
    return product


def _oldest_covering(lines: QuerySet[ReservationLine], units: int) -> list[ReservationLine]:
    """Return the oldest lines that together hold so many open units, or all if they do not."""
    covering: list[ReservationLine] = []
    # Each line holds a unit at least, so that many are enough.
    for line in lines.order_by("reservation_id")[:units].iterator():
        covering.append(line)
        units -= line.open
        if units <= 0:
            break
    return covering


def _end_portions(
    ending: _Ending,
    portions: Sequence[tuple[ReservationLine, int]],
    posting: ledger.Posting,
    *,
    reason: str,
    reference: str,
) -> None:
    """End so many units of each line; products and reservations are locked and attached."""
    for line, amount in portions:
        line.open -= amount
        setattr(line, ending.part, getattr(line, ending.part) + amount)
        posting.record(
            line.product,
            ending.event_type,
            quantity_change=amount * ending.quantity_per_unit,
            reserved_change=-amount,
            reservation=line.reservation,
            reason=reason,
            reference=reference,
        )
    ledger.update_rows([line for line, _ in portions], ["open", ending.part])
    _update_statuses({line.reservation_id: line.reservation for line, _ in portions})


def _update_statuses(reservations: dict[int, Reservation]) -> None:
    totals = (
        ReservationLine.objects.filter(reservation__in=reservations)
        .values("reservation_id")
        .annotate(open=Sum("open"), fulfilled=Sum("fulfilled"), expired=Sum("expired"))
    )
    closed = []
    for total in totals:
        reservation = reservations[total["reservation_id"]]
        reservation.status = Reservation.status_for(
            open_units=total["open"], fulfilled=total["fulfilled"], expired=total["expired"]
        )
        if reservation.status != Reservation.Status.OPEN:
            closed.append(reservation)
    ledger.update_rows(closed, ["status"])


# ----------------------------------------------------------------------------------------- expiry


@ledger.transactional
def extend(*, reservation_id: int, expires_in: int) -> Reservation:
    """Let a reservation hold for `expires_in` seconds from now. No unit moves, so no event.

    Returns it with its `loaded_lines`. Raises `ReservationNotFound`, `ReservationClosed`,
    `ReservationExpired`.
    """
    check("expires_in", expires_in, validators.DURATION)
    _lock_open(reservation_id)
    Reservation.objects.filter(pk=reservation_id).update(expires_at=SecondsFromNow(expires_in))
    return Reservation.objects.with_lines().get(pk=reservation_id)


class ExpiryResult(NamedTuple):
    """What became of overdue reservations."""

    found: int
    expired: int
    """Those of which this call has given something back; others may do the same at once."""
    left: set[int]
    """The ids of those that still hold something: somebody else has locked them, or a product."""


@ledger.transactional
def expire_overdue(*, limit: int, passing_over: Collection[int] = (), by: Actor) -> ExpiryResult:
    """Give back what overdue reservations hold, those first that ended first.

    At most `limit` lines, and one reservation at least, so that the locks are held shortly. Waits
    for nobody: what others have locked is left, to be passed over by the next call.
    """
    ids: list[int] = []
    lines_left = limit
    overdue = (
        ReservationLine.objects.overdue()
        .exclude(reservation__in=passing_over)
        .values("reservation_id")
        .annotate(lines=Count("pk"), end=Min("reservation__expires_at"))
        .order_by("end", "reservation_id")
    )
    for row in overdue[:limit]:
        lines_left -= row["lines"]
        if ids and lines_left < 0:
            break
        ids.append(row["reservation_id"])
    of_found = ReservationLine.objects.overdue().filter(reservation__in=ids)
    skus = of_found.values_list("product__sku", flat=True)
    products = ledger.lock_products(skus, skip_locked=True).values()
    posting = ledger.Posting(by=by)
    line_ids = of_found.filter(product__in=products).values_list("pk", flat=True)
    expired = _expire(line_ids, products, posting, skip_locked=True)
    left = set(of_found.values_list("reservation_id", flat=True))
    posting.finish()
    return ExpiryResult(len(ids), expired, left)


def _expire(
    line_ids: Iterable[int],
    products: Collection[Product],
    posting: ledger.Posting,
    *,
    skip_locked: bool = False,
) -> int:
    """Give back what is overdue of these lines, and return of how many reservations.

    Only lines of locked products are given: another product of the same reservation is not
    locked, and to lock it now would be out of order. With `skip_locked`, reservations that
    somebody else has locked are left as they are.
    """
    lines = ReservationLine.objects.overdue().filter(pk__in=list(line_ids))
    reservations = ledger.lock_reservations(
        lines.values_list("reservation_id", flat=True), skip_locked=skip_locked
    )
    by_id = {product.pk: product for product in products}
    portions = []
    # Read again under the lock: somebody may have extended one meanwhile.
    for line in lines.filter(reservation__in=reservations).order_by("pk"):
        line.product, line.reservation = by_id[line.product_id], reservations[line.reservation_id]
        portions.append((line, line.open))
    if portions:
        _end_portions(_EXPIRE, portions, posting, reason="expired", reference="")
    return len({line.reservation_id for line, _ in portions})


# ---------------------------------------------------------------------------------------- the books


@ledger.transactional
def reconcile(*, sku: str, by: Actor) -> bool:
    """Let the ledger explain the levels of a product again, by an `InventoryAdjusted`.

    What is on hand stays: it is what the warehouse was told. What is reserved becomes what the
    lines of reservations hold open. A gap in the versions stays a gap. Returns whether there was
    anything to mend. Raises `ProductNotFound`, and `CannotReconcile` where more is held than is on
    hand, or where the product's version lies behind its last event's.
    """
    product = lock(sku=sku)
    account = audit.accounts_of([product.pk])[product.pk]
    quantity_change = product.quantity - account.quantity
    reserved_change = account.held - account.reserved_quantity
    if not quantity_change and not reserved_change and product.reserved_quantity == account.held:
        return False
    if account.held > product.quantity:
        detail = f"{account.held} of {sku} are held, {product.quantity} are on hand."
        raise CannotReconcile(detail, sku=sku)
    if account.last_version > product.version:
        detail = f"{sku} has version {product.version}, its last event {account.last_version}."
        raise CannotReconcile(detail, sku=sku)
    posting = ledger.Posting(by=by)
    posting.reconcile(
        product,
        quantity_change=quantity_change,
        reserved_change=reserved_change,
        reserved_quantity=account.held,
        reason="the ledger did not explain the levels",
    )
    posting.finish()
    return True
