"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_django
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase, override_settings
from rest_framework.test import APIClient

from products.models import Role
from products.stock.runner import Verb
from products.tests import planted
from products.tests.checks import assert_sound
from products.tests.factories import ApiKeyFactory
from products.tests.flush import flush, rows_of_migrate

hypothesis.settings.register_profile(
    "test",
    # The same cases in each run, so that only a change of the code can cause a new failure.
    derandomize=True,
    deadline=None,
    max_examples=50,
    # Shrinking a failed case may take minutes.
    phases=set(hypothesis.Phase) - {hypothesis.Phase.shrink},
    stateful_step_count=30,
    # Each step sends requests, which are slow.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "fuzz",
    hypothesis.settings.get_profile("test"),
    derandomize=False,
    max_examples=1_000,
    phases=hypothesis.Phase,
    print_blob=True,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plant",
        choices=planted.BUGS,
        help="plant a bug before each test, to check that the tests catch it",
    )
    parser.addoption(
        "--fuzz",
        action="store_true",
        help="let Hypothesis try more cases, and different ones in each run",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With `--fuzz`, print the share of each outcome."""
    if not terminalreporter.config.getoption("--fuzz"):
        return
    for report in terminalreporter.getreports("passed"):
        reached = dict(report.user_properties).get("reached", [])
        total = sum(times for _, times in reached)
        for outcome, times in reached:
            terminalreporter.write_line(f"{times / total:7.1%}  {outcome}")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("fuzz" if config.getoption("--fuzz") else "test")


@pytest.fixture(autouse=True)
def _planted_bug(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug := request.config.getoption("--plant"):
        planted.BUGS[bug](monkeypatch)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Adapt the database settings to tests.

    Keep an SQLite database in a file, which threads and other processes can share, and do not sync
    it to disk. Let threads wait longer for a connection, and requests for the
    database, because the machine may be busy.
    """
    database = settings.DATABASES["default"]
    if pool := database["OPTIONS"].get("pool"):
        pool["timeout"] = 60
    settings.REQUEST_SECONDS = 600
    if database["ENGINE"].endswith("sqlite3"):
        path: Path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(path)
        database["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"


@pytest.fixture(autouse=True, scope="session")
def _fast_password_hasher() -> Iterator[None]:
    """Use a fast password hasher: those for production are slow on purpose."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[None]:
    """Replace the flush after a transactional test by a faster one."""
    with django_db_blocker.unblock():
        initial_rows = rows_of_migrate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase, "_fixture_teardown", lambda case: flush(case, initial_rows)
        )
        yield


@pytest.fixture(autouse=True)
def _verbs_decide_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a verb fail if it sends a statement other than SELECT while it decides."""

    def send(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        assert sql.lstrip().upper().startswith("SELECT"), (
            f"A verb decides in memory, but sent {sql}"
        )
        return execute(sql, params, many, context)

    def guarded(decide: Callable[..., Any]) -> Callable[..., Any]:
        def decide_without_writing(*arguments: Any) -> Any:
            with connection.execute_wrapper(send):
                return decide(*arguments)

        return decide_without_writing

    for verb in Verb.__subclasses__():
        monkeypatch.setattr(verb, "decide", guarded(verb.decide))


@pytest.fixture(autouse=True)
def _sound_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """Assert that levels, ledger and reservations agree after every test with a database."""
    mark = request.node.get_closest_marker("django_db")
    if mark:
        # Requested here, so that the database still exists when this fixture ends.
        request.getfixturevalue("transactional_db" if mark.kwargs.get("transaction") else "db")
    yield
    if mark:
        assert_sound()


@pytest.fixture
def client_as(db: None) -> Callable[[Role], APIClient]:
    """Return a function that makes an API client with a key of a role."""

    def make(role: Role) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Api-Key {ApiKeyFactory.create(role=role).text}")
        return client

    return make


@pytest.fixture
def api(client_as: Callable[[Role], APIClient]) -> APIClient:
    """An API client with the role `manage`."""
    return client_as(Role.MANAGE)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The writing end of a pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)
