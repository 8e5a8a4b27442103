"""Middleware for every request, including those that reach no view."""

import json
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path

from products import metrics
from products.api.problems import (
    CONTENT_TYPE,
    ERROR_CODES,
    Problem,
    code_of_status,
    database_problem,
    length_required,
    problem,
    problem_of_status,
    request_too_large,
)
from products.db import deadline
from products.models import MAX_REQUEST_ID_LENGTH
from products.request_id import request_id

GetResponse = Callable[[HttpRequest], HttpResponse]

_SAFE_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{MAX_REQUEST_ID_LENGTH}}}")


for _code in ERROR_CODES:
    # Counters start at 0, so that Prometheus sees the first error as an increase.
    metrics.errors.labels(_code)


class CountRequests:
    """Count each request, and measure its time."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        series = metrics.request_series(operation_of(request), _outcome_of(response))
        series.observe(time.perf_counter() - started)
        if response.status_code >= 400:
            metrics.errors.labels(_code_of(response)).inc()
        return response


def operation_of(request: HttpRequest) -> str:
    """Return the name of the operation, as in the log. A request can add no name of its own."""
    view = request.resolver_match and request.resolver_match.func
    action = getattr(view, "actions", {}).get(str(request.method).lower())
    if action:
        return f"{view.initkwargs['basename']}.{action}"  # type: ignore[union-attr]
    return "back_office" if request.path_info.startswith("/admin/") else "other"


def _outcome_of(response: HttpResponse) -> str:
    status = response.status_code
    if status < 400:
        return "replayed" if response.has_header("Idempotent-Replayed") else "ok"
    if status < 500:
        return "refused"
    return "unavailable" if status == 503 else "failed"


def _code_of(response: HttpResponse) -> str:
    """Return the code of an error. Some pages of the back office have a status only."""
    data = getattr(response, "data", None)
    return data["code"] if data and "code" in data else code_of_status(response.status_code)


class RequestId:
    """Keep the caller's `X-Request-ID`, or create one if it is missing, too long or unsafe.

    Logs and the ledger contain it unchanged. Also forbid caches to store a response, unless it says
    something else.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        kept = given if _SAFE_REQUEST_ID.fullmatch(given) else uuid4().hex
        request_id.set(kept)
        response = self.get_response(request)
        response["X-Request-ID"] = kept
        response.headers.setdefault("Cache-Control", "no-store")
        if response.status_code == 304:
            # Django adds 0, which would be the length of the full response.
            del response["Content-Length"]
        return response


def _is_host_ours(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def _without_slash(request: HttpRequest) -> str:
    """Return the path without its last slash if that path exists, else an empty text."""
    try:
        resolve(request.path_info.removesuffix("/"))
    except Resolver404:
        return ""
    return request.path.removesuffix("/")


class ProblemResponses:
    """Replace Django's error pages with problem responses.

    Django sends them for requests that reach no view of the API: unknown paths, unknown hosts and
    errors in middleware. The admin keeps its pages, except for dialogs that a script sends.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/")
        if response.status_code < 400 or not is_page or request.path_info.startswith("/admin/"):
            return response
        body = problem_of_status(response.status_code, instance=escape_uri_path(request.path))
        if response.status_code == 404 and (path := _without_slash(request)):
            body["detail"] = f"Unknown path. Paths have no slash at the end: use {path}."
        if not _is_host_ours(request):
            body["detail"] = "Unknown host name. Ask the operator to add it to ALLOWED_HOSTS."
        # Keep the headers of inner middleware. Replace the headers that describe the page.
        response.content = json.dumps(body).encode()
        response["Content-Type"] = CONTENT_TYPE
        response["Content-Length"] = str(len(response.content))
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond to a database error in a view outside the API."""
        if not isinstance(error, DatabaseError | InterfaceError):
            return None
        known = database_problem(error)
        if known is None:
            return None
        # Django sends the signal only for exceptions without a response.
        got_request_exception.send(sender=None, request=request)
        return respond(request, known)


class Deadline:
    """End the waits of a request for the database after `REQUEST_SECONDS` (ADR 24).

    A body that is streamed after the answer has begun has no deadline.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with deadline.within(settings.REQUEST_SECONDS):
            return self.get_response(request)


MAX_DISCARDED_BYTES = 8 * 1024 * 1024
"""A body over the limit but not over this is read and thrown away. A larger one is not read."""


class BodyLimit:
    """Refuse a body that is too large or has no length, before any of it is kept."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "HTTP_TRANSFER_ENCODING" in request.META:
            # WSGI presents such a body as empty. An empty body fulfills a whole reservation.
            return respond(request, length_required())
        length = _length_of(request)
        usual = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if length > usual and length > (limit := _limit_of(request)):
            if length <= MAX_DISCARDED_BYTES and "HTTP_EXPECT" not in request.META:
                _discard_body(request)
            return respond(request, request_too_large(limit))
        return self.get_response(request)


def _discard_body(request: HttpRequest) -> None:
    """Read the body. Otherwise the connection breaks, and nginx makes a 502 of the 413."""
    while request.read(64 * 1024):
        pass


def _length_of(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    # The development server passes any text on.
    return int(text[:20]) if text.isdecimal() else 0


def _limit_of(request: HttpRequest) -> int:
    """Return how many bytes the page takes: more if it imports files."""
    try:
        page = resolve(request.path_info)
    except Resolver404:
        page = None
    is_import = page is not None and page.url_name == settings.UPLOAD_PAGE
    return settings.MAX_UPLOAD_BYTES if is_import else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def respond(request: HttpRequest, error: Problem) -> HttpResponse:
    """Return the response for an error outside the views: a page in the back office, else JSON."""
    body = problem(
        code=error.code, detail=str(error.detail), instance=escape_uri_path(request.path)
    )
    response: HttpResponse
    if request.path_info.startswith("/admin/") and "HX-Request" not in request.headers:
        page = render_to_string("admin/problem.html", {"problem": body})
        response = HttpResponse(page, status=error.status_code)
    else:
        response = JsonResponse(body, status=error.status_code, content_type=CONTENT_TYPE)
    response.data = body  # type: ignore[attr-defined] # Like the responses of the views.
    response["Content-Length"] = str(len(response.content))
    if error.wait:
        response["Retry-After"] = str(error.wait)
    return response
