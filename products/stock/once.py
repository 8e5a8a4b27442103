"""Apply a change once, even if it is requested several times.

The claim of the key, the change and its response are written in one transaction. A crash can never
leave one without the others (ADR 7).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from products.db.prepared import binary, execute_prepared
from products.db.sqlite import is_sqlite
from products.models import IdempotencyKey, StockEvent
from products.stock.errors import KeyReused


@dataclass(frozen=True)
class StoredResponse:
    """The response to a request, stored for callers that repeat the request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_replay: bool = False


S = TypeVar("S", bound=StoredResponse)


@dataclass(frozen=True, kw_only=True)
class Once(Generic[S]):
    """Apply a change once for each source, caller and key.

    `fingerprint` identifies the request: a key that is reused with another fingerprint is refused.
    `render` makes the response to store from the verb's result. A refused change leaves no claim.

    The type variable tells a type checker that a verb returns its own result without `once`, and
    a `StoredResponse` with it.
    """

    source: StockEvent.Source
    caller: str
    key: str
    fingerprint: str
    render: Callable[[Any], S]


# `bulk_create(ignore_conflicts=True)` does not report whether there was a conflict.
_CLAIM = """
    INSERT INTO products_idempotencykey (source, caller, key, fingerprint, body, headers)
    VALUES (%s, %s, %s, %s, '', '{}') ON CONFLICT DO NOTHING RETURNING id
"""
_STORE = """
    UPDATE products_idempotencykey SET status = %s, body = %s, headers = %s WHERE id = %s
"""


def claim(once: Once[Any]) -> int | StoredResponse:
    """Insert a claim and return its id, or return the response of the existing claim.

    Waits for a running transaction with the same key, so it never sees a claim without a response.
    Raises `KeyReused`.
    """
    while True:
        row = [once.source, once.caller, once.key, once.fingerprint]
        if inserted := execute_prepared(_CLAIM, row):
            [(claim_id,)] = inserted
            return int(claim_id)
        kept = IdempotencyKey.objects.filter(
            source=once.source, caller=once.caller, key=once.key
        ).first()
        if kept is None:
            continue  # `prune` has just deleted the claim.
        if kept.fingerprint != once.fingerprint:
            raise KeyReused(once.key)
        return StoredResponse(kept.status or 0, bytes(kept.body), kept.headers, is_replay=True)


def store_response(claim_id: int, response: StoredResponse, *, commits: bool) -> bool:
    """Store the response with its claim, and return whether the transaction was committed.

    With `commits`, PostgreSQL commits it in the same round trip.
    """
    row = [response.status, binary(response.body), json.dumps(dict(response.headers)), claim_id]
    execute_prepared(_STORE, row, commits=commits)
    return commits and not is_sqlite()
