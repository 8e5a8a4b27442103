"""The headers `Idempotency-Key` and `If-Match`."""

import hashlib
import json
import re
from collections.abc import Callable, Collection
from typing import Any

from django.http import HttpResponse
from django.utils.http import parse_etags

from products import stock
from products.api.problems import invalid_field
from products.models import MAX_IDEMPOTENCY_KEY_LENGTH, Product
from products.validators import MAX_ID

# Printable ASCII, without spaces.
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}")
_TAG = re.compile(r'(?:W/)?"([1-9][0-9]{0,17})(?:[-;.]{1,2}(?:gzip|br|zstd|deflate))?"')
_STORED_HEADERS = ("Content-Type", "ETag", "Location")


def once_of(
    view: Any, render: Callable[[Any], stock.StoredResponse]
) -> stock.Once[stock.StoredResponse] | None:
    """Return the claim that makes a request idempotent, or None without an `Idempotency-Key`.

    Claims belong to the name of the client, so a renewed API key keeps them.
    """
    key = view.request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise invalid_field(
            "Idempotency-Key",
            f"Send 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters without spaces.",
        )
    return stock.Once(
        source=view.actor.source,
        caller=view.actor.name,
        key=key,
        fingerprint=fingerprint(view),
        render=render,
    )


def fingerprint(view: Any) -> str:
    """Return a hash of the meaning of a request. Its aliases have the same hash."""
    condition = view.request.META.get("HTTP_IF_MATCH")
    meaning = [view.basename, view.action, view.kwargs, view.request.data, condition]
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def to_stored(response: HttpResponse) -> stock.StoredResponse:
    """Return the parts of a response that a replay needs."""
    headers = {name: response[name] for name in _STORED_HEADERS if response.has_header(name)}
    return stock.StoredResponse(response.status_code, response.content, headers)


def from_stored(stored: stock.StoredResponse) -> HttpResponse:
    """Return the HTTP response for a stored one."""
    response = HttpResponse(stored.body, status=stored.status, headers=dict(stored.headers))
    if stored.is_replay:
        response["Idempotent-Replayed"] = "true"
    return response


def product_etag(product: Product) -> str:
    """Return the entity tag of a product: its version."""
    return f'"{product.version}"'


def versions_of(header: str | None) -> Collection[int] | None:
    """Return the versions that a header such as `If-Match` names, or None without a header.

    `*` names all versions. A tag names a state of the product, not the bytes of a response, so the
    marks of a proxy that compresses responses do not matter: `W/"7"` and `"7-gzip"` are `"7"`.
    Unknown tags name no version.
    """
    if header is None:
        return None
    tags = parse_etags(header)
    if "*" in tags:
        return range(1, MAX_ID)
    return {int(match[1]) for tag in tags if (match := _TAG.fullmatch(tag))}
