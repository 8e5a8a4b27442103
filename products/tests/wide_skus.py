"""Run tests in another process, in which SKUs may have all characters.

The characters of SKUs are fixed when a process starts.
"""

import os
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings

from products.validators import ALL_SKU_CHARACTERS

SECONDS = 900


def run_with_wide_skus(*arguments: str) -> None:
    """Run pytest with all characters of SKUs, on a database of its own. Its tests must pass."""
    environment = {**os.environ, "SKU_CHARACTERS_OF_TESTS": ALL_SKU_CHARACTERS}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    if (url := urlsplit(environment.get("DATABASE_URL", ""))).scheme.startswith("postgres"):
        environment["DATABASE_URL"] = urlunsplit(url._replace(path=f"{url.path}_wide_skus"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--create-db", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout


def ignored_without_wide_skus() -> list[str]:
    """Return the files of a folder to leave out, unless this process has all characters."""
    return [] if settings.SKU_CHARACTERS == ALL_SKU_CHARACTERS else ["test_*.py"]
