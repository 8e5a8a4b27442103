"""A change that is carried out once, however often it is asked for.

The claim, the change and its answer are in one transaction: none of them is there without the
others, whenever the process dies (ADR 7).
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
class KeptAnswer:
    """What a caller is answered, and is answered again when it repeats its request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_replay: bool = False


A = TypeVar("A", bound=KeptAnswer)


@dataclass(frozen=True, kw_only=True)
class Once(Generic[A]):
    """Carry a change out once for each source, caller and key.

    `fingerprint` tells one request from another: the same key with another one is refused. `render`
    makes the answer to keep from the verb's result. A refused change leaves no claim.

    The type variable shows a type checker that a verb returns its own result without `once`, and
    a `KeptAnswer` with it.
    """

    source: StockEvent.Source
    caller: str
    key: str
    fingerprint: str
    render: Callable[[Any], A]


# The ORM's insert that ignores a conflict does not say whether there was one.
_CLAIM = """
    INSERT INTO products_idempotencykey (source, caller, key, fingerprint, body, headers)
    VALUES (%s, %s, %s, %s, '', '{}') ON CONFLICT DO NOTHING RETURNING id
"""
_KEEP = """
    UPDATE products_idempotencykey SET status = %s, body = %s, headers = %s WHERE id = %s
"""


def claim(once: Once[Any]) -> int | KeptAnswer:
    """Return the id of the new claim, or the answer of the one that there is.

    Waits for another transaction with the same key: an unfinished claim is never seen. Raises
    `KeyReused`.
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
            continue  # `prune` has just deleted it.
        if kept.fingerprint != once.fingerprint:
            raise KeyReused(once.key)
        return KeptAnswer(kept.status or 0, bytes(kept.body), kept.headers, is_replay=True)


def keep(claim_id: int, answer: KeptAnswer, *, commits: bool) -> bool:
    """Keep the answer of a claim.

    With `commits`, the transaction is committed in the same round trip, on PostgreSQL: returns
    whether it was.
    """
    row = [answer.status, binary(answer.body), json.dumps(dict(answer.headers)), claim_id]
    execute_prepared(_KEEP, row, commits=commits)
    return commits and not is_sqlite()
