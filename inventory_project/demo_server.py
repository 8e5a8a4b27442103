"""`make run`: the development server with demo data, an API key and a login.

The program migrates the database, loads demo data into an empty one, serves requests and expires
reservations. Ctrl-C ends all processes.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from inventory_project import program

HOST = "127.0.0.1"
STOP_SECONDS = 5
EXPIRE_EVERY_SECONDS = 60
# The overdue reservations of the demo data stay visible for a while.
FIRST_EXPIRY_SECONDS = 300

_MANAGE = (sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py"))


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _run()
    except KeyboardInterrupt:
        _say("\nStopped. make run starts again with the same data, login and key.")


def _run() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")
    import django
    from django.conf import settings

    from inventory_project import environment

    # As in `manage.py`: migrations have no time limit.
    environment.is_command = True
    port = settings.PORT
    hint = f"Choose another port: PORT={port + 1} make run"
    program.claim_address(HOST, port, hint=hint).close()
    django.setup()
    _prepare_database()
    with ExitStack() as children:
        server = _start(children, "runserver", f"{HOST}:{port}", stdout=subprocess.DEVNULL)
        _wait_until_it_listens(server, port)
        _say_what_to_do(port)
        with suppress(subprocess.TimeoutExpired):
            sys.exit(server.wait(timeout=FIRST_EXPIRY_SECONDS))
        _start(children, "expire_reservations", f"--every={EXPIRE_EVERY_SECONDS}")
        sys.exit(server.wait())


def _prepare_database() -> None:
    from django.core.management import call_command

    from products.models import Product

    call_command("migrate", verbosity=0)
    if not Product.objects.exists():
        _say("Loading demo data: 30 days of a shop with 1,455 products. This takes 5 seconds.")
        call_command("load_demo_data")


def _start(children: ExitStack, *command: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a command of `manage.py` that ends with this program."""
    environment = {**os.environ, "LOG_FORMAT": "plain"}
    child = subprocess.Popen([*_MANAGE, *command], env=environment, **options)  # noqa: S603
    children.callback(_stop, child)
    return child


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _wait_until_it_listens(server: "subprocess.Popen[bytes]", port: int) -> None:
    while server.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(server.returncode)


def _say_what_to_do(port: int) -> None:
    from django.core.management import call_command
    from django.db import connection

    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        file = os.path.relpath(name)
        data, start_over = f"{file}, which stays when the server stops", f"rm {file}*"
    else:
        data = f"PostgreSQL database {name}. Put DATABASE_URL into .env for other commands."
        start_over = "create an empty database, and set DATABASE_URL to it"
    python = os.path.relpath(sys.executable)
    connection.close()
    _say(
        f"""
Running on http://{HOST}:{port}. Stop with Ctrl-C.

  Data       {data}
  Start over {start_over}
  Settings   .env (SECRET_KEY), .demo-access.json (the login and the key below)
  Commands   {python} manage.py low_stock
             {python} manage.py help
             make help
"""
    )
    call_command("demo_access")
    _say("")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    program.run(main)
