"""The forms of requests, which are read strictly, and of answers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.functional import cached_property
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import (
    PolymorphicProxySerializer,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from products import stock
from products.api.drf import FieldWithoutValidators, singleton
from products.api.fields import (
    AmountField,
    BooleanField,
    DescriptionField,
    DurationField,
    IdField,
    LevelField,
    NameField,
    NoteField,
    ReasonField,
    SkuField,
)
from products.models import Product, Reservation, ReservationLine, StockEvent

MAX_LINES = 1_000

# ------------------------------------------------------------------------------------- requests


class StrictSerializer(FieldWithoutValidators, serializers.Serializer):
    """A request body that refuses unknown fields."""

    @cached_property
    def _fields_by_name(self) -> dict[str, serializers.Field]:
        return dict(self.fields)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # Which refuses it.
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
            errors[name] = [serializers.ErrorDetail("There is no such field here.", "unknown")]
        if errors:
            raise serializers.ValidationError(errors)
        return values


class StrictSerializerExtension(OpenApiSerializerExtension):
    """Declares in the OpenAPI document that no other fields are allowed."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


class ProductCreateSerializer(StrictSerializer):
    sku = SkuField()
    name = NameField()
    description = DescriptionField(required=False)
    quantity = LevelField(required=False, help_text="The opening stock; 0 by default.")
    minimum_stock_level = LevelField(required=False, help_text="The reorder point.")


class ProductEditSerializer(StrictSerializer):
    name = NameField(required=False)
    description = DescriptionField(required=False)
    minimum_stock_level = LevelField(required=False, help_text="The reorder point.")
    archived = BooleanField(
        required=False, help_text="Retired: out of lists, and no add or reserve any more."
    )


class AmountSerializer(StrictSerializer):
    amount = AmountField()
    reason = NoteField(required=False)
    reference = NoteField(required=False, help_text="The caller's own id for this.")


class ReserveSerializer(StrictSerializer):
    amount = AmountField()
    reference = NoteField(required=False, help_text="The caller's own id, such as an order id.")
    expires_in = DurationField(required=False, help_text="Seconds; without it, no end.")


class ProductReleaseSerializer(AmountSerializer):
    reservation = IdField(
        required=False,
        source="reservation_id",
        help_text="By default the units come from reservations without a reference, oldest first.",
    )


class AdjustSerializer(StrictSerializer):
    quantity = LevelField(help_text="What was counted.")
    reason = ReasonField()
    reference = NoteField(required=False, help_text="The caller's own id for this.")
    expected_quantity = LevelField(
        required=False, help_text="Refuse the count if this is no longer what is on hand."
    )


class DomainObjectSerializer(StrictSerializer):
    """The fields of an object of `stock`, which checks them by the same rules.

    The fields themselves check only what `stock` has refused, to name each wrong one.
    """

    makes: ClassVar[type[Any]]
    """The class of the object."""

    def to_internal_value(self, data: Any) -> Any:
        # `stock` takes None for a missing value, but a null in a request is refused.
        if isinstance(data, dict) and None not in data.values():
            try:
                return self.makes(**self.arguments(data))
            except (stock.Invalid, TypeError):  # TypeError: a field too many or too few.
                pass
        return self.makes(**self.arguments(super().to_internal_value(data)))

    def arguments(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return fields


class LineSerializer(DomainObjectSerializer):
    """An amount of one product."""

    sku = SkuField()
    amount = AmountField()

    makes = stock.Line


class LinesField(serializers.ListField):
    """One line or several. Lines with the same SKU are summed."""

    child = LineSerializer()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_empty=False, min_length=1, max_length=MAX_LINES, **kwargs)


class ReservationCreateSerializer(StrictSerializer):
    reference = NoteField(required=False, help_text="The caller's own id, such as an order id.")
    expires_in = DurationField(required=False, help_text="Seconds; without it, no end.")
    lines = LinesField()


class ReservationEndSerializer(StrictSerializer):
    lines = LinesField(
        required=False, help_text="A part of the reservation; without it, all that is open."
    )
    reason = NoteField(required=False)
    reference = NoteField(required=False, help_text="The caller's own id for this.")


class ReservationExtendSerializer(StrictSerializer):
    expires_in = DurationField(help_text="Seconds from now.")


class OperationSerializer(DomainObjectSerializer):
    def arguments(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        arguments = {**fields}
        del arguments["operation"]
        return arguments


class AddLineSerializer(OperationSerializer, AmountSerializer):
    """Goods come in."""

    operation = serializers.ChoiceField(["add"])
    sku = SkuField()

    makes = stock.Add


class RemoveLineSerializer(OperationSerializer, AmountSerializer):
    """Goods go out, from what is available."""

    operation = serializers.ChoiceField(["remove"])
    sku = SkuField()

    makes = stock.Remove


class AdjustLineSerializer(OperationSerializer, AdjustSerializer):
    """What was counted becomes what is on hand."""

    operation = serializers.ChoiceField(["adjust"])
    sku = SkuField()

    makes = stock.Adjust


_OPERATIONS: dict[str, type[OperationSerializer]] = {
    "add": AddLineSerializer,
    "remove": RemoveLineSerializer,
    "adjust": AdjustLineSerializer,
}


@extend_schema_field(
    PolymorphicProxySerializer("Operation", dict(_OPERATIONS), resource_type_field_name="operation")
)
class OperationField(FieldWithoutValidators):
    """An add, a remove or an adjust, as its `operation` says."""

    def to_internal_value(self, data: Any) -> stock.Operation:
        if not isinstance(data, dict):
            raise serializers.ValidationError("An object is required.")
        name = data.get("operation")
        if not isinstance(name, str) or name not in _OPERATIONS:
            detail = f"One of {', '.join(_OPERATIONS)} is required."
            raise serializers.ValidationError({"operation": [detail]})
        operation: stock.Operation = singleton(_OPERATIONS[name]).to_internal_value(data)
        return operation


class OperationsSerializer(StrictSerializer):
    operations = serializers.ListField(
        child=OperationField(), allow_empty=False, min_length=1, max_length=MAX_LINES
    )


# -------------------------------------------------------------------------------------- answers
#
# The fields describe an answer in the OpenAPI document. `to_representation` writes it out, because
# REST framework's own goes through the fields for each object.


class ProductSerializer(serializers.ModelSerializer):
    available_quantity = serializers.IntegerField(
        help_text="`quantity - reserved_quantity`: what can still be removed or reserved."
    )
    # Not the generated column, which is stale after a change.
    low_stock = serializers.BooleanField(
        source="is_low_stock", help_text="`available_quantity < minimum_stock_level`."
    )

    class Meta:
        model = Product
        fields = [
            "sku",
            "name",
            "description",
            "quantity",
            "reserved_quantity",
            "available_quantity",
            "minimum_stock_level",
            "low_stock",
            "archived",
            "version",
            "created_at",
            "updated_at",
        ]

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


class ReservationLineSerializer(serializers.ModelSerializer):
    sku = serializers.CharField(source="product.sku")

    class Meta:
        model = ReservationLine
        fields = ["sku", "amount", "fulfilled", "released", "expired", "open"]

    def to_representation(self, instance: ReservationLine) -> dict[str, Any]:
        return {
            "sku": instance.product.sku,
            "amount": instance.amount,
            "fulfilled": instance.fulfilled,
            "released": instance.released,
            "expired": instance.expired,
            "open": instance.open,
        }


class ReservationSerializer(serializers.ModelSerializer):
    # From the lines below, so that both agree: the row was read before them.
    status = serializers.ChoiceField(Reservation.Status.choices, source="loaded_status")
    lines = ReservationLineSerializer(source="loaded_lines", many=True)

    class Meta:
        model = Reservation
        fields = ["id", "reference", "status", "expires_at", "created_at", "lines"]

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


class ProductReservedSerializer(ProductSerializer):
    """A product and its new reservation."""

    reservation = ReservationSerializer()

    class Meta(ProductSerializer.Meta):
        fields = [*ProductSerializer.Meta.fields, "reservation"]


class ProductAsOfSerializer(serializers.Serializer):
    """The levels of a product at a moment, from its ledger."""

    sku = serializers.CharField(source="event.sku")
    as_of = serializers.DateTimeField()
    quantity = serializers.IntegerField(source="event.quantity")
    reserved_quantity = serializers.IntegerField(source="event.reserved_quantity")
    available_quantity = serializers.IntegerField(source="event.available_quantity")
    version = serializers.IntegerField(source="event.version")


class OperationResultsSerializer(serializers.Serializer):
    results = ProductSerializer(many=True, help_text="The product of each operation, after all.")


class GivenIntegerField(serializers.IntegerField):
    """A number that the answer leaves out where it is null."""

    def get_attribute(self, instance: Any) -> Any:
        value = super().get_attribute(instance)
        if value is None:
            raise serializers.SkipField
        return value


class StockEventSerializer(serializers.ModelSerializer):
    reservation = serializers.IntegerField(source="reservation_id", allow_null=True)
    available_quantity = serializers.IntegerField()
    details = serializers.DictField(
        help_text="Of an edit: the old and the new value of each changed field. Else empty."
    )
    undoes = GivenIntegerField(
        source="undoes_id",
        required=False,
        help_text="The id of the event that this one takes back.",
    )

    class Meta:
        model = StockEvent
        fields = [
            "id",
            "sku",
            "version",
            "type",
            "quantity_change",
            "reserved_change",
            "quantity",
            "reserved_quantity",
            "available_quantity",
            "reservation",
            "reason",
            "reference",
            "actor",
            "source",
            "request_id",
            "occurred_at",
            "details",
            "undoes",
        ]

    def to_representation(self, instance: StockEvent) -> dict[str, Any]:
        event = {
            "id": instance.pk,
            "sku": instance.sku,
            "version": instance.version,
            "type": instance.type,
            "quantity_change": instance.quantity_change,
            "reserved_change": instance.reserved_change,
            "quantity": instance.quantity,
            "reserved_quantity": instance.reserved_quantity,
            "available_quantity": instance.available_quantity,
            "reservation": instance.reservation_id,
            "reason": instance.reason,
            "reference": instance.reference,
            "actor": instance.actor,
            "source": instance.source,
            "request_id": instance.request_id,
            "occurred_at": instance.occurred_at,
            "details": instance.details,
        }
        if instance.undoes_id is not None:
            event["undoes"] = instance.undoes_id
        return event


@extend_schema_serializer(many=False)
class EventFeedSerializer(serializers.Serializer):
    """A page of the change feed."""

    results = StockEventSerializer(source="events", many=True, help_text="Oldest first.")
    cursor = serializers.CharField(help_text="To go on `after`; opaque.")
    more = serializers.BooleanField(help_text="Whether there are more events already.")


class HealthSerializer(serializers.Serializer):
    status = serializers.CharField()


class FieldErrorSerializer(serializers.Serializer):
    field = serializers.CharField(allow_null=True, help_text="Null for the body as a whole.")
    code = serializers.CharField()
    detail = serializers.CharField()


class LineProblemSerializer(serializers.Serializer):
    index = serializers.IntegerField(help_text="The place of the line in the request, from 0.")
    sku = serializers.CharField()
    code = serializers.CharField()
    requested = serializers.IntegerField(required=False)
    available = serializers.IntegerField(required=False)


class ProblemSerializer(serializers.Serializer):
    """An error, in the form of RFC 9457. `code` is stable and meant for programs."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence for people.")
    instance = serializers.CharField(help_text="The path of the request.")
    code = serializers.CharField()
    request_id = serializers.CharField(allow_null=True)
    sku = serializers.CharField(required=False)
    requested = serializers.IntegerField(required=False)
    available = serializers.IntegerField(required=False)
    lines = LineProblemSerializer(many=True, required=False)

    def get_fields(self) -> dict[str, serializers.Field]:
        # Declared as an attribute, `errors` would hide the serializer's own.
        return {**super().get_fields(), "errors": FieldErrorSerializer(many=True, required=False)}
