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


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SESSION_COOKIE_SECURE", '"off"', "False"),
        ("SESSION_COOKIE_SECURE", " No ", "False"),
        ("PORT", ' "8001" ', "8001"),
        ("NUM_PROXIES", "''", "0"),
        ("ALLOWED_HOSTS", "a.example, B.example ,", "['a.example', 'b.example']"),
        ("ALLOWED_HOSTS", '"a.example"', "['a.example']"),
        ("ALLOWED_HOSTS", "'a.example', '.b.example'", "['a.example', '.b.example']"),
        ("ALLOWED_HOSTS", "[::1],127.0.0.1,*", "['[::1]', '127.0.0.1', '*']"),
        ("ALLOWED_HOSTS", " ", "['localhost', '127.0.0.1', '[::1]']"),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://a.example, http://b",
            "['https://a.example', 'http://b']",
        ),
        ("CSRF_TRUSTED_ORIGINS", "https://*.a.example", "['https://*.a.example']"),
        ("SECRET_KEY", "$x9", "$x9"),
        ("SECRET_KEY", "'$x\"9'", '$x"9'),
        ("SECRET_KEY", "'x", "'x"),
        ("LOG_LEVEL", "info", "INFO"),
        ("LOG_LEVEL", '""', "INFO"),
        ("LOG_FORMAT", "Plain", "plain"),
        ("HOST", "", "127.0.0.1"),
        ("ALERT_EMAILS", "'Ada@a.example', bo@b.example,", "['Ada@a.example', 'bo@b.example']"),
        ("ALERT_EMAILS", "", "[]"),
        ("PUBLISHER_URL", "", "webhook:"),
        ("PUBLISHER_URL", "amqp://u:p@h//", "amqp://u:p@h//"),
        ("WEBHOOK_ALLOWED_NETWORKS", "", "[]"),
        ("DEFAULT_FROM_EMAIL", "", "inventory@localhost"),
        ("DEFAULT_FROM_EMAIL", "Our shop <a@b.example>", "Our shop <a@b.example>"),
        ("DEFAULT_FROM_EMAIL", "a@b.example", "a@b.example"),
    ],
)
def test_values_are_read_as_people_write_them(name: str, value: str, expected: str) -> None:
    assert setting(name, **{name: value}) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ('"postgres://u:s%2F%3F%23%40%25@db:5433/stock"', "u s/?#@% db 5433 stock"),
        ("postgres://u:a#b@c%d e$@db/stock", "u a#b@c%d e$ db  stock"),
        ("postgresql://u:a+b:$[%2Fc@db/a+b", "u a+b:$[/c db  a+b"),
        ("postgres:////run/postgresql/stock", "  /run/postgresql  stock"),
        ("postgres://[::1]:5432/stock?sslmode=require", "  ::1 5432 stock"),
    ],
)
def test_the_parts_of_a_database_url_are_read(url: str, expected: str) -> None:
    parts = [
        setting(f"DATABASES['default']['{part}']", DATABASE_URL=url)
        for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME")
    ]

    assert " ".join(parts) == expected


def test_the_name_of_an_sqlite_file_is_kept() -> None:
    url = "sqlite:////srv/a@b+c.sqlite3?timeout=5"

    assert setting("DATABASES['default']['NAME']", DATABASE_URL=url) == "/srv/a@b+c.sqlite3"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://localhost", ["", "", "localhost", "25", "False", "False"]),
        ("smtp://[::1]:2525/", ["", "", "::1", "2525", "False", "False"]),
        (
            '"smtp+tls://stock@shop.example:s%2F+:@c#@smtp.shop.example"',
            ["stock@shop.example", "s/+:@c#", "smtp.shop.example", "587", "True", "False"],
        ),
        ("smtp+ssl://u:p@h:4650", ["u", "p", "h", "4650", "False", "True"]),
    ],
)
def test_the_parts_of_an_e_mail_url_are_read(url: str, expected: list[str]) -> None:
    parts = [
        setting(f"EMAIL_{part}", EMAIL_URL=url)
        for part in ("HOST_USER", "HOST_PASSWORD", "HOST", "PORT", "USE_TLS", "USE_SSL")
    ]

    assert parts == expected


@pytest.mark.parametrize(
    ("url", "backend"), [("", "dummy"), ("consolemail://", "console"), ("smtp://h", "smtp")]
)
def test_without_an_e_mail_url_no_e_mail_is_sent(url: str, backend: str) -> None:
    assert setting("EMAIL_BACKEND", EMAIL_URL=url) == (
        f"django.core.mail.backends.{backend}.EmailBackend"
    )
    assert setting("SENDS_EMAIL", EMAIL_URL=url) == str(bool(url))


def test_a_mail_server_gets_ten_seconds_for_each_answer() -> None:
    assert setting("EMAIL_TIMEOUT") == "10"


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

    assert "-c statement_timeout=6s" in default
    assert "-c statement_timeout=40s" in chosen
    assert default.rindex("lock_timeout=9s") > default.rindex("lock_timeout=5s")


def test_the_options_for_postgresql_have_no_blank_at_the_end() -> None:
    """PgBouncer from 1.20 on refuses it."""
    name = "DATABASES['default']['OPTIONS']['options'][-1]"

    assert setting(name, DATABASE_URL="postgres://db/stock").strip()
    assert setting(name, DATABASE_URL="postgres://db/stock?options=-c%20jit%3Doff%20").strip()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@a,b/stock", "a,b  primary"),
        ("postgres://u:p@a:1,b:2,c:3/stock", "a,b,c 1,2,3 primary"),
        ("postgres://[::1]:1,[::2]:2/stock", "[::1],[::2] 1,2 primary"),
        ("postgres://a,b/stock?target_session_attrs=read-write", "a,b  read-write"),
        ("postgres://a/stock", "a  None"),
    ],
)
def test_of_several_hosts_the_primary_is_used(url: str, expected: str) -> None:
    parts = [
        setting(f"DATABASES['default']{part}", DATABASE_URL=url)
        for part in ("['HOST']", "['PORT']", "['OPTIONS'].get('target_session_attrs')")
    ]

    assert " ".join(parts) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"), [("a", "3"), ("a,b", "3"), ("a,b,c", "5"), ("a,b,c,d,e", "6")]
)
def test_the_pool_waits_until_dead_hosts_are_passed_over(hosts: str, expected: str) -> None:
    options = "DATABASES['default']['OPTIONS']"
    url = f"postgres://{hosts}/stock"

    assert setting(f"{options}['connect_timeout']", DATABASE_URL=url) == "2"
    assert setting(f"{options}['pool']['timeout']", DATABASE_URL=url) == expected


def test_the_deadline_of_a_request_follows_the_statement_timeout() -> None:
    assert setting("REQUEST_SECONDS") == "9"
    assert setting("REQUEST_SECONDS", DATABASE_STATEMENT_TIMEOUT="40") == "43"
    assert setting("REQUEST_SECONDS", DATABASE_STATEMENT_TIMEOUT="0") == "0"


def test_trusted_proxy_header_is_read_by_its_wsgi_name() -> None:
    assert setting("SECURE_PROXY_SSL_HEADER", TRUSTED_PROXY_SSL_HEADER="X-Forwarded-Proto") == (
        "('HTTP_X_FORWARDED_PROTO', 'https')"
    )
