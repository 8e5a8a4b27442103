"""The settings, as a process of its own reads them from the environment."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

pytestmark = pytest.mark.slow

PRODUCTION = {
    "DEBUG": "off",
    "SECRET_KEY": "k8Zr3vQx1nB6yT0wLpUe5sJd9hGfC2aMi7oVRXNKEqYz4tWbHj0Pq",
    "ALLOWED_HOSTS": "inventory.example.com",
    "SECURE_HSTS_SECONDS": "31536000",
    "DATABASE_URL": "sqlite:///unused.sqlite3",
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def setting(name: str, **environment: str) -> str:
    """Return what a production process has under this name."""
    code = f"from inventory_project import settings; print(settings.{name})"
    done = run("-c", code, **{**PRODUCTION, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_production_settings_pass_the_deployment_check() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)

    assert done.returncode == 0, done.stderr


def test_without_a_secret_key_nothing_starts() -> None:
    done = run("manage.py", "check", **{**PRODUCTION, "SECRET_KEY": ""})
    missing = run(
        "manage.py", "check", **{k: v for k, v in PRODUCTION.items() if k != "SECRET_KEY"}
    )

    assert done.returncode != 0
    assert missing.returncode != 0
    assert "SECRET_KEY" in missing.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DEBUG", "False"),
        ("SECURE_SSL_REDIRECT", "True"),
        ("SESSION_COOKIE_SECURE", "True"),
        ("CSRF_COOKIE_SECURE", "True"),
        ("CORS_ALLOWED_ORIGINS", "[]"),
    ],
)
def test_the_defaults_are_those_of_production(name: str, expected: str) -> None:
    assert setting(name) == expected


def test_sqlite_takes_the_write_lock_first_and_keeps_what_it_committed() -> None:
    options = setting("DATABASES['default']['OPTIONS']")

    assert "'transaction_mode': 'IMMEDIATE'" in options
    assert "journal_mode=WAL" in options
    assert "synchronous=FULL" in options


def test_postgresql_gets_a_pool_of_the_size_asked_for() -> None:
    url = "postgres://user:secret@db.example.com:5432/inventory"

    pooled = setting("DATABASES['default']", DATABASE_URL=url, DATABASE_POOL_SIZE="3")
    unpooled = setting("DATABASES['default']", DATABASE_URL=url, DATABASE_POOL_SIZE="0")

    assert "'max_size': 3" in pooled
    assert "'pool'" not in unpooled


def test_the_longest_statement_is_set_in_seconds_and_an_option_of_the_url_wins() -> None:
    url = "postgres://user:secret@db.example.com:5432/inventory?options=-c%20lock_timeout%3D9s"
    name = "DATABASES['default']['OPTIONS']['options']"

    default = setting(name, DATABASE_URL=url)
    chosen = setting(name, DATABASE_URL=url, DATABASE_STATEMENT_TIMEOUT="40")

    assert "-c statement_timeout=15s" in default
    assert "-c statement_timeout=40s" in chosen
    assert default.rindex("lock_timeout=9s") > default.rindex("lock_timeout=5s")


def test_a_trusted_proxy_header_is_taken_by_its_http_name() -> None:
    assert setting("SECURE_PROXY_SSL_HEADER", TRUSTED_PROXY_SSL_HEADER="X-Forwarded-Proto") == (
        "('HTTP_X_FORWARDED_PROTO', 'https')"
    )


@pytest.mark.parametrize(
    "rate", ["600", "600/", "/min", "600/month", "0/s", "-1/s", "1.5/s", "1 / s", "fast", "9" * 10]
)
def test_a_rate_that_is_none_stops_the_start_with_a_clear_word(rate: str) -> None:
    done = run("manage.py", "check", **PRODUCTION, API_THROTTLE_RATE=rate)

    assert done.returncode != 0
    assert f"API_THROTTLE_RATE must be a rate such as 600/min or 10/s, not '{rate}'" in done.stderr


def test_a_number_of_proxies_below_zero_stops_the_start() -> None:
    done = run("manage.py", "check", **PRODUCTION, NUM_PROXIES="-1")

    assert done.returncode != 0
    assert "NUM_PROXIES must be 0 or more" in done.stderr
