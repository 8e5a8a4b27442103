"""The digest of low stock: an e-mail that lists the products that became low since the last one.

`LowStockCursor` says up to which event of the ledger the crossings were sent. A run claims the
row for a limited time, sends, and then moves the cursor. No transaction is open and no lock is held
while it sends: on SQLite, all sales would wait for the mail server.

The claim also stores where the digest ends. A run that dies before it moves the cursor is repeated
for the same events, with the same Message-ID. So no crossing is lost, and a second e-mail can be
recognized.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.template.defaultfilters import pluralize
from django.urls import reverse

from products import alerts, feed
from products.alerts import one_line
from products.db.clock import Now, SecondsFromNow
from products.models import SURPLUS, TO_ORDER, LowStockCursor, Product, StockEvent

CLAIM_SECONDS = 300
"""Longer than it takes to send an e-mail, with `EMAIL_TIMEOUT` for each answer of the server."""
MAX_LISTED = 200

# A product that was archived when it became low is reported when it is restored.
_CROSSINGS = (StockEvent.Type.LOW_STOCK_DETECTED, StockEvent.Type.PRODUCT_RESTORED)


class Busy(Exception):
    """Another run is sending a digest."""


class Digest(NamedTuple):
    """A digest that was carried out."""

    low: int
    """The number of products that became low and still are. With none, no e-mail was sent."""
    lost_cursor: bool
    """Whether the ledger did not have the event of the cursor. Then all low products were sent."""


class _Claim(NamedTuple):
    """The events of a digest, which follow one cursor and end with another."""

    token: UUID
    after: str
    up_to: str
    repeats: bool
    """Whether an earlier run may have sent the same events."""
    lost_cursor: bool


def send() -> Iterator[Digest]:
    """Send the crossings that were not sent yet, and yield each digest after it was carried out.

    If an earlier run did not finish, its digest is repeated first. Raises `Busy` and
    `alerts.NotSent`. Must not be called in a transaction.
    """
    alerts.require_configuration()
    while claim := _claim():
        yield _carry_out(claim)
        if not claim.repeats:
            break


def _claim() -> _Claim | None:
    """Claim the events since the last digest, or return None if there are none."""
    state, _ = LowStockCursor.objects.get_or_create(pk=1)
    after, up_to = state.cursor or feed.START, state.sending_up_to
    latest = feed.latest().cursor
    lost_cursor = not _is_known(after)
    if lost_cursor:
        after, up_to = feed.START, ""
    if not up_to and feed.id_in(latest) <= feed.id_in(after):
        return None
    claim = _Claim(uuid4(), after, up_to or latest, bool(up_to), lost_cursor)
    # Compared and set in one statement: another run may have finished since `state` was read.
    claimed = LowStockCursor.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lt=Now()),
        cursor=state.cursor,
        sending_up_to=state.sending_up_to,
    ).update(
        cursor="" if after == feed.START else after,
        sending_up_to=claim.up_to,
        claim=claim.token,
        claimed_until=SecondsFromNow(CLAIM_SECONDS),
    )
    if not claimed:
        raise Busy
    return claim


def _is_known(cursor: str) -> bool:
    try:
        feed.read(after=cursor, limit=1)
    except feed.UnknownCursor:
        return False
    return True


def _carry_out(claim: _Claim) -> Digest:
    """Send the e-mail of the claim, if there is something to tell, and move the cursor."""
    ended: dict[str, str] = {}
    try:
        low = _send(claim)
        ended = {"cursor": claim.up_to, "sending_up_to": ""}
    finally:
        # Without `ended`, the next run repeats the digest.
        own = LowStockCursor.objects.filter(claim=claim.token)
        own.update(claim=None, claimed_until=None, **ended)
    return Digest(low, claim.lost_cursor)


def _send(claim: _Claim) -> int:
    """Send an e-mail unless no product is low. Return the number of low products."""
    crossings = StockEvent.objects.filter(
        type__in=_CROSSINGS, pk__gt=feed.id_in(claim.after), pk__lte=feed.id_in(claim.up_to)
    )
    of_product = crossings.filter(product=OuterRef("pk"))
    low = Product.objects.active().low_stock().filter(Exists(of_product))
    count = low.count()
    if count:
        newest = of_product.order_by("-version").values("occurred_at")[:1]
        rows = low.annotate(to_order=TO_ORDER, low_since=Subquery(newest))
        lines = [
            _heading(count, is_first=claim.after == feed.START),
            *_listed(rows.order_by(SURPLUS, "sku")[:MAX_LISTED]),
            *_ending(count, recovered=_recovered(crossings, claim)),
        ]
        subject = f"Low stock: {count:,} product{pluralize(count)}"
        alerts.send(subject, "\n".join(lines), key=f"low-stock.{claim.up_to}")
    return count


def _recovered(crossings: "QuerySet[StockEvent]", claim: _Claim) -> int:
    """Return how many products became low, and now are not, or are archived."""
    if claim.after == feed.START:
        return 0
    detected = crossings.filter(type=StockEvent.Type.LOW_STOCK_DETECTED)
    recovered = detected.filter(Q(product__low_stock=False) | Q(product__archived=True))
    return recovered.values("product").distinct().count()


def _heading(count: int, *, is_first: bool) -> str:
    is_low = "fewer units are available than the minimum"
    products = f"{count:,} product{pluralize(count)}"
    if is_first:
        verb = "is" if count == 1 else "are"
        next_time = "The next e-mails list the products that become low from now on."
        return f"{products} {verb} low on stock: {is_low}.\n{next_time}\n"
    return f"{products} became low on stock: {is_low}.\n"


def _listed(rows: Iterable[Any]) -> Iterator[str]:
    """Return two lines for each product. The rows have `to_order` and `low_since`."""
    time_zone = ZoneInfo(settings.BACK_OFFICE_TIME_ZONE)
    for each in rows:
        since = each.low_since.astimezone(time_zone)
        yield f"{each.sku}  {one_line(each.name)}"
        yield (
            f"    {each.available_quantity:,} available, minimum {each.minimum_stock_level:,}, "
            f"{each.to_order:,} to order, low since {since:%Y-%m-%d %H:%M}"
        )


def _ending(count: int, *, recovered: int) -> Iterator[str]:
    yield ""
    if count > MAX_LISTED:
        yield f"And {count - MAX_LISTED:,} more. The list has the largest shortages."
    if recovered:
        verb = "has" if recovered == 1 else "have"
        yield (
            f"{recovered:,} more product{pluralize(recovered)} became low and {verb} recovered "
            "since, or been archived."
        )
    if address := alerts.link(reverse("admin:products_product_changelist") + "?stock=low"):
        yield f"All products that are low: {address}"
    yield f"Times are in {settings.BACK_OFFICE_TIME_ZONE}."
