"""The serializers of request bodies, which are strict, and of responses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.functional import cached_property
from drf_spectacular.extensions import (
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.utils import (
    PolymorphicProxySerializer,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from products import feed, stock
from products.api.drf import FieldWithoutValidators, singleton
from products.api.fields import (
    AmountField,
    BooleanField,
    ChangedStateField,
    CursorField,
    DescriptionField,
    DurationField,
    EventTypesField,
    IdField,
    LevelField,
    NameField,
    NoteField,
    ReasonField,
    SkuField,
    SkuPrefixField,
    TimeField,
    UrlField,
)
from products.api.problems import ERROR_CODES, MAX_ERRORS
from products.models import (
    MAX_ANSWER_LENGTH,
    DeliveryAttempt,
    Product,
    Reservation,
    ReservationLine,
    StockEvent,
    Subscription,
)
from products.publishing.figures import MAX_WAITING, waiting
from products.validators import is_sku

MAX_LINES = 1_000

_UNKNOWN_FIELD = [serializers.ErrorDetail("Unknown field.", "unknown")]

# ----------------------------------------------------------------------------------------- requests


class FieldErrors(serializers.ValidationError):
    """The errors of fields, which REST framework would copy at each level."""

    def __init__(self, detail: dict[str, Any]) -> None:
        self.detail = detail


class StrictSerializer(FieldWithoutValidators, serializers.Serializer):
    """A request body that refuses unknown fields."""

    @cached_property
    def _fields_by_name(self) -> dict[str, serializers.Field]:
        return dict(self.fields)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # Raises a ValidationError.
        values: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for name, field in self._fields_by_name.items():
            try:
                if name in data:
                    values[field.source or name] = field.run_validation(data[name])
                elif field.required:
                    field.fail("required")
            except serializers.ValidationError as error:
                errors[name] = error.detail
        for name in sorted(data.keys() - self._fields_by_name.keys()):
            errors[name] = _UNKNOWN_FIELD
        if errors:
            raise FieldErrors(errors)
        return values


class StrictSerializerExtension(OpenApiSerializerExtension):
    """Documents that no other fields are allowed."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


_REASON = "Why the stock changes. Kept in the ledger."
_REFERENCE = "Your own id for this change, such as a delivery note. Kept in the ledger. Not unique."
_ORDER_REFERENCE = "Your own id, such as an order id. Not unique."
_EXPIRES_IN = "Seconds until the reservation expires. Without it, the reservation does not expire."


class ProductCreateSerializer(StrictSerializer):
    """A new product."""

    sku = SkuField(help_text="The SKU. It cannot be changed later.")
    name = NameField(help_text="The name.")
    description = DescriptionField(required=False, help_text="The description. Empty by default.")
    quantity = LevelField(required=False, help_text="The opening stock, in units. 0 by default.")
    minimum_stock_level = LevelField(
        required=False, help_text="The reorder point, in units. 0 by default."
    )


class ProductEditSerializer(StrictSerializer):
    """The fields to change. Fields that are left out stay the same."""

    name = NameField(required=False, help_text="The new name.")
    description = DescriptionField(required=False, help_text="The new description.")
    minimum_stock_level = LevelField(required=False, help_text="The new reorder point, in units.")
    archived = BooleanField(
        required=False, help_text="`true` archives the product, `false` restores it."
    )


class ProductAddSerializer(StrictSerializer):
    """Units to add."""

    amount = AmountField(help_text="How many units to add.")
    reason = NoteField(required=False, help_text=_REASON)
    reference = NoteField(required=False, help_text=_REFERENCE)


class ProductRemoveSerializer(ProductAddSerializer):
    """Units to remove."""

    amount = AmountField(help_text="How many units to remove.")


class ProductReserveSerializer(StrictSerializer):
    """Units to reserve."""

    amount = AmountField(help_text="How many units to reserve.")
    reference = NoteField(required=False, help_text=_ORDER_REFERENCE)
    expires_in = DurationField(required=False, help_text=_EXPIRES_IN)


class ProductReleaseSerializer(ProductAddSerializer):
    """Reserved units to release."""

    amount = AmountField(help_text="How many reserved units to release.")
    reservation = IdField(
        required=False,
        source="reservation_id",
        help_text=(
            "The id of the reservation to release from. Without it, units come from reservations "
            "without a reference, oldest first."
        ),
    )


class ProductAdjustSerializer(StrictSerializer):
    """The result of a count."""

    quantity = LevelField(help_text="The counted quantity, in units.")
    reason = ReasonField(help_text="Why the quantity is set. Kept in the ledger.")
    reference = NoteField(required=False, help_text=_REFERENCE)
    expected_quantity = LevelField(
        required=False,
        help_text="The quantity before the count. The count is refused if it has changed.",
    )
    counted_at = TimeField(
        required=False,
        help_text="The time of a late count, with its UTC offset. The difference between the count "
        "and the quantity at that time is applied, so that later changes stay. Not together with "
        "`expected_quantity`.",
    )


class DomainObjectSerializer(StrictSerializer):
    """A serializer that returns a request object of `products.stock`.

    The object checks its values by the same rules as the fields. The fields run only if the object
    refuses a value, to report every wrong field.
    """

    object_class: ClassVar[type[Any]]
    """The class of the object."""

    def to_internal_value(self, data: Any) -> Any:
        # `stock` takes None for a missing value. A request cannot contain null.
        if isinstance(data, dict) and None not in data.values():
            try:
                # The object also accepts SKUs that only an older setting allowed.
                if isinstance(sku := data.get("sku"), str) and is_sku(sku):
                    return self.object_class(**self.arguments(data))
            except (stock.Invalid, TypeError):  # TypeError: unknown or missing fields.
                pass
        values = super().to_internal_value(data)
        try:
            return self.object_class(**self.arguments(values))
        except stock.Invalid as error:
            # Each value is right, but not together with the others.
            raise serializers.ValidationError({error.field: [error.detail]}) from error

    def arguments(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return fields


class LineSerializer(DomainObjectSerializer):
    """An amount of one product."""

    sku = SkuField(help_text="The SKU of the product.")
    amount = AmountField(help_text="How many units.")

    object_class = stock.Line


class LinesField(serializers.ListField):
    """One line or several. Lines with the same SKU are summed."""

    child = LineSerializer()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_empty=False, min_length=1, max_length=MAX_LINES, **kwargs)


class ReservationCreateSerializer(StrictSerializer):
    """The units to reserve for an order."""

    reference = NoteField(required=False, help_text=_ORDER_REFERENCE)
    expires_in = DurationField(required=False, help_text=_EXPIRES_IN)
    lines = LinesField(help_text="The units to reserve. Lines with the same SKU are summed.")


class ReservationFulfillSerializer(StrictSerializer):
    """The units to fulfill."""

    lines = LinesField(
        required=False, help_text="The units to fulfill. Without it, all open units."
    )
    reason = NoteField(required=False, help_text=_REASON)
    reference = NoteField(required=False, help_text=_REFERENCE)


class ReservationReleaseSerializer(ReservationFulfillSerializer):
    """The units to release."""

    lines = LinesField(
        required=False, help_text="The units to release. Without it, all open units."
    )


class ReservationExtendSerializer(StrictSerializer):
    """The time until the reservation expires."""

    expires_in = DurationField(help_text="Seconds from now until the reservation expires.")


class OperationSerializer(DomainObjectSerializer):
    def arguments(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        arguments = {**fields}
        del arguments["operation"]
        return arguments


class KindField(serializers.ChoiceField):
    """The kind of an operation: one fixed value."""

    def __init__(self, kind: str) -> None:
        super().__init__([kind], help_text="The kind of operation.")


class KindFieldExtension(OpenApiSerializerFieldExtension):
    """Describes the kind as a constant. REST framework copies fields without their overrides."""

    target_class = KindField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        [kind] = self.target.choices
        return {"type": "string", "const": kind}


class AddOperationSerializer(OperationSerializer, ProductAddSerializer):
    """Add units to a product."""

    operation = KindField("add")
    sku = SkuField(help_text="The SKU of the product.")

    object_class = stock.Add


class RemoveOperationSerializer(OperationSerializer, ProductRemoveSerializer):
    """Remove available units of a product."""

    operation = KindField("remove")
    sku = SkuField(help_text="The SKU of the product.")

    object_class = stock.Remove


class AdjustOperationSerializer(OperationSerializer, ProductAdjustSerializer):
    """Set the quantity of a product to a count. Requires the role `count`."""

    operation = KindField("adjust")
    sku = SkuField(help_text="The SKU of the product.")

    object_class = stock.Adjust


_OPERATIONS: dict[str, type[OperationSerializer]] = {
    "add": AddOperationSerializer,
    "remove": RemoveOperationSerializer,
    "adjust": AdjustOperationSerializer,
}


@extend_schema_field(
    PolymorphicProxySerializer("Operation", dict(_OPERATIONS), resource_type_field_name="operation")
)
class OperationField(FieldWithoutValidators):
    """An operation of one of the three kinds."""

    def to_internal_value(self, data: Any) -> stock.Operation:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Send an object.")
        name = data.get("operation")
        if not isinstance(name, str) or name not in _OPERATIONS:
            detail = f"Send one of {', '.join(_OPERATIONS)}."
            raise serializers.ValidationError({"operation": [detail]})
        operation: stock.Operation = singleton(_OPERATIONS[name]).to_internal_value(data)
        return operation


class OperationsSerializer(StrictSerializer):
    """Operations to apply, in this order."""

    operations = serializers.ListField(
        child=OperationField(),
        allow_empty=False,
        min_length=1,
        max_length=MAX_LINES,
        help_text="The operations, in the order in which they are applied.",
    )


class NoBodySerializer(StrictSerializer):
    """No fields: the operation takes no body, or an empty object."""


_URL = (
    "Where to send the events: `https://` and a public host, without user, password and fragment. "
    "The networks of `WEBHOOK_ALLOWED_NETWORKS` are allowed, too, and get plain `http://` as well."
)


class WebhookCreateSerializer(StrictSerializer):
    """A receiver of stock events."""

    url = UrlField(help_text=_URL)
    types = EventTypesField(
        required=False,
        help_text="Only events of these types. Without it, or with an empty list, of all types.",
    )
    sku_prefix = SkuPrefixField(
        required=False,
        help_text="Only events of products whose SKU starts like this. Its case counts.",
    )
    batch = BooleanField(
        required=False,
        help_text="Whether a request may have several events: a CloudEvents batch of up to 20 kB. "
        "`false` by default.",
    )
    after = CursorField(
        required=False,
        help_text="Send the events after this cursor of the change feed. `start` sends all. "
        "`latest` is the default: it sends the events that follow.",
    )


class WebhookEditSerializer(WebhookCreateSerializer):
    """The fields of the webhook to change. Fields that are left out stay the same."""

    url = UrlField(required=False, help_text=_URL)
    types = EventTypesField(
        required=False, help_text="Only events of these types. An empty list: of all types."
    )
    batch = BooleanField(
        required=False,
        help_text="Whether a request may have several events: a CloudEvents batch of up to 20 kB.",
    )
    after = CursorField(
        required=False,
        help_text="Send the events after this cursor of the change feed, also those that were "
        "delivered already: `start` for all, `latest` for those that follow.",
    )
    state = ChangedStateField(
        required=False,
        help_text="`paused` stops the delivery. `active` goes on at the cursor, also if the "
        "webhook is parked.",
    )


class RedeliverSerializer(StrictSerializer):
    """The event to send again."""

    event = IdField(
        source="event_id", help_text="The `id` of the stock event: its CloudEvent has it in `data`."
    )


# ---------------------------------------------------------------------------------------- responses
#
# The fields describe a response in the OpenAPI document. `to_representation` builds it, because
# REST framework's own visits the fields for each object.


class ProductSerializer(serializers.Serializer):
    """A product and its stock levels, in units."""

    sku = serializers.CharField(help_text="The SKU, which identifies the product.")
    name = serializers.CharField(help_text="The name.")
    description = serializers.CharField(help_text="The description. May be empty.")
    quantity = serializers.IntegerField(help_text="Units on hand.")
    reserved_quantity = serializers.IntegerField(help_text="Units held by open reservations.")
    available_quantity = serializers.IntegerField(
        help_text="Units that can be removed or reserved: `quantity - reserved_quantity`."
    )
    minimum_stock_level = serializers.IntegerField(help_text="The reorder point.")
    # The generated column of the model is stale after a change.
    low_stock = serializers.BooleanField(
        source="is_low_stock",
        help_text="Whether `available_quantity` is below `minimum_stock_level`.",
    )
    archived = serializers.BooleanField(
        help_text="Whether the product is retired. Its units can then not be added or reserved."
    )
    version = serializers.IntegerField(
        help_text="The number of stock events of the product. Each change raises it. See `ETag`."
    )
    created_at = serializers.DateTimeField(help_text="The time of creation.")
    updated_at = serializers.DateTimeField(help_text="The time of the last change.")

    def to_representation(self, instance: Product) -> dict[str, Any]:
        return {
            "sku": instance.sku,
            "name": instance.name,
            "description": instance.description,
            "quantity": instance.quantity,
            "reserved_quantity": instance.reserved_quantity,
            "available_quantity": instance.available_quantity,
            "minimum_stock_level": instance.minimum_stock_level,
            "low_stock": instance.is_low_stock,
            "archived": instance.archived,
            "version": instance.version,
            "created_at": instance.created_at,
            "updated_at": instance.updated_at,
        }


class ReservationLineSerializer(serializers.Serializer):
    """The units of one product in a reservation.

    `amount` is the sum of `fulfilled`, `released`, `expired` and `open`.
    """

    sku = serializers.CharField(source="product.sku", help_text="The SKU of the product.")
    amount = serializers.IntegerField(help_text="Units reserved at the start.")
    fulfilled = serializers.IntegerField(help_text="Units shipped.")
    released = serializers.IntegerField(help_text="Units released.")
    expired = serializers.IntegerField(
        help_text="Units that became available again because the reservation expired."
    )
    open = serializers.IntegerField(help_text="Units still held.")

    def to_representation(self, instance: ReservationLine) -> dict[str, Any]:
        return {
            "sku": instance.product.sku,
            "amount": instance.amount,
            "fulfilled": instance.fulfilled,
            "released": instance.released,
            "expired": instance.expired,
            "open": instance.open,
        }


class ReservationSerializer(serializers.Serializer):
    """Units held for an order."""

    id = serializers.IntegerField(help_text="The id.")
    reference = serializers.CharField(help_text="The caller's own id. May be empty.")
    # Derived from the lines, which were read after the row.
    status = serializers.ChoiceField(
        Reservation.Status.choices, source="loaded_status", help_text="The status."
    )
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="When the reservation expires. Null if it does not expire."
    )
    created_at = serializers.DateTimeField(help_text="The time of creation.")
    lines = ReservationLineSerializer(
        source="loaded_lines", many=True, help_text="One line for each SKU."
    )

    def to_representation(self, instance: Reservation) -> dict[str, Any]:
        return {
            "id": instance.pk,
            "reference": instance.reference,
            "status": instance.loaded_status,
            "expires_at": instance.expires_at,
            "created_at": instance.created_at,
            "lines": [
                singleton(ReservationLineSerializer).to_representation(line)
                for line in instance.loaded_lines
            ],
        }


class ProductWithReservationSerializer(ProductSerializer):
    """A product and its new reservation."""

    reservation = ReservationSerializer(help_text="The new reservation.")


class ProductLevelsSerializer(serializers.Serializer):
    """The stock levels of a product at a time in the past, in units."""

    sku = serializers.CharField(source="event.sku", help_text="The SKU of the product.")
    as_of = serializers.DateTimeField(help_text="The time of the levels.")
    quantity = serializers.IntegerField(source="event.quantity", help_text="Units on hand.")
    reserved_quantity = serializers.IntegerField(
        source="event.reserved_quantity", help_text="Units held by open reservations."
    )
    available_quantity = serializers.IntegerField(
        source="event.available_quantity", help_text="`quantity - reserved_quantity`."
    )
    version = serializers.IntegerField(
        source="event.version", help_text="The version of the product at that time."
    )


class OperationResultsSerializer(serializers.Serializer):
    """The products after all operations."""

    results = ProductSerializer(
        many=True,
        help_text="One product for each operation, in the same order, as it is after all of them.",
    )


class OptionalIntegerField(serializers.IntegerField):
    """A number that is left out of the response if it is null."""

    def get_attribute(self, instance: Any) -> Any:
        value = super().get_attribute(instance)
        if value is None:
            raise serializers.SkipField
        return value


class StockEventSerializer(serializers.Serializer):
    """One change of one product, with the stock levels after it. Events never change."""

    id = serializers.IntegerField(help_text="The id.")
    sku = serializers.CharField(help_text="The SKU of the product.")
    version = serializers.IntegerField(
        help_text="The version of the product after the event. The first event has version 1."
    )
    type = serializers.ChoiceField(StockEvent.Type.choices, help_text="The kind of change.")
    quantity_change = serializers.IntegerField(
        help_text="Units added to `quantity`. Negative if units left."
    )
    reserved_change = serializers.IntegerField(
        help_text="Units added to `reserved_quantity`. Negative if units left."
    )
    quantity = serializers.IntegerField(help_text="Units on hand after the event.")
    reserved_quantity = serializers.IntegerField(help_text="Units reserved after the event.")
    available_quantity = serializers.IntegerField(help_text="Units available after the event.")
    reservation = serializers.IntegerField(
        source="reservation_id", allow_null=True, help_text="The id of the reservation, if any."
    )
    reason = serializers.CharField(help_text="Why the change was made. May be empty.")
    reference = serializers.CharField(help_text="The caller's own id. May be empty.")
    actor = serializers.CharField(
        help_text="The name of the API key, of the staff user or of the command."
    )
    source = serializers.ChoiceField(  # type: ignore[assignment]  # Not `Field.source`.
        StockEvent.Source.choices, help_text="Where the change came from."
    )
    request_id = serializers.CharField(help_text="The id of the request. May be empty.")
    occurred_at = serializers.DateTimeField(help_text="The time of the change.")
    details = serializers.DictField(
        help_text='Old and new values of an edit: `{"name": {"old": "Cup", "new": "Mug"}}`. '
        'The time of a late count: `{"counted_at": "2026-11-20T18:00:00Z"}`. Otherwise empty.'
    )
    undoes = OptionalIntegerField(
        source="undoes_id",
        required=False,
        help_text="The id of the event that this one undoes. Left out if there is none.",
    )

    def to_representation(self, instance: StockEvent) -> dict[str, Any]:
        return feed.data_of(instance)


@extend_schema_serializer(many=False)
class EventFeedSerializer(serializers.Serializer):
    """A page of the change feed."""

    results = StockEventSerializer(
        source="events", many=True, help_text="The events, oldest first. May be empty."
    )
    cursor = serializers.CharField(
        help_text="The position after these events. Send it as `after` with the next request."
    )
    more = serializers.BooleanField(help_text="Whether more events are ready to be read.")


class WebhookSerializer(serializers.Serializer):
    """A receiver of stock events, and how far it is."""

    id = serializers.IntegerField(help_text="The id.")
    url = serializers.CharField(help_text="Where the events are sent.")
    types = serializers.ListField(
        child=serializers.ChoiceField(StockEvent.Type.choices),
        help_text="Only events of these types are sent. Empty: all types.",
    )
    sku_prefix = serializers.CharField(
        help_text="Only events of products whose SKU starts like this are sent. May be empty."
    )
    batch = serializers.BooleanField(help_text="Whether a request may have several events.")
    format_version = serializers.IntegerField(help_text="The version of the form of the events.")
    state = serializers.ChoiceField(Subscription.State.choices, help_text="The state.")
    parked_because = serializers.CharField(
        help_text="Why the webhook is parked. Empty if it is not."
    )
    cursor = serializers.CharField(
        help_text="The position in the change feed up to which the receiver has all events. It may "
        "have some later ones, too."
    )
    waiting = serializers.IntegerField(
        help_text="Events that the receiver has not accepted yet. Counted up to "
        f"{MAX_WAITING:,} only. See `waiting_is_exact`."
    )
    waiting_is_exact = serializers.BooleanField(
        help_text="`false` if more events than `waiting` may be waiting."
    )
    waiting_since = serializers.DateTimeField(
        allow_null=True, help_text="The time of the oldest waiting event. Null if there is none."
    )
    failing_since = serializers.DateTimeField(
        allow_null=True,
        help_text="Since when the receiver has not accepted the next event. Null if it works.",
    )
    next_attempt_at = serializers.DateTimeField(
        allow_null=True,
        help_text="The time of the next attempt after a failure. Null if none has to wait.",
    )
    delivered = serializers.IntegerField(help_text="Events that were accepted so far.")
    failed = serializers.IntegerField(help_text="Requests that failed so far.")
    delivered_at = serializers.DateTimeField(
        allow_null=True, help_text="The time of the last delivery. Null before the first."
    )
    created_at = serializers.DateTimeField(help_text="The time of creation.")
    created_by = serializers.CharField(
        help_text="The name of the API key or of the staff user that created it."
    )

    def to_representation(self, instance: Subscription) -> dict[str, Any]:
        behind = waiting(instance)
        return {
            "id": instance.pk,
            "url": instance.url,
            "types": instance.types,
            "sku_prefix": instance.sku_prefix,
            "batch": instance.batch,
            "format_version": instance.format_version,
            "state": instance.state,
            "parked_because": instance.parked_because,
            "cursor": instance.cursor,
            "waiting": behind.events,
            "waiting_is_exact": behind.is_exact,
            "waiting_since": behind.since,
            "failing_since": instance.failing_since,
            "next_attempt_at": instance.next_attempt_at,
            "delivered": instance.delivered,
            "failed": instance.failed,
            "delivered_at": instance.delivered_at,
            "created_at": instance.created_at,
            "created_by": instance.created_by,
        }


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its secret, which is shown only once."""

    secret = serializers.CharField(
        help_text="The secret that signs each request, as in Standard Webhooks. Store it now: no "
        "other response shows it."
    )

    def to_representation(self, instance: Subscription) -> dict[str, Any]:
        return {**super().to_representation(instance), "secret": instance.secret}


class DeliveryOutcomeSerializer(serializers.Serializer):
    """A request to a receiver that a client asked for, and its outcome.

    It leaves out the answer of the receiver, which may be a server that only this service reaches.
    """

    id = serializers.IntegerField(help_text="The id.")
    event = serializers.CharField(
        help_text="The `id` of the event that was sent. Of a batch, that of the first."
    )
    event_count = serializers.IntegerField(help_text="The number of events in the request.")
    started_at = serializers.DateTimeField(help_text="The time of the request.")
    milliseconds = serializers.IntegerField(help_text="How long the request took.")
    delivered = serializers.BooleanField(help_text="Whether the receiver accepted the events.")
    status = serializers.IntegerField(
        allow_null=True, help_text="The HTTP status of the response. Null if there was none."
    )
    error = serializers.CharField(help_text="Why the request failed. Empty if it did not.")

    def to_representation(self, instance: DeliveryAttempt) -> dict[str, Any]:
        return {
            "id": instance.pk,
            "event": instance.event_id,
            "event_count": instance.event_count,
            "started_at": instance.started_at,
            "milliseconds": instance.milliseconds,
            "delivered": instance.is_success,
            "status": instance.status,
            "error": instance.error,
        }


class DeliveryAttemptSerializer(DeliveryOutcomeSerializer):
    """A request to a receiver, its outcome, and the start of the answer."""

    answer = serializers.CharField(
        help_text=f"The first {MAX_ANSWER_LENGTH} characters of the answer. Empty for a redirect."
    )

    def to_representation(self, instance: DeliveryAttempt) -> dict[str, Any]:
        return {**super().to_representation(instance), "answer": instance.answer}


class HealthSerializer(serializers.Serializer):
    """The state of the service."""

    status = serializers.CharField(help_text="`ok`.")


class FieldErrorSerializer(serializers.Serializer):
    """A wrong field of a request."""

    field = serializers.CharField(
        allow_null=True,
        help_text="The path of the field, such as `lines.0.sku`, or the name of the query "
        "parameter or header. Null for the whole body.",
    )
    code = serializers.CharField(
        help_text="The error, for programs: `required`, `unknown`, `min_value`, ..."
    )
    detail = serializers.CharField(help_text="The error, for people.")


_SKU = "The SKU that the error is about."
_REQUESTED = "Units requested."
_AVAILABLE = "Units available, or open in the reservation."


class RefusedLineSerializer(serializers.Serializer):
    """A line of the request that was refused."""

    index = serializers.IntegerField(help_text="The position of the line in the request, from 0.")
    sku = serializers.CharField(help_text=_SKU)
    code = serializers.ChoiceField(ERROR_CODES, help_text="Why the line was refused.")
    requested = serializers.IntegerField(required=False, help_text=_REQUESTED)
    available = serializers.IntegerField(required=False, help_text=_AVAILABLE)


class ProblemSerializer(serializers.Serializer):
    """An error (RFC 9457)."""

    type = serializers.CharField(help_text="A URN with the code.")
    title = serializers.CharField(help_text="The code in words.")
    status = serializers.IntegerField(help_text="The HTTP status.")
    detail = serializers.CharField(help_text="The reason, for people. The text may change.")
    instance = serializers.CharField(help_text="The path of the request.")
    code = serializers.ChoiceField(ERROR_CODES, help_text="The reason, for programs. Stable.")
    request_id = serializers.CharField(
        allow_null=True, help_text="The `X-Request-ID`. Quote it when you report a problem."
    )
    sku = serializers.CharField(required=False, help_text=_SKU)
    requested = serializers.IntegerField(required=False, help_text=_REQUESTED)
    available = serializers.IntegerField(required=False, help_text=_AVAILABLE)
    errors_omitted = serializers.IntegerField(
        required=False,
        min_value=1,
        help_text="How many more fields are wrong. Left out if `errors` names all.",
    )
    lines = RefusedLineSerializer(
        many=True,
        required=False,
        help_text="Every refused line, if the request has lines. `code` is that of the first.",
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        # Declared as an attribute, `errors` would hide the serializer's own.
        errors = FieldErrorSerializer(
            many=True,
            required=False,
            help_text=f"The wrong fields, if a `code` is `invalid`: the first {MAX_ERRORS}.",
        )
        return {**super().get_fields(), "errors": errors}
