"""Every error of the API: `application/problem+json` (RFC 9457), each with a stable code."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError, DataError, InterfaceError
from drf_standardized_errors.formatter import ExceptionFormatter, flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from products.api.drf import JSONRenderer
from products.db.errors import is_busy, is_unavailable
from products.request_id import request_id
from products.stock import BelowReserved, Invalid, StockError

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

# The code of an error that has only a status.
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
    """Return the body of an error. `known` adds members such as `sku`."""
    return {
        "type": f"urn:inventory:problem:{code}",
        "title": _title(code),
        "status": STATUS_OF_CODE[code],
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id.get(),
        **known,
    }


def _title(code: str) -> str:
    words = code.replace("_", " ").capitalize()
    return words.replace("json", "JSON").replace("sku", "SKU")


def problem_of_status(status: int, *, instance: str) -> dict[str, Any]:
    """Return the body of an error that has only an HTTP status."""
    code = _CODE_OF_STATUS.get(status, "invalid" if status < 500 else "internal_error")
    detail = HTTPStatus(status).description or HTTPStatus(status).phrase
    detail = f"{detail.rstrip('.')}."
    return problem(code=code, detail=detail, instance=instance) | {"status": status}


class Problem(exceptions.APIException):
    """An exception with a code of `STATUS_OF_CODE`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = STATUS_OF_CODE[code]
        unavailable = self.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        self.wait = RETRY_AFTER_SECONDS if unavailable else None


def database_problem(error: Exception) -> Problem | None:
    """Return the problem for a database error, or none if the error is a bug."""
    if isinstance(error, DataError):
        return Problem("invalid", "The request holds a value that the database cannot hold.")
    if is_busy(error):
        return Problem("busy", "The database is busy with others' requests; try again.")
    if is_unavailable(error):
        return Problem(
            "database_unavailable",
            "The database does not answer. Before a change is sent again, look whether it was "
            "made.",
        )
    return None


def invalid_field(
    field: str | None, detail: str, code: str = "invalid"
) -> exceptions.ValidationError:
    """Return the error for a wrong field, or without one for the whole body."""
    error = exceptions.ErrorDetail(detail, code)
    return exceptions.ValidationError({field: [error]} if field else [error])


class ProblemHandler(ExceptionHandler):
    """Turns exceptions of views into problems."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        match exc:
            case StockError():
                return Problem(exc.code, exc.detail)
            case RequestDataTooBig():
                return Problem("request_too_large", "The request body is larger than 1 MiB.")
            case TooManyFieldsSent():
                return invalid_field(None, "The query has too many parameters.", "too_many")
            case DatabaseError() | InterfaceError():
                return database_problem(exc) or exc
            case exceptions.ParseError():
                return Problem("malformed_json", str(exc.detail))
        return super().convert_known_exceptions(exc)

    def get_response(self, exc: exceptions.APIException, data: dict[str, Any]) -> Response:
        response = super().get_response(exc, data)
        response.content_type = CONTENT_TYPE
        if request := self.context["request"]:
            # Views that answer in HTML have another one.
            request.accepted_renderer = JSONRenderer()
        return response


class ProblemFormatter(ExceptionFormatter):
    """Writes the body of a problem."""

    def run(self) -> dict[str, Any]:
        request = self.context["request"]
        instance = request.path if request else ""
        if isinstance(self.original_exc, StockError):
            return _stock_problem(self.original_exc, instance)
        if isinstance(self.exc, exceptions.ValidationError):
            errors = [
                {"field": _field(error.attr), "code": error.code, "detail": error.detail}
                for error in flatten_errors(self.exc.detail)
            ]
            return problem(
                code="invalid", detail=_summary(errors), instance=instance, errors=errors
            )
        if isinstance(self.exc, Problem):
            return problem(code=self.exc.code, detail=str(self.exc.detail), instance=instance)
        body = problem_of_status(self.exc.status_code, instance=instance)
        if self.exc.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            body["detail"] = str(self.exc.detail)
        return body


def _field(path: str | None) -> str | None:
    """Return the field that `path` names, or none for the whole body."""
    whole = api_settings.NON_FIELD_ERRORS_KEY
    return None if path == whole else (path and path.removesuffix(f".{whole}"))


def _summary(errors: list[dict[str, Any]]) -> str:
    names = [error["field"] for error in errors if error["field"]]
    return f"The request is invalid: {', '.join(names)}." if names else errors[0]["detail"]


def _stock_problem(error: StockError, instance: str) -> dict[str, Any]:
    if isinstance(error, Invalid):
        errors = [{"field": error.field, "code": "invalid", "detail": error.detail}]
        return problem(code="invalid", detail=error.detail, instance=instance, errors=errors)
    if error.lines:
        known: dict[str, Any] = {
            "lines": [{"index": index, **_known(line)} for index, line in error.lines]
        }
    else:
        known = _known(error)
    detail = error.detail
    if isinstance(error, BelowReserved):
        detail += f" See /v1/reservations?sku={error.sku}&status=open."
    return problem(**{"code": error.code, **known}, detail=detail, instance=instance)


def _known(error: StockError) -> dict[str, Any]:
    known = {
        "sku": error.sku,
        "code": error.code,
        "requested": error.requested,
        "available": error.available,
    }
    return {name: value for name, value in known.items() if value is not None}
