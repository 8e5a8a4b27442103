"""What a single value must be like: `stock` and all that call it check by these."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError

MAX_UNITS = 1_000_000_000
"""The most units that a level, an amount or a minimum may count."""

MAX_SECONDS = 1_000_000_000
"""The longest time, in seconds, for which a reservation may hold."""

MAX_ID = 2**63 - 1
"""The largest number that every database can hold."""

MAX_SKU_LENGTH = 50
MAX_NAME_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 1_000
MAX_NOTE_LENGTH = 255
"""Characters in a reason or a reference."""

SKU_PATTERN = r"[A-Z0-9][A-Z0-9-]{0,49}"
"""Matched in full. A leading hyphen is refused because spreadsheets read it as a formula."""

# The patterns stand in the OpenAPI document. ECMAScript, Python and Rust read them alike, which is
# why white space is spelled out. Lone surrogates cannot be named in all three; they are no
# characters, and no UTF-8 has them.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
TEXT_PATTERN = r"^[^\u0000]*$"
"""What `validate_storable` lets through."""
NOT_BLANK_PATTERN = (
    r"^[^\u0000]*"
    r"[^\u0000\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    r"[^\u0000]*$"
)
"""What `validate_not_blank` lets through besides."""


class WholeNumber:
    """Refuse all but an `int` in a range: `True`, `5.0` and `"5"` are mistakes of the caller."""

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


_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-5][0-9])",
    re.IGNORECASE | re.ASCII,
)


def read_moment(text: str) -> datetime:
    """Return the moment that a text names, in UTC. It must be RFC 3339, with an offset.

    It may have nanoseconds, as Go and .NET write; what is less than a microsecond is cut off.
    """
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValidationError(
            "A time with its offset is required, such as 2026-11-20T09:30:00Z.",
            code="not_a_moment",
        ) from error


def validate_boolean(value: Any) -> None:
    """Refuse all but true and false."""
    if not isinstance(value, bool):
        raise ValidationError("True or false is required.", code="not_a_boolean")


def validate_storable(text: str) -> None:
    """Refuse NUL, which PostgreSQL refuses, and lone surrogates, which have no UTF-8 form and
    would break every answer that shows them."""
    if _NOT_STORABLE.search(text):
        raise ValidationError(
            "NUL and surrogate characters are not allowed.", code="forbidden_character"
        )


class TextValidator:
    """Refuse what is not text, is too long, or cannot be stored by every database."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def __call__(self, value: Any) -> None:
        if not isinstance(value, str):
            raise ValidationError("A text is required.", code="not_a_text")
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
_sku_text = TextValidator(MAX_SKU_LENGTH)


def is_sku(text: str) -> bool:
    """Return whether a text can be a SKU."""
    return _SKU.fullmatch(text) is not None


def validate_sku(value: Any) -> None:
    """Refuse all but a text of the form of a SKU."""
    if isinstance(value, str) and _SKU.fullmatch(value):
        return
    _sku_text(value)
    if not value:
        raise ValidationError("The SKU is missing.", code="not_a_sku")
    raise ValidationError(
        "A SKU is 1 to 50 of A-Z, 0-9 and hyphens, and does not start with a hyphen.",
        code="not_a_sku",
    )


_TOO_MANY_UNITS = f"At most {MAX_UNITS} units are allowed."

Rule = Callable[[Any], None]
"""Raises Django's `ValidationError` for a value that it refuses."""

Rules = tuple[Rule, ...]

SKU: Rules = (validate_sku,)
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
"""A reason that must be given."""
BOOLEAN: Rules = (validate_boolean,)
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
ID: Rules = (WholeNumber(1, "An id is 1 or more.", MAX_ID, "This number is too large for an id."),)
