"""The description of each operation in the OpenAPI document."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_view,
)
from rest_framework.serializers import BaseSerializer

from products import stock
from products.api import examples
from products.api.examples import OTHER_SKU, RESERVATION_ID, SKU, WEBHOOK_ID
from products.api.filters import parse_time, unknown_parameter
from products.api.pagination import MAX_PAGE_SIZE, PAGE_SIZE
from products.api.problems import CONTENT_TYPE
from products.api.serializers import (
    DeliveryAttemptSerializer,
    DeliveryOutcomeSerializer,
    EventFeedSerializer,
    HealthSerializer,
    OperationResultsSerializer,
    OperationsSerializer,
    ProblemSerializer,
    ProductAddSerializer,
    ProductAdjustSerializer,
    ProductCreateSerializer,
    ProductEditSerializer,
    ProductLevelsSerializer,
    ProductReleaseSerializer,
    ProductRemoveSerializer,
    ProductReserveSerializer,
    ProductSerializer,
    ProductWithReservationSerializer,
    RedeliverSerializer,
    ReservationCreateSerializer,
    ReservationExtendSerializer,
    ReservationFulfillSerializer,
    ReservationReleaseSerializer,
    ReservationSerializer,
    StockEventSerializer,
    WebhookCreateSerializer,
    WebhookEditSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
)
from products.models import ATTEMPTS_KEPT, MAX_IDEMPOTENCY_KEY_LENGTH, OLD_SECRET_HOURS, Role
from products.publishing.manual import MAX_SECONDS
from products.publishing.subscriptions import MAX_SUBSCRIPTIONS
from products.validators import SKU_PATTERN

View = TypeVar("View", bound=type[Any])

# --------------------------------------------------------------------------------------- parameters


def _header_of(name: str, *statuses: int) -> OpenApiParameter:
    """Return a response header, which `document.HEADERS` describes."""
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, response=list(statuses) or True)


_ETAG = _header_of("ETag", 200, 201, 304)
_LOCATION = _header_of("Location", 201)
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^[!-~]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}$"},
    OpenApiParameter.HEADER,
    description=(
        "Your own id for this request, such as `order-1001`. A request that is repeated with the "
        "same key gets the first response again and is not applied again."
    ),
)
_IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="An `ETag`. The change is refused with 412 if the product has another one by now.",
)
_IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="An `ETag`. The response is 304 without a body if the product still has it.",
)
_AS_OF = OpenApiParameter(
    "as_of",
    {"type": "string", "format": "date-time"},
    OpenApiParameter.QUERY,
    description=(
        "A time with its offset, such as `2026-11-20T09:30:00Z`. The response then has the levels "
        "and the version at that time."
    ),
)
_MIN_VERSION = OpenApiParameter(
    "min_version",
    {"type": "integer", "minimum": 0},
    OpenApiParameter.QUERY,
    description=(
        "A `version` of the product that the client has seen. The response is not older. Matters "
        "only if reads go to a copy of the database."
    ),
)
_SKU = OpenApiParameter(
    "sku",
    {"type": "string", "pattern": f"^{SKU_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The SKU of the product.",
)
_RESERVATION_ID = OpenApiParameter(
    "id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    description="The id of the reservation.",
)
_WEBHOOK_ID = OpenApiParameter(
    "id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    description="The id of the webhook.",
)
_AFTER = OpenApiParameter(
    "after",
    {"type": "string", "minLength": 1},
    OpenApiParameter.QUERY,
    description=(
        "The `cursor` of the last response. Without it, the feed starts with the first event. "
        "`latest` returns no events, only the cursor for all later ones."
    ),
)
_PAGE_SIZE = OpenApiParameter(
    "page_size",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE},
    OpenApiParameter.QUERY,
    description="The largest number of events in the response.",
)

# --------------------------------------------------------------------------------------- operations


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The description of one operation in the document."""

    name: str
    summary: str
    description: str
    path: str
    """The path in the examples."""
    response: Any
    """The serializer of the response."""
    success: str = ""
    """The description of the response. Lists have a common one."""
    example: dict[str, Any] | None
    """The response in the example. For a list, one row. None without a body."""
    status: int = 200
    request: type[BaseSerializer[Any]] | None = None
    requests: Mapping[str, Any] = field(default_factory=dict)
    """Request bodies in the examples, by title."""
    mistake: Exception = field(default_factory=lambda: unknown_parameter("size"))
    """The error of an invalid request."""
    errors: Sequence[Exception] = ()
    """Errors of this operation that not all operations have."""
    parameters: Sequence[OpenApiParameter] = ()
    is_repeatable: bool = False
    """Whether it accepts an `Idempotency-Key`."""
    methods: Sequence[str] | None = None
    is_conditional: bool = False
    """Whether it accepts an `If-None-Match`."""

    def described(self, tag: str, role: Role) -> Callable[[Any], Any]:
        """Return the decorator for the action, which requires the role."""
        response = self.response
        if self.success:
            response = OpenApiResponse(response, self.success)
        media_type = ("application/json",) if self.response else ()
        parameters = [_header_of("X-Request-ID"), *self.parameters]
        errors = [self.mistake, *examples.access_errors(role), *self.errors, *examples.UNAVAILABLE]
        if self.request:
            errors += examples.wrong_bodies()
        if self.is_repeatable:
            parameters += [_IDEMPOTENCY_KEY, _header_of("Idempotent-Replayed", 200, 201)]
            errors.append(examples.KEY_REUSED)
        unchanged = {304: OpenApiResponse(description="The product has not changed.")}
        if self.is_conditional:
            parameters.append(_IF_NONE_MATCH)
        return extend_schema(
            operation_id=f"{tag}_{self.name}",
            methods=self.methods,
            tags=[tag],
            summary=self.summary,
            description=f"{self.description}\n\n**Role:** `{role}`",
            parameters=[*parameters, *_ERROR_HEADERS],
            request=self.request,
            responses={
                (self.status, *media_type): response,
                **(unchanged if self.is_conditional else {}),
                **_error_responses(errors, self.path),
            },
            examples=[
                *(
                    [OpenApiExample("response", self.example, response_only=True)]
                    if self.example
                    else []
                ),
                *(
                    OpenApiExample(title, body, request_only=True)
                    for title, body in self.requests.items()
                ),
            ],
        )


_ERROR_HEADERS = [_header_of("WWW-Authenticate", 401), _header_of("Retry-After", 429, 503)]


def _error_responses(errors: Sequence[Exception], path: str) -> dict[Any, OpenApiResponse]:
    by_status = defaultdict(list)
    for error in errors:
        example = examples.problem_example(error, path)
        by_status[example["status"]].append(example)
    return {
        (status, CONTENT_TYPE): OpenApiResponse(
            ProblemSerializer,
            description=", ".join(f"`{example['code']}`" for example in of_status),
            examples=[
                OpenApiExample(example["code"], example, response_only=True)
                for example in of_status
            ],
        )
        for status, of_status in sorted(by_status.items())
    }


def described(tag: str, **operations: Sequence[Operation]) -> Callable[[View], View]:
    """Return a class decorator that describes the actions of a view set."""

    def decorate(view: View) -> View:
        decorators = {
            action: [each.described(tag, view.required_roles[action]) for each in of_action]
            for action, of_action in operations.items()
        }
        decorated: View = extend_schema_view(**decorators)(view)
        return decorated

    return decorate


# ----------------------------------------------------------------------------------------- products

_PRODUCTS = "/v1/products"


def _change(name: str, request: type[BaseSerializer[Any]], wrong: Any, **known: Any) -> Operation:
    """Return the description of a change of one product."""
    known = {
        "path": f"{_PRODUCTS}/{SKU}/{name}",
        "response": ProductSerializer,
        "success": "The product after the change.",
        "is_repeatable": True,
        **known,
    }
    known["errors"] = [
        examples.PRODUCT_NOT_FOUND,
        *known.get("errors", ()),
        examples.PRECONDITION_FAILED,
    ]
    return Operation(
        name=name,
        request=request,
        mistake=examples.wrong_body(request, wrong),
        parameters=[_SKU, _ETAG, _IF_MATCH],
        **known,
    )


def _by_patch(operation: Operation) -> Operation:
    """Return the description of the same operation by PATCH."""
    return replace(
        operation,
        name=f"{operation.name}_by_patch",
        summary=f"{operation.summary} (PATCH)",
        description="The same as POST.",
        methods=["PATCH"],
    )


_ADD = _change(
    "add",
    ProductAddSerializer,
    {"amount": 0},
    summary="Add units",
    description="Adds units, such as those of a delivery, to the quantity on hand.",
    requests={"delivery": {"amount": 10, "reason": "delivery", "reference": "po-7"}},
    example=examples.product(quantity=35, version=8),
    errors=[examples.PRODUCT_ARCHIVED, examples.STOCK_LIMIT_EXCEEDED],
    methods=["POST"],
)
_REMOVE = _change(
    "remove",
    ProductRemoveSerializer,
    {"amount": 0},
    summary="Remove units",
    description="Removes available units, such as broken ones, from the quantity on hand.",
    requests={"breakage": {"amount": 3, "reason": "breakage"}},
    example=examples.product(quantity=22, version=8),
    errors=[examples.INSUFFICIENT_STOCK],
    methods=["POST"],
)

products = described(
    "products",
    list=[
        Operation(
            name="list",
            summary="List products",
            description="Returns products in pages. Archived products are left out by default.",
            path=_PRODUCTS,
            response=ProductSerializer(many=True),
            example=examples.product(),
        )
    ],
    low_stock=[
        Operation(
            name="low_stock",
            summary="List products that are low on stock",
            description=(
                "Returns the products whose `available_quantity` is below their "
                "`minimum_stock_level`, in pages. Archived products are left out."
            ),
            path=f"{_PRODUCTS}/low-stock",
            response=ProductSerializer(many=True),
            example=examples.product(quantity=7),
        )
    ],
    create=[
        Operation(
            name="create",
            summary="Create a product",
            description="Creates a product. Its opening stock is its first stock event.",
            path=_PRODUCTS,
            request=ProductCreateSerializer,
            requests={
                "product": {
                    "sku": SKU,
                    "name": "Red T-Shirt (Large)",
                    "quantity": 25,
                    "minimum_stock_level": 5,
                }
            },
            mistake=examples.wrong_body(ProductCreateSerializer, {"sku": "t-shirt"}),
            response=ProductSerializer,
            success="The new product.",
            example=examples.product(reserved_quantity=0, version=1),
            status=201,
            errors=[examples.DUPLICATE_SKU],
            parameters=[_ETAG, _LOCATION],
            is_repeatable=True,
        )
    ],
    retrieve=[
        Operation(
            name="retrieve",
            summary="Read a product",
            description="Returns a product, or its levels at a time in the past.",
            path=f"{_PRODUCTS}/{SKU}",
            response=PolymorphicProxySerializer(
                "ProductOrLevels",
                [ProductSerializer, ProductLevelsSerializer],
                resource_type_field_name=None,
            ),
            success="The product. With `as_of`, its levels at that time.",
            example=examples.product(),
            mistake=examples.refusal_of(parse_time, "as_of", "yesterday"),
            errors=[examples.PRODUCT_NOT_FOUND],
            parameters=[_SKU, _ETAG, _AS_OF, _MIN_VERSION],
            is_conditional=True,
        )
    ],
    partial_update=[
        _change(
            "edit",
            ProductEditSerializer,
            {"quantity": 30},
            path=f"{_PRODUCTS}/{SKU}",
            summary="Edit a product",
            description=(
                "Changes the name, the description, the minimum or `archived`. Stock levels stay "
                "the same. An archived product is left out of lists, and its units cannot be added "
                "or reserved. Its open reservations can still be fulfilled or released, and its "
                "units removed or counted."
            ),
            requests={"minimum": {"minimum_stock_level": 10}, "archive": {"archived": True}},
            example=examples.product(minimum_stock_level=10, version=8),
            is_repeatable=False,
        )
    ],
    add=[_ADD, _by_patch(_ADD)],
    remove=[_REMOVE, _by_patch(_REMOVE)],
    reserve=[
        _change(
            "reserve",
            ProductReserveSerializer,
            {"amount": 0},
            summary="Reserve units",
            description=(
                "Reserves units of one product for an order. The `reference` is not unique: two "
                "requests reserve twice, unless they have the same `Idempotency-Key`."
            ),
            requests={
                "order": {"amount": 2, "reference": "order-1001"},
                "cart": {"amount": 2, "expires_in": 900},
            },
            response=ProductWithReservationSerializer,
            success="The product after the change, with the new reservation.",
            example={
                **examples.product(reserved_quantity=5, version=8),
                "reservation": examples.reservation(examples.line()),
            },
            errors=[examples.INSUFFICIENT_STOCK, examples.PRODUCT_ARCHIVED],
        )
    ],
    release=[
        _change(
            "release",
            ProductReleaseSerializer,
            {"amount": 0},
            summary="Release reserved units",
            description=(
                "Makes reserved units available again. They come from the given reservation, or "
                "else from reservations without a reference, oldest first."
            ),
            requests={
                "cart": {"amount": 1},
                "order": {"amount": 1, "reservation": RESERVATION_ID},
            },
            example=examples.product(reserved_quantity=2, version=8),
            errors=[
                examples.RESERVATION_NOT_FOUND,
                examples.INSUFFICIENT_RESERVED,
                examples.RESERVATION_CLOSED,
                examples.RESERVATION_EXPIRED,
            ],
        )
    ],
    adjust=[
        _change(
            "adjust",
            ProductAdjustSerializer,
            {"quantity": -1},
            summary="Adjust to a count",
            description=(
                "Sets the quantity on hand to a counted quantity. It cannot be set below the "
                "reserved quantity. With `counted_at`, the difference between the count and the "
                "quantity at that time is applied to the quantity of now."
            ),
            requests={
                "stocktake": {"quantity": 24, "reason": "stocktake", "expected_quantity": 25},
                "late count": {
                    "quantity": 24,
                    "reason": "stocktake",
                    "counted_at": "2026-11-20T08:00:00Z",
                },
            },
            example=examples.product(quantity=24, version=8),
            errors=[
                examples.BELOW_RESERVED,
                examples.QUANTITY_CHANGED,
                examples.STOCK_LIMIT_EXCEEDED,
            ],
        )
    ],
    events=[
        Operation(
            name="events",
            summary="List the stock events of a product",
            description="Returns the ledger of a product in pages, newest first.",
            path=f"{_PRODUCTS}/{SKU}/events",
            response=StockEventSerializer(many=True),
            example=examples.EVENT,
            errors=[examples.PRODUCT_NOT_FOUND],
            parameters=[_SKU],
        )
    ],
)

# ------------------------------------------------------------------------------------- reservations

_RESERVATIONS = "/v1/reservations"


def _end(name: str, request: type[BaseSerializer[Any]], **known: Any) -> Operation:
    """Return the description of an operation that ends units of a reservation."""
    return Operation(
        name=name,
        path=f"{_RESERVATIONS}/{RESERVATION_ID}/{name}",
        request=request,
        mistake=examples.wrong_body(request, {"lines": [{"sku": SKU, "amount": 0}]}),
        response=ReservationSerializer,
        success="The reservation after the change.",
        errors=[
            examples.refused_lines(stock.ProductNotFound("MUG-GREEN"), first=1),
            examples.RESERVATION_NOT_FOUND,
            examples.refused_lines(examples.INSUFFICIENT_RESERVED),
            examples.RESERVATION_CLOSED,
            examples.RESERVATION_EXPIRED,
        ],
        parameters=[_RESERVATION_ID],
        is_repeatable=True,
        **known,
    )


_ORDER = [{"sku": SKU, "amount": 2}, {"sku": OTHER_SKU, "amount": 1}]
_PART = [{"sku": SKU, "amount": 1}]

reservations = described(
    "reservations",
    list=[
        Operation(
            name="list",
            summary="List reservations",
            description="Returns reservations in pages, newest first.",
            path=_RESERVATIONS,
            response=ReservationSerializer(many=True),
            example=examples.reservation(examples.line(), examples.line(OTHER_SKU, 1)),
        )
    ],
    create=[
        Operation(
            name="create",
            summary="Reserve an order",
            description=(
                "Reserves the units of all lines, or of none. If any line is refused, the error "
                "names every refused line. Lines with the same SKU are summed. The `reference` is "
                "not unique: two requests reserve twice, unless they have the same "
                "`Idempotency-Key`."
            ),
            path=_RESERVATIONS,
            request=ReservationCreateSerializer,
            requests={
                "order": {"reference": "order-1001", "lines": _ORDER},
                "cart": {"expires_in": 900, "lines": _ORDER},
            },
            mistake=examples.wrong_body(
                ReservationCreateSerializer, {"lines": [{"sku": SKU, "amount": 0}]}
            ),
            response=ReservationSerializer,
            success="The new reservation.",
            example=examples.reservation(examples.line(), examples.line(OTHER_SKU, 1)),
            status=201,
            errors=[
                examples.refused_lines(stock.ProductNotFound(OTHER_SKU), first=1),
                examples.refused_lines(
                    stock.InsufficientStock(SKU, 2, 1), stock.InsufficientStock(OTHER_SKU, 1, 0)
                ),
                examples.refused_lines(
                    stock.ProductArchived(
                        examples.known_product(
                            sku=OTHER_SKU, quantity=4, reserved_quantity=0, archived=True
                        ),
                        1,
                    ),
                    first=1,
                ),
            ],
            parameters=[_LOCATION],
            is_repeatable=True,
        )
    ],
    retrieve=[
        Operation(
            name="retrieve",
            summary="Read a reservation",
            description="Returns a reservation with its lines.",
            path=f"{_RESERVATIONS}/{RESERVATION_ID}",
            response=ReservationSerializer,
            success="The reservation.",
            example=examples.reservation(examples.line(), examples.line(OTHER_SKU, 1)),
            errors=[examples.RESERVATION_NOT_FOUND],
            parameters=[_RESERVATION_ID],
        )
    ],
    fulfill=[
        _end(
            "fulfill",
            ReservationFulfillSerializer,
            summary="Fulfill a reservation",
            description=(
                "Ships reserved units: all open units, or the given lines. Lowers the quantity on "
                "hand and the reserved quantity."
            ),
            requests={
                "all": {},
                "part": {"lines": _PART, "reason": "partial shipment"},
            },
            example=examples.reservation(
                examples.line(fulfilled=2),
                examples.line(OTHER_SKU, 1, fulfilled=1),
                status="fulfilled",
            ),
        )
    ],
    release=[
        _end(
            "release",
            ReservationReleaseSerializer,
            summary="Release a reservation",
            description=(
                "Makes reserved units available again: all open units, or the given lines."
            ),
            requests={
                "all": {},
                "part": {"lines": _PART, "reason": "item cancelled"},
            },
            example=examples.reservation(
                examples.line(released=2),
                examples.line(OTHER_SKU, 1, released=1),
                status="released",
            ),
        )
    ],
    extend=[
        Operation(
            name="extend",
            summary="Extend a reservation",
            description=(
                "Makes the reservation expire `expires_in` seconds from now, which may be sooner "
                "than before. Records no stock event."
            ),
            path=f"{_RESERVATIONS}/{RESERVATION_ID}/extend",
            request=ReservationExtendSerializer,
            requests={"15 minutes": {"expires_in": 900}},
            mistake=examples.wrong_body(ReservationExtendSerializer, {"expires_in": 0}),
            response=ReservationSerializer,
            success="The reservation after the change.",
            example=examples.reservation(examples.line(), expires_at="2026-11-20T09:45:00.125000Z"),
            errors=[
                examples.RESERVATION_NOT_FOUND,
                examples.RESERVATION_CLOSED,
                examples.RESERVATION_EXPIRED,
            ],
            parameters=[_RESERVATION_ID],
            is_repeatable=True,
        )
    ],
)

# ----------------------------------------------------------------------- operations, events, health

_OPERATIONS = "/v1/operations"

operations = described(
    "operations",
    create=[
        Operation(
            name="apply",
            summary="Apply several operations",
            description=(
                "Applies up to 1,000 adds, removes and adjusts in the given order: all of them, or "
                "none. Each is one stock event. If any is refused, the error names every refused "
                "operation. A request may adjust each product once. An adjust requires the role "
                "`count`."
            ),
            path=_OPERATIONS,
            request=OperationsSerializer,
            requests={
                "delivery, breakage and count": {
                    "operations": [
                        {"operation": "add", "sku": OTHER_SKU, "amount": 10, "reference": "po-7"},
                        {"operation": "remove", "sku": SKU, "amount": 2, "reason": "breakage"},
                        {
                            "operation": "adjust",
                            "sku": SKU,
                            "quantity": 24,
                            "reason": "stocktake",
                        },
                    ]
                }
            },
            mistake=examples.wrong_body(
                OperationsSerializer, {"operations": [{"operation": "add", "sku": SKU}]}
            ),
            response=OperationResultsSerializer,
            success="One product for each operation, as it is after all of them.",
            example={
                "results": [
                    examples.product(
                        sku=OTHER_SKU,
                        name="Blue mug",
                        quantity=11,
                        reserved_quantity=1,
                        version=4,
                    ),
                    examples.product(quantity=24, version=9),
                    examples.product(quantity=24, version=9),
                ]
            },
            errors=[
                examples.refused_lines(stock.ProductNotFound(OTHER_SKU)),
                examples.refused_lines(stock.InsufficientStock(SKU, 2, 0), first=1),
                examples.refused_lines(examples.BELOW_RESERVED, first=2),
                examples.refused_lines(examples.QUANTITY_CHANGED, first=2),
                examples.refused_lines(examples.REPEATED_COUNT, first=2),
                examples.refused_lines(examples.STOCK_LIMIT_EXCEEDED),
                examples.refused_lines(examples.PRODUCT_ARCHIVED),
            ],
            is_repeatable=True,
        )
    ],
)

events = described(
    "events",
    list=[
        Operation(
            name="follow",
            summary="Follow all stock events",
            description=(
                "Returns the stock events of all products, oldest first. Send the `cursor` of the "
                "response as `after` with the next request. See the guide."
            ),
            path="/v1/events",
            response=EventFeedSerializer,
            success="The next events. There may be none.",
            example={
                "results": [examples.EVENT],
                "cursor": examples.CURSOR,
                "more": False,
            },
            parameters=[_AFTER, _PAGE_SIZE],
        )
    ],
)


# ----------------------------------------------------------------------------------------- webhooks

_WEBHOOKS = "/v1/webhooks"
_WEBHOOK = f"{_WEBHOOKS}/{WEBHOOK_ID}"
_NO_KEY = (
    "It takes no `Idempotency-Key`, because the service would have to store the secret with it."
)
_AT_ONCE = (
    f"Waits up to {MAX_SECONDS} seconds for the receiver, and returns the outcome, also if it "
    "failed. The cursor and the state stay the same. Each process of the service sends one such "
    "request at a time: otherwise the response is 503 `busy`."
)


def _of_webhook(name: str, **known: Any) -> Operation:
    """Return the description of an operation on one webhook."""
    known = {
        "path": f"{_WEBHOOK}/{name}",
        "parameters": [_WEBHOOK_ID],
        "response": WebhookSerializer,
        **known,
    }
    known["errors"] = [examples.WEBHOOK_NOT_FOUND, *known.get("errors", ())]
    return Operation(name=name, **known)


webhooks = described(
    "webhooks",
    list=[
        Operation(
            name="list",
            summary="List webhooks",
            description=(
                f"Returns all webhooks, newest first. There are at most {MAX_SUBSCRIPTIONS}."
            ),
            path=_WEBHOOKS,
            response=WebhookSerializer(many=True),
            example=examples.WEBHOOK,
        )
    ],
    create=[
        Operation(
            name="create",
            summary="Create a webhook",
            description=(
                "Sends stock events to a URL from now on, or from a cursor of the change feed. "
                f"The response alone has the `secret` that signs the requests. {_NO_KEY} If the "
                "response is lost, list the webhooks and delete the new one, or rotate its secret."
            ),
            path=_WEBHOOKS,
            request=WebhookCreateSerializer,
            requests={
                "all events": {"url": examples.WEBHOOK["url"]},
                "low stock of one brand": {
                    "url": examples.WEBHOOK["url"],
                    "types": ["LowStockDetected", "LowStockResolved"],
                    "sku_prefix": "TSHIRT-",
                },
            },
            mistake=examples.wrong_body(WebhookCreateSerializer, {"types": ["InventoryAdded"]}),
            response=WebhookWithSecretSerializer,
            success="The new webhook, with its secret.",
            example=examples.NEW_WEBHOOK,
            status=201,
            errors=[examples.TOO_MANY_WEBHOOKS],
            parameters=[_LOCATION],
        )
    ],
    retrieve=[
        _of_webhook(
            "retrieve",
            path=_WEBHOOK,
            summary="Read a webhook",
            description="Returns a webhook, and how far its receiver is.",
            success="The webhook.",
            example=examples.WEBHOOK,
        )
    ],
    partial_update=[
        _of_webhook(
            "edit",
            path=_WEBHOOK,
            summary="Edit a webhook",
            description=(
                "Changes, pauses or resumes a webhook. While it is paused or parked, no event is "
                "lost: it goes on at its cursor."
            ),
            request=WebhookEditSerializer,
            requests={"pause": {"state": "paused"}, "resume": {"state": "active"}},
            mistake=examples.wrong_body(WebhookEditSerializer, {"state": "parked"}),
            success="The webhook after the change.",
            example={**examples.WEBHOOK, "state": "paused"},
        )
    ],
    destroy=[
        _of_webhook(
            "delete",
            path=_WEBHOOK,
            summary="Delete a webhook",
            description="Deletes a webhook and its attempts. A request may still be on its way.",
            response=None,
            success="The webhook is deleted.",
            example=None,
            status=204,
        )
    ],
    test=[
        _of_webhook(
            "test",
            summary="Send a test",
            description=f"Sends an event of the type `inventory.test`. {_AT_ONCE}",
            response=DeliveryOutcomeSerializer,
            success="The outcome.",
            example={**examples.ATTEMPT, "event": "test-1764490000000000"},
        )
    ],
    redeliver=[
        _of_webhook(
            "redeliver",
            summary="Send an event again",
            description=f"Sends one stock event again, with the same `id`. {_AT_ONCE}",
            request=RedeliverSerializer,
            requests={"event": {"event": examples.EVENT["id"]}},
            mistake=examples.wrong_body(RedeliverSerializer, {"event": "1234"}),
            response=DeliveryOutcomeSerializer,
            success="The outcome of the attempt.",
            example=examples.FAILED_ATTEMPT,
            errors=[examples.EVENT_NOT_FOUND],
        )
    ],
    rotate=[
        _of_webhook(
            "rotate",
            summary="Rotate the secret",
            description=(
                "Creates a new `secret`, which only this response has. The previous one signs each "
                f"request, too, for {OLD_SECRET_HOURS} hours, so that the receiver can change it. "
                f"{_NO_KEY}"
            ),
            response=WebhookWithSecretSerializer,
            success="The webhook, with its new secret.",
            example={**examples.WEBHOOK, "secret": examples.NEW_WEBHOOK["secret"]},
        )
    ],
    attempts=[
        _of_webhook(
            "attempts",
            summary="List the attempts of a webhook",
            description=(
                f"Returns the last {ATTEMPTS_KEPT} requests to the receiver in pages, newest first."
            ),
            response=DeliveryAttemptSerializer(many=True),
            example={**examples.ATTEMPT, "answer": ""},
        )
    ],
)


def health(
    name: str, *, path: str, summary: str, description: str, errors: Sequence[Exception] = ()
) -> Callable[[Any], Any]:
    """Return the decorator for a health check."""
    return extend_schema(
        operation_id=f"health_{name}",
        tags=["health"],
        summary=summary,
        description=f"{description} No API key is needed.",
        auth=[],
        parameters=[_header_of("X-Request-ID"), *_ERROR_HEADERS],
        responses={
            200: OpenApiResponse(
                HealthSerializer,
                description="The check succeeded.",
                examples=[OpenApiExample("response", {"status": "ok"}, response_only=True)],
            ),
            **_error_responses(errors, path),
        },
    )
