"""Invalid input is refused with the field named, and has no effect."""

import dataclasses
import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from products import stock
from products.api.serializers import (
    AddOperationSerializer,
    AdjustOperationSerializer,
    DomainObjectSerializer,
    LineSerializer,
    RemoveOperationSerializer,
)
from products.stock import Line
from products.tests.checks import assert_problem, stored
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def order(db: None) -> int:
    """Reserve 5 of 25 cups, and one more without a reference. Return the first reservation's id."""
    ProductFactory.create(sku="CUP", quantity=25)
    stock.reserve(sku="CUP", amount=1, by=ACTOR)
    return stock.reserve_lines(lines=[Line("CUP", 5)], reference="order-1", by=ACTOR).pk


def send(
    api: APIClient, target: str, body: Any, content_type: str = "application/json", **extra: Any
) -> Any:
    """Send `body` unchanged to `target`, such as `POST /v1/products`."""
    method, path = target.split()
    return api.generic(method, path, body, content_type=content_type, **extra)


def assert_refused(response: Any, before: dict[str, Any], *fields: str | None) -> None:
    """Assert that the request was refused for exactly these fields, and changed nothing."""
    problem = assert_problem(response, 400, "invalid")
    assert [error["field"] for error in problem["errors"]] == list(fields), problem
    assert all(error.keys() == {"field", "code", "detail"} for error in problem["errors"])
    assert stored() == before


ADD = "POST /v1/products/CUP/add"
REMOVE = "PATCH /v1/products/CUP/remove"
RESERVE = "POST /v1/products/CUP/reserve"
RELEASE = "POST /v1/products/CUP/release"
ADJUST = "POST /v1/products/CUP/adjust"
CREATE = "POST /v1/products"
EDIT = "PATCH /v1/products/CUP"
ORDER = "POST /v1/reservations"
FULFILL = "POST /v1/reservations/{order}/fulfill"
GIVE_BACK = "POST /v1/reservations/{order}/release"
EXTEND = "POST /v1/reservations/{order}/extend"
APPLY = "POST /v1/operations"

COMPLETE: dict[str, dict[str, Any]] = {
    ADD: {"amount": 1},
    REMOVE: {"amount": 1},
    RESERVE: {"amount": 1},
    RELEASE: {"amount": 1},
    ADJUST: {"quantity": 20, "reason": "stocktake"},
    CREATE: {"sku": "NEW", "name": "New"},
    EDIT: {"name": "New"},
    ORDER: {"lines": [{"sku": "CUP", "amount": 1}]},
    FULFILL: {},
    GIVE_BACK: {},
    EXTEND: {"expires_in": 60},
    APPLY: {"operations": [{"operation": "add", "sku": "CUP", "amount": 1}]},
}
"""A valid body for each operation."""


def body_with(target: str, field: str, value: str) -> str:
    """Return a body for `target` in which `field` has the JSON text `value`."""
    if field.startswith("lines.0."):
        line = {"sku": "CUP", "amount": 1, field.removeprefix("lines.0."): "VALUE"}
        body = {**COMPLETE[target], "lines": [line]}
    elif field.startswith("operations.0."):
        name = field.removeprefix("operations.0.")
        operation = {"operation": "add", "sku": "CUP", "amount": 1}
        if name in ("quantity", "expected_quantity", "counted_at"):
            operation = {"operation": "adjust", "sku": "CUP", "quantity": 20, "reason": "x"}
        body = {"operations": [{**operation, name: "VALUE"}]}
    else:
        body = {**COMPLETE[target], field: "VALUE"}
    return json.dumps(body).replace('"VALUE"', value)


# ------------------------------------------------------------------------------------------ numbers

NO_NUMBERS = [
    *("true", "false", "null", '"5"', '""', '"\\u0665"', "[]", "{}", "[5]"),
    *("5.0", "1e2", "0.5", "-0.0", "1e400"),
    *("-1", "1000000001", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    "1" + "0" * 400,
    "1" + "0" * 5000,
]
"""JSON texts that are not a number of units."""

AMOUNTS = [
    *((target, "amount") for target in (ADD, REMOVE, RESERVE, RELEASE)),
    *((target, "lines.0.amount") for target in (ORDER, FULFILL, GIVE_BACK)),
    *((target, "expires_in") for target in (RESERVE, ORDER, EXTEND)),
    (APPLY, "operations.0.amount"),
]
LEVELS = [
    *((ADJUST, "quantity"), (ADJUST, "expected_quantity")),
    *((CREATE, "quantity"), (CREATE, "minimum_stock_level"), (EDIT, "minimum_stock_level")),
    *((APPLY, "operations.0.quantity"), (APPLY, "operations.0.expected_quantity")),
]


def shortened(value: Any) -> str | None:
    return value[:20] if isinstance(value, str) else None


@pytest.mark.parametrize("value", [*NO_NUMBERS, "0"], ids=shortened)
def test_an_amount_is_a_whole_number_of_units(api: APIClient, order: int, value: str) -> None:
    before = stored()

    for target, field in AMOUNTS:
        response = send(api, target.format(order=order), body_with(target, field, value))

        assert_refused(response, before, field)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=shortened)
def test_a_level_is_a_whole_number_of_units(api: APIClient, value: str) -> None:
    before = stored()

    for target, field in LEVELS:
        response = send(api, target, body_with(target, field, value))

        assert_refused(response, before, field)


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "true", "null", '"1"', "1.0", "[]", "9223372036854775808", "1" + "0" * 400],
    ids=shortened,
)
def test_the_reservation_of_a_release_is_an_id(api: APIClient, value: str) -> None:
    before = stored()

    response = send(api, RELEASE, body_with(RELEASE, "reservation", value))

    assert_refused(response, before, "reservation")


NO_MOMENTS = [
    *("null", "true", "[]", "{}", "5", "1795197600", "1795197600.0"),
    *('""', '" "', '"now"', '"2026-11-20"', '"18:00:00Z"', '"2026-11-20T18:00:00"'),
    *('"2026-11-20T18:00Z"', '"2026-11-20 18:00:00Z"', '" 2026-11-20T18:00:00Z"'),
    *('"2026-11-20T18:00:00Z\\n"', '"2026-11-20T18:00:00+0100"', '"2026-11-20T18:00:00 CET"'),
    *('"2026-11-31T18:00:00Z"', '"2026-11-20T25:00:00Z"', '"2026-11-20T18:00:60Z"'),
    *('"0001-01-01T00:00:00+01:00"', '"9999-12-31T23:59:59-01:00"', '"10000-01-01T00:00:00Z"'),
    *('"\\u0662026-11-20T18:00:00Z"', '"2026-11-20T18:00:00Z\\u0000"', '"\\ud800"'),
]
"""JSON texts that are not a time with an offset."""


@pytest.mark.parametrize("value", NO_MOMENTS)
def test_counted_at_is_a_time_with_an_offset(api: APIClient, value: str) -> None:
    before = stored()

    for target, field in [(ADJUST, "counted_at"), (APPLY, "operations.0.counted_at")]:
        response = send(api, target, body_with(target, field, value))

        assert_refused(response, before, field)


@pytest.mark.parametrize("value", ["0", "1", "null", '"true"', '""', "[]", "{}", "1.0"])
def test_archived_is_true_or_false(api: APIClient, value: str) -> None:
    before = stored()

    response = send(api, EDIT, body_with(EDIT, "archived", value))

    assert_refused(response, before, "archived")


# -------------------------------------------------------------------------------------------- texts

NO_TEXTS = [
    "null",
    "5",
    "true",
    "[]",
    "{}",
    '["a"]',
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
]

TEXTS = [
    *((target, "reason", 255) for target in (ADD, REMOVE, RELEASE, ADJUST, FULFILL, GIVE_BACK)),
    *(
        (target, "reference", 255)
        for target in COMPLETE
        if target not in (CREATE, EDIT, EXTEND, APPLY)
    ),
    *((APPLY, f"operations.0.{field}", 255) for field in ("reason", "reference")),
    *((target, "name", 255) for target in (CREATE, EDIT)),
    *((target, "description", 1000) for target in (CREATE, EDIT)),
]


@pytest.mark.parametrize("value", NO_TEXTS)
def test_a_text_that_a_database_cannot_store_is_refused(
    api: APIClient, order: int, value: str
) -> None:
    before = stored()

    for target, field, _ in [
        *TEXTS,
        (CREATE, "sku", 50),
        (ORDER, "lines.0.sku", 50),
        (APPLY, "operations.0.sku", 50),
        (APPLY, "operations.0.operation", 6),
    ]:
        response = send(api, target.format(order=order), body_with(target, field, value))

        assert_refused(response, before, field)


@pytest.mark.parametrize(("target", "field", "longest"), TEXTS)
def test_the_length_of_a_text_is_limited_in_characters(
    api: APIClient, order: int, target: str, field: str, longest: int
) -> None:
    before = stored()

    for character in ("x", "ß", "🫖"):
        too_long = body_with(target, field, json.dumps(character * (longest + 1)))
        assert_refused(send(api, target.format(order=order), too_long), before, field)

    just_fits = body_with(target, field, json.dumps("🫖" * longest))
    assert send(api, target.format(order=order), just_fits).status_code in (200, 201)


@pytest.mark.parametrize("value", ["", " ", "\t\n"])
@pytest.mark.parametrize(
    ("target", "field"), [(CREATE, "name"), (EDIT, "name"), (ADJUST, "reason")]
)
def test_required_texts_cannot_be_blank(
    api: APIClient, target: str, field: str, value: str
) -> None:
    before = stored()

    response = send(api, target, body_with(target, field, json.dumps(value)))

    assert_refused(response, before, field)


@pytest.mark.parametrize(
    "sku",
    [
        "",
        " ",
        "a",
        "-A",
        "A B",
        " A",
        "A ",
        "A\n",
        "\nA",
        "A_B",
        "A/B",
        "A.B",
        "Ä",
        "\uff21",  # A fullwidth A.
        "٣",
        "A" * 51,
    ],
)
def test_an_invalid_sku_is_refused(api: APIClient, order: int, sku: str) -> None:
    before = stored()

    for target, field in [
        (CREATE, "sku"),
        *((target, "lines.0.sku") for target in (ORDER, FULFILL, GIVE_BACK)),
        (APPLY, "operations.0.sku"),
    ]:
        response = send(api, target.format(order=order), body_with(target, field, json.dumps(sku)))

        assert_refused(response, before, field)


# ------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    "name", ["quantity_change", "Amount", "", " ", "a.b", "0", "__proto__", "non_field_errors", "ä"]
)
def test_an_unknown_field_is_named(api: APIClient, order: int, name: str) -> None:
    before = stored()

    for target in COMPLETE:
        response = send(api, target.format(order=order), body_with(target, name, "1"))

        assert_refused(response, before, name)


@pytest.mark.parametrize(
    ("target", "field"),
    [
        *((EDIT, name) for name in ("sku", "quantity", "reserved_quantity", "version")),
        *((CREATE, name) for name in ("reserved_quantity", "low_stock", "version", "archived")),
        *((ADD, name) for name in ("sku", "quantity", "reservation", "actor")),
        *((RESERVE, name) for name in ("reason", "reservation", "lines")),
        *((ADJUST, name) for name in ("amount", "version")),
        *((ORDER, name) for name in ("status", "id", "reason")),
        *((FULFILL, name) for name in ("amount", "sku", "status")),
        *((ORDER, f"lines.0.{name}") for name in ("reference", "operation", "self")),
        (FULFILL, "lines.0.open"),
        *((EXTEND, name) for name in ("lines", "amount", "expires_at")),
        *(
            (APPLY, f"operations.0.{name}")
            for name in ("lines", "reservation", "name", "event_type", "self")
        ),
        *((APPLY, name) for name in ("lines", "reference", "amount")),
    ],
)
def test_a_field_of_another_operation_is_unknown(
    api: APIClient, order: int, target: str, field: str
) -> None:
    before = stored()

    response = send(api, target.format(order=order), body_with(target, field, "1"))

    assert_refused(response, before, field)


@pytest.mark.parametrize(
    "serializer",
    [LineSerializer, AddOperationSerializer, RemoveOperationSerializer, AdjustOperationSerializer],
)
def test_a_line_has_exactly_the_fields_of_its_stock_object(
    serializer: type[DomainObjectSerializer],
) -> None:
    names = {field.name for field in dataclasses.fields(serializer.object_class)}

    assert set(serializer().fields) - {"operation"} == names


@pytest.mark.parametrize(
    ("target", "body", "missing"),
    [
        (ADD, {}, ["amount"]),
        (REMOVE, {"reason": "x"}, ["amount"]),
        (RESERVE, {"reference": "x"}, ["amount"]),
        (RELEASE, {"reservation": 1}, ["amount"]),
        (ADJUST, {}, ["quantity", "reason"]),
        (ADJUST, {"quantity": 1}, ["reason"]),
        (CREATE, {}, ["sku", "name"]),
        (CREATE, {"name": "x"}, ["sku"]),
        (ORDER, {}, ["lines"]),
        (ORDER, {"lines": [{}]}, ["lines.0.sku", "lines.0.amount"]),
        (ORDER, {"lines": [{"sku": "CUP", "amount": 1}, {"sku": "CUP"}]}, ["lines.1.amount"]),
        (FULFILL, {"lines": [{"amount": 1}]}, ["lines.0.sku"]),
        (EXTEND, {}, ["expires_in"]),
        (APPLY, {}, ["operations"]),
        (APPLY, {"operations": [{}]}, ["operations.0.operation"]),
        (
            APPLY,
            {"operations": [{"operation": "add"}, {"operation": "adjust", "sku": "CUP"}]},
            [
                "operations.0.amount",
                "operations.0.sku",
                "operations.1.quantity",
                "operations.1.reason",
            ],
        ),
    ],
)
def test_every_missing_field_is_named(
    api: APIClient, order: int, target: str, body: dict[str, Any], missing: list[str]
) -> None:
    before = stored()

    response = send(api, target.format(order=order), json.dumps(body))

    assert_refused(response, before, *missing)


def test_every_bad_field_of_every_line_is_named(api: APIClient) -> None:
    before = stored()
    body = {
        "reference": 7,
        "lines": [
            {"sku": "cup", "amount": 0},
            {"sku": "CUP", "amount": 1},
            {"sku": "CUP", "amount": 1, "note": "x"},
        ],
    }

    response = send(api, ORDER, json.dumps(body))

    problem = assert_problem(response, 400, "invalid")
    assert {error["field"] for error in problem["errors"]} == {
        "reference",
        "lines.0.sku",
        "lines.0.amount",
        "lines.2.note",
    }
    assert stored() == before


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([], "lines"),
        (None, "lines"),
        ({}, "lines"),
        ({"sku": "CUP", "amount": 1}, "lines"),
        ("CUP", "lines"),
        (5, "lines"),
        ([{"sku": "CUP", "amount": 1}] * 1001, "lines"),
        (["CUP"], "lines.0"),
        ([None], "lines.0"),
        ([[]], "lines.0"),
        ([{"sku": "CUP", "amount": 1}, 5], "lines.1"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_lines_are_a_list_of_objects(api: APIClient, order: int, lines: Any, field: str) -> None:
    before = stored()

    for target in (ORDER, FULFILL, GIVE_BACK):
        response = send(api, target.format(order=order), json.dumps({"lines": lines}))

        assert_refused(response, before, field)


@pytest.mark.parametrize("operation", ["", "ADD", "reserve", "add ", "Add", "__proto__"])
def test_an_operation_is_one_of_three(api: APIClient, operation: str) -> None:
    before = stored()

    response = send(api, APPLY, body_with(APPLY, "operations.0.operation", json.dumps(operation)))

    assert_refused(response, before, "operations.0.operation")


@pytest.mark.parametrize(
    ("operations", "field"),
    [
        ([], "operations"),
        (None, "operations"),
        ({}, "operations"),
        ("add", "operations"),
        ([{"operation": "add", "sku": "CUP", "amount": 1}] * 1001, "operations"),
        (["add"], "operations.0"),
        ([None], "operations.0"),
        ([[]], "operations.0"),
        ([{"operation": "add", "sku": "CUP", "amount": 1}, 5], "operations.1"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_operations_are_a_list_of_objects(api: APIClient, operations: Any, field: str) -> None:
    before = stored()

    response = send(api, APPLY, json.dumps({"operations": operations}))

    assert_refused(response, before, field)


# ------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body",
    [
        *("{", "}", "{]", "nope", "{'amount': 1}", '{"amount": 1,}', '{"amount": 1} {}'),
        *(" ", "\n", "\0", '{"amount": 01}', '{"amount": +1}', '{"amount": 0x1}', '{"amount": .5}'),
        *('{"amount": NaN}', '{"amount": Infinity}', '{"amount": -Infinity}', "NaN"),
        *('{"reason": "a\nb"}', '{"reason": "\\x"}', '{"amount": 1 /* all */}', "{amount: 1}"),
        b'\xef\xbb\xbf{"amount": 1}',
        b'{"reason": "\xff"}',
        b'{"reason": "\xed\xa0\x80"}',
        '{"amount": 1}'.encode("utf-16"),
        '{"reason": "ß"}'.encode("latin-1"),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_body_that_is_not_json_is_malformed(
    api: APIClient, order: int, body: str | bytes
) -> None:
    before = stored()

    for target in COMPLETE:
        response = send(api, target.format(order=order), body)

        assert_problem(response, 400, "malformed_json")
        assert stored() == before


@pytest.mark.parametrize("body", ["[]", '"text"', "5", "null", "true", '[{"amount": 1}]', "0"])
def test_a_body_is_an_object(api: APIClient, order: int, body: str) -> None:
    before = stored()

    for target in COMPLETE:
        response = send(api, target.format(order=order), body)

        assert_refused(response, before, None)


@pytest.mark.parametrize(
    ("target", "body", "field"),
    [
        (ADD, '{"amount": 1, "amount": 2}', "amount"),
        (ADD, '{"amount": 1, "amount": 1}', "amount"),
        (ADD, '{"amount": 1, "\\u0061mount": 2}', "amount"),
        (FULFILL, '{"lines": [{"sku": "CUP", "amount": 1}], "lines": null}', "lines"),
        (ORDER, '{"lines": [{"sku": "CUP", "amount": 1, "amount": 2}]}', "amount"),
        (ADD, '{"amount": 1, "more": {"a": [{"b": 1, "b": 1}]}}', "b"),
        (ADD, '{"amount": 1, "a\\u0000": 1}', "a\\x00"),
        (ADD, '{"amount": 1, "\\ud800": 1}', "\\ud800"),
        (ADD, '{"amount": 1, "more": {"a\\u0000": 1}}', "more.a\\x00"),
        (ADD, '{"amount": 1, "more": ["\\u0000"]}', "more.0"),
        (ORDER, '{"lines": [{"sku": "CUP", "amount": 1}, {"sku": "\\udfff"}]}', "lines.1.sku"),
    ],
)
def test_repeated_keys_and_forbidden_characters_are_named_at_any_depth(
    api: APIClient, order: int, target: str, body: str, field: str
) -> None:
    before = stored()

    response = send(api, target.format(order=order), body)

    assert_refused(response, before, field)


def test_an_answer_names_the_first_100_errors_and_counts_the_others(api: APIClient) -> None:
    before = stored()
    names = [f"f{number:05}" for number in range(60_000)]
    body = {"amount": 0, **dict.fromkeys(names, 1)}

    problem = assert_problem(
        send(api, "POST /v1/products/CUP/add", json.dumps(body)), 400, "invalid"
    )

    assert [error["field"] for error in problem["errors"]] == ["amount", *names[:99]]
    assert problem["errors_omitted"] == 60_001 - 100
    assert problem["detail"] == (
        f"The request is invalid: amount, {', '.join(names[:9])} and 59991 more."
    )
    assert len(json.dumps(problem)) < 10_000
    assert stored() == before


def test_an_answer_with_100_errors_omits_none(api: APIClient) -> None:
    lines = [{"sku": f"P-{number}", "amount": 0} for number in range(100)]

    response = api.post("/v1/reservations", {"lines": lines}, format="json")

    problem = assert_problem(response, 400, "invalid")
    assert [e["field"] for e in problem["errors"]] == [f"lines.{n}.amount" for n in range(100)]
    assert "errors_omitted" not in problem


def test_every_one_of_1000_short_lines_is_named(api: APIClient) -> None:
    """A client must not have to send an order again to learn what else is short."""
    for number in range(1_000):
        ProductFactory.create(sku=f"P-{number}", quantity=0)
    lines = [{"sku": f"P-{number}", "amount": 1} for number in range(1_000)]

    response = api.post("/v1/reservations", {"lines": lines}, format="json")

    problem = assert_problem(response, 409, "insufficient_stock")
    assert [line["index"] for line in problem["lines"]] == list(range(1_000))


def nested(depth: int, innermost: str = "1") -> str:
    """Return a value within `depth` nested objects and lists."""
    return '{"deep": ' + "[" * (depth - 1) + innermost + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("depth", [21, 22, 500, 100_000])
def test_a_body_nested_deeper_than_20_is_refused(api: APIClient, order: int, depth: int) -> None:
    before = stored()

    for target in COMPLETE:
        response = send(api, target.format(order=order), nested(depth))

        assert_refused(response, before, None)


@pytest.mark.parametrize("innermost", ["", "{}", '1, {"wide": 1}'])
def test_the_deepest_part_of_a_body_counts(api: APIClient, innermost: str) -> None:
    before = stored()
    containers_within = int("{" in innermost)

    too_deep = send(api, ADD, nested(21 - containers_within, innermost))
    deep_enough = send(api, ADD, nested(20 - containers_within, innermost))

    assert_refused(too_deep, before, None)
    assert_refused(deep_enough, before, "amount", "deep")


def test_a_body_of_unclosed_lists_is_refused(api: APIClient) -> None:
    response = send(api, ADD, "[" * 100_000)

    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_a_body_nested_20_deep_is_accepted(api: APIClient) -> None:
    before = stored()

    response = send(api, ADD, nested(20))

    assert_refused(response, before, "amount", "deep")


@pytest.mark.parametrize("length", [MIB + 1, 3 * MIB])
def test_a_body_over_1_mib_is_too_large(api: APIClient, order: int, length: int) -> None:
    before = stored()

    for target, body in COMPLETE.items():
        response = send(api, target.format(order=order), json.dumps(body).ljust(length))

        assert_problem(response, 413, "request_too_large")
        assert stored() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/json",
        "application/json-patch+json",
        "application/octet-stream",
        "*/*",
        "json",
        "",
    ],
)
def test_a_body_of_another_media_type_is_refused(
    api: APIClient, order: int, content_type: str
) -> None:
    before = stored()

    for target, body in COMPLETE.items():
        response = send(api, target.format(order=order), json.dumps(body), content_type)

        assert_problem(response, 415, "unsupported_media_type")
        assert stored() == before


@pytest.mark.parametrize("target", [FULFILL, GIVE_BACK, ADD])
def test_a_body_of_unknown_length_is_refused(api: APIClient, order: int, target: str) -> None:
    before = stored()

    response = send(api, target.format(order=order), "", HTTP_TRANSFER_ENCODING="chunked")

    assert_problem(response, 411, "length_required")
    assert stored() == before


# ------------------------------------------------------------------------------------------ queries

PAGED = ["/v1/products", "/v1/products/low-stock", "/v1/products/CUP/events", "/v1/reservations"]

NO_SIZES = "", "0", "1001", "-1", "abc", "%2B5", "+5", "1_0", "5.0", "1e1", "%D9%A5", "9" * 400
NO_CURSORS = (
    *("", "!!!", "abc", "%00", "%F0%9F%AB%96", "bz0tMQ==", "cD0lMDA=", "cD0x!", "x" * 5000),
    *(b64encode(text).decode() for text in (b"p=sku+", b"p=-id+", b"p=-version+", b"r=1")),
)
NO_BOOLEANS = "TRUE", "True", "1", "0", "yes", "null", "%00", "", "true,false"
NO_ORDERS = "name", "SKU", "-", "id", "sku,-sku", "--sku", "quantity", "", "%00"
NOT_TIMES = (
    *("", "now", "0", "1795242656", "2026-11-20", "2026-11-20T09:30:00", "2026-11-20 09:30:00Z"),
    *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-20T25:00:00Z", "%00", "Z"),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "2026-11-20T09:30:00%2B99:00"),
    *("2026-11-20T09:30:00.1234567890Z", "2026-W47-5T09:30:00Z", "%D9%A2026-11-20T09:30:00Z"),
    *("2026-11-20T09:30:00%2B10:60", "2026-11-20T09:30:00%2B24:00", "%ff"),
)
# The last two are not UTF-8: a lone byte and a lone surrogate.
NO_NOTES = "", "%00", "a%00b", "x" * 256, "%ff", "a%ED%A0%80"

BAD_QUERIES = [
    *((path, "page_size", NO_SIZES) for path in PAGED),
    *((path, "cursor", NO_CURSORS) for path in PAGED),
    ("/v1/products/CUP", "as_of", NOT_TIMES),
    ("/v1/reservations/1", "as_of", ("2026-11-20T09:30:00Z",)),
    *(
        (path, name, ("1", ""))
        for path in PAGED
        for name in ("page", "format", "Page_size", "as_of", "a\0", "page_size[]")
    ),
    ("/v1/products", "low_stock", NO_BOOLEANS),
    ("/v1/products", "in_stock", NO_BOOLEANS),
    ("/v1/products", "archived", (*NO_BOOLEANS, "ALL", "any")),
    ("/v1/products", "ordering", NO_ORDERS),
    (
        "/v1/products",
        "sku",
        ("", ",", "A,,B", "A,", "a", "A B", "-A", "A%00", "A%0A", ",".join(["A"] * 201), "A" * 51),
    ),
    ("/v1/products", "search", NO_NOTES),
    ("/v1/reservations", "reference", NO_NOTES),
    ("/v1/products/CUP/events", "reference", NO_NOTES),
    ("/v1/reservations", "status", ("OPEN", "closed", "", "%00", "open,released")),
    ("/v1/reservations", "sku", ("", "cup", "CUP,PLATE", "A%00", "A" * 51)),
    ("/v1/products/CUP/events", "type", ("inventoryadded", "Sold", "", "%00")),
    # Parameters of another list.
    ("/v1/products/low-stock", "ordering", ("sku",)),
    ("/v1/products/low-stock", "low_stock", ("true",)),
    ("/v1/products/low-stock", "archived", ("true",)),
    ("/v1/products/CUP/events", "ordering", ("sku",)),
    ("/v1/reservations", "search", ("x",)),
    ("/v1/products/CUP", "page_size", ("1",)),
    ("/openapi.json", "version", ("1", "1%0A", "1%0D%0AX: 1")),
]


@pytest.mark.parametrize(("path", "name", "values"), BAD_QUERIES)
def test_a_bad_query_is_refused(
    api: APIClient, path: str, name: str, values: tuple[str, ...]
) -> None:
    for value in values:
        response = api.get(f"{path}?{quote(name)}={value}")

        assert_refused(response, stored(), name)


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize("twice", ["page_size=1&page_size=1", "page_size=&page_size=5"])
def test_a_repeated_parameter_is_refused(api: APIClient, path: str, twice: str) -> None:
    assert_refused(api.get(f"{path}?{twice}"), stored(), "page_size")


@pytest.mark.parametrize("target", COMPLETE)
def test_an_operation_takes_no_query(api: APIClient, order: int, target: str) -> None:
    before = stored()

    response = send(api, f"{target.format(order=order)}?amount=2", json.dumps(COMPLETE[target]))

    assert_refused(response, before, "amount")


# -------------------------------------------------------------------------------------------- paths

NO_SKUS = [
    *("cup", "-CUP", "CUP%00", "%00", "%ff", "%C3%28", "CUP%0A", "%0ACUP", "CUP%20", "C%25P"),
    *("C_P", "CUP;a=b", "%C3%84", "low-stock%0A", "..", "%2e%2e", "A" * 51, "A" * 5000, "*", "'"),
]


@pytest.mark.parametrize("sku", NO_SKUS, ids=shortened)
def test_an_invalid_sku_in_a_path_is_not_found(api: APIClient, sku: str) -> None:
    before = stored()

    responses = [
        api.get(f"/v1/products/{sku}"),
        api.get(f"/v1/products/{sku}/events"),
        send(api, f"PATCH /v1/products/{sku}", '{"name": "x"}'),
        send(api, f"POST /v1/products/{sku}/add", '{"amount": 1}'),
        send(api, f"POST /v1/products/{sku}/reserve", '{"amount": 1}'),
    ]

    for response in responses:
        assert_problem(response, 404, "product_not_found")
    assert stored() == before


@pytest.mark.parametrize("sku", ["CUP%2F", "%2F", "CUP%2Fadd%2F", "A%2FB", "%2FCUP"])
def test_a_slash_within_a_sku_is_not_found(api: APIClient, sku: str) -> None:
    before = stored()

    assert_problem(api.get(f"/v1/products/{sku}"), 404, "not_found")
    assert_problem(send(api, f"POST /v1/products/{sku}", '{"amount": 1}'), 404, "not_found")
    assert stored() == before


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "00",
        "9" * 18,
        "9" * 19,
        "9" * 400,
        "-1",
        "+1",
        "1.0",
        "abc",
        "%00",
        "%D9%A1",
        "1%0A",
        "1e0",
        "%ff",
        "true",
    ],
    ids=shortened,
)
def test_an_invalid_id_in_a_path_is_not_found(api: APIClient, number: str) -> None:
    before = stored()

    responses = [
        api.get(f"/v1/reservations/{number}"),
        send(api, f"POST /v1/reservations/{number}/fulfill", "{}"),
        send(api, f"POST /v1/reservations/{number}/release", "{}"),
    ]

    for response in responses:
        known = number.isdigit() and len(number) <= 100
        assert_problem(response, 404, "reservation_not_found" if known else "not_found")
    assert stored() == before


# ------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize("length", ["abc", "", "1e3", "0x10"])
def test_an_odd_content_length_is_not_a_server_error(api: APIClient, length: str) -> None:
    before = stored()

    response = send(api, ADD, '{"amount": 1}', CONTENT_LENGTH=length)

    assert_refused(response, before, "amount")


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "a\tb", "a\x00", "\x7f", "x" * 256])
def test_an_idempotency_key_is_printable_and_short(api: APIClient, order: int, key: str) -> None:
    before = stored()

    for target in COMPLETE:
        if target in (EDIT,):
            continue
        body = json.dumps(COMPLETE[target])
        response = send(api, target.format(order=order), body, HTTP_IDEMPOTENCY_KEY=key)

        assert_refused(response, before, "Idempotency-Key")


@pytest.mark.parametrize(
    "etag", ["", " ", "1", '"', '""', 'W/"2-0"', ",", "a\x00", '"ä"', "x" * 9000]
)
def test_an_invalid_entity_tag_matches_nothing(api: APIClient, etag: str) -> None:
    before = stored()

    for target in (ADD, REMOVE, RESERVE, RELEASE, ADJUST, EDIT):
        response = send(api, target, json.dumps(COMPLETE[target]), HTTP_IF_MATCH=etag)

        assert_problem(response, 412, "precondition_failed")
        assert stored() == before


@pytest.mark.parametrize("encoding", ["gzip", "br", "nonsense"])
def test_a_compressed_body_is_not_json(api: APIClient, encoding: str) -> None:
    before = stored()

    response = send(api, ADD, b"\x1f\x8b\x08\x00\x00\x00", HTTP_CONTENT_ENCODING=encoding)

    assert_problem(response, 400, "malformed_json")
    assert stored() == before


# -------------------------------------------------------------------------------------- valid input


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (ADD, '{"amount": 1}'),
        (ADD, '{"amount": 999999975}'),
        (ADD, ' \r\n\t{ "amount" : 1 }\n'),
        (ADD, '{"\\u0061mount": 1, "reason": "\\ud83e\\uded6 \\u00e9 \\u2028"}'),
        (ADD, '{"amount": 1, "reason": "", "reference": ""}'),
        (REMOVE, '{"amount": 19}'),
        (ADJUST, '{"quantity": 1000000000, "reason": "x"}'),
        (ADJUST, '{"quantity": 6, "reason": "x", "expected_quantity": 25}'),
        (CREATE, json.dumps({"sku": "A" * 50, "name": "n" * 255})),
        (CREATE, '{"sku": "0", "name": "x", "quantity": 1000000000, "minimum_stock_level": 0}'),
        (CREATE, '{"sku": "A-", "name": "\\u200bx\\n", "minimum_stock_level": 1000000000}'),
        (CREATE, '{"sku": "NULL", "name": "null", "description": ""}'),
        (EDIT, "{}"),
        (FULFILL, "{}"),
    ],
)
def test_the_largest_allowed_values_are_accepted(
    api: APIClient, order: int, target: str, body: str
) -> None:
    response = send(api, target.format(order=order), body)

    assert response.status_code == (201 if target == CREATE else 200), response.content


def test_an_amount_of_a_billion_is_accepted(api: APIClient) -> None:
    ProductFactory.create(sku="SALT", quantity=0)

    added = send(api, "POST /v1/products/SALT/add", '{"amount": 1000000000}')
    reserved = send(api, "POST /v1/products/SALT/reserve", '{"amount": 1000000000}')

    assert (added.status_code, reserved.status_code) == (200, 200)
    assert reserved.json()["available_quantity"] == 0


@pytest.mark.parametrize("products", [1, 1000])
def test_a_thousand_lines_are_accepted(api: APIClient, products: int) -> None:
    new = [stock.NewProduct(sku=f"P-{n}", name="x", quantity=1000) for n in range(products)]
    stock.save_products(new, by=ACTOR)
    lines = [{"sku": f"P-{n % products}", "amount": 1} for n in range(1000)]

    made = send(api, ORDER, json.dumps({"lines": lines}))
    assert (made.status_code, len(made.json()["lines"])) == (201, products)

    ended = send(api, f"POST {made['Location']}/fulfill", json.dumps({"lines": lines}))
    assert (ended.status_code, ended.json()["status"]) == (200, "fulfilled")


def test_the_sum_of_repeated_lines_can_exceed_the_limit_of_one_line(api: APIClient) -> None:
    before = stored()
    lines = [{"sku": "CUP", "amount": 1_000_000_000}] * 1000

    response = send(api, ORDER, json.dumps({"lines": lines}))

    problem = assert_problem(response, 409, "insufficient_stock")
    assert problem["lines"][0]["requested"] == 1_000_000_000_000
    assert stored() == before


def test_a_body_of_exactly_1_mib_is_accepted(api: APIClient) -> None:
    response = send(api, ADD, '{"amount": 1}'.ljust(MIB))

    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
def test_media_types_of_json_are_accepted_in_several_forms(
    api: APIClient, content_type: str
) -> None:
    assert send(api, ADD, '{"amount": 1}', content_type).status_code == 200


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/v1/products?page_size=1", 1),
        ("/v1/products?page_size=0001", 1),
        ("/v1/products?page_size=1000&low_stock=false&in_stock=true&ordering=-created_at", 1),
        (f"/v1/products?sku={quote(','.join(['CUP'] * 200))}", 1),
        (f"/v1/products?search={'x' * 255}", 0),
        (f"/v1/reservations?reference={'x' * 255}", 0),
    ],
    ids=shortened,
)
def test_the_largest_allowed_queries_are_accepted(api: APIClient, path: str, rows: int) -> None:
    response = api.get(path)

    assert (response.status_code, len(response.json()["results"])) == (200, rows)


@pytest.mark.parametrize("path", [*PAGED, "/v1/products/CUP", "/openapi.json", "/docs", "/redoc"])
def test_a_query_with_too_many_parameters_is_refused(api: APIClient, path: str) -> None:
    for query in ("a=1&" * 5001, "&" * 6000):
        assert_refused(api.get(f"{path}?{query}"), stored(), None)
