"""Failures that users can fix: each program names the remedy in one line."""

import os
import socket
from pathlib import Path

import pytest

from products.tests.live import free_port
from products.tests.project.test_settings import PRODUCTION, run

pytestmark = pytest.mark.slow

MISSING_KEY = "SECRET_KEY is not set. Run make .env to write a file .env with a random key, "

WRONG_SETTINGS = [
    ("SECRET_KEY", "", MISSING_KEY),
    ("DEBUG", "ture", "DEBUG must be on or off, not 'ture'."),
    ("ALLOWED_HOSTS", "https://a.example", "ALLOWED_HOSTS must be host names such as "),
    ("CSRF_TRUSTED_ORIGINS", "a.example", "CSRF_TRUSTED_ORIGINS must be origins such as "),
    ("CORS_ALLOWED_ORIGINS", "https://a/b", "CORS_ALLOWED_ORIGINS must be origins such as "),
    ("CORS_ALLOWED_HEADERS", "X Tenant", "CORS_ALLOWED_HEADERS must be header names such as "),
    ("PATH_PREFIX", "inventory", "PATH_PREFIX must be a path such as /inventory, not 'inventory'."),
    ("PATH_PREFIX", "/inventory/", "PATH_PREFIX must be a path such as /inventory, not "),
    ("ALLOWED_HOSTS", "*.a.example", "ALLOWED_HOSTS must be host names such as "),
    ("ALLOWED_HOSTS", "a.example b.example", "ALLOWED_HOSTS must be host names such as "),
    ("CORS_ALLOWED_ORIGINS", "https://*.a.example", "CORS_ALLOWED_ORIGINS must be origins such "),
    ("PORT", "0", "PORT must be a whole number from 1 to 65535, not '0'."),
    ("PORT", "http", "PORT must be a whole number from 1 to 65535, not 'http'."),
    ("WEB_CONCURRENCY", "x", "WEB_CONCURRENCY must be a whole number from 1 to 1000"),
    ("DATABASE_URL", "inventory", "DATABASE_URL must look like postgres://"),
    ("DATABASE_URL", "mysql://u:secret@h/name", "DATABASE_URL must look like postgres://"),
    ("DATABASE_URL", "postgres://u:secret@h:port/name", "DATABASE_URL must look like postgres://"),
    ("DATABASE_URL", "postgres://u:secret@h", "DATABASE_URL must look like postgres://"),
    ("DATABASE_URL", "postgres://u:secret@h/name?tls=1", "DATABASE_URL has an unknown option: "),
    *(
        (
            "DATABASE_URL",
            f"postgres://u:secret@{hosts}/name",
            "DATABASE_URL has several hosts. Give ",
        )
        for hosts in (
            "a:1,b",
            "a,b:1",
            "a:1,b:x",
            "a,,b",
            ",",
            "a:,b:",
            "a:1:2,b",
            "a,b:99999",
            "a,b]",
        )
    ),
    (
        "DATABASE_URL",
        "postgres://u:secret@a,b/name?target_session_attrs=master",
        "DATABASE_URL has a wrong target_session_attrs. It must be one of any, read-write, ",
    ),
    ("DATABASE_REPLICA_URL", "sqlite:///a", "DATABASE_REPLICA_URL must be a copy of a PostgreSQL"),
    ("DATABASE_REPLICA_URL", "inventory", "DATABASE_REPLICA_URL must look like postgres://"),
    ("DATABASE_REPLICA_URL", "postgres://a:1,b/name", "DATABASE_REPLICA_URL has several hosts."),
    ("DATABASE_URL", "sqlite:///a.sqlite3?tls=1", "DATABASE_URL has an unknown option: tls."),
    ("DATABASE_URL", "sqlite://a.sqlite3", "DATABASE_URL must look like postgres://"),
    ("DATABASE_URL", "sqlite:///", "DATABASE_URL must look like postgres://"),
    ("DATABASE_PREPARED_STATEMENTS", "2", "DATABASE_PREPARED_STATEMENTS must be on or off"),
    ("API_THROTTLE_RATE", "600", "API_THROTTLE_RATE must be a rate such as 600/min or 10/s"),
    ("API_THROTTLE_RATE", "1/solstice", "API_THROTTLE_RATE must be a rate such as 600/min"),
    ("API_THROTTLE_RATE", "0/s", "API_THROTTLE_RATE must be a rate such as 600/min or 10/s"),
    ("API_THROTTLE_RATE", "1.5/s", "API_THROTTLE_RATE must be a rate such as 600/min or 10/s"),
    *(
        (
            "SKU_CHARACTERS",
            value,
            "SKU_CHARACTERS must be made of A-Z, a-z, 0-9, _, ., a blank and -, such as a-z_., "
            f"not {value!r}.",
        )
        for value in ("a-f", "/", "a-z,", "a", "[a-z]", r"\w", "a-z\t", "ä")
    ),
    (
        "TIME_ZONE",
        "Mars",
        "TIME_ZONE must be a time zone such as Europe/Berlin or UTC, not 'Mars'.",
    ),
    ("TIME_ZONE", "../Berlin", "TIME_ZONE must be a time zone such as Europe/Berlin or UTC"),
    ("REORDER_FACTOR", "0", "REORDER_FACTOR must be a whole number from 1 to 100, not '0'."),
    ("NUM_PROXIES", "-1", "NUM_PROXIES must be a whole number of 0 or more, not '-1'."),
    ("SECURE_SSL_REDIRECT", "maybe", "SECURE_SSL_REDIRECT must be on or off, not 'maybe'."),
    ("SESSION_COOKIE_SECURE", "maybe", "SESSION_COOKIE_SECURE must be on or off"),
    ("CSRF_COOKIE_SECURE", "maybe", "CSRF_COOKIE_SECURE must be on or off, not 'maybe'."),
    ("SECURE_HSTS_SECONDS", "1y", "SECURE_HSTS_SECONDS must be a whole number of 0 or more"),
    ("TRUSTED_PROXY_SSL_HEADER", "X_F: https", "TRUSTED_PROXY_SSL_HEADER must be the name of "),
    ("EMAIL_URL", "smtp.example.com", "EMAIL_URL must look like smtp+tls://user:password@"),
    ("EMAIL_URL", "smtps://u:secret@h", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://u:secret@h:0", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://u:secret@h:65536", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://secret@h", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://u:/secret@h", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://u:%C3%A9secret@h", "EMAIL_URL must look like smtp+tls://"),
    ("EMAIL_URL", "smtp://u:secret@h?use_tls=1", "EMAIL_URL must look like smtp+tls://"),
    ("PUBLISHER_URL", "webhooks", "PUBLISHER_URL must be webhook:, log:, memory: or the URL "),
    (
        "PUBLISHER_URL",
        "https://h",
        "PUBLISHER_URL needs the packages in requirements/brokers.txt, or ",
    ),
    (
        "PUBLISHER_URL",
        "log://x",
        "PUBLISHER_URL needs the packages in requirements/brokers.txt, or ",
    ),
    (
        "WEBHOOK_ALLOWED_NETWORKS",
        "10.0.0.1/8",
        "WEBHOOK_ALLOWED_NETWORKS must be networks such as ",
    ),
    ("WEBHOOK_ALLOWED_NETWORKS", "shop", "WEBHOOK_ALLOWED_NETWORKS must be networks such as "),
    (
        "ALERT_EMAILS",
        "ada@shop.example, bo",
        "ALERT_EMAILS must be e-mail addresses such as ada@example.com, separated by commas, not "
        "'bo'.",
    ),
    ("ALERT_EMAILS", "a@b.example;c@d.example", "ALERT_EMAILS must be e-mail addresses such as "),
    ("DEFAULT_FROM_EMAIL", "Inventory", "DEFAULT_FROM_EMAIL must be an e-mail address, or "),
    ("DEFAULT_FROM_EMAIL", "a@b.example, c@d.example", "DEFAULT_FROM_EMAIL must be an e-mail "),
    ("DEFAULT_FROM_EMAIL", "A\nBcc: <a@b.example>", "DEFAULT_FROM_EMAIL must be an e-mail "),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "u:secret@h:4318", "OTEL_EXPORTER_OTLP_ENDPOINT must look "),
    ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT must be one of json, plain, not 'xml'."),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_in_one_line(name: str, value: str, message: str) -> None:
    ended = run("manage.py", "check", **{**PRODUCTION, name: value})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1
    assert "secret@" not in ended.stderr


@pytest.mark.parametrize(
    "password",
    [
        *("pa/secret", "pa?secret", "12/secret", "12?secret=1"),
        *("12/a?secret=1", "1/secret@3", "/secret", "secret?"),
    ],
)
def test_a_password_that_a_url_cannot_contain_is_not_printed(password: str) -> None:
    url = f"postgres://u:{password}@h:5432/name"

    ended = run("manage.py", "check", **{**PRODUCTION, "DATABASE_URL": url})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("DATABASE_URL must look like postgres://user:password@host:")
    assert ended.stderr.endswith("In a password, write / as %2F, ? as %3F and % as %25.\n")
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("value", ["x86_64-conda-linux-gnu", "tcp://10.0.0.1:80", "*"])
def test_the_server_names_host_if_it_is_no_address(value: str) -> None:
    ended = run("-m", "inventory_project.server", **PRODUCTION, HOST=value)

    assert (ended.returncode, ended.stderr) == (
        2,
        "HOST must be an IP address such as 127.0.0.1 or 0.0.0.0, or a name that has one, not "
        f"{value!r}. Set HOST: some tools, such as conda, give it another meaning.\n",
    )


def test_commands_do_not_need_host() -> None:
    ended = run("manage.py", "check", **PRODUCTION, HOST="x86_64-conda-linux-gnu")

    assert ended.returncode == 0, ended.stderr


def test_the_server_ends_if_its_workers_cannot_start() -> None:
    code = (
        "from inventory_project import server, settings; settings.ROOT_URLCONF = 'nowhere'; "
        "server.main()"
    )

    ended = run("-c", code, **PRODUCTION, PORT=str(free_port()))

    assert ended.returncode == 1
    assert "ModuleNotFoundError: No module named 'nowhere'" in ended.stderr


def test_a_request_that_django_refuses_is_one_short_warning() -> None:
    code = (
        "import django; django.setup(); from django.test import Client; "
        "assert Client().get('/docs', HTTP_HOST='x' * 5000).status_code == 400"
    )

    ended = run("-c", code, **PRODUCTION, DJANGO_SETTINGS_MODULE="inventory_project.settings")

    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    assert "Traceback" not in ended.stdout + ended.stderr
    assert '"level": "WARNING"' in line
    assert "Request refused: Invalid HTTP_HOST header: 'xxx" in line
    assert len(line) < 500


@pytest.mark.parametrize("name", ["DATABASE_POOL_SIZE", "DATABASE_STATEMENT_TIMEOUT"])
def test_a_wrong_setting_of_postgresql_is_named_in_one_line(name: str) -> None:
    url = "postgres://user:secret@db.example.com:5432/inventory"

    ended = run("-m", "inventory_project.server", **{**PRODUCTION, "DATABASE_URL": url, name: "a"})

    message = f"{name} must be a whole number of 0 or more, not 'a'.\n"
    assert (ended.returncode, ended.stderr) == (2, message)


@pytest.mark.parametrize(
    "words",
    [
        *(["low_stock"], ["migrate"], ["runserver"], ["check"], ["createsuperuser"], ["shell"]),
        *(["help"], ["no_such_command"]),
    ],
)
def test_every_command_needs_the_settings(words: list[str]) -> None:
    ended = run("manage.py", *words, **{**PRODUCTION, "SECRET_KEY": ""})

    assert ended.returncode == 2
    assert ended.stderr.startswith(MISSING_KEY)
    assert ended.stderr.count("\n") == 1


def test_the_server_needs_the_settings() -> None:
    ended = run("-m", "inventory_project.server", **{**PRODUCTION, "SECRET_KEY": ""})

    assert ended.returncode == 2
    assert ended.stderr.startswith(MISSING_KEY)
    assert ended.stderr.count("\n") == 1


def test_the_server_names_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ended = run("-m", "inventory_project.server", **PRODUCTION, PORT=port)

    message = f"Cannot listen on 127.0.0.1:{port}: Address already in use. "
    assert ended.returncode == 1
    assert ended.stderr == f"{message}Set HOST and PORT to a free address.\n"


@pytest.mark.parametrize("words", [["createsuperuser", "--noinput"], ["changepassword", "ada"]])
def test_commands_of_django_say_that_tables_are_missing(tmp_path: Path, words: list[str]) -> None:
    environment = {**PRODUCTION, "DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}"}
    user = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_EMAIL": "ada@example.com"}

    ended = run("manage.py", *words, **environment, **user)

    assert ended.returncode == 2
    assert ended.stderr == "The database lacks tables. Run python manage.py migrate.\n"


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/db.sqlite3", "postgres://nobody:none@127.0.0.1:1/none"]
)
def test_commands_of_django_say_that_the_database_is_unavailable(url: str) -> None:
    environment = {**PRODUCTION, "DATABASE_URL": url, "DATABASE_POOL_SIZE": "0"}

    ended = run("manage.py", "migrate", **environment)

    assert ended.returncode == 3
    assert ended.stderr.startswith("The database is busy or unavailable (")
    assert ended.stderr.endswith("Check the database and DATABASE_URL. Run the command again.\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_commands_of_django_say_that_the_database_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    path.touch(mode=0o400)
    tmp_path.chmod(0o500)

    ended = run("manage.py", "migrate", **{**PRODUCTION, "DATABASE_URL": f"sqlite:///{path}"})

    assert ended.returncode == 3
    assert str(path) in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("program", [["manage.py", "check"], ["-m", "inventory_project.server"]])
def test_missing_packages_are_named(program: list[str]) -> None:
    # -S and -I: without the packages of the virtual environment.
    code = f"import sys, runpy; sys.path.insert(0, '.'); sys.argv = {program[-2:]!r}; "
    start = (
        "runpy.run_path('manage.py', run_name='__main__')"
        if program[0] == "manage.py"
        else "runpy.run_module('inventory_project.server', run_name='__main__')"
    )

    ended = run("-I", "-S", "-c", code + start, **PRODUCTION)

    assert ended.returncode == 2
    assert ended.stderr.startswith("The Python package '")
    assert "is not installed for" in ended.stderr
    assert ended.stderr.endswith("Run make install, and use .venv/bin/python.\n")
    assert ended.stderr.count("\n") == 1


def test_an_old_python_is_named() -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 10, 0); "
        "runpy.run_path('manage.py', run_name='__main__')"
    )

    ended = run("-c", code, **PRODUCTION)

    assert ended.returncode == 1
    assert ended.stderr.startswith("Python 3.11 or later is needed.")


def test_a_traceback_can_be_asked_for() -> None:
    ended = run("manage.py", "check", "--traceback", **{**PRODUCTION, "SECRET_KEY": ""})

    assert "Traceback" in ended.stderr


def test_a_bug_keeps_its_traceback() -> None:
    code = "from inventory_project import program; program.run(lambda: 1 / 0)"

    ended = run("-c", code, **PRODUCTION)

    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
