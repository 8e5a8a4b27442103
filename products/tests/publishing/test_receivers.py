"""The receivers in the documentation work with the real relay."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.conf import settings

from products import stock
from products.models import Subscription
from products.publishing import manual, subscriptions
from products.stock import Add
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import END_SECONDS, free_port, running_server

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

GUIDE: Path = settings.BASE_DIR / "docs/how-to/receive-webhooks.md"
LANGUAGES = [
    ("python", [sys.executable, "-u", "-c"]),
    pytest.param(
        "javascript",
        ["node", "--input-type=module", "-e"],
        marks=pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed"),
    ),
]


def program_of(language: str) -> str:
    [program] = re.findall(rf"(?s)```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"))
    return str(program)


@contextmanager
def running(command: list[str], **variables: str) -> Iterator[IO[str]]:
    """Run a program, and yield its output. It is killed if it takes too long."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(END_SECONDS, process.kill)
    watchdog.start()
    try:
        yield process.stdout
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def read_until(output: IO[str], last: str) -> list[str]:
    """Return the lines of a program up to one."""
    lines = []
    for line in output:
        lines.append(line.rstrip())
        if lines[-1] == last:
            return lines
    raise AssertionError(f"The program ended without {last!r}: {lines}")


def add(sku: str, times: int) -> None:
    stock.apply([Add(sku=sku, amount=1)] * times, by=ACTOR)


@pytest.mark.parametrize(("language", "command"), LANGUAGES)
def test_the_receivers_of_the_guide_work(
    language: str, command: list[str], publish_once: Callable[[], int], tmp_path: Path
) -> None:
    ProductFactory.create(sku="CUP")
    add("CUP", 2)
    port = free_port()
    url = f"http://127.0.0.1:{port}/stock-events"
    webhook = subscriptions.create(url=url, after="start", by="tester")
    rotated = subscriptions.rotate(webhook.pk)

    with (
        running_server(workers=1) as server,
        running(
            [*command, program_of(language)],
            PORT=str(port),
            INVENTORY_URL=f"http://127.0.0.1:{server.port}",
            INVENTORY_KEY=ApiKeyFactory.create().text,
            WEBHOOK_SECRETS=f"{webhook.secret} {rotated.secret}",
            STOCK_DATABASE=str(tmp_path / "stock.sqlite3"),
        ) as output,
    ):
        server.wait_for_workers()
        assert read_until(output, "listening") == ["listening"]

        assert publish_once() == 3
        assert read_until(output, "stored CUP 3") == [
            "stored CUP 1",
            "stored CUP 2",
            "stored CUP 3",
        ]

        # Duplicates, and a batch.
        subscriptions.edit(webhook.pk, after="start", batch=True)
        add("CUP", 1)
        publish_once()
        duplicates = [f"duplicate CUP {version}" for version in (1, 2, 3)]
        assert read_until(output, "stored CUP 4") == [*duplicates, "stored CUP 4"]

        # A test is accepted. A request of someone else is not.
        manual.send_test(Subscription.objects.get())
        for headers in (
            {},
            {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
        ):
            with pytest.raises(HTTPError, match="401"):
                urlopen(Request(url, b'{"type": "inventory.added"}', headers))

        # After a restore, the receiver forgets the newer products and reads them again.
        ProductFactory.create(sku="PLATE")
        publish_once()
        assert read_until(output, "stored PLATE 1") == ["stored PLATE 1"]
        subscriptions.note_restore(webhook.pk)
        publish_once()
        assert read_until(output, "reconciled 1") == ["restored", "reconciled 1"]
