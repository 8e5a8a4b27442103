"""The errors of the service: `application/problem+json` (RFC 9457), each with a stable code."""

import sqlite3
from http import HTTPStatus
from typing import Any

from django.db import DataError
from django_guid import get_guid
from rest_framework import exceptions

from products.database import is_unavailable

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

STATUS_OF_CODE = {
    "invalid": 400,
    "malformed_json": 400,
    "not_authenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "product_not_found": 404,
    "reservation_not_found": 404,
    "method_not_allowed": 405,
    "insufficient_stock": 409,
    "insufficient_reserved": 409,
    "below_reserved": 409,
    "quantity_changed": 409,
    "stock_limit_exceeded": 409,
    "duplicate_sku": 409,
    "product_archived": 409,
    "reservation_closed": 409,
    "reservation_expired": 410,
    "length_required": 411,
    "precondition_failed": 412,
    "request_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "throttled": 429,
    "internal_error": 500,
    "busy": 503,
    "database_unavailable": 503,
}

# The code for an answer of which only the status is known.
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
    """Return the body of an error; `known` is what the case knows besides."""
    return {
        "type": f"urn:inventory:problem:{code}",
        "title": _title(code),
        "status": STATUS_OF_CODE[code],
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": get_guid(),
        **known,
    }


def _title(code: str) -> str:
    words = code.replace("_", " ").capitalize()
    return words.replace("json", "JSON").replace("sku", "SKU")


def problem_of_status(status: int, *, instance: str) -> dict[str, Any]:
    """Return the body of an error of which only the HTTP status is known."""
    code = _CODE_OF_STATUS.get(status, "invalid" if status < 500 else "internal_error")
    detail = HTTPStatus(status).description or HTTPStatus(status).phrase
    detail = f"{detail.rstrip('.')}."
    return problem(code=code, detail=detail, instance=instance) | {"status": status}


class Problem(exceptions.APIException):
    """An error with a code of ours, on its way to the formatter."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = STATUS_OF_CODE[code]
        unavailable = self.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        self.wait = RETRY_AFTER_SECONDS if unavailable else None


# Nothing has changed, and soon there may be room. PostgreSQL: lock_not_available, query_canceled,
# serialization_failure, deadlock_detected, and a transaction that was idle or open for too long.
_BUSY = {"55P03", "57014", "40001", "40P01", "25P03", "25P04"} | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
}


def database_problem(error: Exception) -> Problem | None:
    """Return the problem that a database error is to the caller, or none if it is our bug."""
    if isinstance(error, DataError):
        return Problem("invalid", "The request holds a value that the database cannot hold.")
    if _state(error) in _BUSY:
        return Problem("busy", "The database is busy with others' requests; try again.")
    if is_unavailable(error):
        return Problem(
            "database_unavailable",
            "The database does not answer. Before a change is sent again, look whether it was "
            "made.",
        )
    return None


def _state(error: Exception) -> str | int | None:
    """Return PostgreSQL's SQLSTATE, or SQLite's primary result code."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        # The library's own mistakes have none; the higher bytes tell sorts of one error.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return getattr(cause, "sqlstate", None)


def invalid_field(
    field: str | None, detail: str, code: str = "invalid"
) -> exceptions.ValidationError:
    """Return the error for a field that is wrong, or with no field for the body as a whole."""
    error = exceptions.ErrorDetail(detail, code)
    return exceptions.ValidationError({field: [error]} if field else [error])
