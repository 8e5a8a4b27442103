"""Turns whatever a view raises into a problem. Named in the settings of drf-standardized-errors."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError, InterfaceError
from drf_standardized_errors.formatter import ExceptionFormatter, flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from products.api.answers import JSONRenderer
from products.api.errors import (
    CONTENT_TYPE,
    Problem,
    database_problem,
    invalid_field,
    problem,
    problem_of_status,
)
from products.stock import BelowReserved, Invalid, StockError


class ProblemHandler(ExceptionHandler):
    """Turns what a view raises into a problem."""

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
            # Also for a view that answers in HTML.
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
    """Return the field that `path` names, or none for the body as a whole."""
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
