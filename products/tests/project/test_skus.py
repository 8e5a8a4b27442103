"""The service with more characters of SKUs, and with fewer again."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from products import stock
from products.models import Product, Role
from products.tests.checks import assert_problem
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import environment_of_test, manage, running_server
from products.tests.wide_skus import run_with_wide_skus
from products.validators import ALL_SKU_CHARACTERS

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]


def test_the_whole_service_works_with_all_characters() -> None:
    run_with_wide_skus("products/tests/skus", "products/tests/api/test_schema_fuzz.py")


@pytest.mark.django_db
def test_the_database_refuses_a_sku_in_another_case_with_every_setting() -> None:
    cup = ProductFactory.create(sku="CUP")

    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.create(sku="cup", name="x")

    assert list(Product.objects.all()) == [cup]


@pytest.fixture
def narrowed(transactional_db: None, tmp_path: Path) -> APIClient:
    """A shop whose setting no longer allows the SKU of a product."""
    environment = environment_of_test() | {"SKU_CHARACTERS": ALL_SKU_CHARACTERS}
    path = tmp_path / "products.csv"
    path.write_text("sku,name,quantity\ntee 1.5,Tee,9\nMUG,Mug,5\n")
    done = manage("import_products", str(path), env=environment)
    assert done.returncode == 0, done.stderr
    client = APIClient()
    client.default_format = "json"
    key = ApiKeyFactory.create(role=Role.MANAGE).text
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {key}")
    return client


def test_products_of_a_wider_setting_stay_in_lists_exports_and_the_feed(
    narrowed: APIClient,
) -> None:
    first = narrowed.get("/v1/products?page_size=1&ordering=-sku").json()
    second = narrowed.get(first["next"]).json()

    assert [row["sku"] for row in first["results"] + second["results"]] == ["tee 1.5", "MUG"]
    assert narrowed.get(second["previous"]).json()["results"] == first["results"]
    assert len(narrowed.get("/v1/products?search=TEE").json()["results"]) == 1
    assert narrowed.get("/v1/products/tee%201.5/events").json()["results"][0]["sku"] == "tee 1.5"
    assert [row["sku"] for row in narrowed.get("/v1/events").json()["results"]] == [
        "MUG",
        "tee 1.5",
    ]
    assert "tee 1.5,Tee,,9," in manage("export_products").stdout
    assert "tee 1.5" in manage("export_events", "--sku", "tee 1.5").stdout


def test_the_stock_of_such_a_product_can_be_changed_by_its_path(narrowed: APIClient) -> None:
    path = "/v1/products/tee%201.5"

    assert narrowed.post(f"{path}/remove", {"amount": 2}).json()["quantity"] == 7
    assert narrowed.patch(path, {"archived": True}).json()["archived"] is True
    adjusted = manage("adjust_stock", "tee 1.5", "--set", "0", "--reason", "count")
    assert adjusted.returncode == 0, adjusted.stderr
    assert stock.edit(sku="tee 1.5", archived=False, by=ACTOR).quantity == 0


def test_lines_cannot_name_such_a_product(narrowed: APIClient) -> None:
    lines = {"lines": [{"sku": "tee 1.5", "amount": 1}]}

    problem = assert_problem(narrowed.post("/v1/reservations", lines), 400, "invalid")
    listed = assert_problem(narrowed.get("/v1/products?sku=tee%201.5"), 400, "invalid")

    assert problem["errors"][0]["field"] == "lines.0.sku"
    assert listed["errors"][0]["field"] == "sku"


def test_verify_stock_names_such_a_product(narrowed: APIClient) -> None:
    done = manage("verify_stock")

    assert (done.returncode, done.stdout) == (
        0,
        "No differences found. The ledger matches all stock levels.\n",
    )
    assert done.stderr == (
        "SKU_CHARACTERS does not allow the SKU of 1 product, such as tee 1.5. Lines of requests "
        "and of files cannot name it. Allow its characters again.\n"
    )
    widened = environment_of_test() | {"SKU_CHARACTERS": "a-z. "}
    assert manage("verify_stock", env=widened).stderr == ""


def test_a_server_reads_the_setting(narrowed: APIClient) -> None:
    headers = {"Authorization": f"Api-Key {ApiKeyFactory.create(role=Role.MANAGE).text}"}
    body = {"sku": "a_b", "name": "x"}

    with running_server(SKU_CHARACTERS="_a-z") as server:
        server.wait_for_workers()
        created = server.request("POST", "/v1/products", body, headers)
        refused = server.request("POST", "/v1/products", body | {"sku": "a b"}, headers)

    assert (created.status, created.headers["location"]) == (201, "/v1/products/a_b")
    assert refused.body["errors"][0]["detail"] == (
        "A SKU has 1 to 50 characters of A-Z, a-z, 0-9, hyphens and underscores. The first one is "
        "a letter or a digit."
    )
