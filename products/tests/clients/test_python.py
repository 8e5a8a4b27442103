"""The Python example works with a client that is generated from the document."""

from pathlib import Path

from django.conf import settings

from products.tests.clients.conftest import Service
from products.tests.clients.tools import CLIENTS, assert_orders_were_placed, run

BIN: Path = settings.BASE_DIR / ".venv-clients" / "bin"


def test_the_generated_client_is_typed_and_places_orders(service: Service, tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(service.document)
    package = tmp_path / "inventory_client"
    script = CLIENTS / "python" / "order_service.py"

    run(BIN / "openapi-spec-validator", document, cwd=tmp_path)
    run(
        *[BIN / "openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"],
        *["--path", document, "--config", CLIENTS / "python" / "config.yml"],
        *["--output-path", package],
        cwd=tmp_path,
    )
    run(BIN / "mypy", "--strict", package, script, cwd=tmp_path)
    output = run(
        *[BIN / "python", script, service.url, service.key], cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )

    assert_orders_were_placed(output)
