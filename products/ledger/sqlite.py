"""Write a change on SQLite, where a statement writes one table only."""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from products.db.clock import SecondsFromNow
from products.ledger import statements
from products.ledger.statements import Write
from products.models import Product, Reservation, ReservationLine


def insert_reservation(
    reservation: Reservation, expires_in: int | None, *, now: datetime | None
) -> None:
    """Insert a reservation with its `loaded_lines`, before its events.

    `now` is the time of a backdated change.
    """
    if now is not None:
        reservation.created_at = now
    if expires_in is not None:
        expires_at = now + timedelta(seconds=expires_in) if now else SecondsFromNow(expires_in)
        reservation.expires_at = expires_at
    reservation.save(force_insert=True)
    if expires_in is not None:
        # One statement has set both times, so the expiry can be computed.
        reservation.expires_at = reservation.created_at + timedelta(seconds=expires_in)
    for line in reservation.loaded_lines:
        line.reservation = reservation
    ReservationLine.objects.bulk_create(reservation.loaded_lines)


def write(change: Write) -> tuple[list[int], datetime]:
    """Write the rows of a change. Return the ids and the time of its events."""
    backdated_to = [as_text(change.backdated_to)] if change.backdated_to else []
    with connection.cursor() as cursor:
        if change.lines:
            sql = statements.update_lines(change.lines.sql, change.lines.columns)
            cursor.execute(sql, change.lines.parameters)
        if change.statuses:
            sql = statements.update_statuses(change.statuses.sql, change.statuses.columns)
            cursor.execute(sql, change.statuses.parameters)
        cursor.execute(
            statements.insert_events(change.events.sql, at="%s" if backdated_to else None),
            [*change.event_parameters, *backdated_to, *change.events.parameters],
        )
        ids, times = zip(*cursor.fetchall(), strict=True)
        occurred_at = from_text(times[0])
        sql = statements.update_products(change.levels.sql, change.levels.columns, at="%s")
        own_times = [as_text(occurred_at)] * sql.count("%s", 0, sql.index(" FROM "))
        cursor.execute(sql, [*own_times, *change.levels.parameters])
    return list(ids), occurred_at


def as_text(time: datetime) -> Any:
    """Return a time as SQLite stores it."""
    return Product._meta.get_field("updated_at").get_db_prep_save(time, connection)


def from_text(text: Any) -> Any:
    """Return the time of a text that SQLite stores."""
    convert: Any = connection.ops
    return convert.convert_datetimefield_value(text, None, connection)
