"""Number formats of spreadsheets: whether a cell shows the whole number that it holds.

A format has up to four sections: for positive numbers, negative numbers, zero and texts.
"""

import re
from functools import lru_cache

_PART = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|(?P<blank>[_*].)|\[(?P<bracket>[^\]]*)\]|(?P<plain>.)',
    re.DOTALL,
)
_GENERAL = re.compile("general", re.IGNORECASE)
_EXPONENT = re.compile(r"E[+-](?=[0#?])", re.IGNORECASE)
_CONDITION = re.compile("[<>=]")
_COLOUR = re.compile("[a-z]+[0-9]*", re.IGNORECASE)
_SCALED = re.compile(r"[0#?],+(?![0#?,])")

# What a literal character does to the number before and after it.
_DIGIT, _SIGN, _TEXT, _COLOURED = "dsxc"


def shows_number(value: int, number_format: str) -> bool:
    """Return whether a cell in this format shows a whole number, with its sign.

    Leading zeros, thousands separators, currencies and units are allowed.
    """
    return _shows((value > 0) - (value < 0), number_format)


@lru_cache(maxsize=1_000)
def _shows(sign: int, number_format: str) -> bool:
    sections, has_conditions = _sections_of(number_format)
    if has_conditions:
        return all(map(_shows_positive, sections))
    if sign < 0 and len(sections) > 1:
        return _shows_negative(sections[1])
    if sign == 0:
        return _shows_zero(sections[2] if len(sections) > 2 else sections[0])
    return _shows_positive(sections[0])


def _sections_of(number_format: str) -> tuple[list[str], bool]:
    """Return the sections for numbers, and whether conditions choose among them.

    Placeholders stay as they are. Literal characters become one of the marks above.
    """
    text = _EXPONENT.sub("", _GENERAL.sub("0", number_format))
    sections, has_conditions = [""], False
    for match in _PART.finditer(text):
        kind, part = match.lastgroup, match[match.lastgroup or 0]
        if kind == "bracket":
            has_conditions = has_conditions or _CONDITION.match(part) is not None
            sections[-1] += _COLOURED if _COLOUR.fullmatch(part) else ""
        elif kind == "plain" and part == ";":
            sections.append("")
        elif kind == "plain" and part in "0#?,.%@/":
            sections[-1] += part
        elif kind != "blank":
            sections[-1] += "".join(map(_mark_of, part))
    is_text = len(sections) > 3 or (len(sections) > 1 and "@" in sections[-1])
    return sections[:-1] if is_text else sections, has_conditions


def _mark_of(literal: str) -> str:
    if literal.isdigit() or literal in ".,%":
        return _DIGIT
    if literal in "-\N{MINUS SIGN}\N{EN DASH}(":
        return _SIGN
    return "" if literal.isspace() else _TEXT


def _has_its_digits(section: str) -> bool:
    is_changed = "%" in section or _DIGIT in section or _SCALED.search(section)
    return re.search("[0#?@]", section) is not None and not is_changed


def _shows_positive(section: str) -> bool:
    return _has_its_digits(section) and _SIGN not in section


def _shows_negative(section: str) -> bool:
    return _has_its_digits(section) and (_SIGN in section or _COLOURED in section)


def _shows_zero(section: str) -> bool:
    # `#` and `?` show no zero.
    return re.search(f"[0@{_SIGN}{_TEXT}]", section) is not None
