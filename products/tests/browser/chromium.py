"""A headless Chromium that can reach this machine alone."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    # What a page asks of another machine fails, and is seen as an error by the tests.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers are short of shared memory.
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # The same pixels on every machine, as far as its fonts are the same.
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run the Chromium that the machine has. The environment's CHROMIUM names another."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_binary(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def _binary() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise FileNotFoundError(
            f"No browser was found: install one of {', '.join(NAMES)}, or set CHROMIUM to its path."
        )
    return found
