"""The grammar of SKUs, for each value of the setting `SKU_CHARACTERS`."""

import re

import jsonschema_rs
import pytest
from django.core.exceptions import ValidationError
from django.urls import URLPattern, URLResolver, get_resolver

from inventory_project import environment
from products import validators
from products.validators import (
    ALL_SKU_CHARACTERS,
    RESERVED_SKUS,
    SKU_PATTERN,
    describe_sku,
    is_possible_sku,
    is_sku,
    sku_pattern,
    validate_sku,
)

LONGEST = "X" * 50


def characters(value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SKU_CHARACTERS", value)
    return environment.sku_characters("SKU_CHARACTERS")


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("", "A-Z0-9-"),
        ("A-Z0-9-", "A-Z0-9-"),
        ("-", "A-Z0-9-"),
        ("a-z", "A-Za-z0-9-"),
        ("a-z_.", "A-Za-z0-9_.-"),
        (".a-z", "A-Za-z0-9.-"),
        ("-_", "A-Z0-9_-"),
        ("A-Z0-9-_.a-z", "A-Za-z0-9_.-"),
        (" ", "A-Z0-9 -"),
        ("a-z ", "A-Za-z0-9 -"),
        ("'a-z '", "A-Za-z0-9 -"),
        ('"a-z_."', "A-Za-z0-9_.-"),
        ("A-Za-z0-9_. -", ALL_SKU_CHARACTERS),
    ],
)
def test_the_setting_only_adds_characters(
    value: str, meaning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert characters(value, monkeypatch) == meaning


ACCEPTED = [
    ("A-Z0-9-", ["A", "0", "A-", "A--B", "00123", "LOW-STOCK", "1E5", LONGEST]),
    ("A-Za-z0-9-", ["a", "tee-M", "Low-Stock", "low-stocks", "x" * 50]),
    ("A-Z0-9_-", ["A_", "A__B", "0_0"]),
    ("A-Z0-9.-", ["1.50", "A.", "A..", "1..2"]),
    ("A-Z0-9 -", ["A B", "A  B", "A -", "A B C", f"A{' ' * 48}B"]),
    (ALL_SKU_CHARACTERS, ["Tee 1.5_x-", "a", "A b.", "v1.0 final"]),
]
REFUSED = [
    ("A-Z0-9-", ["a", "A_B", "A.B", "A B", f"{LONGEST}X"]),
    ("A-Za-z0-9-", ["low-stock", "a_b", "a b", "a.b", "é", "\u017f", "\u212a", "\uff41"]),
    ("A-Z0-9_-", ["_", "_A", "a_b"]),
    ("A-Z0-9.-", [".", "..", ".A", "...", "a.b"]),
    ("A-Z0-9 -", [" ", " A", "A ", "A\tB", "A\u00a0B", "A\u2003B", f"A{' ' * 49}B", "A\n"]),
    (ALL_SKU_CHARACTERS, ["low-stock", ".", "..", "-", "_a", " a", "a ", "a/b", "a,b", "a\\b",
                          "a%b", "a?b", "a#b", "a+b", "a:b", "a;b", "a\0", "\ud800", "", "a\n",
                          "٣", f"a{LONGEST}"]),
]  # fmt: skip


def cases(table: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    return [(allowed, sku) for allowed, skus in table for sku in skus]


def is_accepted(sku: str, allowed: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the validator of an installation with these characters accepts a SKU."""
    monkeypatch.setattr(validators, "_SKU", re.compile(sku_pattern(allowed)))
    try:
        validate_sku(sku)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("allowed", "sku"), cases(ACCEPTED))
def test_an_allowed_sku_is_accepted(
    allowed: str, sku: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_accepted(sku, allowed, monkeypatch)
    assert is_possible_sku(sku)
    assert jsonschema_rs.is_valid({"pattern": f"^{sku_pattern(allowed)}$"}, sku)


@pytest.mark.parametrize(("allowed", "sku"), cases(REFUSED))
def test_another_sku_is_refused(allowed: str, sku: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_accepted(sku, allowed, monkeypatch)


def test_the_pattern_is_as_before_by_default() -> None:
    assert SKU_PATTERN == "[A-Z0-9][A-Z0-9-]{0,49}"


@pytest.mark.parametrize("allowed", [allowed for allowed, _ in ACCEPTED])
def test_every_language_reads_the_pattern_in_the_same_way(allowed: str) -> None:
    """ECMAScript, Python and Rust agree on character sets, counts and groups, not on the rest."""
    assert re.fullmatch(r"(?:\[[^\]\\]*\]|\{0,\d\d\}|\(\?:|\)\??)+", sku_pattern(allowed))


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("A-Z0-9-", "A-Z, 0-9 and hyphens"),
        ("A-Za-z0-9-", "A-Z, a-z, 0-9 and hyphens"),
        (ALL_SKU_CHARACTERS, "A-Z, a-z, 0-9, hyphens, underscores, dots and inner blanks"),
    ],
)
def test_the_refusal_names_the_allowed_characters(allowed: str, names: str) -> None:
    assert describe_sku(allowed) == (
        f"A SKU has 1 to 50 characters of {names}. The first one is a letter or a digit."
    )


def test_no_path_of_the_api_hides_a_product() -> None:
    """A fixed path in place of a SKU is reserved, or can be no SKU."""
    fixed = {
        path.removeprefix("v1/").removeprefix("products/").split("/")[0].removesuffix("$")
        for path in paths(get_resolver())
        if path.removeprefix("v1/").startswith("products/")
    }

    assert "low-stock" in fixed
    assert {text for text in fixed if is_possible_sku(text)} <= RESERVED_SKUS
    assert not any(map(is_sku, RESERVED_SKUS))


def paths(resolver: URLResolver, before: str = "") -> list[str]:
    """Return the paths of all routes. Regular expressions are written as they are."""
    found = []
    for pattern in resolver.url_patterns:
        path = before + str(pattern.pattern).removeprefix("^").removesuffix(r"\Z")
        if isinstance(pattern, URLPattern):
            found.append(path)
        else:
            found += paths(pattern, path)
    return found
