"""The errors of the API: `application/problem+json` (RFC 9457) with stable codes."""

from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError, DataError, InterfaceError
from django.urls import get_script_prefix
from django.utils.encoding import escape_uri_path
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from products.api.drf import JSONRenderer
from products.db.errors import is_busy, is_read_only, is_unavailable
from products.publishing.subscriptions import (
    MAX_SUBSCRIPTIONS,
    InvalidSubscription,
    SubscriptionError,
)
from products.request_id import request_id
from products.stock import BelowReserved, Invalid, StockError
from products.validators import MAX_UNITS

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
MAX_ERRORS = 100
"""The number of wrong fields that a response describes."""
MAX_NAMES = 10
"""The number of wrong fields that `detail` names."""


class ErrorKind(NamedTuple):
    """The HTTP status of an error code, and its meaning for the OpenAPI document."""

    status: int
    meaning: str


ERROR_KINDS = {
    "invalid": ErrorKind(400, "A value is wrong. `errors` names the wrong fields."),
    "malformed_json": ErrorKind(400, "The request body is not JSON."),
    "not_authenticated": ErrorKind(401, "The API key is missing, unknown, revoked or expired."),
    "permission_denied": ErrorKind(403, "The role of the API key does not allow this."),
    "not_found": ErrorKind(404, "No such path."),
    "product_not_found": ErrorKind(404, "No product has this SKU."),
    "reservation_not_found": ErrorKind(404, "No reservation has this id."),
    "webhook_not_found": ErrorKind(404, "No webhook has this id."),
    "event_not_found": ErrorKind(404, "The ledger has no event with this id."),
    "method_not_allowed": ErrorKind(405, "The path does not take this method. See `Allow`."),
    "insufficient_stock": ErrorKind(409, "`requested` is greater than `available`."),
    "insufficient_reserved": ErrorKind(
        409, "The request releases or fulfills more units than are open."
    ),
    "below_reserved": ErrorKind(409, "A count is below the reserved quantity."),
    "quantity_changed": ErrorKind(
        409,
        "The quantity is not the `expected_quantity`, or the product was counted after "
        "`counted_at`.",
    ),
    "repeated_count": ErrorKind(409, "An earlier operation of the request counts this product."),
    "stock_limit_exceeded": ErrorKind(
        409, f"The quantity would become larger than {MAX_UNITS:,} units."
    ),
    "duplicate_sku": ErrorKind(
        409, "A product with this SKU already exists, maybe in another case."
    ),
    "product_archived": ErrorKind(409, "Units of an archived product cannot be added or reserved."),
    "reservation_closed": ErrorKind(409, "The reservation has no open units left."),
    "too_many_webhooks": ErrorKind(409, f"{MAX_SUBSCRIPTIONS} webhooks exist already."),
    "reservation_expired": ErrorKind(410, "The reservation has expired."),
    "length_required": ErrorKind(411, "The request body has no `Content-Length`."),
    "precondition_failed": ErrorKind(412, "The product has changed since the `If-Match` version."),
    "request_too_large": ErrorKind(413, "The request body is larger than 1 MiB."),
    "unsupported_media_type": ErrorKind(415, "The request body is not `application/json`."),
    "idempotency_key_reused": ErrorKind(
        422, "The idempotency key belongs to an earlier, different request."
    ),
    "throttled": ErrorKind(
        429, "Too many requests, or too many invalid API keys. Retry after `Retry-After` seconds."
    ),
    "internal_error": ErrorKind(500, "A bug. Report it with its `request_id`."),
    "busy": ErrorKind(
        503,
        "A lock or a statement took too long, or another test of a webhook is running. Nothing "
        "has changed. Retry after `Retry-After` seconds.",
    ),
    "database_unavailable": ErrorKind(
        503,
        "The database does not respond. The change may have been applied. Retry with the same "
        "`Idempotency-Key`.",
    ),
    "server_unavailable": ErrorKind(
        503,
        "The proxy got no response. The change may have been applied. Retry with the same "
        "`Idempotency-Key`.",
    ),
}
"""Every error code. The OpenAPI document lists them in this order."""

ERROR_CODES = tuple(ERROR_KINDS)

# The code of an error for which only the status is known.
_CODE_OF_STATUS = {
    400: "invalid",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "throttled",
}


def problem(*, code: str, detail: str, instance: str, **known: Any) -> dict[str, Any]:
    """Return the body of an error. `known` holds more members, such as `sku`."""
    return {
        "type": f"urn:inventory:problem:{code}",
        "title": _title(code),
        "status": ERROR_KINDS[code].status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id.get(),
        **known,
    }


def _title(code: str) -> str:
    words = code.replace("_", " ").capitalize()
    return words.replace("json", "JSON").replace("sku", "SKU")


def code_of_status(status: int) -> str:
    """Return the code of an error for which only the HTTP status is known."""
    return _CODE_OF_STATUS.get(status, "invalid" if status < 500 else "internal_error")


def problem_of_status(status: int, *, instance: str) -> dict[str, Any]:
    """Return the body of an error for which only the HTTP status is known."""
    code = code_of_status(status)
    detail = HTTPStatus(status).description or HTTPStatus(status).phrase
    detail = f"{detail.rstrip('.')}."
    if status == HTTPStatus.NOT_FOUND:
        detail = "Unknown path. See /docs for all paths."
    return problem(code=code, detail=detail, instance=instance) | {"status": status}


class Problem(exceptions.APIException):
    """An error with one of the `ERROR_CODES`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = ERROR_KINDS[code].status
        unavailable = self.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        self.wait = RETRY_AFTER_SECONDS if unavailable else None


def busy() -> Problem:
    """Return the error for a database that did not finish in time and changed nothing."""
    return Problem("busy", "The database is busy. Nothing has changed. Try again.")


def database_unavailable() -> Problem:
    """Return the error for a database that does not respond."""
    return Problem(
        "database_unavailable",
        "The database does not respond. The change may have been applied. Check the ledger before "
        "you retry.",
    )


def read_only() -> Problem:
    """Return the error for a database that refuses all changes."""
    return Problem(
        "database_unavailable",
        "The database is read-only, as a standby is. Nothing has changed. Retry once there is a "
        "primary.",
    )


def not_ready(error: Exception) -> Exception:
    """Return the problem of a failed health check with its reason, or the error if it is a bug."""
    if is_read_only(error):
        return Problem("database_unavailable", f"Nothing can be changed: {error}.")
    if is_unavailable(error):
        return Problem("database_unavailable", "The database does not respond.")
    return error


def length_required() -> Problem:
    """Return the error for a request body whose length is unknown."""
    return Problem("length_required", "Send the body with a Content-Length header.")


def request_too_large(limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE) -> Problem:
    """Return the error for a request body of more than `limit` bytes."""
    size = f"{limit // 1024**2} MiB"
    return Problem(
        "request_too_large",
        f"The request body is larger than {size}. Split the request, or the file in it.",
    )


def incomplete_body() -> exceptions.ValidationError:
    """Return the error for a body that ends before its `Content-Length`."""
    return invalid_field(None, "The body is shorter than its Content-Length. Send it again.")


def database_problem(error: Exception) -> Problem | None:
    """Return the problem for a database error, or None if the error is a bug."""
    if isinstance(error, DataError):
        return Problem("invalid", "The request contains a value that the database cannot store.")
    if is_busy(error):
        return busy()
    if is_read_only(error):
        return read_only()
    if is_unavailable(error):
        return database_unavailable()
    return None


def invalid_field(
    field: str | None, detail: str, code: str = "invalid"
) -> exceptions.ValidationError:
    """Return the error for a wrong field, or for the whole body if `field` is None."""
    error = exceptions.ErrorDetail(detail, code)
    return exceptions.ValidationError({field: [error]} if field else [error])


def subscription_problem(error: SubscriptionError) -> exceptions.APIException:
    """Return the error for a refused change of a webhook."""
    if isinstance(error, InvalidSubscription):
        return invalid_field(error.field, error.detail)
    return Problem(error.code, error.detail)


class ProblemHandler(ExceptionHandler):
    """Converts the exceptions of views into problems."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        match exc:
            case StockError():
                return Problem(exc.code, exc.detail)
            case SubscriptionError():
                return subscription_problem(exc)
            case RequestDataTooBig():
                return request_too_large()
            case BadRequest():
                return incomplete_body()
            case TooManyFieldsSent():
                return invalid_field(
                    None, "The query has too many parameters. Remove some.", "too_many"
                )
            case DatabaseError() | InterfaceError():
                return database_problem(exc) or exc
            case exceptions.ParseError():
                return Problem("malformed_json", str(exc.detail))
        return super().convert_known_exceptions(exc)

    def get_response(self, exc: exceptions.APIException, data: dict[str, Any]) -> Response:
        response = super().get_response(exc, data)
        response.content_type = CONTENT_TYPE
        if request := self.context["request"]:
            # The views of the docs pages have an HTML renderer.
            request.accepted_renderer = JSONRenderer()
        return response


class ProblemFormatter(ExceptionFormatter):
    """Writes the body of a problem."""

    def run(self) -> dict[str, Any]:
        request = self.context["request"]
        is_stock_error = isinstance(self.original_exc, StockError)
        return body_of(
            self.original_exc if is_stock_error else self.exc,
            instance=escape_uri_path(request.path) if request else "",
        )


def body_of(error: Exception, *, instance: str) -> dict[str, Any]:
    """Return the body of the problem for an exception."""
    if isinstance(error, StockError):
        return _stock_problem(error, instance)
    if isinstance(error, exceptions.ValidationError):
        return _invalid_problem(error, instance)
    if isinstance(error, Problem):
        return problem(code=error.code, detail=str(error.detail), instance=instance)
    if not isinstance(error, exceptions.APIException):
        return problem_of_status(HTTPStatus.INTERNAL_SERVER_ERROR, instance=instance)
    body = problem_of_status(error.status_code, instance=instance)
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        body["detail"] = str(error.detail)
    return body


def _invalid_problem(error: exceptions.ValidationError, instance: str) -> dict[str, Any]:
    """Return a problem with the first errors, and with the number of the others."""
    found = _errors_in(error.detail)
    errors: list[dict[str, Any]] = [
        {"field": _field(path), "code": each.code, "detail": str(each)}
        for path, each in islice(found, MAX_ERRORS)
    ]
    omitted = sum(1 for _ in found)
    detail = _summary(errors, omitted)
    return problem(code="invalid", detail=detail, instance=instance, **_first_of(errors, omitted))


def _first_of(errors: list[dict[str, Any]], omitted: int) -> dict[str, Any]:
    """Return the members of a problem that describe the first wrong fields."""
    described: dict[str, Any] = {"errors": errors[:MAX_ERRORS]}
    return {**described, "errors_omitted": omitted} if omitted else described


def _errors_in(detail: Any) -> Iterator[tuple[str | None, exceptions.ErrorDetail]]:
    """Yield each error with the path of its field, outer fields first."""
    left: deque[tuple[Any, str | None]] = deque([(detail, None)])
    while left:
        value, path = left.popleft()
        if isinstance(value, dict):
            left.extend((inner, _join(path, name)) for name, inner in value.items())
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                is_error = isinstance(inner, exceptions.ErrorDetail)
                left.append((inner, path if is_error else _join(path, index)))
        else:
            yield path, value


def _join(path: str | None, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _field(path: str | None) -> str | None:
    """Return the field that `path` names, or None for the whole body."""
    whole = api_settings.NON_FIELD_ERRORS_KEY
    return None if path == whole else (path and path.removesuffix(f".{whole}"))


def _summary(errors: list[dict[str, Any]], omitted: int) -> str:
    names = [error["field"] for error in errors if error["field"]]
    if not names:
        return str(errors[0]["detail"])
    more = len(names) - MAX_NAMES + omitted
    others = f" and {more} more" if more > 0 else ""
    return f"The request is invalid: {', '.join(names[:MAX_NAMES])}{others}."


def _stock_problem(error: StockError, instance: str) -> dict[str, Any]:
    if error.lines:
        known: dict[str, Any] = {
            "lines": [{"index": index, **_known(line)} for index, line in error.lines]
        }
        # Only `/v1/operations` has lines whose values can turn out to be invalid.
        wrong = [
            _wrong(f"operations.{index}.{line.field}", line)
            for index, line in error.lines
            if isinstance(line, Invalid)
        ]
    else:
        known = _known(error)
        wrong = [_wrong(error.field, error)] if isinstance(error, Invalid) else []
    if wrong:
        known |= _first_of(wrong, omitted=max(len(wrong) - MAX_ERRORS, 0))
    detail = error.detail
    if isinstance(error, BelowReserved):
        path = f"{get_script_prefix()}v1/reservations"
        detail += f" See {path}?sku={quote(error.sku or '')}&status=open."
    return problem(**{"code": error.code, **known}, detail=detail, instance=instance)


def _wrong(field: str, error: Invalid) -> dict[str, Any]:
    return {"field": field, "code": "invalid", "detail": error.detail}


def _known(error: StockError) -> dict[str, Any]:
    known = {
        "sku": error.sku,
        "code": error.code,
        "requested": error.requested,
        "available": error.available,
    }
    return {name: value for name, value in known.items() if value is not None}
