"""A headless Chromium that can reach only this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    # Requests to other machines fail, and the tests report them as errors.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers have little shared memory.
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # Render the same pixels on every machine that has the same fonts.
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run the installed Chromium, or the one in the environment variable CHROMIUM."""
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
            f"No browser found. Install one of {', '.join(NAMES)}, or set CHROMIUM to its path."
        )
    return found
