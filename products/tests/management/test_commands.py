"""Behavior that all commands share, and the commands for a development run."""

import argparse
import json
import os
import re
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import (
    CommandError,
    call_command,
    get_commands,
    load_command_class,
)
from pytest_django import Settings
from rest_framework.test import APIClient

from products.management.base import actor, whole_number
from products.management.commands import demo_access
from products.models import ApiKey, Product
from products.tests.flush import truncate
from products.tests.live import manage, run_python

pytestmark = pytest.mark.django_db


@pytest.fixture
def access_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    settings.DEBUG = True
    path = tmp_path / "access.json"
    monkeypatch.setattr(demo_access, "ACCESS_FILE", path)
    return path


def run(command: str) -> str:
    output = StringIO()
    call_command(command, stdout=output)
    return output.getvalue()


def test_demo_access_prints_a_key_and_a_login_that_work(access_file: Path) -> None:
    said = run("demo_access")

    key = re.search(r"Authorization: (Bearer \S+)\"", said)
    password = re.search(r"user demo, password (\S+)", said)
    assert key
    assert password
    assert APIClient().get("/v1/products", headers={"Authorization": key[1]}).status_code == 200
    user = get_user_model().objects.get(username="demo")
    assert user.check_password(password[1])
    assert user.is_staff
    assert access_file.stat().st_mode & 0o777 == 0o600


def test_demo_access_stays_the_same(access_file: Path) -> None:
    assert run("demo_access") == run("demo_access")
    assert ApiKey.objects.count() == 1


def test_demo_access_is_created_again_for_another_database(access_file: Path) -> None:
    access_file.write_text(json.dumps({"api_key": "from.elsewhere", "password": "elsewhere"}))

    assert "elsewhere" not in run("demo_access")


def test_demo_access_is_refused_in_production(settings: Settings) -> None:
    settings.DEBUG = False

    with pytest.raises(CommandError, match="DEBUG"):
        call_command("demo_access")


COMMANDS = [name for name, app in get_commands().items() if app == "products"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_help_are_valid(name: str) -> None:
    command: Any = load_command_class("products", name)
    parser = command.create_parser("manage.py", name)
    for example in command.examples:
        program, *arguments = shlex.split(re.split(r" [|>] ", example)[0])
        assert program == name
        parser.parse_args(arguments)
    assert all(example in parser.format_help() for example in command.examples)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("1000000000", 1_000_000_000)])
def test_whole_number_accepts_ascii_digits(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " 5", "5 ", "5\n", "+5", "-5", "1_000", "5.0", "1e3", "0x5", "five", "5\0"),
        *("\u0665", "\uff15", "\u00b2", "\udc805"),
        *("1000000001", "9" * 5_000),
    ],
)
def test_whole_number_refuses_other_text(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        whole_number(text)


@pytest.mark.parametrize("name", ["", " \t", "a\0", "\udc80", "a" * 151])
def test_actor_refuses_a_name_that_the_ledger_cannot_store(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        actor(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["prune"], 0),
        (["prune", "--hours", "23"], 2),
        (["prune", "--hours", "1_000"], 2),
        (["prune", "--hour", "24"], 2),
        (["create_api_key", " ", "--role", "read"], 2),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_bad_input_exits_with_2(words: list[str], status: int) -> None:
    ended = manage(*words)

    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/db.sqlite3", "postgres://nobody:none@127.0.0.1:1/none"]
)
@pytest.mark.parametrize("command", ["verify_stock", "prune", "expire_reservations"])
def test_an_unavailable_database_exits_with_3_and_one_line(command: str, url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "DATABASE_POOL_SIZE": "0"}

    ended = manage(command, env=environment)

    assert ended.returncode == 3
    assert re.fullmatch(
        r"CommandError: The database is busy or unavailable \(.*\)\. "
        r"Check the database and DATABASE_URL\. Run the command again\.\n",
        ended.stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify_stock", "low_stock", "export_products", "prune"])
def test_a_database_without_tables_asks_for_a_migration(command: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"}

    ended = manage(command, env=environment)

    assert ended.returncode == 2
    assert (
        ended.stderr == "CommandError: The database lacks tables. Run python manage.py migrate.\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", [["bulk_adjust", "-"], ["import_products", "-"]])
@pytest.mark.django_db(transaction=True)
def test_a_closed_standard_input_is_refused(words: list[str]) -> None:
    ended = manage(*words, preexec_fn=lambda: os.close(0))

    assert ended.returncode == 2
    assert ended.stderr == "CommandError: Standard input is closed. Name a file.\n"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_ctrl_c_prints_one_line() -> None:
    program = """
import signal, django
django.setup()
from django.core.management import execute_from_command_line
from products import stock
stock.differences = lambda: signal.raise_signal(signal.SIGINT)
execute_from_command_line(["manage.py", "verify_stock"])
"""

    ended = run_python(program)

    assert (ended.returncode, ended.stderr) == (130, "CommandError: Interrupted.\n")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_broken_pipe_does_not_fail_a_finished_change(closed_pipe: int) -> None:
    truncate()

    ended = manage("load_demo_data", stdout=closed_pipe)

    assert ended.returncode == 0
    assert ended.stderr.startswith("Loaded 1,455 products, ")
    assert ended.stderr.endswith("(Standard output cannot be written: Broken pipe.)\n")
    assert Product.objects.count() == 1455


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_broken_pipe_fails_an_audit(closed_pipe: int) -> None:
    ended = manage("verify_stock", stdout=closed_pipe)

    assert (ended.returncode, ended.stderr) == (141, "")
