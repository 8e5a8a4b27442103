"""What holds for every request, also those that reach no view."""

import json
import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from products.api.errors import CONTENT_TYPE, problem_of_status
from products.models import MAX_REQUEST_ID_LENGTH

GetResponse = Callable[[HttpRequest], HttpResponse]

_SAFE_REQUEST_ID = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{MAX_REQUEST_ID_LENGTH}}}")


class SafeRequestId:
    """Drop an `X-Request-ID` that is too long or odd, so that a new one is made.

    It is written to logs and to the ledger as it is.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _SAFE_REQUEST_ID.fullmatch(request.META.get("HTTP_X_REQUEST_ID", "")):
            request.META.pop("HTTP_X_REQUEST_ID", None)
        return self.get_response(request)


class ProblemResponses:
    """Answer with a problem where Django itself would answer with an error page.

    That is for requests that no view has seen: unknown paths, refused hosts, faults in a
    middleware. The admin, made for people, keeps its pages.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/")
        if response.status_code < 400 or not is_page or request.path.startswith("/admin/"):
            return response
        # The headers that inner middleware has set stay.
        response.content = json.dumps(
            problem_of_status(response.status_code, instance=request.path)
        ).encode()
        response["Content-Type"] = CONTENT_TYPE
        return response
