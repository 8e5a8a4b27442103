"""`Idempotency-Key`: a request that is sent again has one effect and one response."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from products import stock
from products.models import ApiKey, IdempotencyKey, Product, Reservation, Role, StockEvent
from products.tests.checks import assert_problem, stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import database_url_of_test

pytestmark = pytest.mark.django_db


def send(
    api: APIClient, path: str, body: Any, key: str | None = "key-1", method: str = "post"
) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return getattr(api, method)(path, body, format="json", headers=headers)


def test_a_request_sent_again_has_one_effect_and_one_response(api: APIClient) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}/reserve"

    first = send(api, path, {"amount": 2, "reference": "order-1"})
    again = send(api, path, {"reference": "order-1", "amount": 2})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again["ETag"] == first["ETag"]
    assert again["Content-Type"] == first["Content-Type"]
    assert (first.get("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (None, "true")
    assert Reservation.objects.count() == 1


def test_a_key_that_is_deleted_during_the_request_is_claimed_again(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}/remove"
    send(api, path, {"amount": 1})
    find = IdempotencyKey.objects.filter

    def find_late(**wanted: Any) -> Any:
        find(**wanted).delete()
        return find(**wanted)

    monkeypatch.setattr(IdempotencyKey.objects, "filter", find_late)
    response = send(api, path, {"amount": 1})

    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response
    assert Product.objects.get(pk=product.pk).quantity == 8


def test_a_creation_is_replayed_with_its_location(api: APIClient) -> None:
    body = {"sku": "CUP", "name": "Cup"}

    first, again = send(api, "/v1/products", body), send(api, "/v1/products", body)

    assert (first.status_code, again.status_code) == (201, 201)
    assert (again["Location"], again.content) == (first["Location"], first.content)


def test_a_refused_request_is_applied_when_it_is_repeated(api: APIClient) -> None:
    product = ProductFactory.create(quantity=1)
    path = f"/v1/products/{product.sku}/remove"

    assert_problem(send(api, path, {"amount": 2}), 409, "insufficient_stock")
    assert not IdempotencyKey.objects.exists()
    stock.add(sku=product.sku, amount=5, by=ACTOR)
    again = send(api, path, {"amount": 2})

    assert (again.status_code, again.json()["quantity"]) == (200, 4)
    assert "Idempotent-Replayed" not in again


def test_a_refused_key_may_be_used_for_another_request(api: APIClient) -> None:
    product = ProductFactory.create(quantity=1)
    path = f"/v1/products/{product.sku}/remove"

    assert_problem(send(api, path, {"amount": 2}), 409, "insufficient_stock")

    assert send(api, path, {"amount": 1}).status_code == 200


def test_a_renewed_key_is_the_same_client() -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}/reserve"

    def client() -> APIClient:
        api = APIClient()
        text = ApiKeyFactory.create(name="webshop").text
        api.credentials(HTTP_AUTHORIZATION=f"Api-Key {text}")
        return api

    first = send(client(), path, {"amount": 2})
    ApiKey.objects.update(revoked=True)
    again = send(client(), path, {"amount": 2})

    assert (again.status_code, again.content) == (200, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert Reservation.objects.count() == 1


def test_a_key_used_for_another_request_is_refused(api: APIClient) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}"
    send(api, f"{path}/remove", {"amount": 1})

    for other_path, body in [
        (f"{path}/remove", {"amount": 2}),
        (f"{path}/add", {"amount": 1}),
        (f"/v1/products/{ProductFactory.create().sku}/remove", {"amount": 1}),
    ]:
        assert_problem(send(api, other_path, body), 422, "idempotency_key_reused")

    assert Product.objects.get(pk=product.pk).quantity == 9


def test_aliases_of_a_request_are_the_same_request(api: APIClient) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/products/{product.sku}/remove"

    first = send(api, f"/v1{path}", {"amount": 1})
    again = [send(api, path, {"amount": 1}), send(api, path, {"amount": 1}, method="patch")]

    assert [response.content for response in again] == [first.content] * 2
    assert Product.objects.get(pk=product.pk).quantity == 9


def test_keys_of_two_clients_are_independent(
    client_as: Callable[[Role], APIClient],
) -> None:
    product = ProductFactory.create(quantity=10)

    for _ in range(2):
        response = send(
            client_as(Role.OPERATE), f"/v1/products/{product.sku}/remove", {"amount": 1}
        )
        assert response.status_code == 200

    assert Product.objects.get(pk=product.pk).quantity == 8


def test_a_refusal_after_overdue_units_expired_has_no_effect(api: APIClient) -> None:
    """The first line gets the overdue units. The second is still short."""
    ProductFactory.create(sku="CUP", quantity=5)
    held = stock.reserve(sku="CUP", amount=5, expires_in=60, by=ACTOR)
    Reservation.objects.filter(pk=held.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    before = stored()
    removal = {"operation": "remove", "sku": "CUP", "amount": 4}

    response = send(api, "/v1/operations", {"operations": [removal, removal]})

    assert_problem(response, 409, "insufficient_stock")
    assert stored() == before


@pytest.mark.django_db(transaction=True)
def test_only_one_of_several_simultaneous_creations_of_a_sku_succeeds() -> None:
    requests = []
    for number in range(8):
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Api-Key {ApiKeyFactory.create().text}")
        requests.append(partial(send, client, "/v1/products", {"sku": "CUP", "name": str(number)}))

    responses: list[Any] = at_once(requests)
    again: list[Any] = at_once(requests)

    assert Counter(response.status_code for response in responses) == {201: 1, 409: 7}
    for response, second in zip(responses, again, strict=True):
        assert second.status_code == response.status_code
        assert (second.content == response.content) == (response.status_code == 201)


def test_an_edit_takes_no_key(api: APIClient) -> None:
    """An edit is idempotent. `If-Match` guards it."""
    ProductFactory.create(sku="CUP")

    for name in ("Mug", "Pot"):
        response = send(api, "/v1/products/CUP", {"name": name}, method="patch")
        assert (response.status_code, response.json()["name"]) == (200, name)

    assert not IdempotencyKey.objects.exists()


def test_an_invalid_request_can_be_corrected_with_the_same_key(api: APIClient) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}/remove"

    assert_problem(send(api, path, {"amount": 0}), 400, "invalid")
    mended = send(api, path, {"amount": 1})

    assert (mended.status_code, mended.json()["quantity"]) == (200, 9)


def test_an_unexpected_exception_leaves_no_claim(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = ProductFactory.create(quantity=10)
    path = f"/v1/products/{product.sku}/remove"
    api.raise_request_exception = False

    with monkeypatch.context() as patch:
        patch.setattr(stock, "remove", lambda **_: 1 / 0)
        assert_problem(send(api, path, {"amount": 1}), 500, "internal_error")
    again = send(api, path, {"amount": 1})

    assert (again.status_code, again.json()["quantity"]) == (200, 9)
    assert "Idempotent-Replayed" not in again


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "a\tb"])
def test_a_key_must_be_printable_and_short(api: APIClient, key: str) -> None:
    product = ProductFactory.create()

    response = send(api, f"/v1/products/{product.sku}/add", {"amount": 1}, key=key)

    errors = assert_problem(response, 400, "invalid")["errors"]
    assert [error["field"] for error in errors] == ["Idempotency-Key"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_16_concurrent_requests_with_the_same_key_are_applied_once() -> None:
    product = ProductFactory.create(quantity=1000)
    credentials = f"Api-Key {ApiKeyFactory.create().text}"
    path = f"/v1/products/{product.sku}/reserve"

    def ask(key: str) -> tuple[int, bytes, bool]:
        api = APIClient()
        api.credentials(HTTP_AUTHORIZATION=credentials)
        response = send(api, path, {"amount": 1}, key=key)
        return response.status_code, response.content, "Idempotent-Replayed" in response

    for number in range(25):
        responses: list[Any] = at_once([partial(ask, f"key-{number}")] * 16)
        [body] = {body for _, body, _ in responses}
        assert Counter(responses) == {(200, body, False): 1, (200, body, True): 15}

    assert Product.objects.get(pk=product.pk).reserved_quantity == 25
    assert Reservation.objects.count() == 25


DIES_BEFORE_THE_RESPONSE = "\n".join(
    [
        "import os, signal, sys, django",
        "django.setup()",
        "from django.conf import settings",
        "from rest_framework.test import APIClient",
        "from products.events import stock_event",
        'settings.ALLOWED_HOSTS.append("testserver")',
        # Receivers run after the commit.
        "stock_event.connect(lambda **_: os.kill(os.getpid(), signal.SIGKILL), weak=False)",
        "api = APIClient()",
        "api.credentials(HTTP_AUTHORIZATION=sys.argv[1])",
        'api.post(sys.argv[2], {"amount": 1}, format="json", headers={"Idempotency-Key": "key-1"})',
    ]
)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_request_killed_after_commit_and_sent_again_has_one_effect() -> None:
    product = ProductFactory.create(quantity=10)
    credentials = f"Api-Key {ApiKeyFactory.create().text}"
    path = f"/v1/products/{product.sku}/remove"

    died = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_THE_RESPONSE, credentials, path],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DATABASE_URL": database_url_of_test(),
            "DJANGO_SETTINGS_MODULE": "inventory_project.settings",
        },
        check=False,
    )
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=credentials)
    again = send(api, path, {"amount": 1})

    assert died.returncode == -9
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["quantity"] == Product.objects.get(pk=product.pk).quantity == 9
    assert StockEvent.objects.filter(product=product).count() == 2


def test_prune_deletes_old_keys_and_keeps_young_ones(api: APIClient) -> None:
    product = ProductFactory.create()
    for key in ("old", "young"):
        send(api, f"/v1/products/{product.sku}/add", {"amount": 1}, key=key)
    long_ago = timezone.now() - timedelta(hours=25)
    IdempotencyKey.objects.filter(key="old").update(created_at=long_ago)
    output = StringIO()

    call_command("prune", stdout=output)

    assert "1 idempotency key and" in output.getvalue()
    assert IdempotencyKey.objects.get().key == "young"
    IdempotencyKey.objects.update(source=StockEvent.Source.ADMIN, created_at=long_ago)
    call_command("prune", stdout=output)
    assert IdempotencyKey.objects.exists()  # A dialog may still be open.
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=31))
    call_command("prune", stdout=output)
    assert not IdempotencyKey.objects.exists()
    with pytest.raises(CommandError, match="24"):
        call_command("prune", hours=1)
