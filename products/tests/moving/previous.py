"""The previous release, from the history."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

PROJECT = Path(__file__).parents[3]

PREVIOUS_RELEASE = "58b24a3aee6eec0f8e8b3c9a58edfb32efa363b6"
"""The last commit before migration 0034. Set it to the commit of each release."""


class NoHistory(Exception):
    """The history of this checkout lacks the previous release. One or two sentences."""


def unpack_previous_release(folder: Path) -> None:
    """Write the files of the previous release into a new folder. Raises `NoHistory`."""
    if shutil.which("git") is None:
        raise NoHistory("The previous release comes from the history, which needs git.")
    archived = subprocess.run(
        ["git", "archive", PREVIOUS_RELEASE],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        timeout=60,
    )
    if archived.returncode:
        raise NoHistory(f"The history lacks {PREVIOUS_RELEASE[:7]}. Fetch all commits.")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")


def migrations_of(folder: Path) -> list[str]:
    """Return the names of the migrations of a checkout, in their order."""
    return sorted(path.stem for path in (folder / "products/migrations").glob("0*.py"))
