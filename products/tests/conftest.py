"""Fixtures of all tests."""

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
from products.tests.flush import flush, made_by_migrate

hypothesis.settings.register_profile(
    "test",
    # The same cases in each run: a change that breaks a test has broken it.
    derandomize=True,
    deadline=None,
    max_examples=50,
    # To look for the shortest case that fails may take minutes.
    phases=set(hypothesis.Phase) - {hypothesis.Phase.shrink},
    stateful_step_count=30,
    # Requests take their time.
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
        help="plant a bug before each test, to see that the tests find it",
    )
    parser.addoption(
        "--fuzz",
        action="store_true",
        help="let Hypothesis try more, and other cases in each run",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With `--fuzz`, tell how often each outcome was reached."""
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
    """Put an SQLite test database into a file, where threads and other processes share it, and do
    not wait for the disk, as on PostgreSQL; let threads wait as long as it takes until a busy
    machine has opened a connection for each."""
    database = settings.DATABASES["default"]
    if pool := database["OPTIONS"].get("pool"):
        pool["timeout"] = 60
    if database["ENGINE"].endswith("sqlite3"):
        path: Path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(path)
        database["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"


@pytest.fixture(autouse=True, scope="session")
def _fast_password_hasher() -> Iterator[None]:
    """Hash passwords at once: hashers of production are slow on purpose."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[None]:
    """Replace the flush after a transactional test, which takes longer than most of them."""
    with django_db_blocker.unblock():
        made_at_first = made_by_migrate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase, "_fixture_teardown", lambda case: flush(case, made_at_first)
        )
        yield


@pytest.fixture(autouse=True)
def _verbs_decide_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a verb fail that sends more than a SELECT while it decides: it must not write before it
    has refused, nor after the commit."""

    def send(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        assert sql.lstrip().upper().startswith("SELECT"), f"A verb decides in memory, not by {sql}"
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
    """After every test that used the database: levels, ledger and reservations agree."""
    mark = request.node.get_closest_marker("django_db")
    if mark:
        # Asked for here, so that the database is still there when this fixture ends.
        request.getfixturevalue("transactional_db" if mark.kwargs.get("transaction") else "db")
    yield
    if mark:
        assert_sound()


@pytest.fixture
def client_as(db: None) -> Callable[[Role], APIClient]:
    """Return a client of the API with a key of the given role."""

    def make(role: Role) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Api-Key {ApiKeyFactory.create(role=role).text}")
        return client

    return make


@pytest.fixture
def api(client_as: Callable[[Role], APIClient]) -> APIClient:
    """A client of the API that may do everything."""
    return client_as(Role.MANAGE)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """What a program writes to after the one that read has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)
