"""The views: each action reads the request, makes one call, and writes the response."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, ClassVar, cast
from urllib.parse import quote

from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseNotModified
from django.urls import reverse
from django_filters import FilterSet
from rest_framework.decorators import action
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from products import feed, stock
from products.api import filters, schema
from products.api.access import require_role
from products.api.drf import NO_ACTION, AllowMixin, LeanViewMixin, singleton
from products.api.pagination import ReservationPagination, read_page_size
from products.api.parsers import StrictJSONParser
from products.api.problems import invalid_field, not_ready
from products.api.responses import JSONResponse
from products.api.retries import from_stored, once_of, product_etag, to_stored, versions_of
from products.api.serializers import (
    DeliveryAttemptSerializer,
    DeliveryOutcomeSerializer,
    EventFeedSerializer,
    NoBodySerializer,
    OperationsSerializer,
    ProductAddSerializer,
    ProductAdjustSerializer,
    ProductCreateSerializer,
    ProductEditSerializer,
    ProductLevelsSerializer,
    ProductReleaseSerializer,
    ProductRemoveSerializer,
    ProductReserveSerializer,
    ProductSerializer,
    RedeliverSerializer,
    ReservationCreateSerializer,
    ReservationExtendSerializer,
    ReservationFulfillSerializer,
    ReservationReleaseSerializer,
    ReservationSerializer,
    StockEventSerializer,
    StrictSerializer,
    WebhookCreateSerializer,
    WebhookEditSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
)
from products.db.compiled import CompiledQuery
from products.db.connection import STANDBY, check_writable, drain_pool_after
from products.db.errors import read_only
from products.db.prepared import array
from products.db.replica import read_from_replica
from products.models import (
    ApiKey,
    DeliveryAttempt,
    Product,
    Reservation,
    Role,
    StockEvent,
    Subscription,
)
from products.publishing import manual, subscriptions
from products.request_id import request_id
from products.validators import MAX_ID, MAX_SKU_LENGTH, is_possible_sku

logger = logging.getLogger(__name__)

MAX_LOGGED_SKUS = 20

_UNKNOWN_CURSOR = (
    "The ledger has no event for this cursor. It may have been restored from a backup. "
    "Start again without `after`, or with `after=latest`."
)


@cache
def _path_of(basename: str) -> str:
    """Return the canonical path of a list. The cache saves a search on each call."""
    return reverse(f"v1:{basename}-list")


_BY_SKU = CompiledQuery(lambda: Product.objects.filter(sku__any_of=[]))


class InventoryViewSet(LeanViewMixin, GenericViewSet[Any]):
    """The base of all view sets: strict input, responses and the request log."""

    parser_classes = (StrictJSONParser,)

    required_roles: ClassVar[Mapping[str, Role]]
    """The required role of each action."""

    filtersets: ClassVar[Mapping[str, type[FilterSet] | None]]
    """The filters of each action that returns pages."""

    @property
    def page_order(self) -> str:
        """The column that sorts the pages. `-` reverses the order."""
        return "-id"

    actor_name: str | None = None
    """The name of the key, after authentication."""

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        if isinstance(request.auth, ApiKey):
            self.actor_name = request.auth.name

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action in NO_ACTION:
            raise MethodNotAllowed(str(request.method))  # Before the query is checked.
        paged = self.action in self.filtersets
        filters.check_query(request, self._filter_names() if paged else self.query_names())
        sku = kwargs.get("sku")
        if sku is not None and not is_possible_sku(sku):
            raise stock.ProductNotFound(sku[:MAX_SKU_LENGTH])
        number = int(kwargs.get("pk", 0))
        if number > MAX_ID:
            raise self.not_found(number)

    def not_found(self, number: int) -> Exception:
        """Return the error for an id in the path that does not exist."""
        return stock.ReservationNotFound(number)

    def query_names(self) -> set[str]:
        """Return the query parameters of an action that returns no pages."""
        return set()

    def _filter_names(self) -> set[str]:
        filterset = self.filterset_class
        return {"cursor", "page_size", *(filterset.base_filters if filterset else ())}

    @property
    def filterset_class(self) -> type[FilterSet] | None:
        return self.filtersets.get(self.action)

    @property
    def actor(self) -> stock.Actor:
        return stock.Actor(self.actor_name or "", StockEvent.Source.API, request_id.get() or "")

    def read(self, serializer_class: type[StrictSerializer]) -> dict[str, Any]:
        """Return the request body as keyword arguments."""
        values: dict[str, Any] = singleton(serializer_class).run_validation(self.request.data)
        return values

    def change(
        self, verb: Callable[..., Any], render: Callable[[Any], HttpResponse], **arguments: Any
    ) -> HttpResponse:
        """Call a function of `stock`, once per `Idempotency-Key`, and return the response."""
        rendered: HttpResponse | None = None

        def render_and_keep(result: Any) -> stock.StoredResponse:
            nonlocal rendered
            rendered = render(result)
            return to_stored(rendered)

        once = once_of(self, render_and_keep)
        result = verb(**arguments, by=self.actor, once=once)
        if once is None:
            return render(result)
        return rendered if rendered and not result.is_replay else from_stored(result)

    def represent(self, serializer_class: type[BaseSerializer[Any]], instance: Any) -> Any:
        """Return the data of a response."""
        return singleton(serializer_class).to_representation(instance)

    def page(self, queryset: QuerySet[Any], serializer: type[BaseSerializer[Any]]) -> Response:
        """Return a page of the filtered queryset."""
        rows = self.paginate_queryset(self.filter_queryset(queryset)) or []
        return self.get_paginated_response([self.represent(serializer, row) for row in rows])

    def recent_page(
        self, queryset: QuerySet[Any], serializer: type[BaseSerializer[Any]]
    ) -> Response:
        """Return a page that may be a moment old."""
        return read_from_replica(lambda database: self.page(queryset.using(database), serializer))

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        response = super().dispatch(request, *args, **kwargs)
        self._log(response, time.perf_counter() - started)
        if isinstance(response, Response):
            response.add_post_render_callback(self._release)
        return response

    def _release(self, response: Response) -> None:
        """Break the cycles between view, request and response, so that their rows are freed now.

        Else the garbage collector stops all threads for 15 to 30 ms after a few large pages.
        """
        vars(response).pop("renderer_context", None)
        vars(self).clear()

    def _log(self, response: Any, seconds: float) -> None:
        data = getattr(response, "data", None)  # A replay has no data.
        data = data if isinstance(data, dict) else {}
        outcome = data.get("code") if response.status_code >= 400 else "ok"
        if response.has_header("Idempotent-Replayed"):
            outcome = "replayed"
        changed = data.get("results") if self.request.method == "POST" else None
        rows = data.get("lines") or changed or ([data] if "sku" in data else [self.kwargs])
        logger.info(
            "request",
            extra={
                "operation": f"{self.basename}.{self.action}",
                "outcome": outcome,
                "status": response.status_code,
                "skus": [
                    row["sku"][:MAX_SKU_LENGTH] for row in rows[:MAX_LOGGED_SKUS] if "sku" in row
                ],
                "actor": self.actor_name,
                "milliseconds": round(seconds * 1000, 1),
            },
        )


@schema.products
class ProductViewSet(InventoryViewSet):
    """Products, and the operations on the stock of one product."""

    lookup_field = "sku"
    lookup_value_regex = "[^/]+"
    queryset = Product.objects.all()
    required_roles = {
        "list": Role.READ,
        "low_stock": Role.READ,
        "retrieve": Role.READ,
        "events": Role.READ,
        "add": Role.OPERATE,
        "remove": Role.OPERATE,
        "reserve": Role.OPERATE,
        "release": Role.OPERATE,
        "adjust": Role.COUNT,
        "create": Role.MANAGE,
        "partial_update": Role.MANAGE,
    }
    filtersets = {
        "list": filters.ProductFilters,
        "low_stock": None,
        "events": filters.EventFilters,
    }

    def query_names(self) -> set[str]:
        return {"as_of", "min_version"} if self.action == "retrieve" else set()

    @property
    def page_order(self) -> str:
        if self.action == "events":
            return "-version"
        return filters.PRODUCT_ORDERS[self.request.query_params.get("ordering", "sku")]

    def list(self, request: Request) -> Response:
        return self.recent_page(Product.objects.all(), ProductSerializer)

    @action(detail=False, url_path="low-stock")
    def low_stock(self, request: Request) -> Response:
        return self.recent_page(Product.objects.active().low_stock(), ProductSerializer)

    def create(self, request: Request) -> HttpResponse:
        return self.change(stock.create, self._created, **self.read(ProductCreateSerializer))

    def retrieve(self, request: Request, sku: str) -> HttpResponse:
        as_of = request.query_params.get("as_of")
        if as_of is None:
            return self._read(sku)
        at = filters.parse_time("as_of", as_of)
        event = self._get(sku).events.as_of(at)
        if event is None:
            raise stock.ProductNotFound(sku)
        return JSONResponse(ProductLevelsSerializer({"as_of": at, "event": event}).data)

    def partial_update(self, request: Request, sku: str) -> HttpResponse:
        edited = self.read(ProductEditSerializer)
        return self._respond(
            stock.edit(sku=sku, **edited, by=self.actor, if_match=self._versions_known())
        )

    @action(detail=True, methods=["post", "patch"])
    def add(self, request: Request, sku: str) -> HttpResponse:
        return self._change(stock.add, ProductAddSerializer)

    @action(detail=True, methods=["post", "patch"])
    def remove(self, request: Request, sku: str) -> HttpResponse:
        return self._change(stock.remove, ProductRemoveSerializer)

    @action(detail=True, methods=["post"])
    def reserve(self, request: Request, sku: str) -> HttpResponse:
        return self._change(stock.reserve, ProductReserveSerializer, self._reserved)

    @action(detail=True, methods=["post"])
    def release(self, request: Request, sku: str) -> HttpResponse:
        return self._change(stock.release_product, ProductReleaseSerializer)

    @action(detail=True, methods=["post"])
    def adjust(self, request: Request, sku: str) -> HttpResponse:
        return self._change(stock.adjust, ProductAdjustSerializer)

    @action(detail=True)
    def events(self, request: Request, sku: str) -> Response:
        events = StockEvent.objects.filter(product=self._get(sku))
        return self.recent_page(events, StockEventSerializer)

    def _get(self, sku: str) -> Product:
        found = _BY_SKU.fetch(array([sku]))
        if not found:
            raise stock.ProductNotFound(sku)
        return found[0]

    def _change(
        self,
        verb: Callable[..., Any],
        serializer: type[StrictSerializer],
        render: Callable[[Any], HttpResponse] | None = None,
    ) -> HttpResponse:
        """Change the product of the path, if it matches `If-Match`."""
        return self.change(
            verb,
            render or self._respond,
            **self.kwargs,
            **self.read(serializer),
            if_match=self._versions_known(),
        )

    def _versions_known(self) -> Collection[int] | None:
        return versions_of(self.request.META.get("HTTP_IF_MATCH"))

    def _respond(self, product: Product) -> JSONResponse:
        data = self.represent(ProductSerializer, product)
        return JSONResponse(data, headers={"ETag": product_etag(product)})

    def _read(self, sku: str) -> HttpResponse:
        """Return the product, or 304 if `If-None-Match` names its version.

        It is not older than a version that the client knows.
        """
        known = versions_of(self.request.META.get("HTTP_IF_NONE_MATCH"))
        least = filters.parse_version(
            "min_version", self.request.query_params.get("min_version", "0")
        )
        if isinstance(known, set):
            least = max(least, *known, 0)
        found = read_from_replica(
            lambda database: _BY_SKU.fetch(array([sku]), using=database),
            is_recent=lambda found: bool(found) and found[0].version >= least,
        )
        if not found:
            raise stock.ProductNotFound(sku)
        [product] = found
        if known is not None and product.version in known:
            response: HttpResponse = HttpResponseNotModified(
                headers={"ETag": product_etag(product)}
            )
        else:
            response = self._respond(product)
        # A client may keep the answer if it asks each time whether it is still the newest.
        response["Cache-Control"] = "private, no-cache"
        return response

    def _created(self, product: Product) -> JSONResponse:
        headers = {
            "ETag": product_etag(product),
            "Location": f"{_path_of('product')}/{quote(product.sku)}",
        }
        return JSONResponse(self.represent(ProductSerializer, product), status=201, headers=headers)

    def _reserved(self, reservation: Reservation) -> JSONResponse:
        product = reservation.loaded_lines[0].product
        data = self.represent(ProductSerializer, product)
        data["reservation"] = self.represent(ReservationSerializer, reservation)
        return JSONResponse(data, headers={"ETag": product_etag(product)})


@schema.reservations
class ReservationViewSet(InventoryViewSet):
    """Reservations of one or several products."""

    lookup_value_regex = "[0-9]{1,100}"
    queryset = Reservation.objects.all()
    required_roles = {
        "list": Role.READ,
        "retrieve": Role.READ,
        "create": Role.OPERATE,
        "fulfill": Role.OPERATE,
        "release": Role.OPERATE,
        "extend": Role.OPERATE,
    }
    filtersets = {"list": filters.ReservationFilters}
    pagination_class = ReservationPagination

    @property
    def page_order(self) -> str:
        return "-line_order" if "sku" in self.request.query_params else "-id"

    def list(self, request: Request) -> Response:
        return self.recent_page(Reservation.objects.all(), ReservationSerializer)

    def create(self, request: Request) -> HttpResponse:
        arguments = self.read(ReservationCreateSerializer)
        return self.change(stock.reserve_lines, self._created, **arguments)

    def retrieve(self, request: Request, pk: str) -> JSONResponse:
        try:
            return self._respond(Reservation.objects.with_lines().get(pk=pk))
        except Reservation.DoesNotExist:
            raise stock.ReservationNotFound(int(pk)) from None

    @action(detail=True, methods=["post"])
    def fulfill(self, request: Request, pk: str) -> HttpResponse:
        return self._change(stock.fulfill, ReservationFulfillSerializer)

    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> HttpResponse:
        return self._change(stock.release, ReservationReleaseSerializer)

    @action(detail=True, methods=["post"])
    def extend(self, request: Request, pk: str) -> HttpResponse:
        return self._change(stock.extend, ReservationExtendSerializer)

    def _change(self, verb: Callable[..., Any], serializer: type[StrictSerializer]) -> HttpResponse:
        """Change the reservation of the path."""
        reservation_id = int(self.kwargs["pk"])
        arguments = self.read(serializer)
        return self.change(verb, self._respond, reservation_id=reservation_id, **arguments)

    def _respond(self, reservation: Reservation) -> JSONResponse:
        return JSONResponse(self.represent(ReservationSerializer, reservation))

    def _created(self, reservation: Reservation) -> JSONResponse:
        return JSONResponse(
            self.represent(ReservationSerializer, reservation),
            status=201,
            headers={"Location": f"{_path_of('reservation')}/{reservation.pk}"},
        )


@schema.operations
class OperationViewSet(InventoryViewSet):
    """Several operations in one request."""

    queryset = Product.objects.all()
    required_roles = {"create": Role.OPERATE}
    filtersets = {}

    def create(self, request: Request) -> HttpResponse:
        operations = self.read(OperationsSerializer)["operations"]
        if any(isinstance(operation, stock.Adjust) for operation in operations):
            require_role(cast(ApiKey, request.auth), Role.COUNT)
        return self.change(stock.apply, self._respond, operations=operations)

    def _respond(self, products: list[Product]) -> JSONResponse:
        results = [self.represent(ProductSerializer, product) for product in products]
        return JSONResponse({"results": results})


@schema.events
class EventViewSet(InventoryViewSet):
    """The change feed: the stock events of all products."""

    queryset = StockEvent.objects.all()
    required_roles = {"list": Role.READ}
    filtersets = {}
    pagination_class = None  # The feed has a cursor of its own.

    def query_names(self) -> set[str]:
        return {"after", "page_size"}

    def list(self, request: Request) -> JSONResponse:
        limit = read_page_size(request)
        after = request.query_params.get("after", feed.START)
        try:
            page = feed.latest() if after == "latest" else feed.read(after=after, limit=limit)
        except feed.UnknownCursor:
            raise invalid_field("after", _UNKNOWN_CURSOR, "unknown") from None
        return JSONResponse(EventFeedSerializer(page).data)


@schema.webhooks
class WebhookViewSet(InventoryViewSet):
    """Receivers of stock events, without the publisher of the settings."""

    lookup_value_regex = "[0-9]{1,100}"
    queryset = Subscription.objects.all()
    required_roles = dict.fromkeys(
        (
            *("list", "create", "retrieve", "partial_update", "destroy"),
            *("test", "redeliver", "rotate", "attempts"),
        ),
        Role.MANAGE,
    )
    filtersets = {"list": None, "attempts": None}

    def not_found(self, number: int) -> Exception:
        return subscriptions.SubscriptionNotFound(number)

    def list(self, request: Request) -> Response:
        return self.page(Subscription.objects.webhooks(), WebhookSerializer)

    def create(self, request: Request) -> HttpResponse:
        # Without `Idempotency-Key`: the response that it stores has the secret.
        arguments = self.read(WebhookCreateSerializer)
        webhook = subscriptions.create(**arguments, by=self.actor.name)
        return JSONResponse(
            self.represent(WebhookWithSecretSerializer, webhook),
            status=201,
            headers={"Location": f"{_path_of('webhook')}/{webhook.pk}"},
        )

    def retrieve(self, request: Request, pk: str) -> JSONResponse:
        return JSONResponse(self.represent(WebhookSerializer, self._get()))

    def partial_update(self, request: Request, pk: str) -> JSONResponse:
        changes = self.read(WebhookEditSerializer)
        webhook = subscriptions.edit(self._get().pk, **changes)
        return JSONResponse(self.represent(WebhookSerializer, webhook))

    def destroy(self, request: Request, pk: str) -> HttpResponse:
        subscriptions.delete(self._get().pk)
        response = HttpResponse(status=204)
        del response["Content-Type"]
        return response

    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> JSONResponse:
        self.read(NoBodySerializer)
        return self._attempted(manual.send_test(self._get()))

    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: str) -> JSONResponse:
        arguments = self.read(RedeliverSerializer)
        return self._attempted(manual.redeliver(self._get(), **arguments))

    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> JSONResponse:
        self.read(NoBodySerializer)
        webhook = subscriptions.rotate(self._get().pk)
        return JSONResponse(self.represent(WebhookWithSecretSerializer, webhook))

    @action(detail=True)
    def attempts(self, request: Request, pk: str) -> Response:
        return self.page(self._get().attempts.all(), DeliveryAttemptSerializer)

    def _get(self) -> Subscription:
        number = int(self.kwargs["pk"])
        webhook = Subscription.objects.webhooks().filter(pk=number).first()
        if webhook is None:
            raise subscriptions.SubscriptionNotFound(number)
        return webhook

    def _attempted(self, attempt: DeliveryAttempt) -> JSONResponse:
        return JSONResponse(self.represent(DeliveryOutcomeSerializer, attempt))


class LiveView(AllowMixin, APIView):
    """Checks that the process responds. Needs no API key."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @schema.health(
        "live",
        summary="Check that the process runs",
        description="Responds while the process runs, even if the database does not respond.",
        path="/health/live",
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(LiveView):
    """Checks that the database responds and takes changes. Needs no API key."""

    @schema.health(
        "ready",
        summary="Check that the service is ready",
        description=(
            "Responds with 200 while the database responds and takes changes. `detail` names the "
            "reason for a 503."
        ),
        path="/health",
        errors=[not_ready(read_only(STANDBY))],
    )
    def get(self, request: Request) -> Response:
        try:
            check_writable()
        except (DatabaseError, InterfaceError) as error:
            # The error of the response is not that of the database.
            drain_pool_after(error)
            raise not_ready(error) from error
        return super().get(request)
