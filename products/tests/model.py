"""A model of the service in plain Python, without code of the service.

`test_machine` sends the same requests to this model and to the service, and compares the results.
Each verb changes the model or raises `Refused`. A refused verb may have changed parts of the model,
so the caller works on a copy.
"""

from collections import Counter
from copy import deepcopy
from typing import Any

LIMIT = 1_000_000_000
_OPPOSITES = {
    "InventoryAdded": "InventoryRemoved",
    "InventoryRemoved": "InventoryAdded",
    "InventoryAdjusted": "InventoryAdjusted",
}
LACK_OF_STOCK = {"insufficient_stock", "below_reserved"}


class Refused(Exception):
    """The error response that a request must get."""

    def __init__(self, status: int, code: str, **known: Any) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"code": code, **known}


def _refuse_any(refused: list[tuple[int, Refused]]) -> None:
    """Raise a refusal with all refused lines. The first one gives status and code."""
    if refused:
        refused.sort(key=lambda line: line[0])
        first = refused[0][1]
        lines = [{"index": index, **line.body} for index, line in refused]
        raise Refused(first.status, first.body["code"], lines=lines)


class Model:
    """Products with their ledgers, by SKU, and reservations, by id."""

    def __init__(self) -> None:
        self.products: dict[str, dict[str, Any]] = {}
        self.reservations: dict[int, dict[str, Any]] = {}

    def copy(self) -> "Model":
        return deepcopy(self)

    # ----------------------------------------------------------------------------------- reading

    def available(self, sku: str) -> int:
        return int(self.products[sku]["quantity"] - self.products[sku]["reserved_quantity"])

    def product(self, sku: str) -> dict[str, Any]:
        """Return a product as in a response."""
        product = self.products.get(sku)
        if product is None:
            raise Refused(404, "product_not_found", sku=sku)
        available = self.available(sku)
        return {
            "sku": sku,
            "name": product["name"],
            "description": product["description"],
            "archived": product["archived"],
            "quantity": product["quantity"],
            "reserved_quantity": product["reserved_quantity"],
            "available_quantity": available,
            "minimum_stock_level": product["minimum_stock_level"],
            "low_stock": available < product["minimum_stock_level"],
            "version": len(product["events"]),
        }

    def reservation(self, number: int) -> dict[str, Any]:
        """Return a reservation as in a response."""
        if number not in self.reservations:
            raise Refused(404, "reservation_not_found")
        reservation = self.reservations[number]
        return {
            "id": number,
            "reference": reservation["reference"],
            "status": self.status(number),
            "lines": [{"sku": sku, **line} for sku, line in reservation["lines"].items()],
        }

    def status(self, number: int) -> str:
        lines = self.reservations[number]["lines"].values()
        for part in ("open", "fulfilled", "expired"):
            if any(line[part] for line in lines):
                return part
        return "released"

    def overdue(self, sku: str) -> list[int]:
        """Return the overdue reservations that hold units of a product, oldest first."""
        return [
            number
            for number, reservation in sorted(self.reservations.items())
            if reservation["overdue"] and reservation["lines"].get(sku, {}).get("open")
        ]

    # ---------------------------------------------------------------------------------- products

    def create(self, sku: str, *, name: str, quantity: int, minimum: int) -> dict[str, Any]:
        if sku in self.products:
            raise Refused(409, "duplicate_sku", sku=sku)
        self.products[sku] = {
            "name": name,
            "description": "",
            "archived": False,
            "quantity": 0,
            "reserved_quantity": 0,
            "minimum_stock_level": minimum,
            "low": False,
            "events": [],
        }
        self._record(sku, "ProductCreated", quantity_change=quantity)
        return self.product(sku)

    def edit(self, sku: str, *, archived: bool | None = None, **described: Any) -> dict[str, Any]:
        self.product(sku)
        product = self.products[sku]
        details = {
            name: {"old": product[name], "new": value}
            for name, value in described.items()
            if value != product[name]
        }
        product.update(described)
        if details:
            self._append(sku, "ProductEdited", 0, 0, details=details)
        self._watch(sku)
        if archived is not None and archived != product["archived"]:
            product["archived"] = archived
            self._append(sku, "ProductArchived" if archived else "ProductRestored", 0, 0)
        return self.product(sku)

    def _record(
        self,
        sku: str,
        event_type: str,
        *,
        quantity_change: int = 0,
        reserved_change: int = 0,
        **why: Any,
    ) -> None:
        product = self.products[sku]
        product["quantity"] += quantity_change
        product["reserved_quantity"] += reserved_change
        self._append(sku, event_type, quantity_change, reserved_change, **why)
        self._watch(sku)

    def _watch(self, sku: str) -> None:
        """Add a low-stock event if the product has crossed its minimum."""
        product = self.products[sku]
        is_low = self.available(sku) < product["minimum_stock_level"]
        if is_low != product["low"]:
            product["low"] = is_low
            self._append(sku, "LowStockDetected" if is_low else "LowStockResolved", 0, 0)

    def _append(self, sku: str, event_type: str, quantity: int, reserved: int, **why: Any) -> None:
        product = self.products[sku]
        product["events"].append(
            {
                "version": len(product["events"]) + 1,
                "type": event_type,
                "quantity_change": quantity,
                "reserved_change": reserved,
                "quantity": product["quantity"],
                "reserved_quantity": product["reserved_quantity"],
                "reservation": None,
                "reason": "",
                "reference": "",
                "details": {},
                "undoes__version": None,
                **why,
            }
        )

    # ---------------------------------------------------------------------------------- quantity

    def operate(self, **operation: Any) -> dict[str, Any]:
        """Add, remove or adjust, in a request without lines."""
        self._operate(**operation)
        return self.product(operation["sku"])

    def operate_all(self, operations: list[dict[str, Any]]) -> dict[str, Any]:
        refused = []
        counted: set[str] = set()
        for index, operation in enumerate(operations):
            try:
                if operation["operation"] == "adjust":
                    if operation["sku"] in counted:
                        raise Refused(409, "repeated_count", sku=operation["sku"])
                    counted.add(operation["sku"])
                self._operate(**operation)
            except Refused as refusal:
                refused.append((index, refusal))
        _refuse_any(refused)
        return {"results": [self.product(operation["sku"]) for operation in operations]}

    def _operate(self, *, operation: str, sku: str, **values: Any) -> None:
        self.product(sku)
        why = {name: values[name] for name in ("reason", "reference") if name in values}
        quantity, available = self.products[sku]["quantity"], self.available(sku)
        if operation == "add":
            amount = values["amount"]
            self._refuse_archived(sku, amount)
            if quantity + amount > LIMIT:
                raise Refused(409, "stock_limit_exceeded", sku=sku, requested=amount)
            self._record(sku, "InventoryAdded", quantity_change=amount, **why)
        elif operation == "remove":
            amount = values["amount"]
            self._need(sku, amount)
            self._record(sku, "InventoryRemoved", quantity_change=-amount, **why)
        elif "counted_at" in values:
            self._count_late(sku, **values)
        else:
            counted = values["quantity"]
            if values.get("expected_quantity", quantity) != quantity:
                raise Refused(409, "quantity_changed", sku=sku, available=available)
            if counted < self.products[sku]["reserved_quantity"]:
                known = {"sku": sku, "requested": counted, "available": available}
                raise Refused(409, "below_reserved", **known)
            self._record(sku, "InventoryAdjusted", quantity_change=counted - quantity, **why)

    def _count_late(
        self, sku: str, *, quantity: int, counted_at: str, then: int, **why: Any
    ) -> None:
        """Apply the difference between a count and the level at its moment.

        `then` is the version of the product at that moment, 0 if it did not exist.
        """
        events = self.products[sku]["events"]
        if then == 0:
            raise Refused(400, "invalid", sku=sku)
        available = self.available(sku)
        if any(self._hides_earlier_levels(sku, event, then) for event in events[then:]):
            raise Refused(409, "quantity_changed", sku=sku, available=available)
        change = quantity - events[then - 1]["quantity"]
        result = self.products[sku]["quantity"] + change
        if result < self.products[sku]["reserved_quantity"]:
            raise Refused(409, "below_reserved", sku=sku, requested=result, available=available)
        if result > LIMIT:
            raise Refused(409, "stock_limit_exceeded", sku=sku, requested=change)
        details = {"counted_at": counted_at}
        self._record(sku, "InventoryAdjusted", quantity_change=change, details=details, **why)

    def _hides_earlier_levels(self, sku: str, event: dict[str, Any], then: int) -> bool:
        """Return whether a count of version `then` no longer applies after this event."""
        undone = event["undoes__version"]
        is_count = event["type"] == "InventoryAdjusted" or undone is not None
        return is_count and not self._is_undone(sku, event) and (undone or 0) <= then

    def _is_undone(self, sku: str, event: dict[str, Any]) -> bool:
        events = self.products[sku]["events"]
        return any(later["undoes__version"] == event["version"] for later in events)

    def undo(self, sku: str, version: int, *, reason: str) -> dict[str, Any]:
        """Take back the event with this version of a product."""
        change = self._opposite(sku, version)
        self._undo(sku, version, total=change, reason=reason)
        return self.product(sku)

    def undo_all(self, events: list[tuple[str, int]], *, reason: str) -> dict[str, Any]:
        """Take back events, the latest first. Each has its SKU and its version."""
        changes = [self._opposite(sku, version) for sku, version in events]
        totals: Counter[str] = Counter()
        for (sku, _), change in zip(events, changes, strict=True):
            totals[sku] += change
        refused = []
        for index, (sku, version) in enumerate(events):
            try:
                self._undo(sku, version, total=totals[sku], reason=reason)
            except Refused as refusal:
                refused.append((index, refusal))
        _refuse_any(refused)
        return {}

    def _opposite(self, sku: str, version: int) -> int:
        """Return the change that takes an event back."""
        event = self.products[sku]["events"][version - 1]
        change = -int(event["quantity_change"])
        if event["type"] not in _OPPOSITES or event["undoes__version"] is not None or not change:
            raise Refused(409, "cannot_undo", sku=sku)
        return change

    def _undo(self, sku: str, version: int, *, total: int, reason: str) -> None:
        """Take back an event. `total` is the change of all events that are undone with it."""
        event = self.products[sku]["events"][version - 1]
        change = -event["quantity_change"]
        if self._is_undone(sku, event):
            raise Refused(409, "already_undone", sku=sku)
        self._need(sku, -change)
        if change > 0 and total > 0:
            self._refuse_archived(sku, change)
        if self.products[sku]["quantity"] + change > LIMIT:
            raise Refused(409, "stock_limit_exceeded", sku=sku, requested=change)
        why: dict[str, Any] = {"reference": event["reference"], "undoes__version": version}
        self._record(sku, _OPPOSITES[event["type"]], quantity_change=change, reason=reason, **why)

    def _refuse_archived(self, sku: str, amount: int) -> None:
        if self.products[sku]["archived"]:
            known = {"sku": sku, "requested": amount, "available": self.available(sku)}
            raise Refused(409, "product_archived", **known)

    def _need(self, sku: str, amount: int) -> None:
        available = self.available(sku)
        if amount > available:
            known = {"sku": sku, "requested": amount, "available": available}
            raise Refused(409, "insufficient_stock", **known)

    # ------------------------------------------------------------------------------ reservations

    def reserve(self, number: int, lines: list[tuple[str, int]], **about: Any) -> dict[str, Any]:
        """Reserve all lines. `about` holds the reference, and whether the reservation `ends`."""
        refused, held = [], _sum(lines)
        for sku, (index, amount) in held.items():
            try:
                self.product(sku)
                self._refuse_archived(sku, amount)
                self._need(sku, amount)
            except Refused as refusal:
                refused.append((index, refusal))
        _refuse_any(refused)
        parts = {"fulfilled": 0, "released": 0, "expired": 0}
        self.reservations[number] = {
            **about,
            "overdue": False,
            "lines": {
                sku: {"amount": amount, **parts, "open": amount}
                for sku, (_, amount) in held.items()
            },
        }
        for sku, (_, amount) in held.items():
            why = {"reservation": number, "reference": about["reference"]}
            self._record(sku, "InventoryReserved", reserved_change=amount, **why)
        return self.reservation(number)

    def end(
        self, part: str, number: int, lines: list[tuple[str, int]] | None, **why: Any
    ) -> dict[str, Any]:
        """Fulfill or release (`part` says which) the given lines, or all open units."""
        self._refuse_if_over(number)
        held = self.reservations[number]["lines"]
        if lines is None:
            wanted = {sku: line["open"] for sku, line in held.items() if line["open"]}
        else:
            refused = []
            for sku, (index, amount) in _sum(lines).items():
                is_open = held[sku]["open"] if sku in held else 0
                if sku not in self.products:
                    refused.append((index, Refused(404, "product_not_found", sku=sku)))
                elif amount > is_open:
                    known = {"sku": sku, "requested": amount, "available": is_open}
                    refused.append((index, Refused(409, "insufficient_reserved", **known)))
            _refuse_any(refused)
            wanted = {sku: amount for sku, (_, amount) in _sum(lines).items()}
        for sku, amount in wanted.items():
            self._end(part, number, sku, amount, **why)
        return self.reservation(number)

    def release_product(
        self, sku: str, amount: int, number: int | None, **why: Any
    ) -> dict[str, Any]:
        """Release units of a product, from a reservation or the oldest without a reference."""
        if number is not None:
            try:
                self.end("released", number, [(sku, amount)], **why)
            except Refused as refusal:
                # The request has no lines, so the refusal has none either.
                line = refusal.body.get("lines", [refusal.body])[0]
                known = {name: value for name, value in line.items() if name != "index"}
                raise Refused(refusal.status, **known) from None
            return self.product(sku)
        self.product(sku)
        unreferenced = [
            number
            for number, reservation in sorted(self.reservations.items())
            if not reservation["reference"] and not reservation["overdue"]
            if reservation["lines"].get(sku, {}).get("open")
        ]
        missing = amount
        for found in unreferenced:
            portion = min(missing, self.reservations[found]["lines"][sku]["open"])
            if portion:
                self._end("released", found, sku, portion, **why)
                missing -= portion
        if missing:
            known = {"sku": sku, "requested": amount, "available": amount - missing}
            raise Refused(409, "insufficient_reserved", **known)
        return self.product(sku)

    def extend(self, number: int) -> dict[str, Any]:
        self._refuse_if_over(number)
        self.reservations[number]["ends"] = True
        return self.reservation(number)

    def expire(self, number: int, sku: str) -> None:
        """Expire the open units of a product in a reservation, which must be overdue."""
        reservation = self.reservations[number]
        assert reservation["overdue"], f"Reservation {number} expired before its time."
        held = reservation["lines"][sku]["open"]
        assert held, f"Reservation {number} expired twice."
        self._end("expired", number, sku, held, reason="expired")

    def give_back(self, number: int) -> dict[str, Any]:
        """Expire one overdue reservation."""
        self._refuse_unless_overdue(number)
        for sku, line in self.reservations[number]["lines"].items():
            if line["open"]:
                self.expire(number, sku)
        return self.reservation(number)

    def reserve_again(self, number: int, new: int, *, ends: bool) -> dict[str, Any]:
        """Expire an overdue reservation and reserve its open units again."""
        self._refuse_unless_overdue(number)
        held = self.reservations[number]["lines"]
        lines = [(sku, line["open"]) for sku, line in held.items() if line["open"]]
        refused = []
        for index, (sku, amount) in enumerate(lines):
            try:
                self._refuse_archived(sku, amount)
            except Refused as refusal:
                refused.append((index, refusal))
        _refuse_any(refused)
        self.give_back(number)
        return self.reserve(new, lines, reference=self.reservations[number]["reference"], ends=ends)

    def _refuse_unless_overdue(self, number: int) -> None:
        self.reservation(number)
        if self.status(number) != "open":
            self._refuse_if_over(number)
        if not self.reservations[number]["overdue"]:
            raise Refused(400, "invalid")

    def take_back(self, number: int, lines: list[tuple[str, int]]) -> dict[str, Any]:
        """Add fulfilled units of a reservation again."""
        self.reservation(number)
        reference = self.reservations[number]["reference"] or f"reservation {number}"
        refused, returned = [], _sum(lines)
        for sku, (index, amount) in returned.items():
            try:
                self.product(sku)
                left = self._not_returned(number, sku)
                if amount > left:
                    known = {"sku": sku, "requested": amount, "available": left}
                    raise Refused(409, "insufficient_fulfilled", **known)
                self._refuse_archived(sku, amount)
                if self.products[sku]["quantity"] + amount > LIMIT:
                    raise Refused(409, "stock_limit_exceeded", sku=sku, requested=amount)
            except Refused as refusal:
                refused.append((index, refusal))
        _refuse_any(refused)
        for sku, (_, amount) in returned.items():
            why: dict[str, Any] = {"reservation": number, "reason": "return"}
            self._record(sku, "InventoryAdded", quantity_change=amount, reference=reference, **why)
        return self.reservation(number)

    def _not_returned(self, number: int, sku: str) -> int:
        """Return the fulfilled units of a product that have not come back."""
        line = self.reservations[number]["lines"].get(sku, {"fulfilled": 0})
        returned = [
            event["quantity_change"]
            for event in self.products[sku]["events"]
            if (event["type"], event["reservation"]) == ("InventoryAdded", number)
            and not self._is_undone(sku, event)
        ]
        return int(line["fulfilled"] - sum(returned))

    def _refuse_if_over(self, number: int) -> None:
        self.reservation(number)
        reservation, status = self.reservations[number], self.status(number)
        has_expired = any(line["expired"] for line in reservation["lines"].values())
        if (reservation["overdue"] and status == "open") or has_expired:
            raise Refused(410, "reservation_expired")
        if status != "open":
            raise Refused(409, "reservation_closed")

    def _end(self, part: str, number: int, sku: str, amount: int, **why: Any) -> None:
        line = self.reservations[number]["lines"][sku]
        line["open"] -= amount
        line[part] += amount
        shipped = part == "fulfilled"
        self._record(
            sku,
            "InventoryFulfilled" if shipped else "InventoryReleased",
            quantity_change=-amount if shipped else 0,
            reserved_change=-amount,
            reservation=number,
            **why,
        )


def _sum(lines: list[tuple[str, int]]) -> dict[str, tuple[int, int]]:
    """Return the first index and the total amount of each SKU."""
    sums: dict[str, tuple[int, int]] = {}
    for index, (sku, amount) in enumerate(lines):
        first, so_far = sums.get(sku, (index, 0))
        sums[sku] = (first, so_far + amount)
    return sums
