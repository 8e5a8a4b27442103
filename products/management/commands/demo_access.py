from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.management.base import CommandError

from products.demo import access
from products.management.base import InventoryCommand
from products.models import Product

ACCESS_FILE = settings.BASE_DIR / ".demo-access.json"


class Command(InventoryCommand):
    help = (
        "Create an API key and a staff login for a development run, and print both.\n\n"
        "They are kept in .demo-access.json, and the next run prints the same. Needs DEBUG=on."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This command is for development. Set DEBUG=on to use it.")
        known = access.prepare(ACCESS_FILE)
        url = f"http://127.0.0.1:{settings.PORT}"
        product = Product.objects.order_by("sku").first()
        path = f"/v1/products/{quote(product.sku)}" if product else "/v1/products"
        self.stdout.write(
            f"  Admin      {url}/admin/\n"
            f"             user {access.NAME}, password {known.password}\n"
            f"  API docs   {url}/docs\n"
            f"  API key    {known.api_key}\n\n"
            f'  curl -H "Authorization: Bearer {known.api_key}" {url}{path}'
        )
