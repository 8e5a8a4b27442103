"""Collect changes of locked rows in memory, and write them together with their events."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError

from products import events, policies
from products.db.clock import SecondsFromNow
from products.db.errors import is_unique_violation
from products.db.prepared import execute_prepared
from products.db.sqlite import is_sqlite
from products.ledger import sqlite, statements
from products.ledger.statements import Opening, Rows, Write, rows_of
from products.models import Levels, Product, Reservation, ReservationLine, StockEvent
from products.validators import parse_time


@dataclass(frozen=True)
class Actor:
    """The user or client that makes a change, and the source of its request."""

    name: str
    source: StockEvent.Source
    request_id: str = ""

    @property
    def backdated_to(self) -> datetime | None:
        """The time of the change, if it is not now: see `products.ledger.backdating`."""
        return None


class LevelChange(NamedTuple):
    """A product's levels before and after a change."""

    before: Levels
    after: Levels


class SkuTaken(Exception):
    """Another transaction has just created a product with the same SKU, or in another case."""


NO_DETAILS: Mapping[str, Any] = {}


class _Event(NamedTuple):
    """A row of the ledger to write. A new product or reservation has no id yet."""

    product: Product
    version: int
    type: StockEvent.Type
    quantity: int
    reserved_quantity: int
    quantity_change: int
    reserved_change: int
    reservation: Reservation | None
    reason: str
    reference: str
    undoes_id: int | None
    details: Mapping[str, Any]

    def row(self, *, pk: int, by: Actor, occurred_at: datetime) -> StockEvent:
        """Return the row as a model instance, with the values that the database has set."""
        return StockEvent(
            pk=pk,
            sku=self.product.sku,
            actor=by.name,
            source=by.source,
            request_id=by.request_id,
            occurred_at=occurred_at,
            **{**self._asdict(), "details": dict(self.details)},
        )


# The fields in which a low-stock event differs from the event that caused it.
_NO_CHANGE: Mapping[str, Any] = {
    "quantity_change": 0,
    "reserved_change": 0,
    "reservation": None,
    "reason": "",
    "undoes_id": None,
    "details": NO_DETAILS,
}


class Posting:
    """Collect changes of locked rows in memory. `write` writes all of them together.

    Each change updates the instance in memory, so a second change of the same product starts from
    the levels after the first.
    """

    def __init__(self, *, by: Actor) -> None:
        self._by = by
        self._events: list[_Event] = []
        self._changed: dict[int, Product] = {}
        self._edited_columns: set[str] = set()
        self._counted: dict[int, str] = {}
        self._created: list[Product] = []
        self._opened: tuple[Reservation, int | None] | None = None
        self._extended: list[tuple[Reservation, int]] = []
        self._lines: dict[int, ReservationLine] = {}
        self._line_columns: set[str] = {"open"}
        self._write: Write | None = None

    # -------------------------------------------------------------------------------- collecting

    def record(
        self,
        product: Product,
        event_type: StockEvent.Type,
        *,
        quantity_change: int = 0,
        reserved_change: int = 0,
        reservation: Reservation | None = None,
        reason: str = "",
        reference: str = "",
        undoes_id: int | None = None,
        details: Mapping[str, Any] = NO_DETAILS,
    ) -> LevelChange:
        """Change the levels of a locked product, and add an event.

        `undoes_id` is the id of the event that this one undoes.
        """
        before = product.levels
        product.quantity += quantity_change
        product.reserved_quantity += reserved_change
        self._changed[product.pk] = product
        if event_type == StockEvent.Type.ADJUSTED and undoes_id is None:
            self._counted[product.pk] = _moment_of_count(details)
        return self._append(
            product,
            event_type,
            before,
            quantity_change,
            reserved_change,
            reservation,
            reason,
            reference,
            details,
            undoes_id,
        )

    def create(self, product: Product, *, reason: str = "", reference: str = "") -> None:
        """Create an unsaved product, and add an event with its opening stock.

        An archived product also gets a `ProductArchived`.
        """
        self._created.append(product)
        product.version = 0
        self._append(
            product,
            StockEvent.Type.PRODUCT_CREATED,
            None,
            quantity_change=product.quantity,
            reason=reason,
            reference=reference,
        )
        if product.archived:
            self._append(product, StockEvent.Type.PRODUCT_ARCHIVED, product.levels)

    def edit(
        self,
        product: Product,
        event_type: StockEvent.Type,
        columns: Mapping[str, Any],
        details: Mapping[str, Any],
    ) -> None:
        """Change descriptive columns of a locked product, and add an event."""
        before = product.levels
        for name, value in columns.items():
            setattr(product, name, value)
        self._edited_columns |= columns.keys()
        self._changed[product.pk] = product
        self._append(product, event_type, before, details=details)

    def reconcile(
        self,
        product: Product,
        *,
        quantity_change: int,
        reserved_change: int,
        reserved_quantity: int,
        reason: str,
    ) -> None:
        """Add an `InventoryAdjusted` with the changes that the ledger lacks.

        Sets the reserved quantity of the locked product. Its quantity on hand stays.
        """
        before = product.levels
        product.reserved_quantity = reserved_quantity
        self._changed[product.pk] = product
        self._append(
            product,
            StockEvent.Type.ADJUSTED,
            before,
            quantity_change=quantity_change,
            reserved_change=reserved_change,
            reason=reason,
        )

    def open(self, reservation: Reservation, *, expires_in: int | None) -> None:
        """Open an unsaved reservation with its `loaded_lines`. Adds no event: call `record`, too.

        It expires after `expires_in` seconds, or never.
        """
        self._opened = reservation, expires_in

    def extend(self, reservation: Reservation, *, expires_in: int) -> None:
        """Make a locked reservation expire `expires_in` seconds from now. Adds no event."""
        self._extended.append((reservation, expires_in))

    def end(self, line: ReservationLine, amount: int, *, part: str) -> None:
        """Move open units of a line to a part, such as `fulfilled`.

        Adds no event: call `record`, too. The product and the reservation must be locked. The
        reservation closes with its last open unit.
        """
        line.open -= amount
        setattr(line, part, getattr(line, part) + amount)
        self._line_columns.add(part)
        self._lines[line.pk] = line
        units = line.reservation.units
        units["open"] -= amount
        units[part] += amount
        line.reservation.status = Reservation.status_for(
            open_units=units["open"], fulfilled=units["fulfilled"], expired=units["expired"]
        )

    def _append(
        self,
        product: Product,
        event_type: StockEvent.Type,
        before: Levels | None,
        quantity_change: int = 0,
        reserved_change: int = 0,
        reservation: Reservation | None = None,
        reason: str = "",
        reference: str = "",
        details: Mapping[str, Any] = NO_DETAILS,
        undoes_id: int | None = None,
    ) -> LevelChange:
        """Add an event, and a low-stock event if the change crosses the minimum.

        `before` is None for a new product.
        """
        after = product.levels
        product.version += 1
        event = _Event(
            product,
            product.version,
            event_type,
            after.quantity,
            after.reserved_quantity,
            quantity_change,
            reserved_change,
            reservation,
            reason,
            reference,
            undoes_id,
            details,
        )
        self._events.append(event)
        crossing = policies.low_stock_event(before, after)
        if crossing is not None:
            product.version += 1
            self._events.append(
                event._replace(version=product.version, type=crossing, **_NO_CHANGE)
            )
        return LevelChange(before or after, after)

    # ----------------------------------------------------------------------------------- writing

    def prepare(self) -> None:
        """Do the part of `write` that needs no database. Call it after the last change."""
        if not self._events or self._write is not None:
            return
        if any(product.pk is None for product in self._created):
            return  # The events need the ids of the new products.
        # In the order of products and versions, as `products.feed` requires.
        self._events.sort(key=lambda event: (event.product.id, event.version))
        changed = self._changed.values()
        level_columns = (*statements.LEVEL_COLUMNS, *sorted(self._edited_columns))
        levels = [[getattr(product, name) for product in changed] for name in level_columns]
        if self._counted:
            level_columns = (*level_columns, statements.LAST_COUNT)
            levels.append([self._counted.get(product.pk) for product in changed])
        self._write = Write(
            self._event_rows(),
            [self._by.name, self._by.source, self._by.request_id],
            rows_of(Product, level_columns, levels),
            self._line_rows() if self._lines else None,
            self._status_rows() if self._lines else None,
            _opening(*self._opened) if self._opened and not is_sqlite() else None,
            self._by.backdated_to,
        )

    def write(self, *, commits: bool = False, waits: bool = True) -> bool:
        """Write the events and the levels, and notify receivers after the commit.

        With `commits`, PostgreSQL commits the transaction in the same round trip if there is an
        event. Returns whether it did. Without `waits`, the products keep their old `updated_at`,
        and an error of the statement is raised at the next use of the connection.

        Raises `SkuTaken`.
        """
        if self._created:
            self._create_products()
        for reservation, expires_in in self._extended:
            _extend(reservation, expires_in, now=self._by.backdated_to)
        if self._opened and is_sqlite():
            sqlite.insert_reservation(*self._opened, now=self._by.backdated_to)
        self.prepare()
        if self._write is None:
            return False
        # Only receivers need the ids.
        has_receivers = events.stock_event.has_listeners(StockEvent)
        waits = waits or has_receivers
        if is_sqlite():
            ids, occurred_at = sqlite.write(self._write)
        else:
            sql, parameters = statements.compose(self._write)
            written = execute_prepared(sql, parameters, commits=commits, waits=waits)
            if not waits:
                return False
            [(occurred_at, ids, *opened)] = written
            if self._opened:
                _set_generated(self._opened[0], occurred_at, *opened)
        for product in self._changed.values():
            product.updated_at = occurred_at
        if has_receivers:
            self._publish(ids, occurred_at)
        return commits and not is_sqlite()

    def _create_products(self) -> None:
        if (now := self._by.backdated_to) is not None:
            for product in self._created:
                product.created_at = product.updated_at = now
        try:
            # In the order of SKUs, so that two transactions with the same SKUs cannot deadlock.
            # Case does not count: SKUs that differ by case alone exclude each other, too.
            Product.objects.bulk_create(sorted(self._created, key=lambda new: new.sku.upper()))
        except IntegrityError as error:
            if not is_unique_violation(error):
                raise
            raise SkuTaken from error

    def _event_rows(self) -> Rows:
        products, *columns = zip(*self._events, strict=True)
        reservations = _Event._fields.index("reservation") - 1
        columns[reservations] = tuple(
            None if reservation is None else reservation.pk or statements.NEW_RESERVATION
            for reservation in columns[reservations]
        )
        columns[-1] = tuple(json.dumps(details) if details else "{}" for details in columns[-1])
        ids_and_skus = [[product.id for product in products], [each.sku for each in products]]
        return rows_of(StockEvent, statements.EVENT_COLUMNS, [*ids_and_skus, *columns])

    def _line_rows(self) -> Rows:
        columns = ("id", *sorted(self._line_columns))
        return _rows(ReservationLine, columns, self._lines.values())

    def _status_rows(self) -> Rows | None:
        reservations = {line.reservation_id: line.reservation for line in self._lines.values()}
        closed = [held for held in reservations.values() if held.status != Reservation.Status.OPEN]
        return _rows(Reservation, statements.STATUS_COLUMNS, closed) if closed else None

    def _publish(self, ids: Iterable[int], occurred_at: datetime) -> None:
        events.publish_on_commit(
            [
                event.row(pk=pk, by=self._by, occurred_at=occurred_at)
                for pk, event in zip(ids, self._events, strict=True)
            ]
        )


def _moment_of_count(details: Mapping[str, Any]) -> str:
    """Return the moment of a late count as the database stores it, or `COUNTED_NOW`."""
    moment = details.get("counted_at")
    if moment is None:
        return statements.COUNTED_NOW
    return sqlite.as_text(parse_time(moment)) if is_sqlite() else moment


def _rows(model: Any, columns: tuple[str, ...], rows: Collection[Any]) -> Rows:
    return rows_of(model, columns, [[getattr(row, name) for row in rows] for name in columns])


def _opening(reservation: Reservation, expires_in: int | None) -> Opening:
    lines = _rows(ReservationLine, statements.OPENED_LINE_COLUMNS, reservation.loaded_lines)
    return Opening(lines, [reservation.reference, reservation.status, expires_in])


def _set_generated(
    reservation: Reservation,
    occurred_at: datetime,
    pk: int,
    expires_at: datetime | None,
    line_ids: Sequence[int],
) -> None:
    """Set the ids and times that the database has generated for a new reservation."""
    reservation.pk, reservation.expires_at, reservation.created_at = pk, expires_at, occurred_at
    for line, line_id in zip(reservation.loaded_lines, line_ids, strict=True):
        line.pk, line.reservation = line_id, reservation


def _extend(reservation: Reservation, expires_in: int, *, now: datetime | None) -> None:
    rows = Reservation.objects.filter(pk=reservation.pk)
    expires_at = now + timedelta(seconds=expires_in) if now else SecondsFromNow(expires_in)
    rows.update(expires_at=expires_at)
    reservation.expires_at = rows.values_list("expires_at", flat=True).get()
