from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from inventory_project import environment, program
from products.management.base import InventoryCommand

MIN_KEY_LENGTH = 50


class Command(InventoryCommand):
    help = (
        "List the settings as the service understands them, and what you should look at.\n\n"
        "Passwords and keys are masked. The command does not use the database."
    )
    # A setting that fails a check of Django should be shown, too.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        for name, shown, source in environment.variables.values():
            self.stdout.write(f"{name:<29} {source:<12} {shown}")
        for line in _advice():
            self.stdout.write(f"Look at {line}")


def _advice() -> Iterator[str]:
    """Return what may be wrong, each as a sentence that starts with the name of a setting."""
    if settings.DEBUG:
        yield "DEBUG: it is on. Visitors see the source and settings after an error."
    elif len(settings.SECRET_KEY) < MIN_KEY_LENGTH:
        yield f"SECRET_KEY: it is short. Use {MIN_KEY_LENGTH} random characters or more."
    if _is_default("SECRET_KEY"):
        yield "SECRET_KEY: it is the published key for development. Anyone can forge sessions."
    if _is_default("DATABASE_URL"):
        yield "DATABASE_URL: it is not set, so all stock is kept in the SQLite file above."
    if _is_default("ALLOWED_HOSTS"):
        yield "ALLOWED_HOSTS: it is not set. Only requests to localhost are served."
    if "*" in settings.ALLOWED_HOSTS:
        yield "ALLOWED_HOSTS: * allows every host name. Name those of the service."
    if settings.SECURE_SSL_REDIRECT and not settings.TRUSTED_PROXY_SSL_HEADER:
        yield (
            "TRUSTED_PROXY_SSL_HEADER: it is not set, and SECURE_SSL_REDIRECT is on. The server "
            "redirects every request, because it cannot know that the client used HTTPS."
        )
    if settings.TRUSTED_PROXY_SSL_HEADER and not settings.NUM_PROXIES:
        yield (
            "NUM_PROXIES: it is 0, but there is a proxy. All clients share its address in the "
            "limits for wrong passwords and keys."
        )
    if settings.ALERT_EMAILS and not settings.SENDS_EMAIL:
        yield "EMAIL_URL: it is not set, so no e-mail is sent to ALERT_EMAILS."
    if settings.SENDS_EMAIL and not settings.ALERT_EMAILS:
        yield "ALERT_EMAILS: it is not set, so alerts have no recipients."
    if settings.SENDS_EMAIL and _is_default("DEFAULT_FROM_EMAIL"):
        yield "DEFAULT_FROM_EMAIL: it is not set. Most mail servers refuse inventory@localhost."
    if not settings.DEBUG:
        for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
            if not getattr(settings, name):
                yield f"{name}: it is off. The cookie is sent over plain HTTP, too."
    try:
        program.ip_addresses(settings.HOST)
    except ImproperlyConfigured as error:
        yield f"HOST: the server will not start. {error}"
    for name in sorted(environment.file_names - environment.variables.keys()):
        yield f"{name}: it is in .env, but it is not a setting of the service."


def _is_default(name: str) -> bool:
    return environment.variables[name].source == "default"
