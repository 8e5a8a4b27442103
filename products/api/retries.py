"""Retries and preconditions: the headers `Idempotency-Key` and `If-Match`."""

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

# Printable ASCII, as a header should be.
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}")
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")


def once_of(
    view: Any, render: Callable[[Any], stock.KeptAnswer]
) -> stock.Once[stock.KeptAnswer] | None:
    """Return how the request of a view is carried out once; None without an `Idempotency-Key`.

    Claims belong to the client's name, so that a renewed key of the same client is the same client.
    """
    key = view.request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise invalid_field(
            "Idempotency-Key",
            f"1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters are required.",
        )
    return stock.Once(
        source=view.actor.source,
        caller=view.actor.name,
        key=key,
        fingerprint=fingerprint(view),
        render=render,
    )


def fingerprint(view: Any) -> str:
    """Return a hash that tells one request from another, whichever path and method it came by."""
    condition = view.request.META.get("HTTP_IF_MATCH")
    meaning = [view.basename, view.action, view.kwargs, view.request.data, condition]
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def answer_of(response: HttpResponse) -> stock.KeptAnswer:
    """Return the answer to keep from a response."""
    headers = {name: response[name] for name in _KEPT_HEADERS if response.has_header(name)}
    return stock.KeptAnswer(response.status_code, response.content, headers)


def response_of(answer: stock.KeptAnswer) -> HttpResponse:
    """Return the response that an answer was, or is again."""
    response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    if answer.is_replay:
        response["Idempotent-Replayed"] = "true"
    return response


def product_etag(product: Product) -> str:
    """Return the entity tag of a product: its version."""
    return f'"{product.version}"'


def versions_of(header: str | None) -> Collection[int] | None:
    """Return the versions that an `If-Match` header allows (RFC 9110); None without one.

    `*` allows all. Weak tags, and tags that are none of ours, match no version.
    """
    if header is None:
        return None
    tags = parse_etags(header)
    if "*" in tags:
        return range(1, MAX_ID)
    return {int(tag[1:-1]) for tag in tags if re.fullmatch('"[1-9][0-9]{0,17}"', tag)}
