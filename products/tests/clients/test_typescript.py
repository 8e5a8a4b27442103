"""The TypeScript example works with generated types, and linters find nothing in the document."""

from pathlib import Path

import pytest

from products.tests.clients.conftest import Service
from products.tests.clients.tools import CLIENTS, assert_orders_were_placed, run

FOLDER = CLIENTS / "typescript"


@pytest.fixture
def document(service: Service) -> Path:
    document = FOLDER / "generated" / "openapi.json"
    document.parent.mkdir(exist_ok=True)
    document.write_text(service.document)
    return document


@pytest.mark.usefixtures("document")
def test_the_linters_find_nothing() -> None:
    run("npm", "run", "lint", cwd=FOLDER)


@pytest.mark.usefixtures("document")
def test_the_generated_types_compile_and_the_client_places_orders(service: Service) -> None:
    run("npm", "run", "build", cwd=FOLDER)
    output = run("npm", "start", "--", service.url, service.key, cwd=FOLDER)

    assert_orders_were_placed(output)
