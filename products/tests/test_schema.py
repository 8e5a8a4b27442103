"""What the OpenAPI document says of a text is what the service takes."""

import re
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

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
