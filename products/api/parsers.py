"""A JSON parser that refuses ambiguous input."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, ValidationError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from products.api.problems import invalid_field
from products.validators import validate_storable

MAX_DEPTH = 20
_TOO_DEEP = f"Nest the body at most {MAX_DEPTH} levels deep."
_CONTAINERS = (dict, list)


class StrictJSONParser(BaseParser):
    """Parses JSON in UTF-8.

    Refuses bodies that are too large or nested too deep, repeated keys, NaN, infinities, and NUL
    and surrogate characters.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestDataTooBig
        try:
            text = body.decode("utf-8")
            data = json.loads(
                text,
                object_pairs_hook=_object_without_duplicates,
                parse_constant=_refuse_constant,
                parse_int=_int_of_bounded_length,
            )
        except RecursionError as error:
            raise invalid_field(None, _TOO_DEEP) from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error
        _check_depth(data)
        if "\\u" in text:  # NUL and surrogates are always escaped.
            _check_texts(data, path="")
        return data


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        [(twice, _)] = counts.most_common(1)
        raise invalid_field(_printable(twice), "Send this key once.", "duplicate_key")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _int_of_bounded_length(digits: str) -> int:
    """Read at most 100 digits of a number, which are too many for every field.

    Python would refuse thousands of digits without naming the field.
    """
    return int(digits[:100])


def _check_depth(data: Any) -> None:
    level = [data] if isinstance(data, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        level = [
            member
            for value in level
            for member in (value.values() if isinstance(value, dict) else value)
            if isinstance(member, _CONTAINERS)
        ]
        if not level:
            return
    raise invalid_field(None, _TOO_DEEP)


def _check_texts(value: Any, *, path: str) -> None:
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            name = _printable(key) if not path else f"{path}.{_printable(key)}"
            _check_text(key, name)
            _check_texts(item, path=name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, path=f"{path}.{index}" if path else str(index))


def _check_text(text: str, path: str) -> None:
    try:
        validate_storable(text)
    except ValidationError as error:
        raise invalid_field(path, error.messages[0], error.code or "invalid") from error


def _printable(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
