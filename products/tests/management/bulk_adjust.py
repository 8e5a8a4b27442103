"""Run `bulk_adjust` in tests, and read its output."""

import re
import subprocess
from io import StringIO
from typing import NamedTuple

from django.core.management import CommandError, call_command

from products.models import Product
from products.tests.live import run_python


class Result(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    output: str


def bulk_adjust(*arguments: str) -> Result:
    output = StringIO()
    try:
        call_command("bulk_adjust", *arguments, stdout=output)
    except CommandError as error:
        return Result(error.returncode, f"{output.getvalue()}{error}")
    except SystemExit as end:
        return Result(int(str(end.code)), output.getvalue())
    return Result(0, output.getvalue())


def levels() -> dict[str, int]:
    return dict(Product.objects.values_list("sku", "quantity"))


def figures_of(output: str) -> dict[str, int]:
    """Return the numbers in the summary by label."""
    return {
        name: int(number.replace(",", ""))
        for name, number in re.findall(r"^([a-z_: ]+?) +([\d,]+)$", output, re.MULTILINE)
    }


DIES = """
import os, signal, sys, django
django.setup()
from django.core.management import call_command
from django.db import OperationalError, connection
from products.files import bulk
bulk.WHOLE_BATCH = bulk.SHORT_BATCH = 5
statements_left, signal_number = int(sys.argv[1]), int(sys.argv[2])

def count(execute, sql, parameters, many, context):
    global statements_left
    statements_left -= 1
    if statements_left == 0:
        os.kill(os.getpid(), signal_number)
    return execute(sql, parameters, many, context)

try:
    with connection.execute_wrapper(count):
        call_command("bulk_adjust", *sys.argv[3:])
finally:
    sys.stderr.write(f"{-statements_left} statements")
"""


def killed(after: int, with_signal: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bulk_adjust` in a process that receives a signal before statement number `after`."""
    return run_python(DIES, str(after), str(with_signal), *arguments)
