"""`manage.py check_settings`, and the list of all settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from inventory_project import environment
from products.tests.project.test_settings import PRODUCTION, run


def documented(path: str, expression: str) -> set[str]:
    file: Path = settings.BASE_DIR / path
    return set(re.findall(expression, file.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_setting_is_documented() -> None:
    assert documented("docs/reference/configuration.md", r"^\| `([A-Z_]+)` \|") == set(
        environment.variables
    )


def test_every_setting_is_in_the_template() -> None:
    assert documented(".env.example", r"^(?:# )?([A-Z_]+)=") == set(environment.variables)


def test_only_one_module_reads_the_environment() -> None:
    """Otherwise a setting could be missing in the list."""
    reading = re.compile(r"os\.getenv|os\.environ(\.get\(|\[[^]]+\](?! = ))")
    files = [
        path
        for folder in ("inventory_project", "products")
        for path in (settings.BASE_DIR / folder).rglob("*.py")
        if "tests" not in path.parts and reading.search(path.read_text(encoding="utf-8"))
    ]

    # In the second one, the server tells its workers the name of a folder. It is no setting.
    assert {path.name for path in files} == {"environment.py", "shared_metrics.py"}


def rows(stdout: str) -> dict[str, list[str]]:
    """Return source and value of each variable."""
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in stdout.splitlines()}


@pytest.mark.slow
def test_settings_are_listed_with_their_sources_and_without_secrets() -> None:
    url = "postgres://shop:s%2Fcret@db.example.com:5433/stock?sslmode=require&sslpassword=s-cret"
    environment = {**PRODUCTION, "DATABASE_URL": url, "ALLOWED_HOSTS": "a.example, b.example"}
    environment["EMAIL_URL"] = "smtp+tls://stock@a.example:s%2Fcret@smtp.a.example"

    ended = run("manage.py", "check_settings", **environment, DATABASE_STATEMENT_TIMEOUT="40")

    assert (ended.returncode, ended.stderr) == (0, "")
    listed = rows(ended.stdout)
    assert listed["SECRET_KEY"] == ["environment", f"{len(PRODUCTION['SECRET_KEY'])} characters"]
    assert listed["DATABASE_URL"] == [
        "environment",
        "postgres://shop:***@db.example.com:5433/stock?sslmode=require&sslpassword=***",
    ]
    assert listed["EMAIL_URL"] == [
        "environment",
        "smtp+tls://stock@a.example:***@smtp.a.example:587",
    ]
    assert listed["ALLOWED_HOSTS"] == ["environment", "a.example, b.example"]
    assert listed["SESSION_COOKIE_SECURE"] == ["default", "on"]
    assert listed["API_THROTTLE_RATE"] == ["default", "none"]
    # Commands have no time limit, but the server has.
    assert listed["DATABASE_STATEMENT_TIMEOUT"] == ["environment", "40"]
    assert PRODUCTION["SECRET_KEY"] not in ended.stdout
    assert "cret" not in ended.stdout.replace("SECRET", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"DEBUG": "on"}, "Look at DEBUG: it is on."),
        ({"DEBUG": "on", "SECRET_KEY": ""}, "Look at SECRET_KEY: it is the published key"),
        ({"SECRET_KEY": "short"}, "Look at SECRET_KEY: it is short."),
        ({"DATABASE_URL": ""}, "Look at DATABASE_URL: it is not set"),
        ({"ALLOWED_HOSTS": ""}, "Look at ALLOWED_HOSTS: it is not set."),
        ({"ALLOWED_HOSTS": "*"}, "Look at ALLOWED_HOSTS: * allows every host name."),
        ({"TRUSTED_PROXY_SSL_HEADER": ""}, "Look at TRUSTED_PROXY_SSL_HEADER: it is not set"),
        ({"NUM_PROXIES": "0"}, "Look at NUM_PROXIES: it is 0, but there is a proxy."),
        ({"CSRF_COOKIE_SECURE": "off"}, "Look at CSRF_COOKIE_SECURE: it is off."),
        ({"ALERT_EMAILS": "a@b.example"}, "Look at EMAIL_URL: it is not set"),
        ({"EMAIL_URL": "smtp://h"}, "Look at ALERT_EMAILS: it is not set"),
        ({"EMAIL_URL": "smtp://h"}, "Look at DEFAULT_FROM_EMAIL: it is not set"),
        ({"HOST": "x86_64-conda-linux-gnu"}, "Look at HOST: the server will not start."),
    ],
)
def test_what_an_operator_should_look_at_is_named(changes: dict[str, str], advice: str) -> None:
    good = {**PRODUCTION, "TRUSTED_PROXY_SSL_HEADER": "X-Forwarded-Proto", "NUM_PROXIES": "1"}

    quiet = run("manage.py", "check_settings", **good)
    ended = run("manage.py", "check_settings", **{**good, **changes})

    assert "Look at" not in quiet.stdout
    assert ended.returncode == 0, ended.stderr
    assert any(line.startswith(advice) for line in ended.stdout.splitlines()), ended.stdout


@pytest.mark.slow
def test_the_file_is_shown_as_source_and_unknown_names_are_pointed_out(tmp_path: Path) -> None:
    for name in ("inventory_project", "products"):
        shutil.copytree(
            settings.BASE_DIR / name, tmp_path / name, ignore=shutil.ignore_patterns("tests")
        )
    shutil.copy(settings.BASE_DIR / "manage.py", tmp_path)
    content = "SECRET_KEY = 'abc' # comment\r\nALOWED_HOSTS=x\r\n"
    (tmp_path / ".env").write_text(content, encoding="utf-16")

    ended = subprocess.run(
        [sys.executable, "manage.py", "check_settings"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert rows(ended.stdout)["SECRET_KEY"] == [".env", "3 characters"]
    assert "Look at ALOWED_HOSTS: it is in .env, but it is not a setting" in ended.stdout
