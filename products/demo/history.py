"""Thirty days in the life of a small wholesaler, as demo data.

The real orders of `orders.csv` are placed, shipped and cancelled, among deliveries, counts, edits
and short holds. Every change goes through `products.stock`, backdated to its time. Loading at the
same time gives the same history.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import NamedTuple

from django.db import transaction

from products import stock
from products.demo import read_orders
from products.ledger.backdating import BackdatedActor
from products.models import Product, Reservation, StockEvent

DAYS = 30

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_DELIVERY_DAYS = range(5)
_DISPATCH_DAYS = range(6)
_COUNTING_DAYS = (1, 3)
# How many orders come on each day of the week, compared with Monday.
_BUSYNESS = (1.0, 1.1, 1.0, 0.9, 1.1, 0.4, 0.2)
_DISPATCH_HOURS = (10, 16)
_MAX_DELIVERED_LINES = 40
# Products that the supplier no longer delivers.
_UNAVAILABLE = 20

_Change = Callable[[datetime], object]


class Loaded(NamedTuple):
    """The number of rows that were loaded."""

    products: int
    reservations: int
    events: int


def load(*, now: datetime) -> Loaded:
    """Load the demo data into a database without products, whole or not at all."""
    with transaction.atomic():
        _History(now.astimezone(UTC)).run()
    return Loaded(Product.objects.count(), Reservation.objects.count(), StockEvent.objects.count())


class _History:
    """A queue of changes by their time. A change may queue later ones.

    Changes after `now` do not happen, so recent orders are still open.
    """

    def __init__(self, now: datetime) -> None:
        self._now, self._start = now, now - DAYS * _DAY
        self._random = random.Random(2026)
        self._queue: list[tuple[datetime, int, _Change]] = []
        self._sequence, self._deliveries, self._baskets = count(), count(4501), count(9001)
        self._orders = read_orders()
        self._names: dict[str, str] = {}
        self._sold: Counter[str] = Counter()
        for lines in self._orders.values():
            for line in lines:
                self._names[line.sku] = line.name
                self._sold[line.sku] += line.amount
        self._unavailable = set(self._random.sample(list(self._sold), _UNAVAILABLE))

    def run(self) -> None:
        self._create_products()
        self._queue_orders()
        self._queue_routine()
        self._queue_current_reservations()
        while self._queue:
            at, _, change = heapq.heappop(self._queue)
            if self._start < at <= self._now:
                change(at)

    def _queue_change(self, at: datetime, change: _Change) -> None:
        heapq.heappush(self._queue, (at, next(self._sequence), change))

    def _between(self, day: datetime, first_hour: float, last_hour: float) -> datetime:
        """Return a time of the day between two hours."""
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + self._random.uniform(first_hour, last_hour) * _HOUR

    # ---------------------------------------------------------------------------------- products

    def _create_products(self) -> None:
        products = []
        for sku, units in self._sold.items():
            minimum = _packed(units / 8)
            products.append(
                stock.NewProduct(
                    sku=sku,
                    name=self._names[sku],
                    quantity=int(minimum * self._random.uniform(2, 6)) + 2,
                    minimum_stock_level=minimum,
                    reason="demo data",
                )
            )
        stock.save_products(products, by=_command("load_demo_data", self._start))

    def _edit(self, at: datetime) -> None:
        [product] = self._any_products(1)
        stock.edit(
            sku=product.sku,
            name=product.name.capitalize(),
            minimum_stock_level=product.minimum_stock_level + 2,
            by=_staff(at),
        )

    def _archive(self, at: datetime) -> None:
        """Archive a product after a count of 0."""
        [product] = self._any_products(1)
        if product.reserved_quantity == 0:
            by = _staff(at)
            stock.adjust(sku=product.sku, quantity=0, reason="stocktake", by=by)
            stock.edit(sku=product.sku, archived=True, by=by)

    def _restore(self, at: datetime) -> None:
        if product := Product.objects.filter(archived=True).order_by("pk").first():
            stock.edit(sku=product.sku, archived=False, by=_staff(at))

    def _any_products(self, number: int) -> list[Product]:
        """Return some different products that are not archived."""
        skus = self._random.sample(list(self._sold), number + 3)
        found = Product.objects.active().in_bulk(skus, field_name="sku")
        return [found[sku] for sku in skus if sku in found][:number]

    # ------------------------------------------------------------------------------------ orders

    def _queue_orders(self) -> None:
        times = sorted(self._time_of_an_order() for _ in self._orders)
        for (number, lines), at in zip(self._orders.items(), times, strict=True):
            wanted = [stock.Line(line.sku, line.amount) for line in lines]
            self._queue_change(at, partial(self._place_order, f"order-{number}", wanted))

    def _time_of_an_order(self) -> datetime:
        while True:
            day = self._now - self._random.uniform(0, DAYS) * _DAY
            if self._random.random() < _BUSYNESS[day.weekday()]:
                return self._between(day, 7, 19)

    def _place_order(self, reference: str, wanted: Sequence[stock.Line], at: datetime) -> None:
        """Reserve for an order. It is shipped in one part or two, or it is cancelled."""
        lines = self._in_stock(wanted)
        if not lines:
            return
        order = self._reserve(lines, reference, None, at)
        fate = self._random.random()
        if fate < 0.06:
            cancelled = at + self._random.uniform(0.2, 2) * _HOUR
            self._queue_change(cancelled, partial(_release, order, "cancelled"))
            return
        dispatch = self._next_dispatch(at)
        if fate < 0.2 and len(lines) > 1:
            self._queue_change(dispatch, partial(_ship, order, lines[::2]))
            dispatch = self._next_dispatch(dispatch + _DAY)
        if fate < 0.1:
            self._queue_change(dispatch, partial(_release, order, "out of stock"))
        else:
            self._queue_change(dispatch, partial(_ship, order, None))

    def _in_stock(self, lines: Sequence[stock.Line]) -> list[stock.Line]:
        """Return one line for each product, limited to the units that the shop sells."""
        wanted: Counter[str] = Counter()
        for line in lines:
            wanted[line.sku] += line.amount
        products = Product.objects.active().in_bulk(list(wanted), field_name="sku")
        possible = []
        for sku, amount in wanted.items():
            # The shop seldom sells the last units.
            kept = self._random.choice((0, 0, 1, 1, 2))
            if sku in products and products[sku].available_quantity > kept:
                units = min(amount, products[sku].available_quantity - kept)
                possible.append(stock.Line(sku, units))
        return possible

    def _reserve(
        self,
        lines: Sequence[stock.Line],
        reference: str,
        expires_in: timedelta | None,
        at: datetime,
    ) -> Reservation:
        seconds = None if expires_in is None else int(expires_in.total_seconds())
        return stock.reserve_lines(
            lines=lines, reference=reference, expires_in=seconds, by=_shop(at)
        )

    def _next_dispatch(self, at: datetime) -> datetime:
        """Return when the next parcels leave: twice a day, except on Sundays."""
        day = at
        while True:
            for hour in _DISPATCH_HOURS:
                dispatch = self._between(day, hour, hour + 0.5)
                if day.weekday() in _DISPATCH_DAYS and dispatch > at + _HOUR:
                    return dispatch
            day += _DAY

    # ----------------------------------------------------------------------------------- routine

    def _queue_routine(self) -> None:
        """Queue deliveries, losses, returns, counts, edits and holds that expire."""
        for number in range(DAYS + 1):
            day = self._start + number * _DAY
            self._queue_change(self._between(day, 8, 18), self._lose)
            self._queue_change(self._between(day, 8, 18), self._take_back)
            if day.weekday() in _DELIVERY_DAYS:
                self._queue_change(self._between(day, 6, 7), self._deliver)
            if day.weekday() in _COUNTING_DAYS:
                self._queue_change(self._between(day, 17, 18), self._count)
            if number % 2:
                self._queue_change(self._between(day, 8, 17), self._edit)
                self._queue_change(self._between(day, 8, 20), self._abandon_basket)
            if number % 6 == 3:
                self._queue_change(self._between(day, 12, 13), self._archive)
            if number == 20:
                self._queue_change(self._between(day, 14, 15), self._restore)

    def _deliver(self, at: datetime) -> None:
        """Deliver most products that are low, in several purchase orders."""
        low = Product.objects.active().low_stock().exclude(sku__in=self._unavailable)
        wanted = [product for product in low.order_by("pk") if self._random.random() < 0.55]
        for first in range(0, len(wanted), _MAX_DELIVERED_LINES):
            reference = f"po-{next(self._deliveries)}"
            delivered = [
                stock.Add(
                    sku=product.sku,
                    amount=_packed(product.minimum_stock_level * self._random.uniform(2, 5)),
                    reason="delivery",
                    reference=reference,
                )
                for product in wanted[first : first + _MAX_DELIVERED_LINES]
            ]
            stock.apply(delivered, by=_warehouse(at))

    def _count(self, at: datetime) -> None:
        """Count some products. Most counts agree with the ledger."""
        counts = []
        for product in self._any_products(25):
            difference = self._random.choice((0, 0, 0, 0, 0, 0, -1, -2, 1))
            quantity = max(product.quantity + difference, product.reserved_quantity)
            count = stock.Adjust(
                sku=product.sku,
                quantity=quantity,
                reason="stocktake",
                reference=f"count-{at:%Y-%m-%d}",
            )
            counts.append(count)
        stock.apply(counts, by=_staff(at))

    def _lose(self, at: datetime) -> None:
        [product] = self._any_products(1)
        if product.available_quantity:
            reason = self._random.choice(("breakage", "loss", "internal use"))
            stock.remove(sku=product.sku, amount=1, reason=reason, by=_staff(at))

    def _take_back(self, at: datetime) -> None:
        [product] = self._any_products(1)
        amount = self._random.randint(1, 6)
        stock.add(sku=product.sku, amount=amount, reason="return", by=_staff(at))

    def _abandon_basket(self, at: datetime) -> None:
        """Hold units for half an hour, and let the hold expire."""
        expiry = at + 30 * _MINUTE
        expired_at = expiry + self._random.randint(1, 59) * _MINUTE / 60
        if expired_at < self._now - _HOUR:
            self._hold(f"basket-{next(self._baskets)}", 30 * _MINUTE, at)
            self._queue_change(expired_at, _expire)

    # ---------------------------------------------------------------------- current reservations

    def _queue_current_reservations(self) -> None:
        """Queue reservations that are open now: two are overdue, others expire later or never."""
        baskets = [
            (33 * _MINUTE, 30 * _MINUTE),
            (31 * _MINUTE, 30 * _MINUTE),
            (12 * _MINUTE, 30 * _MINUTE),
            (4 * _MINUTE, 30 * _MINUTE),
            (75 * _MINUTE, 2 * _HOUR),
            (3 * _HOUR, 24 * _HOUR),
        ]
        for age, expires_in in baskets:
            basket = f"basket-{next(self._baskets)}"
            self._queue_change(self._now - age, partial(self._hold, basket, expires_in))
        held: list[tuple[timedelta, str, timedelta | None]] = [
            (6 * _DAY, "quote-okafor", 14 * _DAY),
            (4 * _DAY, "quote-garcia", 14 * _DAY),
            (2 * _DAY, "phone-smith", None),
            (5 * _HOUR, "phone-weber", None),
        ]
        for age, reference, hold_for in held:
            self._queue_change(self._now - age, partial(self._hold, reference, hold_for))
        partly_shipped: list[tuple[timedelta, str, timedelta | None]] = [
            (3 * _DAY, "quote-rossi", 14 * _DAY),
            (1 * _DAY, "phone-dubois", None),
        ]
        for age, reference, hold_for in partly_shipped:
            ship_after = age - 2 * _HOUR
            hold = partial(self._hold, reference, hold_for, ship_after=ship_after)
            self._queue_change(self._now - age, hold)
        self._queue_change(self._now - 8 * _MINUTE, self._take_back)
        self._queue_change(self._now - 2 * _MINUTE, self._lose)

    def _hold(
        self,
        reference: str,
        expires_in: timedelta | None,
        at: datetime,
        *,
        ship_after: timedelta | None = None,
    ) -> None:
        """Hold some units. Ship one line later, if asked to."""
        lines = [
            stock.Line(product.sku, self._random.randint(1, 3))
            for product in self._any_products(20)
            if product.available_quantity >= 3
        ][: self._random.randint(2, 4)]
        held = self._reserve(lines, reference, expires_in, at)
        if ship_after is not None:
            self._queue_change(at + ship_after, partial(_ship, held, lines[:1]))


def _shop(at: datetime) -> BackdatedActor:
    return BackdatedActor("webshop", StockEvent.Source.API, at=at)


def _warehouse(at: datetime) -> BackdatedActor:
    return BackdatedActor("warehouse", StockEvent.Source.API, at=at)


def _staff(at: datetime) -> BackdatedActor:
    return BackdatedActor("maria", StockEvent.Source.ADMIN, at=at)


def _command(name: str, at: datetime) -> BackdatedActor:
    return BackdatedActor(name, StockEvent.Source.COMMAND, at=at)


def _ship(order: Reservation, lines: Sequence[stock.Line] | None, at: datetime) -> None:
    """Ship the given lines of an order, or all open units."""
    by = _warehouse(at)
    stock.fulfill(
        reservation_id=order.pk, lines=lines, reason="shipped", reference=order.reference, by=by
    )


def _release(order: Reservation, reason: str, at: datetime) -> None:
    stock.release(reservation_id=order.pk, reason=reason, reference=order.reference, by=_shop(at))


def _expire(at: datetime) -> None:
    """Expire the reservation that was overdue first."""
    stock.expire_overdue(limit=1, by=_command("expire_reservations", at))


def _packed(units: float) -> int:
    """Round up to a usual number of units: 2, 4, then whole half-dozens."""
    return next((pack for pack in (2, 4) if units <= pack), math.ceil(units / 6) * 6)
