"""`Idempotency-Key`: a request that is sent again is answered again, and not carried out again."""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.http import HttpResponse

from products import stock
from products.api.problems import Problem, invalid_field
from products.api.responses import JSONResponse
from products.models import MAX_IDEMPOTENCY_KEY_LENGTH, IdempotencyKey

Action = Callable[..., HttpResponse]

# Printable ASCII, as a header should be.
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}")
# The ORM's own insert that ignores a conflict does not say whether there was one.
_CLAIM = """
    INSERT INTO products_idempotencykey (api_key_id, key, fingerprint, body, headers)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")


def idempotent(action: Action) -> Action:
    """Let an action of a view be sent again safely, under the same `Idempotency-Key`.

    The key is claimed, the action carried out and its answer kept in one transaction: none of
    them is there without the others, whenever the process dies. Somebody else with the same key
    waits for that transaction, and then finds the answer or a free key. Kept is what `stock` has
    decided, done or refused; a request that is wrong in itself may be mended under its key.
    """

    @functools.wraps(action)
    def run(view: Any, request: Any, **target: Any) -> Any:
        key = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            return action(view, request, **target)
        if not _KEY.fullmatch(key):
            raise invalid_field(
                "Idempotency-Key",
                f"1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters are required.",
            )
        fingerprint = _fingerprint(view, target, request.data)

        @stock.transactional
        def claim_and_run() -> Any:
            kept = _claim(request.auth, key, fingerprint)
            if kept.status is not None:
                return _replay(kept, fingerprint)
            try:
                answer = action(view, request, **target)
            except stock.Invalid:
                raise
            except stock.StockError as refusal:
                refused = view.handle_exception(refusal)
                answer = JSONResponse(
                    refused.data, status=refused.status_code, content_type=refused.content_type
                )
            _keep(kept, answer)
            return answer

        return claim_and_run()

    return run


def _fingerprint(view: Any, target: dict[str, Any], body: Any) -> str:
    """Return what tells one request from another, whichever of its paths and methods was used."""
    condition = view.request.META.get("HTTP_IF_MATCH")
    meaning = json.dumps([view.basename, view.action, target, body, condition], sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()


def _claim(api_key: Any, key: str, fingerprint: str) -> IdempotencyKey:
    """Return the row of the key: without a status it is new, and ours.

    Another's unfinished row is never seen: the insert waits until it is committed or gone.
    """
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [api_key.pk, key, fingerprint, b"", "{}"])
            inserted = cursor.fetchone()
        if inserted:
            return IdempotencyKey(pk=inserted[0], api_key=api_key, key=key, fingerprint=fingerprint)
        # Gone again, if it was old and `prune` has just forgotten it.
        if kept := IdempotencyKey.objects.filter(api_key=api_key, key=key).first():
            return kept


def _replay(kept: IdempotencyKey, fingerprint: str) -> HttpResponse:
    if kept.fingerprint != fingerprint:
        raise Problem(
            "idempotency_key_reused", "This key was used for another request: take a new one."
        )
    replay = HttpResponse(bytes(kept.body), status=kept.status, headers=kept.headers)
    replay["Idempotent-Replayed"] = "true"
    return replay


def _keep(kept: IdempotencyKey, answer: HttpResponse) -> None:
    kept.status = answer.status_code
    kept.body = answer.content
    kept.headers = {name: answer[name] for name in _KEPT_HEADERS if answer.has_header(name)}
    kept.save(update_fields=["status", "body", "headers"])
