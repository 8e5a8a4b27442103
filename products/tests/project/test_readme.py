"""The tour in the README: each of its `curl` lines is run and compared with the answer shown."""

import json
import re
import shlex
from string import Template
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from products.models import Reservation
from products.tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db

URL = "http://testserver"


def tour() -> list[tuple[str, int, Any]]:
    """Return each curl line of the tour with the status and the part of the answer shown."""
    readme = (settings.BASE_DIR / "README.md").read_text(encoding="utf-8")
    steps = re.findall(r"^(curl .*)\n# (\d{3}) (\{.*\})$", readme, re.MULTILINE)
    assert len(steps) == len(re.findall(r"^curl ", readme, re.MULTILINE)) > 10
    return [(line, int(status), json.loads(shown)) for line, status, shown in steps]


def run(line: str, variables: dict[str, str]) -> tuple[int, Any]:
    """Do what `curl` would do with this line."""
    method, headers, data, url = "GET", {}, "", ""
    words = iter(shlex.split(Template(line).substitute(variables))[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                data = next(words)
            case _:
                url = word
    content_type = headers.pop("Content-Type", "")
    response = APIClient().generic(
        method, url.removeprefix(URL), data, content_type, headers=headers
    )
    return response.status_code, response.json()


def shows(shown: Any, answer: Any) -> bool:
    """Tell whether all that is `shown` is in the answer, too."""
    if isinstance(shown, dict):
        return all(name in answer and shows(part, answer[name]) for name, part in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(answer) and all(map(shows, shown, answer))
    return bool(shown == answer)


def test_the_tour_says_the_truth() -> None:
    variables = {"URL": URL, "KEY": ApiKeyFactory.create().text, "RESERVATION": ""}

    for line, status, shown in tour():
        answered, answer = run(line, variables)

        assert answered == status, (line, answer)
        assert shows(shown, answer), (line, answer)
        newest = Reservation.objects.order_by("pk").last()
        variables["RESERVATION"] = str(newest.pk) if newest else ""
