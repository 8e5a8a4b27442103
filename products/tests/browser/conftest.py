"""Fixtures of the tests in a browser."""

from collections.abc import Iterator
from typing import Literal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, ConsoleMessage, Page
from pytest_django.live_server_helper import LiveServer

from products.tests.browser.chromium import running_chromium
from products.tests.browser.steps import PASSWORD

SECONDS = 1000
"""In Playwright's milliseconds."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, running_chromium() as running:
        # Playwright's event loop waits in this thread, and Django takes that for asynchronous code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "on")
        yield running


@pytest.fixture
def color_scheme() -> Literal["light", "dark"]:
    return "light"


@pytest.fixture
def complaints() -> list[str]:
    """What the window complained of, in its console; for a test that makes it complain to clear."""
    return []


@pytest.fixture
def page(
    browser: Browser,
    live_server: LiveServer,
    color_scheme: Literal["light", "dark"],
    complaints: list[str],
) -> Iterator[Page]:
    """A window. At the end, it must have asked our server alone, and complained of nothing."""
    context = browser.new_context(
        base_url=live_server.url,
        color_scheme=color_scheme,
        viewport={"width": 1280, "height": 800},
    )
    context.set_default_timeout(20 * SECONDS)
    asked: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.page and message.page.url}: {message.text}")

    context.on("request", lambda sent: asked.append(sent.url))
    context.on("console", listen)
    context.on("weberror", lambda error: complaints.append(str(error.error)))

    yield context.new_page()

    context.close()
    ours = (live_server.url + "/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
    assert complaints == []


@pytest.fixture
def ada(live_server: LiveServer) -> User:
    """Somebody who may do everything."""
    return User.objects.create_superuser(username="Ada", password=PASSWORD)
