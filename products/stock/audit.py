"""Check that the ledger explains the levels, and repair products where it does not.

The events of a product are numbered without a gap. Each event carries the levels that follow from
the event before. The sums of the events are the levels of the product. Its reserved quantity is the
sum of the open units of reservation lines.

The database computes the sums, for a batch of products at a time, so memory stays bounded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Count, F, Max, Q, QuerySet, Sum, Window
from django.db.models.functions import Coalesce, Lag

from products.ledger.locking import Locked, lock_products
from products.ledger.posting import Actor, Posting
from products.models import REPAIR_ACTOR, Product, Reservation, ReservationLine, StockEvent
from products.stock.errors import CannotReconcile, ProductNotFound
from products.stock.runner import Verb, run

BATCH = 1_000


class Difference(NamedTuple):
    """A contradiction in the data. `sku` is empty if it concerns a whole reservation."""

    sku: str
    code: str
    detail: str


class Account(NamedTuple):
    """The sums of the events and of the open reservation lines of one product."""

    events: int
    last_version: int
    quantity: int
    reserved_quantity: int
    held: int
    """Open units of reservation lines."""


def differences() -> Iterator[Difference]:
    """Yield all differences, by product and then by reservation. Each batch is one snapshot."""
    last_id = 0
    while True:
        with _snapshot():
            products = list(Product.objects.filter(pk__gt=last_id).order_by("pk")[:BATCH])
            found = _check_products(products)
        if not products:
            break
        yield from found
        last_id = products[-1].pk
    last_id = 0
    while True:
        with _snapshot():
            ids = list(
                Reservation.objects.filter(pk__gt=last_id)
                .order_by("pk")
                .values_list("pk", flat=True)[:BATCH]
            )
            found = _check_reservations(ids)
        if not ids:
            break
        yield from found
        last_id = ids[-1]


def accounts_of(product_ids: Sequence[int]) -> dict[int, Account]:
    """Return the account of each product."""
    lines = ReservationLine.objects.filter(product__in=product_ids, open__gt=0)
    held = dict(lines.values_list("product_id").annotate(held=Sum("open")))
    sums = (
        StockEvent.objects.filter(product__in=product_ids)
        .values_list("product_id")
        .annotate(Count("pk"), Max("version"), Sum("quantity_change"), Sum("reserved_change"))
    )
    accounts = {pk: [*row, held.get(pk, 0)] for pk, *row in sums}
    # PostgreSQL's sum of a BIGINT column is a Decimal.
    return {
        pk: Account(*map(int, accounts.get(pk, [0, 0, 0, 0, held.get(pk, 0)])))
        for pk in product_ids
    }


@contextmanager
def _snapshot() -> Iterator[None]:
    """Let all statements see the same snapshot of the database."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _check_products(products: list[Product]) -> list[Difference]:
    accounts = accounts_of([product.pk for product in products])
    found: list[Difference] = []
    for product in products:
        found += _check_account(product, accounts[product.pk])
    by_id = {product.pk: product for product in products}
    for event in _breaks(list(by_id)):
        found.append(_describe_break(by_id[event.product_id].sku, event))
    return found


def _check_account(product: Product, account: Account) -> Iterator[Difference]:
    def differs(code: str, template: str, actual: int, expected: int) -> Iterator[Difference]:
        if actual != expected:
            yield Difference(product.sku, code, template.format(actual, expected))

    yield from differs(
        "quantity",
        "{} on hand, {} according to the ledger",
        product.quantity,
        account.quantity,
    )
    yield from differs(
        "reserved_by_ledger",
        "{} reserved, {} according to the ledger",
        product.reserved_quantity,
        account.reserved_quantity,
    )
    yield from differs(
        "reserved_by_reservations",
        "{} reserved, {} open in reservations",
        product.reserved_quantity,
        account.held,
    )
    yield from differs(
        "version",
        "version {}, but the last event has version {}",
        product.version,
        account.last_version,
    )
    yield from differs(
        "events",
        "{} events, but the last event has version {}",
        account.events,
        account.last_version,
    )


def _breaks(product_ids: list[int]) -> QuerySet[Any]:
    """Return the events that do not follow from the event before."""

    def before(field: str) -> Window:
        return Window(Lag(field), partition_by="product_id", order_by="version")

    return (
        StockEvent.objects.filter(product__in=product_ids)
        .annotate(
            version_before=Coalesce(before("version"), 0),
            quantity_before=Coalesce(before("quantity"), 0),
            reserved_before=Coalesce(before("reserved_quantity"), 0),
        )
        .filter(
            ~Q(version=F("version_before") + 1)
            | ~Q(sku=F("product__sku"))
            # A repair sets levels that no event explains.
            | ~Q(actor=REPAIR_ACTOR)
            & (
                ~Q(quantity=F("quantity_before") + F("quantity_change"))
                | ~Q(reserved_quantity=F("reserved_before") + F("reserved_change"))
            )
        )
        .order_by("product_id", "version")
    )


def _describe_break(sku: str, event: Any) -> Difference:
    if event.version != event.version_before + 1:
        between = f"{event.version_before} and {event.version}"
        return Difference(sku, "gap", f"no events between versions {between}")
    if event.sku != sku:
        return Difference(sku, "sku", f"event {event.version} has SKU {event.sku}")
    return Difference(
        sku,
        "levels",
        f"event {event.version} has {event.quantity} on hand and {event.reserved_quantity} "
        f"reserved after a change of {event.quantity_change:+} and {event.reserved_change:+} from "
        f"{event.quantity_before} and {event.reserved_before}",
    )


def _check_reservations(ids: list[int]) -> list[Difference]:
    totals = (
        Reservation.objects.filter(pk__in=ids)
        .annotate(
            open_units=Coalesce(Sum("lines__open"), 0),
            fulfilled=Coalesce(Sum("lines__fulfilled"), 0),
            expired=Coalesce(Sum("lines__expired"), 0),
        )
        .order_by("pk")
    )
    found = []
    for reservation in totals:
        status = Reservation.status_for(
            open_units=reservation.open_units,
            fulfilled=reservation.fulfilled,
            expired=reservation.expired,
        )
        if reservation.status != status:
            detail = (
                f"reservation {reservation.pk} is {reservation.status}, "
                f"{status} according to its lines"
            )
            found.append(Difference("", "status", detail))
    return found


def reconcile(*, sku: str, by: Actor) -> bool:
    """Record an `InventoryAdjusted` that explains the levels of a product, if they need it.

    Returns whether an event was recorded. The quantity on hand stays, because the warehouse works
    with it. The reserved quantity becomes the sum of the open units of reservations. A gap in the
    versions remains.

    Raises `ProductNotFound`. Raises `CannotReconcile` if reservations hold more units than are on
    hand, or if the product's version is lower than that of its last event.
    """
    return run(_Reconcile(sku), by=by)


@dataclass
class _LockedAccount(Locked):
    account: Account | None


@dataclass(frozen=True)
class _ProductWithAccount:
    sku: str

    skus = None

    def lock(self) -> _LockedAccount:
        products = lock_products([self.sku])
        if self.sku not in products:
            return _LockedAccount(products, None)
        product_id = products[self.sku].pk
        return _LockedAccount(products, accounts_of([product_id])[product_id])


class _Reconcile(Verb[_LockedAccount, bool]):
    def __init__(self, sku: str) -> None:
        self._sku = sku
        self.wants = _ProductWithAccount(sku)

    def decide(self, locked: _LockedAccount, posting: Posting) -> bool:
        sku, account = self._sku, locked.account
        if account is None:
            raise ProductNotFound(sku)
        product = locked.products[sku]
        quantity_change = product.quantity - account.quantity
        reserved_change = account.held - account.reserved_quantity
        if (
            not quantity_change
            and not reserved_change
            and product.reserved_quantity == account.held
        ):
            return False
        if account.held > product.quantity:
            detail = (
                f"Reservations hold {account.held} of {sku}, but only {product.quantity} are on "
                "hand. Release reservations first."
            )
            raise CannotReconcile(detail, sku=sku)
        if account.last_version > product.version:
            detail = (
                f"{sku} has version {product.version}, but its last event has version "
                f"{account.last_version}. Restore the product from a backup."
            )
            raise CannotReconcile(detail, sku=sku)
        posting.reconcile(
            product,
            quantity_change=quantity_change,
            reserved_change=reserved_change,
            reserved_quantity=account.held,
            reason="the ledger did not explain the levels",
        )
        return True
