import json
import os
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from products.management.base import InventoryCommand
from products.models import ApiKey, Product, Role

ACCESS_FILE = settings.BASE_DIR / ".demo-access.json"
NAME = "demo"


class Command(InventoryCommand):
    help = (
        "Make an API key and a staff login for a development run, and print both with a curl line "
        "that works. Kept in .demo-access.json, so that the next run prints the same."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This is for development: it needs DEBUG=on.")
        kept = json.loads(ACCESS_FILE.read_text()) if ACCESS_FILE.exists() else {}
        access = {
            "api_key": _working_key(kept.get("api_key", "")),
            "password": _working_password(kept.get("password", "")),
        }
        if access != kept:
            _keep(access)
        self._print(**access)

    def _print(self, *, api_key: str, password: str) -> None:
        url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
        product = Product.objects.order_by("sku").first()
        path = f"/v1/products/{product.sku}" if product else "/v1/products"
        self.stdout.write(
            f"\n  API docs   {url}/docs\n"
            f"  Admin      {url}/admin/   login {NAME}, password {password}\n"
            f"  API key    {api_key}\n\n"
            f'  curl -H "Authorization: Api-Key {api_key}" {url}{path}\n'
        )


def _working_key(text: str) -> str:
    if text and ApiKey.objects.is_valid(text):
        return text
    return ApiKey.issue(name=NAME, role=Role.MANAGE).text


def _working_password(password: str) -> str:
    user, _ = get_user_model().objects.get_or_create(
        username=NAME, defaults={"is_staff": True, "is_superuser": True}
    )
    if not (password and user.check_password(password)):
        password = secrets.token_urlsafe(9)
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _keep(access: dict[str, str]) -> None:
    ACCESS_FILE.touch(mode=0o600)
    ACCESS_FILE.write_text(json.dumps(access))
