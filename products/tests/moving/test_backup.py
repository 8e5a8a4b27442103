"""`manage.py backup`, and the service on a restored backup."""

import os
import signal
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from products import feed, stock
from products.models import ApiKey, Role, StockEvent
from products.tests.factories import ACTOR, ProductFactory
from products.tests.live import manage, run_python, running_server
from products.tests.moving.databases import assert_verified, manage_on, rows, rows_of
from products.tests.moving.shop import fill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

sqlite_only = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="The command is for SQLite only."
)


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


@sqlite_only
def test_a_backup_holds_all_rows_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    fill()
    file = tmp_path / "a b?#%\u00e9'.sqlite3"

    ended = manage("backup", str(file))

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{file} written and checked: {file.stat().st_size:,} bytes.\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    copy = file.rename(tmp_path / "copy.sqlite3")
    assert rows_of(url_of(copy)) == rows()
    assert_verified(url_of(copy))


@sqlite_only
def test_a_backup_under_load_is_one_state_of_the_database(tmp_path: Path) -> None:
    skus = [ProductFactory.create(sku=f"CUP-{number}").sku for number in range(3)]
    ended = threading.Event()

    def write(sku: str) -> None:
        try:
            while not ended.is_set():
                stock.add(sku=sku, amount=1, by=ACTOR)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=[sku]) for sku in skus]
    for writer in writers:
        writer.start()
    before = StockEvent.objects.count()
    try:
        results = [manage("backup", str(tmp_path / f"{number}.sqlite3")) for number in range(3)]
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    after = StockEvent.objects.count()

    assert [each.returncode for each in results] == [0, 0, 0], results
    counts = []
    for number in range(3):
        file = tmp_path / f"{number}.sqlite3"
        assert_verified(url_of(file))
        with closing(sqlite3.connect(file)) as opened:
            counts += opened.execute("SELECT count(*) FROM products_stockevent").fetchone()
    assert before <= counts[0] < counts[1] < counts[2] <= after


@sqlite_only
def test_a_restored_service_refuses_cursors_of_lost_events(tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP")
    key = ApiKey.issue(name="follower", role=Role.MANAGE).text
    kept = feed.latest().cursor
    file = tmp_path / "backup.sqlite3"
    assert manage("backup", str(file)).returncode == 0
    stock.add(sku="CUP", amount=1, by=ACTOR)
    lost = feed.latest().cursor

    with running_server(url_of(file), workers=1) as server:
        server.wait_for_workers()
        headers = {"Authorization": f"Api-Key {key}"}
        server.request("POST", "/v1/products/CUP/remove", {"amount": 2}, headers)
        refused = server.request("GET", f"/v1/events?after={lost}", headers=headers)
        found = server.request("GET", f"/v1/events?after={kept}", headers=headers)

    # The removal has the id of the lost event.
    assert (refused.status, refused.body["code"]) == (400, "invalid")
    assert [event["type"] for event in found.body["results"]] == [StockEvent.Type.REMOVED]
    assert found.body["results"][0]["id"] == int(lost.partition("-")[0])


_KILLED = """
import os, signal, sys, django
django.setup()
from django.core.management import call_command
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
call_command("backup", sys.argv[1])
"""


@sqlite_only
def test_a_killed_backup_leaves_no_file_with_the_final_name(tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP")
    file = tmp_path / "backup.sqlite3"

    killed = run_python(_KILLED, str(file))

    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    assert [each.name.startswith(".backup-") for each in tmp_path.iterdir()] == [True]
    assert manage("backup", str(file)).returncode == 0
    assert_verified(url_of(file))


@sqlite_only
def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(tmp_path / "nowhere")

    for taken in (file, link, tmp_path):
        ended = manage("backup", str(taken))

        message = f"CommandError: {taken} exists. Choose a new name, or delete the file.\n"
        assert (ended.returncode, ended.stderr) == (2, message)
    assert file.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


@sqlite_only
def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none" / "backup"

    ended = manage("backup", str(file))

    message = f"CommandError: {file} cannot be written: No such file or directory.\n"
    assert (ended.returncode, ended.stderr) == (2, message)


@sqlite_only
def test_a_database_without_tables_is_not_backed_up(tmp_path: Path) -> None:
    ended = manage_on(url_of(tmp_path / "empty.sqlite3"), "backup", str(tmp_path / "backup"))

    message = "CommandError: The database lacks tables. Run python manage.py migrate.\n"
    assert (ended.returncode, ended.stderr) == (2, message)
    assert not (tmp_path / "backup").exists()


@sqlite_only
def test_a_corrupt_database_is_not_backed_up(tmp_path: Path) -> None:
    fill()
    torn, file = tmp_path / "torn.sqlite3", tmp_path / "backup"
    assert manage("backup", str(torn)).returncode == 0
    content = bytearray(torn.read_bytes())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    torn.write_bytes(content)

    ended = manage_on(url_of(torn), "backup", str(file))

    assert ended.returncode in (1, 3), ended
    assert len(ended.stderr.splitlines()) == 1
    assert not file.exists()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="On SQLite, the command works.")
def test_postgresql_is_refused_with_the_name_of_its_own_program(tmp_path: Path) -> None:
    ended = manage("backup", str(tmp_path / "backup"))

    message = "CommandError: backup is for SQLite. Use pg_dump -Fc to back up PostgreSQL.\n"
    assert (ended.returncode, ended.stderr) == (2, message)
    assert not (tmp_path / "backup").exists()
