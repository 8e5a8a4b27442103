"""E-mails to the people of the setting `ALERT_EMAILS`.

A caller whose work must not fail because of an e-mail catches `NotSent` and logs its text.
"""

import re
from email.utils import parseaddr
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException

from django.conf import settings
from django.core.mail import EmailMessage

_MAX_REASON_LENGTH = 200
# A name in a domain: no IP address, and no pattern such as .example.com.
_DOMAIN_NAME = re.compile(r"([\w-]+\.)+[a-z][\w-]*")


class NotSent(Exception):
    """The mail server did not confirm the e-mail. The text is one line with the reason."""


class NotConfigured(NotSent):
    """The settings name no mail server, or no recipients."""


def require_configuration() -> None:
    """Raise `NotConfigured` unless the settings name a mail server and a recipient."""
    missing = [
        name
        for name, is_set in (
            ("EMAIL_URL", settings.SENDS_EMAIL),
            ("ALERT_EMAILS", settings.ALERT_EMAILS),
        )
        if not is_set
    ]
    if missing:
        raise NotConfigured(f"No e-mail can be sent. Set {' and '.join(missing)}.")


def send(subject: str, body: str, *, key: str) -> None:
    """Send an e-mail in plain text to all `ALERT_EMAILS`, and wait until the server has taken it.

    `key` is unique for the alert, in ASCII without blanks. If an alert is sent again, it has the
    same Message-ID, so that mail programs can drop it. Must not be called in a transaction. Raises
    `NotSent`. The server may have taken the e-mail in this case, too.
    """
    require_configuration()
    _, sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
    message = EmailMessage(
        one_line(subject),
        body,
        to=settings.ALERT_EMAILS,
        headers={
            "Message-ID": f"<{key}@{sender.rpartition('@')[2]}>",
            # Keeps programs from answering, for example that somebody is on holiday.
            "Auto-Submitted": "auto-generated",
        },
    )
    try:
        message.send()
    except (SMTPException, OSError) as error:
        raise NotSent(f"The mail server did not take the e-mail: {_reason(error)}") from error


def one_line(text: str) -> str:
    """Return a text without line breaks and other control characters."""
    return "".join(each if each.isprintable() else " " for each in text)


def link(path: str) -> str | None:
    """Return the address of a page of the back office, or None if the settings do not tell it.

    A proxy that changes the host needs `CSRF_TRUSTED_ORIGINS`. Otherwise the host is in
    `ALLOWED_HOSTS`, and `SECURE_SSL_REDIRECT` says that it uses HTTPS.
    """
    origins = [each for each in settings.CSRF_TRUSTED_ORIGINS if "*" not in each]
    if not origins and settings.SECURE_SSL_REDIRECT:
        hosts = [each for each in settings.ALLOWED_HOSTS if _DOMAIN_NAME.fullmatch(each)]
        origins = [f"https://{host}" for host in hosts]
    return f"{origins[0]}{path}" if len(origins) == 1 else None


def _reason(error: SMTPException | OSError) -> str:
    if isinstance(error, SMTPRecipientsRefused):
        [(code, answer), *_] = error.recipients.values()
        reason = f"{code} {_text(answer)}"
    elif isinstance(error, SMTPResponseException):
        reason = f"{error.smtp_code} {_text(error.smtp_error)}"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = str(error)
    return one_line(reason)[:_MAX_REASON_LENGTH].rstrip(" .") + "."


def _text(answer: bytes | str) -> str:
    return answer if isinstance(answer, str) else answer.decode(errors="replace")
