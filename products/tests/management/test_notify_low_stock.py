"""`notify_low_stock`, with a real mail server."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import EmailMessage
from functools import partial
from io import StringIO
from itertools import pairwise

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from products import feed, stock
from products.management.base import ExitCode
from products.models import LowStockCursor, Product
from products.tests.concurrency import OpenChange, at_once, in_another_thread
from products.tests.factories import ACTOR, ProductFactory, at
from products.tests.live import END_SECONDS, environment_of_test
from products.tests.mail import MailServer, running_mail_server, text_of

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING_NEW = "No product has become low on stock since the last e-mail.\n"
BUSY = "Another run is sending the e-mail.\n"


@pytest.fixture
def mail(settings: Settings) -> Iterator[MailServer]:
    """A mail server that the settings name."""
    with running_mail_server() as server:
        settings.SENDS_EMAIL = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.DEFAULT_FROM_EMAIL = "Inventory <stock@shop.example>"
        settings.ALERT_EMAILS = ["ada@shop.example", "bo@shop.example"]
        yield server


def notify() -> str:
    """Run the command once, and return its output."""
    output = StringIO()
    call_command("notify_low_stock", stdout=output, stderr=output)
    return output.getvalue()


def low_product(sku: str, *, name: str = "", quantity: int = 2) -> Product:
    return ProductFactory.create(
        sku=sku, name=name or f"Name of {sku}", quantity=quantity, minimum_stock_level=12
    )


def sold_low(sku: str) -> Product:
    """Create a product with its minimum, and sell one unit."""
    product = low_product(sku, quantity=12)
    stock.remove(sku=sku, amount=1, by=ACTOR)
    return product


def archive(sku: str, *, archived: bool = True) -> None:
    stock.edit(sku=sku, archived=archived, by=ACTOR)


def skus_in(message: EmailMessage) -> list[str]:
    """Return the SKUs that an e-mail lists. Their lines are followed by an indented one."""
    lines = text_of(message).splitlines()
    return [line.split()[0] for line, following in pairwise(lines) if following.startswith("    ")]


def test_the_first_e_mail_lists_all_products_that_are_low(
    mail: MailServer, settings: Settings
) -> None:
    settings.BACK_OFFICE_TIME_ZONE = "Asia/Tokyo"
    settings.CSRF_TRUSTED_ORIGINS = ["https://inventory.example.com"]
    moment = timezone.now().replace(hour=20, minute=30) - timedelta(days=40)
    stock.create(
        sku="MUG-RED", name="Red mug", quantity=1002, minimum_stock_level=1012, by=at(moment)
    )
    low_product("BAG-RED", name="Sac en toile \N{LATIN SMALL LETTER E WITH ACUTE}cru", quantity=0)
    ProductFactory.create(sku="ENOUGH")

    said = notify()

    assert said == "E-mail sent: 2 products low on stock.\n"
    [message] = mail.taken
    assert message["Subject"] == "Low stock: 2 products"
    assert message["From"] == "Inventory <stock@shop.example>"
    assert message["To"] == "ada@shop.example, bo@shop.example"
    assert mail.recipients == ["ada@shop.example", "bo@shop.example"]
    assert message["Auto-Submitted"] == "auto-generated"
    since = f"{moment.date() + timedelta(days=1)} 05:30"
    lines = text_of(message).splitlines()
    assert "2 products are low on stock: " in lines[0]
    # The largest shortage comes first.
    assert lines[3] == "BAG-RED  Sac en toile \N{LATIN SMALL LETTER E WITH ACUTE}cru"
    assert lines[4].startswith("    0 available, minimum 12, 24 to order, low since ")
    assert lines[5:] == [
        "MUG-RED  Red mug",
        f"    1,002 available, minimum 1,012, 1,022 to order, low since {since}",
        "",
        "All products that are low: "
        "https://inventory.example.com/admin/products/product/?stock=low",
        "Times are in Asia/Tokyo.",
    ]


def test_without_a_known_address_there_is_no_link(mail: MailServer) -> None:
    low_product("MUG")

    notify()

    assert "http" not in text_of(mail.taken[0])


def test_each_crossing_is_sent_once(mail: MailServer) -> None:
    sold_low("FIRST")
    assert notify() == "E-mail sent: 1 product low on stock.\n"
    stock.remove(sku="FIRST", amount=1, by=ACTOR)
    assert notify() == NOTHING_NEW
    sold_low("SECOND")
    notify()
    stock.add(sku="FIRST", amount=50, by=ACTOR)
    stock.remove(sku="FIRST", amount=50, by=ACTOR)
    notify()
    assert notify() == NOTHING_NEW

    assert [skus_in(message) for message in mail.taken] == [["FIRST"], ["SECOND"], ["FIRST"]]
    assert len({message["Message-ID"] for message in mail.taken}) == 3


def test_products_that_recovered_or_were_archived_are_counted_only(mail: MailServer) -> None:
    ProductFactory.create(sku="ENOUGH")
    notify()
    for sku in ("LOW", "FILLED", "ARCHIVED"):
        sold_low(sku)
    stock.add(sku="FILLED", amount=1, by=ACTOR)
    archive("ARCHIVED")

    notify()

    [message] = mail.taken
    assert message["Subject"] == "Low stock: 1 product"
    assert skus_in(message) == ["LOW"]
    assert (
        "2 more products became low and have recovered since, or been archived."
        in text_of(message).splitlines()
    )


def test_there_is_no_e_mail_if_all_products_recovered(mail: MailServer) -> None:
    sold_low("MUG")
    stock.add(sku="MUG", amount=1, by=ACTOR)

    assert [notify(), notify()] == [NOTHING_NEW] * 2
    assert mail.taken == []


def test_a_product_that_became_low_and_was_archived_is_sent_when_it_is_restored(
    mail: MailServer,
) -> None:
    sold_low("MUG")
    archive("MUG")
    assert notify() == NOTHING_NEW
    archive("MUG", archived=False)

    notify()

    assert [skus_in(message) for message in mail.taken] == [["MUG"]]


def test_at_most_200_products_are_listed(mail: MailServer) -> None:
    for number in range(203):
        low_product(f"SKU-{number:03}", quantity=min(number, 11))

    notify()

    [message] = mail.taken
    assert message["Subject"] == "Low stock: 203 products"
    assert skus_in(message) == [f"SKU-{number:03}" for number in range(200)]
    assert "And 3 more. The list has the largest shortages." in text_of(message).splitlines()


def test_names_cannot_add_headers_recipients_or_lines(mail: MailServer) -> None:
    low_product("A", name="Mug\r\nBcc: eve@evil.example\r\n\r\n<b>")
    low_product("B", name="Mug\r\n.\r\nMAIL FROM:<eve@evil.example>")
    low_product("C", name=".\N{RIGHT-TO-LEFT OVERRIDE}" + "x" * 250)

    notify()

    [message] = mail.taken
    assert mail.recipients == django_settings.ALERT_EMAILS
    assert message["Bcc"] is None
    assert skus_in(message) == ["A", "B", "C"]
    lines = text_of(message).splitlines()
    assert lines[3] == "A  Mug  Bcc: eve@evil.example    <b>"
    assert lines[5] == "B  Mug  .  MAIL FROM:<eve@evil.example>"
    assert lines[7] == "C  . " + "x" * 250


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("CONNECT", "421 4.3.2 Come back later"),
        ("MAIL", "530 5.7.0 Authentication required"),
        ("RCPT", "550 5.1.1 No such mailbox"),
        ("DATA", "451 4.3.0 Try again"),
        (".", "554 5.7.1 Looks like spam"),
    ],
)
def test_a_refused_e_mail_is_sent_by_the_next_run(
    mail: MailServer, command: str, answer: str
) -> None:
    sold_low("FIRST")
    mail.answers[command] = answer

    with pytest.raises(CommandError) as failed:
        notify()
    sold_low("SECOND")
    taken_first = len(mail.taken)
    mail.answers.clear()
    said = notify()

    assert failed.value.returncode == ExitCode.MAIL
    assert str(failed.value) == (
        f"The mail server did not take the e-mail: {answer}. The next run sends it again."
    )
    # The refused e-mail comes again as it was, because the server could have taken it.
    assert [skus_in(message) for message in mail.taken[taken_first:]] == [["FIRST"], ["SECOND"]]
    assert said == "E-mail sent: 1 product low on stock.\n" * 2
    assert notify() == NOTHING_NEW


def test_a_mail_server_that_is_away_is_named_in_one_line(
    mail: MailServer, settings: Settings
) -> None:
    sold_low("MUG")
    mail.server_close()

    with pytest.raises(CommandError) as failed:
        notify()

    assert failed.value.returncode == ExitCode.MAIL
    assert str(failed.value) == (
        "The mail server did not take the e-mail: Connection refused. The next run sends it again."
    )


@pytest.mark.parametrize("command", ["CONNECT", "MAIL", "."])
def test_a_mail_server_that_hangs_is_given_up(
    mail: MailServer, settings: Settings, command: str
) -> None:
    """The server answers only after the command has ended."""
    sold_low("MUG")
    assert settings.EMAIL_TIMEOUT
    settings.EMAIL_TIMEOUT = 0.3
    with ThreadPoolExecutor() as threads:
        command_ended = threads.submit(partial(at_once, [notify]))

        def hang() -> str:
            command_ended.result(timeout=60)
            return "250 OK"

        mail.answers[command] = hang
        [failure] = command_ended.result(timeout=60)

    assert isinstance(failure, CommandError)
    assert failure.returncode == ExitCode.MAIL
    assert "timed out" in str(failure)


def while_sending(mail: MailServer, work: Callable[[], object]) -> list[object]:
    """Run the command, and do the work in another thread before the server takes the e-mail.

    Return the outcome of the work.
    """
    outcomes: list[object] = []

    def answer() -> str:
        mail.answers.clear()
        outcomes.extend(at_once([work]))
        return "250 OK"

    mail.answers["."] = answer
    notify()
    return outcomes


def test_stock_can_be_sold_while_the_e_mail_is_sent(mail: MailServer) -> None:
    """On SQLite, an open transaction of the command would make the sale fail after 20 seconds."""
    sold_low("MUG")

    [sold] = while_sending(mail, partial(stock.remove, sku="MUG", amount=3, by=ACTOR))

    assert isinstance(sold, Product)
    assert sold.quantity == 8


def test_a_second_run_leaves_the_e_mail_to_the_first(mail: MailServer) -> None:
    """Fails on both databases if `_claim` does not look at `claimed_until`."""
    sold_low("MUG")

    said = while_sending(mail, notify)

    assert said == [BUSY]
    assert len(mail.taken) == 1


def test_a_run_that_was_overtaken_sends_nothing(
    mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run starts and ends after this one has read the cursor.

    Fails on both databases if `_claim` does not compare the cursor.
    """
    sold_low("MUG")
    latest = feed.latest

    def overtaken() -> feed.FeedPage:
        monkeypatch.setattr(feed, "latest", latest)
        in_another_thread(notify)
        return latest()

    monkeypatch.setattr(feed, "latest", overtaken)
    said = notify()

    assert said == BUSY
    assert len(mail.taken) == 1


def test_a_run_that_outlives_its_claim_may_repeat_the_e_mail_and_loses_none(
    mail: MailServer,
) -> None:
    sold_low("FIRST")

    def take_over() -> str:
        LowStockCursor.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
        sold_low("SECOND")
        return notify()

    while_sending(mail, take_over)

    assert [skus_in(message) for message in mail.taken] == [["FIRST"], ["FIRST"], ["SECOND"]]
    assert mail.taken[0]["Message-ID"] == mail.taken[1]["Message-ID"]
    assert notify() == NOTHING_NEW


def test_runs_at_the_same_time_send_one_e_mail(mail: MailServer) -> None:
    """Fails on PostgreSQL if `_claim` compares neither `claimed_until` nor the cursor."""
    sold_low("MUG")

    said = at_once([notify] * 8)

    assert said.count("E-mail sent: 1 product low on stock.\n") == 1
    assert set(said) <= {"E-mail sent: 1 product low on stock.\n", BUSY, NOTHING_NEW}
    assert len(mail.taken) == 1


@pytest.mark.slow
def test_a_run_that_is_killed_after_sending_is_repeated_with_the_same_id(mail: MailServer) -> None:
    sold_low("FIRST")
    killed = subprocess.Popen(
        [sys.executable, "manage.py", "notify_low_stock"],
        cwd=django_settings.BASE_DIR,
        env={**environment_of_test(), "EMAIL_URL": mail.url, "ALERT_EMAILS": "ada@shop.example"}
        | {"DEFAULT_FROM_EMAIL": "stock@shop.example"},
    )

    def kill() -> str:
        killed.kill()
        killed.wait(timeout=END_SECONDS)
        return "250 OK"

    mail.answers["."] = kill
    assert killed.wait(timeout=END_SECONDS) == -signal.SIGKILL
    mail.answers.clear()
    sold_low("SECOND")
    at_first = notify()
    LowStockCursor.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    notify()

    assert at_first == BUSY
    assert [skus_in(message) for message in mail.taken] == [["FIRST"], ["FIRST"], ["SECOND"]]
    first, again, second = (message["Message-ID"] for message in mail.taken)
    assert first == again != second
    assert notify() == NOTHING_NEW


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_crossing_that_commits_after_later_ones_is_not_missed(mail: MailServer) -> None:
    low_product("SLOW", quantity=12)
    low_product("FAST", quantity=12)
    slow = OpenChange(partial(stock.remove, sku="SLOW", amount=1, by=ACTOR))
    with slow:
        in_another_thread(partial(stock.remove, sku="FAST", amount=1, by=ACTOR))
        notify()
    notify()

    listed = [sku for message in mail.taken for sku in skus_in(message)]
    assert sorted(listed) == ["FAST", "SLOW"]


def test_after_the_event_of_the_cursor_is_lost_all_low_products_are_sent(mail: MailServer) -> None:
    sold_low("FIRST")
    notify()
    # As if the table had not been restored with the ledger.
    LowStockCursor.objects.update(cursor="999999-1700000000000000")
    sold_low("SECOND")

    said = notify()

    assert said.splitlines() == [
        "The ledger lacks the event that the last e-mail ended with, as after a restore. Starting "
        "again with all products that are low now.",
        "E-mail sent: 2 products low on stock.",
    ]
    assert skus_in(mail.taken[-1]) == ["FIRST", "SECOND"]
    assert notify() == NOTHING_NEW


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"SENDS_EMAIL": False}, "No e-mail can be sent. Set EMAIL_URL."),
        ({"ALERT_EMAILS": []}, "No e-mail can be sent. Set ALERT_EMAILS."),
        (
            {"SENDS_EMAIL": False, "ALERT_EMAILS": []},
            "No e-mail can be sent. Set EMAIL_URL and ALERT_EMAILS.",
        ),
    ],
)
@pytest.mark.parametrize("options", [[], ["--every", "1"]])
def test_missing_settings_are_named(
    mail: MailServer,
    settings: Settings,
    missing: dict[str, object],
    message: str,
    options: list[str],
) -> None:
    for name, value in missing.items():
        setattr(settings, name, value)

    with pytest.raises(CommandError) as refused:
        call_command("notify_low_stock", *options)

    assert (str(refused.value), refused.value.returncode) == (message, ExitCode.BAD_INPUT)


def wait_for(mail: MailServer, count: int) -> None:
    deadline = time.monotonic() + END_SECONDS
    while len(mail.taken) < count:
        assert time.monotonic() < deadline, f"{len(mail.taken)} e-mails came."
        time.sleep(0.05)


@pytest.mark.slow
def test_it_repeats_until_sigterm_and_survives_a_refusing_server(mail: MailServer) -> None:
    mail.answers["."] = "451 4.3.0 Try again"
    sold_low("FIRST")
    loop = subprocess.Popen(
        [sys.executable, "manage.py", "notify_low_stock", "--every", "1"],
        cwd=django_settings.BASE_DIR,
        env={**environment_of_test(), "EMAIL_URL": mail.url, "ALERT_EMAILS": "ada@shop.example"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(mail, 1)
        mail.answers.clear()
        wait_for(mail, 2)
        sold_low("SECOND")
        wait_for(mail, 3)
        loop.terminate()
        said, failed = loop.communicate(timeout=END_SECONDS)
    finally:
        loop.kill()

    assert loop.returncode == 0
    assert said == "E-mail sent: 1 product low on stock.\n" * 2
    assert set(failed.splitlines()) == {
        "The mail server did not take the e-mail: 451 4.3.0 Try again. Trying again."
    }
    assert [skus_in(message) for message in mail.taken][-2:] == [["FIRST"], ["SECOND"]]
