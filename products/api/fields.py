"""The fields of request bodies. They accept a value unchanged or refuse it."""

import re
from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as ValueRefused
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ErrorDetail
from rest_framework.serializers import ChoiceField, ValidationError

from products import validators
from products.api.drf import FieldWithoutValidators
from products.models import MAX_CURSOR_LENGTH, MAX_URL_LENGTH, StockEvent, Subscription
from products.publishing import guard
from products.validators import (
    MAX_DESCRIPTION_LENGTH,
    MAX_ID,
    MAX_NAME_LENGTH,
    MAX_NOTE_LENGTH,
    MAX_SECONDS,
    MAX_UNITS,
    NOT_BLANK_PATTERN,
    RESERVED_SKUS,
    SKU_PATTERN,
    SKU_PREFIX_PATTERN,
    TEXT_PATTERN,
)

SETTABLE_STATES = [Subscription.State.ACTIVE.value, Subscription.State.PAUSED.value]

_SKU_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{SKU_PATTERN}$"}
if _reserved := sorted(sku for sku in RESERVED_SKUS if re.fullmatch(SKU_PATTERN, sku)):
    _SKU_SCHEMA["not"] = {"enum": _reserved}


def _refused(error: ValueRefused) -> ValidationError:
    return ValidationError(error.messages[0], code=error.code)


def _validate_receiver(url: str) -> None:
    try:
        guard.check_url(url)
    except guard.UnsafeUrl as error:
        raise ValueRefused(str(error), code="unsafe_url") from None


class StrictField(FieldWithoutValidators):
    """A field that accepts the values that pass all `rules`."""

    rules: ClassVar[validators.Rules]

    def to_internal_value(self, data: Any) -> Any:
        try:
            for rule in self.rules:
                rule(data)
        except ValueRefused as error:
            raise _refused(error) from error
        return data


@extend_schema_field(_SKU_SCHEMA)
class SkuField(StrictField):
    rules = validators.SKU


@extend_schema_field({"type": "string", "pattern": f"^{SKU_PREFIX_PATTERN}$"})
class SkuPrefixField(StrictField):
    rules = validators.SKU_PREFIX


@extend_schema_field(
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_LENGTH,
        "pattern": NOT_BLANK_PATTERN,
    }
)
class NameField(StrictField):
    rules = validators.NAME


@extend_schema_field(
    {"type": "string", "maxLength": MAX_DESCRIPTION_LENGTH, "pattern": TEXT_PATTERN}
)
class DescriptionField(StrictField):
    rules = validators.DESCRIPTION


@extend_schema_field({"type": "string", "maxLength": MAX_NOTE_LENGTH, "pattern": TEXT_PATTERN})
class NoteField(StrictField):
    rules = validators.NOTE


@extend_schema_field(
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NOTE_LENGTH,
        "pattern": NOT_BLANK_PATTERN,
    }
)
class ReasonField(StrictField):
    rules = validators.REASON


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MAX_UNITS})
class AmountField(StrictField):
    rules = validators.AMOUNT


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": MAX_UNITS})
class LevelField(StrictField):
    rules = validators.LEVEL


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MAX_SECONDS})
class DurationField(StrictField):
    rules = validators.DURATION


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MAX_ID})
class IdField(StrictField):
    rules = validators.ID


@extend_schema_field({"type": "string", "format": "date-time"})
class TimeField(FieldWithoutValidators):
    """A time in RFC 3339, with its offset. Returns it in UTC."""

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return validators.parse_time(data)
        except ValueRefused as error:
            raise _refused(error) from error


@extend_schema_field({"type": "boolean"})
class BooleanField(StrictField):
    rules = validators.BOOLEAN


@extend_schema_field({"type": "string", "format": "uri", "maxLength": MAX_URL_LENGTH})
class UrlField(StrictField):
    """A URL to which events may be sent."""

    rules = (validators.TextValidator(MAX_URL_LENGTH), _validate_receiver)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_CURSOR_LENGTH})
class CursorField(StrictField):
    """A cursor of the feed, as text. `products.publishing` checks it."""

    rules = (validators.TextValidator(MAX_CURSOR_LENGTH),)


@extend_schema_field(
    {
        "type": "array",
        "items": {"$ref": "#/components/schemas/EventType"},
        "uniqueItems": True,
    }
)
class EventTypesField(FieldWithoutValidators):
    """Different types of stock events."""

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list):
            raise ValidationError("A list is required.", code="not_a_list")
        known = StockEvent.Type.values
        unknown = [index for index, each in enumerate(data) if each not in known]
        if unknown:
            detail = ErrorDetail(f"Send one of {', '.join(known)}.", "invalid_choice")
            raise ValidationError({str(index): [detail] for index in unknown})
        if len(set(data)) < len(data):
            raise ValidationError("Send each type once.", code="duplicate")
        return data


class ChangedStateField(ChoiceField):
    """The states that a user can give a webhook."""

    default_error_messages = {"invalid_choice": f"Send one of {', '.join(SETTABLE_STATES)}."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(SETTABLE_STATES, **kwargs)
