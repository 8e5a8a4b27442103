"""Fixtures that import a sheet, by command and in the back office."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from products.tests.admin.browsers import browser_of
from products.tests.factories import ProductFactory
from products.tests.files.sheets import LEVELS, Outcome, Read, changed

MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")


@pytest.fixture
def shop() -> None:
    """Create the products of `LEVELS`."""
    for sku, quantity in LEVELS.items():
        ProductFactory.create(sku=sku, quantity=quantity)


@pytest.fixture
def by_command(tmp_path: Path) -> Read:
    """Return a function that applies a sheet by `bulk_adjust`."""

    def run(content: str | bytes, *options: str, command: str = "bulk_adjust") -> Outcome:
        path = tmp_path / "sheet.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        output = StringIO()
        try:
            call_command(command, str(path), *options, stdout=output)
        except CommandError as error:
            output.write(str(error))
        except SystemExit:
            pass
        return Outcome(changed(), output.getvalue())

    return run


@pytest.fixture
def by_admin() -> Read:
    """Return a function that uploads a sheet in the back office, and confirms its preview."""
    browser = browser_of("Ada", *MANAGER)

    def run(content: str | bytes, *, kind: str = "adjustments", **fields: Any) -> Outcome:
        data = content if isinstance(content, bytes) else content.encode()
        url = reverse("admin:products_product_import", args=[kind])
        file = SimpleUploadedFile("sheet", data)
        page = browser.post(url, {"file": file, "reason": "sheet", **fields})
        if "form" in page.context:
            return Outcome(changed(), " ".join(page.context["form"].errors["file"]))
        if pending := page.context["pending"]:
            confirm = "admin:products_product_import_confirm"
            browser.post(reverse(confirm, args=[kind, pending.pk]))
        problems = [
            f"{row.line.number}: {problem.detail}"
            for row in page.context["rows"]
            for problem in row.line.problems
        ]
        return Outcome(changed(), "\n".join([*problems, *page.context.get("notes", ())]))

    return run
