"""The settings, as a separate process reads them from the environment."""

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
    """Return the value of a setting in a production process."""
    code = f"from inventory_project import settings; print(settings.{name})"
    done = run("-c", code, **{**PRODUCTION, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_production_settings_pass_the_deployment_check() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)

    assert done.returncode == 0, done.stderr


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
def test_defaults_are_safe_in_production(name: str, expected: str) -> None:
    assert setting(name) == expected


def test_sqlite_locks_before_it_reads_and_keeps_commits() -> None:
    options = setting("DATABASES['default']['OPTIONS']")

    assert "'transaction_mode': 'IMMEDIATE'" in options
    assert "journal_mode=WAL" in options
    assert "synchronous=FULL" in options


def test_pool_size_limits_the_connections_to_postgresql() -> None:
    url = "postgres://user:secret@db.example.com:5432/inventory"

    pooled = setting("DATABASES['default']", DATABASE_URL=url, DATABASE_POOL_SIZE="3")
    unpooled = setting("DATABASES['default']", DATABASE_URL=url, DATABASE_POOL_SIZE="0")

    assert "'max_size': 3" in pooled
    assert "'pool'" not in unpooled


def test_statement_timeout_is_in_seconds_and_options_of_the_url_win() -> None:
    url = "postgres://user:secret@db.example.com:5432/inventory?options=-c%20lock_timeout%3D9s"
    name = "DATABASES['default']['OPTIONS']['options']"

    default = setting(name, DATABASE_URL=url)
    chosen = setting(name, DATABASE_URL=url, DATABASE_STATEMENT_TIMEOUT="40")

    assert "-c statement_timeout=15s" in default
    assert "-c statement_timeout=40s" in chosen
    assert default.rindex("lock_timeout=9s") > default.rindex("lock_timeout=5s")


def test_trusted_proxy_header_is_read_by_its_wsgi_name() -> None:
    assert setting("SECURE_PROXY_SSL_HEADER", TRUSTED_PROXY_SSL_HEADER="X-Forwarded-Proto") == (
        "('HTTP_X_FORWARDED_PROTO', 'https')"
    )
