"""`If-Match`: a change is made only if the product is still as the client knows it."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.utils.http import parse_etags

from products import stock
from products.models import Product


def product_etag(product: Product) -> str:
    """Return the entity tag: the version, and a hash of what changes without an event."""
    described = [product.name, product.description, product.minimum_stock_level, product.archived]
    hashed = hashlib.sha256("\0".join(map(str, described)).encode()).hexdigest()
    return f'"{product.version}-{hashed[:8]}"'


def conditional(action: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let an action on a product be refused by `If-Match`, compared under the lock (RFC 9110)."""

    @functools.wraps(action)
    def run(view: Any, request: Any, sku: str) -> HttpResponse:
        header = request.META.get("HTTP_IF_MATCH")
        if header is None:
            return action(view, request, sku)

        @stock.transactional
        def compare_and_run() -> HttpResponse:
            product = stock.lock(sku=sku)
            wanted = parse_etags(header)
            if "*" not in wanted and product_etag(product) not in wanted:
                raise stock.PreconditionFailed(sku, product_etag(product))
            return action(view, request, sku)

        return compare_and_run()

    return run
