"""The OpenAPI document describes the service completely and correctly."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import Serializer
from rest_framework.test import APIClient

from products import stock
from products.api import serializers
from products.api.views import (
    EventViewSet,
    InventoryViewSet,
    OperationViewSet,
    ProductViewSet,
    ReservationViewSet,
    WebhookViewSet,
)
from products.models import (
    Product,
    Reservation,
    ReservationLine,
    Role,
    StockEvent,
    Subscription,
)
from products.publishing import envelopes
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.validators import (
    NOT_BLANK_PATTERN,
    TEXT_PATTERN,
    validate_not_blank,
    validate_storable,
)

# UTF-8 has no surrogates, and some regular expressions cannot name them.
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]

METHODS = ("get", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(APIClient().get("/openapi.json").content)
    return document


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def responses_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each operation's name, and the status and content of each of its responses."""
    for name, operation in operations_of(document).items():
        for status, response in operation["responses"].items():
            yield name, status, response


def examples_of(response: dict[str, Any]) -> list[Any]:
    return [
        example["value"]
        for content in response.get("content", {}).values()
        for example in content["examples"].values()
    ]


# ------------------------------------------------------------------------------------- descriptions


def test_everything_has_a_description(document: dict[str, Any]) -> None:
    missing = []
    for name, operation in operations_of(document).items():
        described = {
            name: operation,
            f"{name} summary": {"description": operation.get("summary")},
            **{f"{name} {each['name']}": each for each in operation.get("parameters", [])},
            **{f"{name} {status}": each for status, each in operation["responses"].items()},
        }
        missing += [where for where, each in described.items() if not each.get("description")]
    for name, component in document["components"]["schemas"].items():
        described = {name: component}
        described |= {
            f"{name}.{field}": schema for field, schema in component.get("properties", {}).items()
        }
        missing += [where for where, each in described.items() if not each.get("description")]
    for name, header in document["components"]["headers"].items():
        missing += [] if header.get("description") else [name]

    assert missing == []


def test_no_description_leaks_from_a_base_class(document: dict[str, Any]) -> None:
    of_operations = [
        operation["description"]
        for name, operation in operations_of(document).items()
        if not name.startswith("PATCH")
    ]
    of_requests = [
        component["description"]
        for name, component in document["components"]["schemas"].items()
        if name.endswith("Request")
    ]

    assert sorted(of_operations) == sorted(set(of_operations))
    assert sorted(of_requests) == sorted(set(of_requests))
    assert serializers.StrictSerializer.__doc__ not in of_requests


@pytest.mark.parametrize(
    "view_set",
    [EventViewSet, OperationViewSet, ProductViewSet, ReservationViewSet, WebhookViewSet],
)
def test_each_operation_names_the_role_that_it_requires(
    document: dict[str, Any], view_set: type[InventoryViewSet]
) -> None:
    """The 403 response names it, too. A key that may only read gets none for reading."""
    tags = {ProductViewSet: "products", ReservationViewSet: "reservations"}
    tags |= {OperationViewSet: "operations", EventViewSet: "events", WebhookViewSet: "webhooks"}
    described = {
        operation["operationId"]: operation for operation in operations_of(document).values()
    }
    names = {("partial_update", "products"): "edit", ("create", "operations"): "apply"}
    names[("list", "events")] = "follow"
    names |= {("partial_update", "webhooks"): "edit", ("destroy", "webhooks"): "delete"}

    for action, role in view_set.required_roles.items():
        tag = tags[view_set]
        operation = described[f"{tag}_{names.get((action, tag), action)}"]
        assert f"**Role:** `{role}`" in operation["description"]
        if role == Role.READ:
            assert "403" not in operation["responses"]
        else:
            [refusal] = examples_of(operation["responses"]["403"])
            assert refusal["detail"] == f"This needs an API key with the role {role}."


def test_the_guide_explains_each_subject_and_each_error_code(document: dict[str, Any]) -> None:
    guide = document["info"]["description"]

    assert re.findall("^## (.*)$", guide, re.MULTILINE) == [
        "Words",
        "Authentication and roles",
        "Errors",
        "Retries and idempotency",
        "Pages",
        "Change feed",
        "Webhooks",
        "Reservations and expiry",
    ]
    for code in document["components"]["schemas"]["ErrorCode"]["enum"]:
        assert f"| `{code}` |" in guide
    assert "{" not in guide


# --------------------------------------------------------------------------------------- components


def test_fields_that_are_always_sent_are_required(document: dict[str, Any]) -> None:
    optional = {
        name: sorted(component["properties"].keys() - set(component.get("required", [])))
        for name, component in document["components"]["schemas"].items()
        if "properties" in component and not name.endswith("Request")
    }

    assert {name: fields for name, fields in optional.items() if fields} == {
        "Problem": ["available", "errors", "errors_omitted", "lines", "requested", "sku"],
        "RefusedLine": ["available", "requested"],
        "StockEvent": ["undoes"],
    }


def test_components_have_names_that_say_what_they_are(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert {name for name, schema in schemas.items() if "enum" in schema} == {
        "ErrorCode",
        "EventSource",
        "EventType",
        "ReservationStatus",
        "SettableWebhookState",
        "WebhookState",
    }
    assert {name for name in schemas if name.endswith("Request")} == {
        "AddOperationRequest",
        "AdjustOperationRequest",
        "LineRequest",
        "OperationRequest",
        "OperationsRequest",
        "ProductAddRequest",
        "ProductAdjustRequest",
        "ProductCreateRequest",
        "ProductEditRequest",
        "ProductReleaseRequest",
        "ProductRemoveRequest",
        "ProductReserveRequest",
        "RedeliverRequest",
        "RemoveOperationRequest",
        "ReservationCreateRequest",
        "ReservationExtendRequest",
        "ReservationFulfillRequest",
        "ReservationReleaseRequest",
        "WebhookCreateRequest",
        "WebhookEditRequest",
    }


def codes_below(error: type[stock.StockError]) -> Iterator[str]:
    for kind in error.__subclasses__():
        yield kind.code
        yield from codes_below(kind)


def test_the_enum_of_error_codes_is_complete(document: dict[str, Any]) -> None:
    codes = set(document["components"]["schemas"]["ErrorCode"]["enum"])
    in_examples = {
        example["code"]
        for _, status, response in responses_of(document)
        if int(status) >= 400
        for example in examples_of(response)
    }
    of_commands_and_the_back_office = {
        "already_undone",
        "cannot_reconcile",
        "cannot_undo",
        "insufficient_fulfilled",
    }
    without_an_operation = {"internal_error", "method_not_allowed", "not_found"}
    only_from_the_proxy = {"server_unavailable"}

    assert set(codes_below(stock.StockError)) - codes == of_commands_and_the_back_office
    assert codes - in_examples == without_an_operation | only_from_the_proxy
    assert in_examples <= codes


def test_booleans_in_queries_are_booleans(document: dict[str, Any]) -> None:
    parameters = {
        each["name"]: each["schema"]
        for each in document["paths"]["/v1/products"]["get"]["parameters"]
    }

    assert parameters["low_stock"] == {"type": "boolean"}
    assert parameters["in_stock"] == {"type": "boolean"}
    assert sorted(parameters["archived"]["enum"]) == ["all", "false", "true"]


# ---------------------------------------------------------------------------------------- responses


def test_the_headers_of_responses_are_declared(document: dict[str, Any]) -> None:
    declared = document["components"]["headers"].keys()
    for name, status, response in responses_of(document):
        headers = response["headers"]
        operation = operations_of(document)[name]
        takes_key = "Idempotency-Key" in [each["name"] for each in operation.get("parameters", [])]
        is_success = status.startswith("2")

        assert headers.keys() <= declared
        assert "X-Request-ID" in headers
        assert ("WWW-Authenticate" in headers) == (status == "401")
        assert ("Retry-After" in headers) == (status in ("429", "503"))
        assert ("Idempotent-Replayed" in headers) == (is_success and takes_key)
        assert ("Location" in headers) == (status == "201")
        shows_product = "/v1/products/{sku}" in name and "events" not in name
        shows_product |= name == "POST /v1/products"
        assert ("ETag" in headers) == (shows_product and (is_success or status == "304"))


def test_only_the_health_checks_need_no_key(document: dict[str, Any]) -> None:
    open_operations = [
        name for name, operation in operations_of(document).items() if operation["security"] == []
    ]

    assert open_operations == ["GET /health", "GET /health/live"]
    assert document["servers"][0]["url"] == "/"


def test_the_examples_of_errors_belong_to_their_operation(document: dict[str, Any]) -> None:
    for name, status, response in responses_of(document):
        if int(status) < 400:
            continue
        path = name.split()[1]
        identifier = "7" if "webhooks" in path else "42"
        pattern = re.escape(path).replace(r"\{sku\}", "TSHIRT-RED-L")
        pattern = pattern.replace(r"\{id\}", identifier)
        for example in examples_of(response):
            assert str(example["status"]) == status
            assert f"`{example['code']}`" in response["description"]
            assert re.fullmatch(pattern, example["instance"])


def test_an_order_of_two_lines_shows_both_in_its_responses(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/reservations"]["post"]
    requests = operation["requestBody"]["content"]["application/json"]["examples"]
    [created] = examples_of(operation["responses"]["201"])
    shortage, _ = examples_of(operation["responses"]["409"])

    ordered = [line["sku"] for line in requests["Order"]["value"]["lines"]]
    assert len(ordered) == 2
    assert [line["sku"] for line in created["lines"]] == ordered
    assert [line["sku"] for line in shortage["lines"]] == ordered


@pytest.mark.django_db
def test_the_links_of_pages_in_examples_are_links_of_this_api(document: dict[str, Any]) -> None:
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {ApiKeyFactory.create().text}")
    ProductFactory.create(sku="TSHIRT-RED-L")
    Subscription.objects.create(pk=7, url="https://shop.example.com/", cursor="start")
    followed = []
    for name, status, response in responses_of(document):
        for example in examples_of(response):
            if status == "200" and "next" in example:
                path = example["next"].removeprefix("https://inventory.example.com")
                assert client.get(path).status_code == 200, path
                followed.append(name)

    assert len(followed) == 6


# ----------------------------------------------------------------------------- document and service


def accepted_by(*rules: Callable[[str], None]) -> list[str]:
    def is_accepted(text: str) -> bool:
        try:
            for rule in rules:
                rule(text)
        except ValidationError:
            return False
        return True

    return [character for character in CHARACTERS if is_accepted(character)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "rules"),
    [
        (TEXT_PATTERN, [validate_storable]),
        (NOT_BLANK_PATTERN, [validate_storable, validate_not_blank]),
    ],
)
def test_a_pattern_matches_the_characters_that_the_service_accepts(
    pattern: str, rules: list[Callable[[str], None]]
) -> None:
    matching = [character for character in CHARACTERS if re.search(pattern, character)]

    assert matching == accepted_by(*rules)


@pytest.mark.django_db
def test_what_receivers_get_is_described(document: dict[str, Any]) -> None:
    ProductFactory.create(sku="CUP", minimum_stock_level=30)
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    stock.edit(sku="CUP", name="Mug", by=ACTOR)
    sent = [envelopes.of_event(event) for event in StockEvent.objects.all()]
    sent += [envelopes.of_restore(timezone.now(), "1-1"), envelopes.of_test()]

    for envelope in sent:
        is_stock = envelope.type in envelopes.TYPES.values()
        request = document["webhooks"]["stock-event" if is_stock else envelope.type]["post"]
        content = request["requestBody"]["content"]
        one = content["application/cloudevents+json"]["schema"]
        several = content["application/cloudevents-batch+json"]["schema"]
        for schema, body in [(one, envelope.body), (several, envelopes.batch_of([envelope]))]:
            rules = {**schema, "components": document["components"]}
            jsonschema_rs.validator_for(rules, validate_formats=True).validate(json.loads(body))
    assert len(sent) >= 5


def test_the_examples_of_what_receivers_get_are_right(document: dict[str, Any]) -> None:
    for item in document["webhooks"].values():
        for content in item["post"]["requestBody"]["content"].values():
            rules = {**content["schema"], "components": document["components"]}
            jsonschema_rs.validator_for(rules, validate_formats=True).validate(content["example"])


@pytest.mark.django_db
def test_the_declared_scheme_authenticates(document: dict[str, Any]) -> None:
    [declared] = document["components"]["securitySchemes"].values()
    key = ApiKeyFactory.create().text
    client = APIClient(HTTP_AUTHORIZATION=f"{declared['scheme']} {key}")

    assert declared["type"] == "http"
    assert client.get("/v1/products").status_code == 200


@pytest.mark.parametrize(
    ("serializer_class", "model"),
    [
        (serializers.ProductSerializer, Product),
        (serializers.ReservationSerializer, Reservation),
        (serializers.ReservationLineSerializer, ReservationLine),
        (serializers.StockEventSerializer, StockEvent),
    ],
)
@pytest.mark.django_db
def test_responses_have_the_fields_of_the_document(
    serializer_class: type[Serializer], model: type[Model]
) -> None:
    """The document is made from the fields, but `to_representation` builds the response."""
    reservation = stock.reserve(
        sku=ProductFactory.create(minimum_stock_level=30).sku,
        amount=1,
        reference="order-1",
        expires_in=60,
        by=ACTOR,
    )
    [line] = reservation.loaded_lines
    instances: dict[type[Model], Any] = {
        Product: Product.objects.get(),
        Reservation: reservation,
        ReservationLine: line,
        StockEvent: StockEvent.objects.filter(reservation=reservation).get(),
    }
    instance = instances[model]

    built = serializer_class(instance).data
    from_fields = Serializer.to_representation(serializer_class(instance), instance)

    assert json.loads(JSONRenderer().render(built)) == json.loads(
        JSONRenderer().render(from_fields)
    )
    assert list(built) == list(from_fields)
