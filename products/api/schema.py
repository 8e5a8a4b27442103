"""The OpenAPI description of each operation, with an example of every answer."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework.serializers import BaseSerializer

from products.api.access import FORMS
from products.api.pagination import MAX_PAGE_SIZE, PAGE_SIZE
from products.api.problems import CONTENT_TYPE, STATUS_OF_CODE, problem
from products.api.serializers import (
    AdjustSerializer,
    AmountSerializer,
    EventFeedSerializer,
    HealthSerializer,
    OperationResultsSerializer,
    OperationsSerializer,
    ProblemSerializer,
    ProductAsOfSerializer,
    ProductCreateSerializer,
    ProductEditSerializer,
    ProductReleaseSerializer,
    ProductReservedSerializer,
    ProductSerializer,
    ReservationCreateSerializer,
    ReservationEndSerializer,
    ReservationExtendSerializer,
    ReservationSerializer,
    ReserveSerializer,
    StockEventSerializer,
)
from products.models import MAX_IDEMPOTENCY_KEY_LENGTH
from products.validators import SKU_PATTERN

Endpoint = tuple[str, str, str, Any]


def only_canonical(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Leave out the routes without `/v1`: they repeat the others."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(("/v1/", "/health"))]


# -------------------------------------------------------------------------------------- examples

_NOW = "2026-11-20T09:30:00.125000Z"

_PRODUCT = {
    "sku": "TSHIRT-RED-L",
    "name": "Red T-Shirt (Large)",
    "description": "",
    "quantity": 25,
    "reserved_quantity": 3,
    "available_quantity": 22,
    "minimum_stock_level": 5,
    "low_stock": False,
    "archived": False,
    "version": 7,
    "created_at": "2026-11-01T08:00:00.000000Z",
    "updated_at": _NOW,
}
_LINE = {"sku": "TSHIRT-RED-L", "amount": 2, "fulfilled": 0, "released": 0, "expired": 0, "open": 2}
_RESERVATION = {
    "id": 42,
    "reference": "order-1001",
    "status": "open",
    "expires_at": None,
    "created_at": _NOW,
    "lines": [_LINE],
}
_EVENT = {
    "id": 1234,
    "sku": "TSHIRT-RED-L",
    "version": 7,
    "type": "InventoryReserved",
    "quantity_change": 0,
    "reserved_change": 2,
    "quantity": 25,
    "reserved_quantity": 3,
    "available_quantity": 22,
    "reservation": 42,
    "reason": "",
    "reference": "order-1001",
    "actor": "webshop",
    "source": "api",
    "request_id": "5f0c7a52e4c94b1c8f3f6f4f0d1f0a11",
    "occurred_at": _NOW,
    "details": {},
}


def _ended(part: str) -> dict[str, Any]:
    return {**_RESERVATION, "status": part, "lines": [{**_LINE, "open": 0, part: 2}]}


# The detail of each error, and its additional members.
_ERRORS: dict[str, tuple[str, dict[str, Any]]] = {
    "invalid": (
        "The request is invalid: amount.",
        {
            "errors": [
                {"field": "amount", "code": "min_value", "detail": "At least 1 unit is required."}
            ]
        },
    ),
    "malformed_json": ("The body is not JSON: Expecting value: line 1 column 1 (char 0).", {}),
    "not_authenticated": (f"An API key is required: {FORMS}.", {}),
    "permission_denied": ("The role manage is required.", {}),
    "product_not_found": ("Product TSHIRT-RED-L does not exist.", {"sku": "TSHIRT-RED-L"}),
    "reservation_not_found": ("Reservation 42 does not exist.", {}),
    "precondition_failed": (
        "TSHIRT-RED-L has changed: its version is now 8. Read it again before you retry.",
        {"sku": "TSHIRT-RED-L"},
    ),
    "length_required": ("A body needs a Content-Length.", {}),
    "request_too_large": ("The request body is larger than 1 MiB.", {}),
    "unsupported_media_type": ('Unsupported media type "text/plain" in request.', {}),
    "insufficient_stock": (
        "50 of TSHIRT-RED-L requested, 22 available.",
        {"sku": "TSHIRT-RED-L", "requested": 50, "available": 22},
    ),
    "insufficient_reserved": (
        "5 of TSHIRT-RED-L requested, 3 open in reservation 42.",
        {"sku": "TSHIRT-RED-L", "requested": 5, "available": 3},
    ),
    "below_reserved": (
        "TSHIRT-RED-L cannot be set to 1: 3 are reserved. Release reservations first. "
        "See /v1/reservations?sku=TSHIRT-RED-L&status=open.",
        {"sku": "TSHIRT-RED-L", "requested": 1, "available": 22},
    ),
    "quantity_changed": (
        "TSHIRT-RED-L has 25 on hand, not 24. Check the count and try again.",
        {"sku": "TSHIRT-RED-L", "available": 22},
    ),
    "stock_limit_exceeded": (
        "TSHIRT-RED-L has 25 on hand. Adding 1000000000 would exceed the limit of 1000000000.",
        {"sku": "TSHIRT-RED-L", "requested": 1_000_000_000},
    ),
    "idempotency_key_reused": ("This key was used for another request. Use a new key.", {}),
    "throttled": ("Request was throttled. Expected available in 3 seconds.", {}),
    "duplicate_sku": ("Product TSHIRT-RED-L already exists.", {"sku": "TSHIRT-RED-L"}),
    "product_archived": (
        "TSHIRT-RED-L is archived. Restore it to add or reserve units.",
        {"sku": "TSHIRT-RED-L", "requested": 10, "available": 22},
    ),
    "reservation_closed": ("Reservation 42 is already fulfilled.", {}),
    "reservation_expired": ("Reservation 42 has expired. Reserve the units again.", {}),
    "busy": ("The database is busy with others' requests; try again.", {}),
    "database_unavailable": (
        "The database does not answer. Before a change is sent again, look whether it was made.",
        {},
    ),
}

_ALWAYS = [
    "invalid",
    "not_authenticated",
    "permission_denied",
    "throttled",
    "busy",
    "database_unavailable",
]
_WITH_BODY = ["malformed_json", "length_required", "request_too_large", "unsupported_media_type"]


def _error_example(code: str, *, with_lines: bool) -> OpenApiExample:
    detail, known = _ERRORS[code]
    if with_lines and "sku" in known:
        known = {"lines": [{"index": 0, "code": code, **known}]}
    body = problem(code=code, detail=detail, instance="/v1/...", **known)
    return OpenApiExample(code, {**body, "request_id": _EVENT["request_id"]}, response_only=True)


def _error_responses(codes: Sequence[str], *, with_lines: bool) -> dict[Any, OpenApiResponse]:
    codes_of_status = defaultdict(list)
    for code in codes:
        codes_of_status[STATUS_OF_CODE[code]].append(code)
    return {
        (status, CONTENT_TYPE): OpenApiResponse(
            ProblemSerializer,
            description=", ".join(f"`{code}`" for code in codes),
            examples=[_error_example(code, with_lines=with_lines) for code in codes],
        )
        for status, codes in sorted(codes_of_status.items())
    }


# ------------------------------------------------------------------------------------- operations

_ETAG = OpenApiParameter(
    "ETag", str, OpenApiParameter.HEADER, response=[200, 201], description="The product's version."
)
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}$"},
    OpenApiParameter.HEADER,
    description=(
        "Sent again under the same key, the request is answered as before and not carried out "
        "again: `Idempotency-Key: order-1001`."
    ),
)
_IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="Refuse the change if the product's `ETag` is no longer this.",
)
_AS_OF = OpenApiParameter(
    "as_of",
    {"type": "string", "format": "date-time"},
    OpenApiParameter.QUERY,
    description="Answer with the levels and the version at this moment instead.",
)
_SKU = OpenApiParameter(
    "sku",
    {"type": "string", "pattern": f"^{SKU_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The SKU of the product.",
)
_RESERVATION_ID = OpenApiParameter(
    "id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH, description="The reservation."
)


def _operation(
    summary: str,
    description: str = "",
    *,
    group: str,
    name: str,
    answer: Any,
    example: dict[str, Any],
    request: type[BaseSerializer[Any]] | None = None,
    request_examples: dict[str, Any] | None = None,
    errors: Sequence[str] = (),
    status: int = 200,
    parameters: Sequence[OpenApiParameter] = (),
    with_lines: bool = False,
    methods: Sequence[str] | None = None,
) -> Callable[[Any], Any]:
    codes = [*_ALWAYS, *(_WITH_BODY if request else ()), *errors]
    if request and request is not ProductEditSerializer:
        parameters = [*parameters, _IDEMPOTENCY_KEY]
        codes.append("idempotency_key_reused")
    return extend_schema(
        operation_id=f"{group}_{name}",
        methods=methods,
        tags=[group],
        summary=summary,
        description=description or None,
        parameters=list(parameters),
        request=request,
        responses={
            (status, "application/json"): answer,
            **_error_responses(codes, with_lines=with_lines),
        },
        examples=[
            _answer(example),
            *(
                OpenApiExample(title, value, request_only=True)
                for title, value in (request_examples or {}).items()
            ),
        ],
    )


def _answer(example: dict[str, Any]) -> OpenApiExample:
    return OpenApiExample("answer", example, response_only=True)


def _of_product(summary: str, description: str = "", **known: Any) -> Callable[[Any], Any]:
    known = {"answer": ProductSerializer, "example": _PRODUCT, "parameters": [_SKU, _ETAG], **known}
    errors = ["product_not_found", *known.pop("errors", ())]
    if "request" in known:
        known["parameters"] = [*known["parameters"], _IF_MATCH]
        errors.append("precondition_failed")
    return _operation(summary, description, group="products", errors=errors, **known)


def _by_post_and_patch(summary: str, description: str, *, name: str, **known: Any) -> list[Any]:
    return [
        _of_product(summary, description, name=name, methods=["POST"], **known),
        _of_product(f"{summary}, by PATCH", name=f"{name}_by_patch", methods=["PATCH"], **known),
    ]


def _of_reservation(summary: str, description: str = "", **known: Any) -> Callable[[Any], Any]:
    known = {
        "answer": ReservationSerializer,
        "example": _RESERVATION,
        "parameters": [_RESERVATION_ID],
        "errors": ["reservation_not_found"],
        **known,
    }
    return _operation(summary, description, group="reservations", **known)


_END_ERRORS = [
    "reservation_not_found",
    "product_not_found",
    "insufficient_reserved",
    "reservation_closed",
    "reservation_expired",
]
_PART = {"lines": [{"sku": "TSHIRT-RED-L", "amount": 1}], "reason": "partial shipment"}

products = extend_schema_view(
    list=_operation(
        "List products",
        group="products",
        name="list",
        answer=ProductSerializer(many=True),
        example=_PRODUCT,
    ),
    low_stock=_operation(
        "List products that are low on stock",
        "Those of which fewer units are available than their minimum.",
        group="products",
        name="low_stock",
        answer=ProductSerializer(many=True),
        example={**_PRODUCT, "minimum_stock_level": 30, "low_stock": True},
    ),
    create=_operation(
        "Create a product",
        "The opening stock is recorded as the first event.",
        group="products",
        name="create",
        request=ProductCreateSerializer,
        request_examples={
            "product": {
                "sku": "TSHIRT-RED-L",
                "name": "Red T-Shirt (Large)",
                "quantity": 25,
                "minimum_stock_level": 5,
            }
        },
        answer=ProductSerializer,
        example={**_PRODUCT, "reserved_quantity": 0, "available_quantity": 25, "version": 1},
        errors=["duplicate_sku"],
        status=201,
        parameters=[
            _ETAG,
            OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201]),
        ],
    ),
    retrieve=_of_product(
        "Read a product",
        name="retrieve",
        answer=PolymorphicProxySerializer(
            "ProductNowOrAsOf",
            [ProductSerializer, ProductAsOfSerializer],
            resource_type_field_name=None,
        ),
        parameters=[_SKU, _ETAG, _AS_OF],
    ),
    partial_update=_of_product(
        "Edit a product",
        "Changes what describes it, never its stock. An `archived` product is retired: it is left "
        "out of lists, and nothing is added to it or reserved of it any more; open reservations "
        "can still be fulfilled or released.",
        name="edit",
        request=ProductEditSerializer,
        request_examples={"minimum": {"minimum_stock_level": 5}, "retire": {"archived": True}},
    ),
    add=_by_post_and_patch(
        "Add units",
        "Goods come in. PATCH is accepted too.",
        name="add",
        request=AmountSerializer,
        request_examples={"delivery": {"amount": 10, "reason": "delivery", "reference": "po-7"}},
        errors=["stock_limit_exceeded", "product_archived"],
    ),
    remove=_by_post_and_patch(
        "Remove units",
        "Goods go out, from what is available. PATCH is accepted too.",
        name="remove",
        request=AmountSerializer,
        request_examples={"breakage": {"amount": 3, "reason": "breakage"}},
        errors=["insufficient_stock"],
    ),
    reserve=_of_product(
        "Reserve units",
        "Holds units for an order. Answers with the product and the new reservation. A reference "
        "is not unique: the same request sent twice reserves twice.",
        name="reserve",
        request=ReserveSerializer,
        request_examples={
            "order": {"amount": 2, "reference": "order-1001"},
            "cart": {"amount": 2, "expires_in": 900},
        },
        answer=ProductReservedSerializer,
        example={**_PRODUCT, "reservation": _RESERVATION},
        errors=["insufficient_stock", "product_archived"],
    ),
    release=_of_product(
        "Release reserved units",
        "Gives units back. They come from the reservation that is named, else from reservations "
        "that carry no reference, oldest first.",
        name="release",
        request=ProductReleaseSerializer,
        request_examples={"cart": {"amount": 1}, "order": {"amount": 1, "reservation": 42}},
        errors=[
            "reservation_not_found",
            "insufficient_reserved",
            "reservation_closed",
            "reservation_expired",
        ],
    ),
    adjust=_of_product(
        "Adjust to a count",
        "Sets what is on hand to what was counted; never below what is reserved.",
        name="adjust",
        request=AdjustSerializer,
        request_examples={
            "stocktake": {"quantity": 24, "reason": "stocktake", "expected_quantity": 25}
        },
        errors=["below_reserved", "quantity_changed"],
    ),
    events=_of_product(
        "List the stock events of a product",
        "Its ledger, newest first: what changed, the levels after it, and who, why, when.",
        name="events",
        answer=StockEventSerializer(many=True),
        example=_EVENT,
        parameters=[_SKU],
    ),
)

reservations = extend_schema_view(
    list=_of_reservation(
        "List reservations",
        "Newest first.",
        name="list",
        answer=ReservationSerializer(many=True),
        parameters=(),
        errors=(),
    ),
    create=_of_reservation(
        "Reserve an order",
        "Holds the units of all lines, or of none and names every line that is short. Lines with "
        "the same SKU are summed. A reference is not unique: the same request sent twice reserves "
        "twice.",
        name="create",
        request=ReservationCreateSerializer,
        request_examples={
            "order": {
                "reference": "order-1001",
                "lines": [
                    {"sku": "TSHIRT-RED-L", "amount": 2},
                    {"sku": "MUG-BLUE", "amount": 1},
                ],
            }
        },
        errors=["product_not_found", "insufficient_stock", "product_archived"],
        status=201,
        parameters=[OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201])],
        with_lines=True,
    ),
    retrieve=_of_reservation("Read a reservation", name="retrieve"),
    fulfill=_of_reservation(
        "Fulfill a reservation",
        "Ships what it holds, all or the given lines: on hand and reserved both fall.",
        name="fulfill",
        request=ReservationEndSerializer,
        request_examples={"whole": {}, "part": _PART},
        example=_ended("fulfilled"),
        errors=_END_ERRORS,
        with_lines=True,
    ),
    extend=_of_reservation(
        "Extend a reservation",
        "Lets it hold for so many seconds from now, even if that is sooner than before.",
        name="extend",
        request=ReservationExtendSerializer,
        request_examples={"quarter of an hour": {"expires_in": 900}},
        example={**_RESERVATION, "expires_at": _NOW},
        errors=["reservation_not_found", "reservation_closed", "reservation_expired"],
    ),
    release=_of_reservation(
        "Release a reservation",
        "Gives back what it holds, all or the given lines.",
        name="release",
        request=ReservationEndSerializer,
        request_examples={"whole": {}, "part": {**_PART, "reason": "item cancelled"}},
        example=_ended("released"),
        errors=_END_ERRORS,
        with_lines=True,
    ),
)


operations = extend_schema_view(
    create=_operation(
        "Apply several operations",
        "Up to 1,000 of add, remove and adjust over many SKUs, in their order, one event each: all "
        "or none, and then every refused line is named. An adjust takes a key that may count.",
        group="operations",
        name="apply",
        request=OperationsSerializer,
        request_examples={
            "delivery and breakage": {
                "operations": [
                    {"operation": "add", "sku": "MUG-BLUE", "amount": 10, "reference": "po-7"},
                    {"operation": "remove", "sku": "TSHIRT-RED-L", "amount": 1},
                    {
                        "operation": "adjust",
                        "sku": "TSHIRT-RED-L",
                        "quantity": 24,
                        "reason": "stocktake",
                    },
                ]
            }
        },
        answer=OperationResultsSerializer,
        example={"results": [_PRODUCT]},
        errors=[
            "product_not_found",
            "insufficient_stock",
            "below_reserved",
            "quantity_changed",
            "stock_limit_exceeded",
            "product_archived",
        ],
        with_lines=True,
    ),
)

events = extend_schema_view(
    list=_operation(
        "Follow all stock events",
        "The change feed, oldest first. Ask again `after` the `cursor` of the last answer, at once "
        "while there is `more`: a follower that keeps its cursor together with what it has done "
        "misses no event, and sees those of each product in the order of their versions. A change "
        "is shown once it is committed and none with a lower id can follow: a long transaction "
        "holds the feed back.",
        group="events",
        name="follow",
        answer=EventFeedSerializer,
        example={"results": [_EVENT], "cursor": "1234-1795167000125000", "more": False},
        parameters=[
            OpenApiParameter(
                "after",
                {"type": "string", "minLength": 1},
                OpenApiParameter.QUERY,
                description=(
                    "The `cursor` of the last answer. Without it, the feed starts with the first "
                    "event; `latest` answers with the cursor for all events to come."
                ),
            ),
            OpenApiParameter(
                "page_size",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE},
                OpenApiParameter.QUERY,
                description="How many events to answer with at most.",
            ),
        ],
    ),
)


def health(summary: str, operation_id: str, *errors: str) -> Callable[[Any], Any]:
    """Describe a health check and its errors."""
    return extend_schema(
        operation_id=operation_id,
        tags=["health"],
        summary=summary,
        auth=[],
        responses={
            200: OpenApiResponse(HealthSerializer, examples=[_answer({"status": "ok"})]),
            **_error_responses(errors, with_lines=False),
        },
    )
