"""The pages on which lines are entered, used by a client without JavaScript."""

from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import reverse


def page_of(kind: str) -> str:
    """Return the URL of the page `receive` or `count`."""
    return reverse(f"admin:products_product_{kind}")


def enter(client: Client, kind: str, lines: str, **fields: str) -> Any:
    """Send the lines of a page and return the response: a preview, or the form with errors."""
    reason = {"receive": "delivery", "count": "stocktake"}[kind]
    data = {"lines": lines, "draft": uuid4().hex, "reason": reason, **fields}
    return client.post(page_of(kind), data)


def confirm(client: Client, preview: Any, **fields: str) -> Any:
    """Press the button of a preview and return the next page."""
    assert preview.context["pending"], preview.content.decode()
    posted = dict(preview.context["posted"])
    return client.post(preview.context["confirm_url"], {**posted, **fields}, follow=True)


def check(client: Client, kind: str, lines: str) -> Any:
    """Send lines as the page does while they are entered, and return the response."""
    response = client.post(f"{page_of(kind)}check/", {"lines": lines})
    assert response.status_code == 200, response.content
    return response.json()


def form_errors(response: Any) -> dict[str, list[str]]:
    """Return the errors of the form."""
    return {
        field: list(map(str, errors)) for field, errors in response.context["form"].errors.items()
    }


def problems(preview: Any) -> list[tuple[int, str]]:
    """Return the line and the text of each problem of a preview, which offers no button."""
    assert preview.context["pending"] is None
    return [
        (row.line.number, problem.detail)
        for row in preview.context["rows"]
        for problem in row.line.problems
    ]
