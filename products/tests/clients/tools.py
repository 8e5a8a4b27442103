"""Run the tools of the example clients."""

import os
import re
import subprocess
from pathlib import Path

from django.conf import settings

CLIENTS: Path = settings.BASE_DIR / "clients"
SECONDS = 120

_OUTPUT = "\n".join(
    [
        r"(order-[0-9a-f-]+): reservation (\d+)",
        r"\1: reservation \2, replayed",
        r"\1: fulfilled",
        r"409 insufficient_stock: .*",
        r"  line 1: 2 of EXAMPLE-MUG, 1 available",
        r"InventoryReserved EXAMPLE-SHIRT, version 2: 100000 on hand",
        r"InventoryFulfilled EXAMPLE-SHIRT, version 3: 99998 on hand",
    ]
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def assert_orders_were_placed(output: str) -> None:
    """Check the output of an example: an order, its retry, a refusal, and the change feed."""
    assert re.search(_OUTPUT, output), output
