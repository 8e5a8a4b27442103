"""The commands that set up a development run."""

import json
import re
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from pytest_django import Settings
from rest_framework.test import APIClient

from products import demo, stock
from products.management.commands import demo_access
from products.models import ApiKey, Product
from products.tests.factories import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def access_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    settings.DEBUG = True
    path = tmp_path / "access.json"
    monkeypatch.setattr(demo_access, "ACCESS_FILE", path)
    return path


def run(command: str) -> str:
    output = StringIO()
    call_command(command, stdout=output)
    return output.getvalue()


def test_demo_data_holds_what_the_real_orders_ask_for() -> None:
    run("load_demo_data")

    asked: Counter[str] = Counter()
    for lines in demo.read_orders().values():
        for line in lines:
            asked[line.sku] += line.amount
    assert dict(Product.objects.values_list("sku", "quantity")) == asked
    assert len(asked) == 1455


def test_demo_data_loaded_again_changes_nothing() -> None:
    run("load_demo_data")
    stock.remove(sku="22196", amount=1, by=ACTOR)
    before = list(Product.objects.order_by("sku").values_list("sku", "quantity", "version"))

    said = run("load_demo_data")

    assert said.startswith("0 demo products created")
    after = list(Product.objects.order_by("sku").values_list("sku", "quantity", "version"))
    assert after == before


def test_demo_access_prints_a_key_and_a_login_that_work(access_file: Path) -> None:
    said = run("demo_access")

    key = re.search(r"Authorization: (Api-Key \S+)\"", said)
    password = re.search(r"login demo, password (\S+)", said)
    assert key
    assert password
    assert APIClient().get("/v1/products", headers={"Authorization": key[1]}).status_code == 200
    user = get_user_model().objects.get(username="demo")
    assert user.check_password(password[1])
    assert user.is_staff
    assert access_file.stat().st_mode & 0o777 == 0o600


def test_demo_access_stays_the_same(access_file: Path) -> None:
    assert run("demo_access") == run("demo_access")
    assert ApiKey.objects.count() == 1


def test_demo_access_is_made_anew_for_another_database(access_file: Path) -> None:
    access_file.write_text(json.dumps({"api_key": "from.elsewhere", "password": "elsewhere"}))

    assert "elsewhere" not in run("demo_access")


def test_demo_access_is_refused_in_production(settings: Settings) -> None:
    settings.DEBUG = False

    with pytest.raises(CommandError, match="DEBUG"):
        call_command("demo_access")
