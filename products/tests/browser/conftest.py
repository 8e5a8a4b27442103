"""Fixtures for browser tests."""

from collections.abc import Iterator
from typing import Literal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, ConsoleMessage, Page
from pytest_django.live_server_helper import LiveServer

from products.tests.browser.chromium import running_chromium
from products.tests.browser.steps import PASSWORD

SECONDS = 1000
"""A second in the milliseconds of Playwright."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, running_chromium() as running:
        # Playwright runs an event loop in this thread, which Django mistakes for async code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "on")
        yield running


@pytest.fixture
def color_scheme() -> Literal["light", "dark"]:
    return "light"


@pytest.fixture
def console_errors() -> list[str]:
    """Errors and warnings in the browser console. A test that expects some clears the list."""
    return []


@pytest.fixture
def page(
    browser: Browser,
    live_server: LiveServer,
    color_scheme: Literal["light", "dark"],
    console_errors: list[str],
) -> Iterator[Page]:
    """A page. The test fails if it has console errors or makes requests to other servers."""
    context = browser.new_context(
        base_url=live_server.url,
        color_scheme=color_scheme,
        viewport={"width": 1280, "height": 800},
    )
    context.set_default_timeout(20 * SECONDS)
    requested: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            console_errors.append(f"{message.page and message.page.url}: {message.text}")

    context.on("request", lambda request: requested.append(request.url))
    context.on("console", listen)
    context.on("weberror", lambda error: console_errors.append(str(error.error)))

    yield context.new_page()

    context.close()
    ours = (live_server.url + "/", "data:", "blob:")
    assert [url for url in requested if not url.startswith(ours)] == []
    assert console_errors == []


@pytest.fixture
def ada(live_server: LiveServer) -> User:
    """A superuser."""
    return User.objects.create_superuser(username="Ada", password=PASSWORD)
