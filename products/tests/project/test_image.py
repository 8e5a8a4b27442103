"""The steps of the Dockerfile give a service that runs as an ordinary user."""

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from products.tests.live import END_SECONDS, free_port
from products.tests.project.dockerfile import Image, find_python, give_to_user

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    python = find_python()
    if python is None:
        pytest.skip("An ordinary user can run no Python with venv here.")
    # The temporary folders of pytest belong to its user alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        image = Image(folder / "image", python)
        image.build()
        yield image


@pytest.fixture
def variables() -> Iterator[dict[str, str]]:
    """Return a `.env` as `docker run --env-file` passes it on: with the quotes."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        give_to_user(data)
        lines = f"""
            SECRET_KEY='{"not a secret " * 5}'
            DATABASE_URL="sqlite:///{data / "db.sqlite3"}"
            ALLOWED_HOSTS=127.0.0.1
            SECURE_SSL_REDIRECT=off
            SKU_CHARACTERS='a-z '
            PORT="{free_port()}"
            WEB_CONCURRENCY=1
        """
        yield dict(line.strip().split("=", 1) for line in lines.strip().splitlines())


def output_of(image: Image, words: list[str], variables: dict[str, str]) -> str:
    """Run a program in the image to its end."""
    process = image.start(words, variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, output
    return str(output)


def test_the_image_serves_is_healthy_and_stops(image: Image, variables: dict[str, str]) -> None:
    output_of(image, ["python", "manage.py", "migrate", "--verbosity", "0"], variables)
    key = output_of(
        image, ["python", "manage.py", "create_api_key", "shop", "--role", "manage"], variables
    ).strip()
    port = variables["PORT"].strip('"')
    address = f"http://127.0.0.1:{port}"
    server = image.start(image.command, variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + END_SECONDS
        while True:
            check = image.start(image.health_check, variables, stderr=subprocess.DEVNULL)
            if check.wait(END_SECONDS) == 0:
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        request = urllib.request.Request(
            f"{address}/v1/products",
            json.dumps({"sku": "mug blue", "name": "Blue mug"}).encode(),
            {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as created:
            assert created.status == 201
        with urllib.request.urlopen(f"{address}/admin/login/") as page:
            [style, *_] = [
                word for word in page.read().decode().split('"') if word.endswith(".css")
            ]
        with urllib.request.urlopen(address + style) as file:
            assert file.status == 200
    finally:
        server.terminate()
        output, errors = server.communicate(timeout=END_SECONDS)

    assert server.returncode == 0
    assert errors == ""
    [logged] = [line for line in output.splitlines() if '"operation"' in line]
    assert json.loads(logged)["skus"] == ["mug blue"]


def test_the_image_holds_the_runtime_packages_only(image: Image, variables: dict[str, str]) -> None:
    code = """
import importlib.util, os
print([name for name in ("pytest", "hypothesis", "kombu") if importlib.util.find_spec(name)])
print(os.path.exists("products/tests"), os.geteuid() == 0)
"""
    assert output_of(image, ["python", "-c", code], variables) == "[]\nFalse False\n"


def test_a_health_check_without_a_server_fails(image: Image, variables: dict[str, str]) -> None:
    check = image.start(image.health_check, variables, stderr=subprocess.DEVNULL)

    assert check.wait(END_SECONDS) != 0
