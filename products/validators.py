"""Rules for single values, used by `products.stock` and by all of its callers."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.text import get_text_list

MAX_UNITS = 1_000_000_000
"""The largest level, amount or minimum, in units."""

MAX_SECONDS = 1_000_000_000
"""The longest time until a reservation expires, in seconds."""

MAX_ID = 2**63 - 1
"""The largest id that every database can store."""

MAX_SKU_LENGTH = 50
MAX_NAME_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 1_000
MAX_NOTE_LENGTH = 255
"""The length of a reason or a reference."""

ALL_SKU_CHARACTERS = "A-Za-z0-9_. -"
"""All characters that the setting `SKU_CHARACTERS` can allow."""

OPTIONAL_MARKS = {"_": "underscores", ".": "dots", " ": "inner blanks"}
"""The marks that the setting can allow, with their names."""

RESERVED_SKUS = frozenset(["low-stock"])
"""Texts that are no SKU, because a path of the API has them in place of one."""


def sku_pattern(characters: str) -> str:
    """Return the pattern of SKUs of these characters, which must match in full.

    The first character is a letter or a digit. Spreadsheets would read a leading hyphen as a
    formula. The last one is no blank.
    """
    first = re.sub("[_. ]|-$", "", characters)
    if " " not in characters:
        return f"[{first}][{characters}]{{0,49}}"
    return f"[{first}](?:[{characters}]{{0,48}}[{characters.replace(' ', '')}])?"


SKU_PATTERN = sku_pattern(settings.SKU_CHARACTERS)
"""The pattern of SKUs in this installation. It must match in full."""

# The OpenAPI document contains these patterns. White space is spelled out so that ECMAScript,
# Python and Rust read them in the same way. Not all three can name lone surrogates, which valid
# UTF-8 never contains, so the patterns leave them out.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
TEXT_PATTERN = r"^[^\u0000]*$"
"""The texts that `validate_storable` accepts."""
NOT_BLANK_PATTERN = (
    r"^[^\u0000]*"
    r"[^\u0000\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    r"[^\u0000]*$"
)
"""The texts that both `validate_storable` and `validate_not_blank` accept."""


class WholeNumber:
    """Refuse values that are not an `int` in a range, including `True`, `5.0` and `"5"`."""

    def __init__(self, minimum: int, too_low: str, maximum: int, too_high: str) -> None:
        self.minimum, self.too_low = minimum, too_low
        self.maximum, self.too_high = maximum, too_high

    def __call__(self, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("A whole number is required.", code="not_a_whole_number")
        if value < self.minimum:
            raise ValidationError(self.too_low, code="min_value")
        if value > self.maximum:
            raise ValidationError(self.too_high, code="max_value")


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-5][0-9])",
    re.IGNORECASE | re.ASCII,
)


_NOT_A_MOMENT = "A time with a UTC offset is required, such as 2026-11-20T09:30:00Z."


def parse_time(text: Any) -> datetime:
    """Parse a time in RFC 3339, with its offset, and return it in UTC.

    Go and .NET write nanoseconds: digits below a microsecond are cut off.
    """
    try:
        if not isinstance(text, str) or not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationError(_NOT_A_MOMENT, code="not_a_moment") from error


def format_time(time: datetime) -> str:
    """Return a time as RFC 3339 in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def validate_moment(value: Any) -> None:
    """Refuse values that are not a `datetime` with a UTC offset."""
    try:
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise ValueError
        value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationError(_NOT_A_MOMENT, code="not_a_moment") from error


def validate_boolean(value: Any) -> None:
    """Refuse values that are not a boolean."""
    if not isinstance(value, bool):
        raise ValidationError("True or false is required.", code="not_a_boolean")


def validate_storable(text: str) -> None:
    """Refuse NUL and lone surrogates.

    PostgreSQL cannot store NUL. Lone surrogates have no UTF-8 form and would break every response
    that contains them.
    """
    if _NOT_STORABLE.search(text):
        raise ValidationError(
            "NUL and surrogate characters are not allowed.", code="forbidden_character"
        )


class TextValidator:
    """Refuse values that are not text, are too long, or cannot be stored in every database."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def __call__(self, value: Any) -> None:
        if not isinstance(value, str):
            raise ValidationError("Text is required.", code="not_a_text")
        if len(value) > self.max_length:
            raise ValidationError(
                f"At most {self.max_length} characters are allowed.", code="too_long"
            )
        validate_storable(value)


def validate_not_blank(value: str) -> None:
    """Refuse a text without a visible character."""
    if not value.strip():
        raise ValidationError("This text may not be blank.", code="blank")


_SKU = re.compile(SKU_PATTERN)
_POSSIBLE_SKU = re.compile(sku_pattern(ALL_SKU_CHARACTERS))
_sku_text = TextValidator(MAX_SKU_LENGTH)


def is_sku(text: str) -> bool:
    """Return whether a text has the form of a SKU."""
    return _SKU.fullmatch(text) is not None and text not in RESERVED_SKUS


def is_possible_sku(text: str) -> bool:
    """Return whether a text has the form of a SKU by any value of `SKU_CHARACTERS`.

    A product keeps its SKU when the setting no longer allows it.
    """
    return _POSSIBLE_SKU.fullmatch(text) is not None


def describe_sku(characters: str) -> str:
    """Return the sentence that says which texts are SKUs."""
    ranges = [each for each in ("A-Z", "a-z", "0-9") if each in characters]
    names = [name for mark, name in OPTIONAL_MARKS.items() if mark in characters]
    allowed = get_text_list([*ranges, "hyphens", *names], "and")
    return (
        f"A SKU has 1 to {MAX_SKU_LENGTH} characters of {allowed}. "
        "The first one is a letter or a digit."
    )


SKU_DESCRIPTION = describe_sku(settings.SKU_CHARACTERS)
"""Which texts are SKUs in this installation."""


def validate_sku(value: Any) -> None:
    """Refuse values that are not a SKU."""
    if isinstance(value, str) and is_sku(value):
        return
    _sku_text(value)
    if not value:
        raise ValidationError("The SKU is missing.", code="not_a_sku")
    if value in RESERVED_SKUS and _SKU.fullmatch(value):
        detail = f"{value} is a path of the API. Choose another SKU."
        raise ValidationError(detail, code="not_a_sku")
    raise ValidationError(SKU_DESCRIPTION, code="not_a_sku")


def validate_existing_sku(value: Any) -> None:
    """Refuse values that cannot be the SKU of a product. Its SKU may be from an older setting."""
    if not isinstance(value, str) or not is_possible_sku(value):
        validate_sku(value)


SKU_PREFIX_PATTERN = f"(?:[A-Za-z0-9][{ALL_SKU_CHARACTERS}]{{0,{MAX_SKU_LENGTH - 1}}})?"
"""The beginnings of SKUs by any value of `SKU_CHARACTERS`, and no text."""
_SKU_PREFIX = re.compile(SKU_PREFIX_PATTERN)


def validate_sku_prefix(value: Any) -> None:
    """Refuse values that are not the beginning of a SKU. No text is the beginning of all."""
    _sku_text(value)
    if not _SKU_PREFIX.fullmatch(value):
        raise ValidationError("No SKU starts like this.", code="not_a_sku_prefix")


_TOO_MANY_UNITS = f"At most {MAX_UNITS} units are allowed."

Rule = Callable[[Any], None]
"""A function that raises Django's `ValidationError` for a value that it refuses."""

Rules = tuple[Rule, ...]

SKU: Rules = (validate_sku,)
EXISTING_SKU: Rules = (validate_existing_sku,)
"""The SKU of a product that exists, or may exist."""
SKU_PREFIX: Rules = (validate_sku_prefix,)
NAME: Rules = (
    TextValidator(MAX_NAME_LENGTH),
    validate_not_blank,
)
DESCRIPTION: Rules = (TextValidator(MAX_DESCRIPTION_LENGTH),)
NOTE: Rules = (TextValidator(MAX_NOTE_LENGTH),)
REASON: Rules = (
    *NOTE,
    validate_not_blank,
)
"""A required reason."""
BOOLEAN: Rules = (validate_boolean,)
MOMENT: Rules = (validate_moment,)
LEVEL: Rules = (
    WholeNumber(0, "The number of units may not be negative.", MAX_UNITS, _TOO_MANY_UNITS),
)
AMOUNT: Rules = (WholeNumber(1, "At least 1 unit is required.", MAX_UNITS, _TOO_MANY_UNITS),)
DURATION: Rules = (
    WholeNumber(
        1,
        "At least 1 second is required.",
        MAX_SECONDS,
        f"At most {MAX_SECONDS} seconds are allowed.",
    ),
)
ID: Rules = (
    WholeNumber(1, "An id must be 1 or more.", MAX_ID, "This number is too large for an id."),
)
