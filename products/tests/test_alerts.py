"""E-mails to the people of `ALERT_EMAILS`, with a real mail server."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from products import alerts
from products.tests.mail import MailServer, running_mail_server, text_of


@pytest.fixture
def mail(settings: Settings) -> Iterator[MailServer]:
    with running_mail_server() as server:
        settings.SENDS_EMAIL = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.ALERT_EMAILS = ["ada@shop.example"]
        settings.DEFAULT_FROM_EMAIL = "Stock \N{SNOWMAN} <stock@shop.example>"
        yield server


def test_an_alert_is_sent_in_plain_text(mail: MailServer) -> None:
    alerts.send("Parked: https://a.example\r\nBcc: eve@evil.example", "One\n.\nTwo", key="parked.7")

    [message] = mail.taken
    assert message["Subject"] == "Parked: https://a.example  Bcc: eve@evil.example"
    assert message["Bcc"] is None
    assert mail.recipients == ["ada@shop.example"]
    assert message["From"] == "Stock \N{SNOWMAN} <stock@shop.example>"
    assert message["Message-ID"] == "<parked.7@shop.example>"
    assert message.get_content_type() == "text/plain"
    assert text_of(message).splitlines() == ["One", ".", "Two"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("550-5.1.1 No such\r\n550 mailbox.", "550 5.1.1 No such mailbox."),
        ("550 " + "x" * 500, "550 " + "x" * 196 + "."),
    ],
)
def test_a_refusal_is_one_line_with_the_answer(mail: MailServer, answer: str, reason: str) -> None:
    mail.answers["RCPT"] = answer

    with pytest.raises(alerts.NotSent) as failed:
        alerts.send("Parked", "", key="parked.7")

    assert str(failed.value) == f"The mail server did not take the e-mail: {reason}"


def test_without_a_mail_server_nothing_is_sent(mail: MailServer, settings: Settings) -> None:
    settings.SENDS_EMAIL = False

    with pytest.raises(alerts.NotConfigured, match="Set EMAIL_URL"):
        alerts.send("Parked", "", key="parked.7")

    assert mail.taken == []


@pytest.mark.parametrize(
    ("origins", "hosts", "redirects", "expected"),
    [
        ([], ["stock.shop.example"], True, "https://stock.shop.example/admin/"),
        ([], ["localhost", "10.0.0.1", "[::1]", "a.example"], True, "https://a.example/admin/"),
        (["https://b.example:8443"], ["a.example"], True, "https://b.example:8443/admin/"),
        (["http://b.example"], ["*"], False, "http://b.example/admin/"),
        (["https://*.b.example", "https://b.example"], [], True, "https://b.example/admin/"),
        ([], ["stock.shop.example"], False, None),
        ([], ["a.example", "b.example"], True, None),
        ([], [".shop.example"], True, None),
        ([], ["*"], True, None),
        (["https://a.example", "https://b.example"], ["a.example"], True, None),
    ],
)
def test_the_address_of_a_page_is_known_if_the_settings_name_one_host(
    settings: Settings,
    origins: list[str],
    hosts: list[str],
    redirects: bool,
    expected: str | None,
) -> None:
    settings.CSRF_TRUSTED_ORIGINS, settings.ALLOWED_HOSTS = origins, hosts
    settings.SECURE_SSL_REDIRECT = redirects

    assert alerts.link("/admin/") == expected
