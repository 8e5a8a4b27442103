"""The examples in the documentation work as shown."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from products.models import Reservation, Subscription
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import running_server

pytestmark = pytest.mark.django_db

URL = "http://testserver"
TUTORIAL = "docs/tutorial/first-order-service.md"
DOCUMENTS = [
    str(path.relative_to(settings.BASE_DIR))
    for path in [settings.BASE_DIR / "README.md", *(settings.BASE_DIR / "docs").rglob("*.md")]
    if re.search(r"^curl .*\n# \d{3} ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def read(document: str) -> str:
    path: Path = settings.BASE_DIR / document
    return path.read_text(encoding="utf-8")


def steps_of(document: str) -> list[tuple[str, int, Any]]:
    """Return each curl line with the status and the part of the response shown below it."""
    steps = re.findall(r"^(curl .*)\n# (\d{3}) (\{.*\})$", read(document), re.MULTILINE)
    return [(line, int(status), json.loads(shown)) for line, status, shown in steps]


def run(line: str, variables: dict[str, str]) -> tuple[int, Any]:
    """Send the request that `curl` would send for this line."""
    method, headers, data, url = "", {}, "", ""
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
        method or ("POST" if data else "GET"),
        url.removeprefix(URL),
        data,
        content_type,
        headers=headers,
    )
    return response.status_code, response.json()


def shows(shown: Any, response: Any) -> bool:
    """Return whether the response contains everything that is shown."""
    if isinstance(shown, dict):
        return all(name in response and shows(part, response[name]) for name, part in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(response) and all(map(shows, shown, response))
    return bool(shown == response)


# The feed shows events once they are committed.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_request_gets_the_response_shown(document: str) -> None:
    variables = {
        "URL": URL,
        "AUTH": f"Authorization: Bearer {ApiKeyFactory.create().text}",
        "JSON": "Content-Type: application/json",
        "RESERVATION": "",
        "WEBHOOK": "",
    }
    for line, status, shown in steps_of(document):
        answered, response = run(line, variables)

        assert answered == status, (line, response)
        assert shows(shown, response), (line, response)
        newest = Reservation.objects.order_by("pk").last()
        variables["RESERVATION"] = str(newest.pk) if newest else ""
        webhook = Subscription.objects.first()
        variables["WEBHOOK"] = str(webhook.pk) if webhook else ""


def test_the_tour_has_eight_requests() -> None:
    assert len(steps_of("README.md")) == len(re.findall(r"^curl ", read("README.md"), re.M)) == 8


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("language", "command"),
    [
        ("python", [sys.executable, "-"]),
        pytest.param(
            "javascript",
            ["node", "--input-type=module", "-"],
            marks=pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed"),
        ),
    ],
)
def test_the_programs_of_the_tutorial_run(language: str, command: list[str]) -> None:
    program = re.findall(rf"(?s)```{language}\n(.*?)```", read(TUTORIAL))[0]
    ProductFactory.create(sku="MUG-BLUE", quantity=10)
    with running_server(workers=1) as server:
        server.wait_for_workers()
        environment = {
            **os.environ,
            "INVENTORY_URL": f"http://127.0.0.1:{server.port}",
            "INVENTORY_KEY": ApiKeyFactory.create().text,
        }
        run = subprocess.run(
            command, input=program, env=environment, capture_output=True, text=True, timeout=60
        )

    reservation = Reservation.objects.get()
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        f"reserved {reservation.pk}",
        f"again {reservation.pk}",
        "short MUG-BLUE 1000 8",
        "fulfilled",
        "events 3",
    ]
