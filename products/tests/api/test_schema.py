"""What the OpenAPI document says is what the service takes and sends."""

import json
import re
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIClient

from products import stock
from products.api import serializers
from products.models import Product, Reservation, ReservationLine, StockEvent
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.validators import (
    NOT_BLANK_PATTERN,
    TEXT_PATTERN,
    validate_not_blank,
    validate_storable,
)

# No UTF-8 has surrogates, and not every reader of patterns can name them.
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def taken_by(*rules: Callable[[str], None]) -> list[str]:
    def is_taken(text: str) -> bool:
        try:
            for rule in rules:
                rule(text)
        except ValidationError:
            return False
        return True

    return [character for character in CHARACTERS if is_taken(character)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "rules"),
    [
        (TEXT_PATTERN, [validate_storable]),
        (NOT_BLANK_PATTERN, [validate_storable, validate_not_blank]),
    ],
)
def test_a_pattern_lets_every_character_through_that_the_service_takes(
    pattern: str, rules: list[Callable[[str], None]]
) -> None:
    matching = [character for character in CHARACTERS if re.search(pattern, character)]

    assert matching == taken_by(*rules)


@pytest.mark.django_db
def test_a_key_opens_the_api_by_the_scheme_that_the_document_declares() -> None:
    document = json.loads(APIClient().get("/openapi.json").content)
    [declared] = document["components"]["securitySchemes"].values()
    key = ApiKeyFactory.create().text
    client = APIClient(HTTP_AUTHORIZATION=f"{declared['scheme']} {key}")

    assert declared["type"] == "http"
    assert client.get("/v1/products").status_code == 200


@pytest.mark.parametrize(
    "serializer_class",
    [
        serializers.ProductSerializer,
        serializers.ReservationSerializer,
        serializers.ReservationLineSerializer,
        serializers.StockEventSerializer,
    ],
)
@pytest.mark.django_db
def test_what_is_sent_is_what_the_fields_say(serializer_class: type[ModelSerializer]) -> None:
    """The OpenAPI document is made of the fields, the answers are written out."""
    reservation = stock.reserve(
        sku=ProductFactory.create(minimum_stock_level=30).sku,
        amount=1,
        reference="order-1",
        expires_in=60,
        by=ACTOR,
    )
    [line] = reservation.loaded_lines
    of_model = {
        Product: Product.objects.get(),
        Reservation: reservation,
        ReservationLine: line,
        StockEvent: StockEvent.objects.filter(reservation=reservation).get(),
    }
    instance = of_model[serializer_class.Meta.model]

    written = serializer_class(instance).data
    by_the_fields = ModelSerializer.to_representation(serializer_class(instance), instance)

    assert json.loads(JSONRenderer().render(written)) == json.loads(
        JSONRenderer().render(by_the_fields)
    )
    assert list(written) == list(by_the_fields)
