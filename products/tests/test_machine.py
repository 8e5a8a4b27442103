"""A state machine sends random requests to the service and to `model.Model`, and compares.

After every step, the database and the model must agree on levels, versions, the whole ledger and
all reservations. `make fuzz` tries many more requests, and different ones each time.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from itertools import count
from typing import Any, ClassVar

import hypothesis
import pytest
from django.core.management import call_command
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rest_framework.test import APIClient

from products import stock
from products.models import Product, Reservation, StockEvent
from products.tests.checks import assert_problem
from products.tests.factories import ACTOR, ApiKeyFactory
from products.tests.model import LACK_OF_STOCK, LIMIT, Model, Refused

UNKNOWN_RESERVATION = 10**17
HOUR = 3600

few = st.integers(1, 6)
many = st.integers(LIMIT - 5, LIMIT)
amounts = st.sampled_from([few] * 14 + [many]).flatmap(lambda kind: kind)
levels = st.sampled_from([st.integers(0, 12)] * 14 + [many]).flatmap(lambda kind: kind)
names = st.sampled_from("AAAABBBCCDX")  # D may be created later. X never exists.
notes = st.fixed_dictionaries(
    {}, optional={"reason": st.just("why"), "reference": st.sampled_from(["", "order-1"])}
)
lines = st.lists(st.tuples(names, amounts), min_size=1, max_size=4)
ends = st.fixed_dictionaries(
    {"reference": st.sampled_from(["", "", "order-1"])},
    optional={"expires_in": st.just(HOUR)},
)
positions = st.integers(0, 9)
"""An index into a list of requests or reservations, from the last one, modulo its length."""
reservations = st.sampled_from([*range(6), *range(6), None])
"""The same for reservations. None stands for a reservation that does not exist."""
conditions = st.sampled_from([None] * 9 + ["*", 0, 0, 1, 4])
"""The `If-Match`: none, `*`, or the received entity tag at this position from the last one."""
keyed = st.booleans()
just_before = st.sampled_from([False] * 5 + [True])
late = st.booleans()
"""Whether a reservation with an expiry becomes overdue at once."""

Expect = Callable[[Model], dict[str, Any]]


def assert_holds(expected: Any, found: Any) -> None:
    """Assert that `found` contains everything in `expected`. Objects may have more fields."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_holds(value, found[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected), (expected, found)
        for one, other in zip(expected, found, strict=True):
            assert_holds(one, other)
    else:
        assert found == expected, (expected, found)


class Machine(RuleBasedStateMachine):
    """Requests as rules, and the model that predicts their results."""

    api: ClassVar[APIClient]
    reached: ClassVar[Counter[str]]
    """The number of times that each outcome was reached, over all examples."""
    numbers: ClassVar[Iterator[int]]

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"M{next(self.numbers)}-"
        self.model = Model()
        self.done: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.etags: dict[str, list[str]] = {}

    # ------------------------------------------------------------------------ sending and comparing

    def sku(self, name: str) -> str:
        return self.prefix + name

    def pick(self, position: int | None) -> int:
        numbers = sorted(self.model.reservations, reverse=True)
        if position is None or not numbers:
            return UNKNOWN_RESERVATION
        return numbers[position % len(numbers)]

    def send(
        self,
        path: str,
        body: dict[str, Any],
        expect: Expect,
        *,
        method: str = "POST",
        keyed: bool = False,
        sku: str | None = None,
        condition: str | int | None = None,
        done: int = 200,
        one_line: bool = True,
        note: str = "",
    ) -> None:
        """Send a request, and compare its response and its effect with those of the model."""
        self._play(
            {
                "method": method,
                "path": path,
                "body": body,
                "etag": self._etag(sku, condition),
                "key": f"key-{next(self.numbers)}" if keyed else None,
                "sku": sku,
                "expect": expect,
                "done": done,
                "one_line": one_line,
            },
            *filter(None, [note]),
        )

    def _play(self, request: dict[str, Any], *more: str) -> None:
        response = self._ask(request)
        assert not response.has_header("Idempotent-Replayed")

        def under_condition(model: Model) -> dict[str, Any]:
            self._refuse_unless_current(request["sku"], request["etag"])
            expected: dict[str, Any] = request["expect"](model)
            return expected

        outcomes, self.model = self._predict(under_condition, one_line=request["one_line"])
        is_done = isinstance(outcomes, dict)
        if isinstance(outcomes, dict):
            assert response.status_code == request["done"], (response.content, outcomes)
            assert_holds(outcomes, response.json())
        else:
            self._assert_one_of(response, outcomes)
        self._note(response, *more)
        if request["sku"] in self.model.products and response.has_header("ETag"):
            assert response["ETag"] == self._current_etag(request["sku"])
            self.etags.setdefault(request["sku"], []).append(response["ETag"])
        if request["key"]:
            (self.done if is_done else self.refused).append({**request, "response": response})

    def call(
        self, verb: Callable[[], Any], expect: Expect, note: str, *, one_line: bool = True
    ) -> None:
        """Call a function of `stock` that only the back office uses, and compare its effect."""
        code = ""
        try:
            verb()
        except stock.StockError as error:
            code = f" {error.code}"
            found = _body_of(error)
        outcomes, self.model = self._predict(expect, one_line=one_line)
        if isinstance(outcomes, dict):
            assert not code, (code, outcomes)
        else:
            assert code, outcomes
            assert found in [refusal.body for refusal in outcomes]
        self.reached[f"{note}{code}"] += 1

    def _ask(self, request: dict[str, Any]) -> Any:
        names = {"Idempotency-Key": request["key"], "If-Match": request["etag"]}
        return self.api.generic(
            request["method"],
            request["path"],
            json.dumps(request["body"]),
            content_type="application/json",
            headers={name: value for name, value in names.items() if value is not None},
        )

    def _etag(self, sku: str | None, condition: str | int | None) -> str | None:
        if not isinstance(condition, int):
            return condition
        known = self.etags.get(sku or "", [])
        return known[-1 - condition] if condition < len(known) else '"0"'

    def _current_etag(self, sku: str) -> str:
        return f'"{self.model.product(sku)["version"]}"'

    def _refuse_unless_current(self, sku: str | None, etag: str | None) -> None:
        if sku is not None and etag is not None and etag not in ("*", self._current_etag(sku)):
            raise Refused(412, "precondition_failed", sku=sku)

    def _note(self, response: Any, *more: str) -> None:
        code = [response.json()["code"]] if response.status_code >= 400 else []
        self.reached[" ".join([str(response.status_code), *code, *more])] += 1

    def _assert_one_of(self, response: Any, refusals: list[Refused]) -> None:
        problem = assert_problem(response, response.status_code, response.json().get("code"))
        names = {"code", "sku", "requested", "available", "lines"}
        found = {name: value for name, value in problem.items() if name in names}
        allowed = [(refusal.status, refusal.body) for refusal in refusals]
        assert (response.status_code, found) in allowed

    def _predict(
        self, expect: Expect, *, one_line: bool
    ) -> tuple[dict[str, Any] | list[Refused], Model]:
        """Return the expected body or the possible refusals, and the model after the request."""
        after = self.model.copy()
        try:
            return expect(after), after
        except Refused as refusal:
            first = last = refusal
        # If stock is short, overdue reservations of the short products must expire if that helps.
        generous = self.model.copy()
        while overdue := [
            (number, sku) for sku in _short(last) for number in generous.overdue(sku)
        ]:
            for number, sku in overdue:
                generous.expire(number, sku)
            try:
                expect(generous.copy())
            except Refused as refusal:
                last = refusal
            else:
                return self._predict_given(expect, one_line=one_line)
        return [first, last], self.model

    def _predict_given(self, expect: Expect, *, one_line: bool) -> tuple[dict[str, Any], Model]:
        """Return the expected body and the model for a request that needed overdue units.

        A request with several lines may expire more units than it needs, so the expired ones are
        read from the ledger.
        """
        after = self.model.copy()
        given: dict[str, list[int]] = {}
        for sku, number in self._expired_since(after):
            given.setdefault(sku, []).append(number)
        for sku, numbers in given.items():
            assert sorted(numbers) == self.model.overdue(sku)[: len(numbers)], (
                "The expired reservations are not the oldest."
            )
            for number in numbers:
                if one_line and number == max(numbers):
                    with pytest.raises(Refused):
                        expect(after.copy())
                after.expire(number, sku)
        self.reached["overdue units expired"] += 1
        return expect(after), after

    def _expired_since(self, model: Model) -> list[tuple[str, int]]:
        return [
            (event.product.sku, event.reservation_id or 0)
            for sku, product in model.products.items()
            for event in StockEvent.objects.filter(
                product__sku=sku, version__gt=len(product["events"]), reason="expired"
            )
            .order_by("version")
            .select_related("product")
        ]

    # ------------------------------------------------------------------------------------ products

    @initialize(quantity=st.integers(3, 9), minimum=st.integers(0, 8), amount=few, late=late)
    def start(self, quantity: int, minimum: int, amount: int, late: bool) -> None:
        """Create products and reservations, so that every rule has something to work on."""
        for name in "ABC":
            self.create(name, quantity, minimum, keyed=False)
        self.reserve("A", 1, {"reference": ""}, late=False, keyed=True, condition=None)
        about = {"reference": "order-1", "expires_in": HOUR}
        self.reserve_order([("A", 1), ("B", amount)], about, late=late, keyed=True)

    @rule(name=st.sampled_from("ADEFGHIJ"), quantity=levels, minimum=st.integers(0, 8), keyed=keyed)
    def create(self, name: str, quantity: int, minimum: int, keyed: bool) -> None:
        sku = self.sku(name)
        body = {"sku": sku, "name": name, "quantity": quantity, "minimum_stock_level": minimum}
        self.send(
            "/v1/products",
            body,
            lambda model: model.create(sku, name=name, quantity=quantity, minimum=minimum),
            keyed=keyed,
            sku=sku,
            done=201,
        )

    @rule(
        name=names,
        fields=st.fixed_dictionaries(
            {},
            optional={
                "minimum_stock_level": st.integers(0, 12),
                "name": st.sampled_from(["Cup", "Mug"]),
                "description": st.sampled_from(["", "Of china"]),
                "archived": st.sampled_from([False, False, True]),
            },
        ),
        condition=conditions,
    )
    def edit(self, name: str, fields: dict[str, Any], condition: str | int | None) -> None:
        sku = self.sku(name)
        self.send(
            f"/v1/products/{sku}",
            fields,
            lambda model: model.edit(sku, **fields),
            method="PATCH",
            sku=sku,
            condition=condition,
        )

    @rule(
        operation=st.sampled_from(["add", "remove", "remove"]),
        method=st.sampled_from(["POST", "PATCH"]),
        name=names,
        amount=amounts,
        notes=notes,
        keyed=keyed,
        condition=conditions,
    )
    def add_or_remove(
        self, operation: str, method: str, name: str, amount: int, notes: Any, **how: Any
    ) -> None:
        sku, values = self.sku(name), {"amount": amount, **notes}
        self.send(
            f"/v1/products/{sku}/{operation}",
            values,
            lambda model: model.operate(operation=operation, sku=sku, **values),
            method=method,
            sku=sku,
            **how,
        )

    @rule(
        name=names,
        quantity=levels,
        off_by=st.sampled_from([None, 0, 1, 1]),
        keyed=keyed,
        condition=conditions,
    )
    def adjust(self, name: str, quantity: int, off_by: int | None, **how: Any) -> None:
        sku, values = self.sku(name), {"quantity": quantity, "reason": "stocktake"}
        if off_by is not None:
            values["expected_quantity"] = self._near_quantity(sku, off_by)
        self.send(
            f"/v1/products/{sku}/adjust",
            values,
            lambda model: model.operate(operation="adjust", sku=sku, **values),
            sku=sku,
            **how,
        )

    def _near_quantity(self, sku: str, off_by: int) -> int:
        product = self.model.products.get(sku, {"quantity": 0})
        return abs(int(product["quantity"]) - off_by)

    @rule(
        name=names,
        position=positions,
        just_before=just_before,
        off_by=st.integers(-3, 3),
        keyed=keyed,
        condition=conditions,
    )
    def count_late(
        self, name: str, position: int, just_before: bool, off_by: int, **how: Any
    ) -> None:
        """Send a count of an earlier moment, near the level of then."""
        sku, moment = self.sku(name), self._moment(self.sku(name), position, just_before)
        level = self._level_at(sku, moment)
        values = {
            "quantity": min(max(level + off_by, 0), LIMIT),
            "reason": "stocktake",
            "counted_at": moment,
        }
        self.send(
            f"/v1/products/{sku}/adjust",
            values,
            lambda model: model.operate(
                operation="adjust", sku=sku, then=self._version_at(sku, moment), **values
            ),
            sku=sku,
            note="late count",
            **how,
        )

    @rule(
        name=names,
        sold=few,
        case=st.sampled_from(["right", "again", *["nothing left"] * 3, "too many", "too early"]),
    )
    def count_late_after_a_change(self, name: str, sold: int, case: str) -> None:
        """Change the stock, then send a count of the moment before."""
        how: dict[str, Any] = {"keyed": False, "condition": None}
        operation = "add" if case == "too many" else "remove"
        self.add_or_remove(operation, "POST", name, sold, notes={}, **how)
        if case == "again":
            self.adjust(name, sold, off_by=None, **how)
        self.count_late(
            name,
            position=-1 if case == "too early" else 1,
            just_before=case == "too early",
            off_by={"nothing left": -LIMIT, "too many": LIMIT}.get(case, 0),
            **how,
        )

    def _moment(self, sku: str, position: int, just_before: bool) -> str:
        """Return the time of an event of a product, from the last one, or the time before it."""
        times = list(StockEvent.objects.filter(sku=sku).order_by("-version"))
        time = times[position % len(times)].occurred_at if times else timezone.now()
        return _as_text(time - timedelta(microseconds=just_before))

    def _version_at(self, sku: str, moment: str) -> int:
        """Return the version of a product at a moment, before the request that was sent last."""
        known = len(self.model.products.get(sku, {"events": []})["events"])
        events = StockEvent.objects.filter(sku=sku, version__lte=known, occurred_at__lte=moment)
        return events.count()

    def _level_at(self, sku: str, moment: str) -> int:
        version = self._version_at(sku, moment)
        return int(self.model.products[sku]["events"][version - 1]["quantity"]) if version else 0

    @rule(
        wanted=st.lists(
            st.tuples(
                st.sampled_from(["add", "remove", "remove", "adjust", "late count"]),
                names,
                amounts,
                notes,
            ),
            min_size=1,
            max_size=6,
        ),
        position=positions,
        keyed=keyed,
    )
    def operations(self, wanted: list[Any], position: int, keyed: bool) -> None:
        operations = []
        for operation, name, number, notes in wanted:
            is_count = operation not in ("add", "remove")
            field = "quantity" if is_count else "amount"
            values = {"operation": operation, "sku": self.sku(name), field: number, **notes}
            if is_count:
                values |= {"operation": "adjust", "reason": "stocktake"}
            if operation == "late count":
                values["counted_at"] = self._moment(values["sku"], position, just_before=False)
            operations.append(values)

        def expect(model: Model) -> dict[str, Any]:
            return model.operate_all(
                [
                    {**each, "then": self._version_at(each["sku"], each["counted_at"])}
                    if "counted_at" in each
                    else each
                    for each in operations
                ]
            )

        self.send("/v1/operations", {"operations": operations}, expect, keyed=keyed, one_line=False)

    @rule(name=st.sampled_from("ABC"), quantity=few)
    def count_twice(self, name: str, quantity: int) -> None:
        """Send two counts of a product in one request."""
        count: Any = ("adjust", name, quantity, {})
        self.operations([count, count], position=0, keyed=False)

    @rule(
        action=st.sampled_from(["remove", "reserve", "adjust", "adjust", "add", "add"]),
        name=names,
        beyond=few,
    )
    def go_beyond(self, action: str, name: str, beyond: int) -> None:
        """Send an operation slightly beyond the limit: more units than are available, or too many.

        Overdue reservations may hold the missing units.
        """
        product = self.model.products.get(self.sku(name))
        if product is None:
            return
        how: dict[str, Any] = {"keyed": False, "condition": None}
        amount = min(self.model.available(self.sku(name)) + beyond, LIMIT)
        if action == "adjust":
            self.adjust(name, max(product["reserved_quantity"] - beyond, 0), off_by=None, **how)
        elif action == "add":
            amount = LIMIT - product["quantity"] + beyond
            self.add_or_remove("add", "POST", name, min(amount, LIMIT), notes={}, **how)
        elif action == "remove":
            self.add_or_remove("remove", "POST", name, amount, notes={}, **how)
        else:
            self.reserve(name, amount, {"reference": ""}, late=False, **how)

    @rule(name=names, action=st.sampled_from(["add", "reserve"]), restore=st.booleans())
    def use_archived(self, name: str, action: str, restore: bool) -> None:
        """Archive a product, and send an operation that an archived product refuses."""
        how: dict[str, Any] = {"keyed": False, "condition": None}
        self.edit(name, {"archived": True}, condition=None)
        if action == "add":
            self.add_or_remove("add", "POST", name, 1, notes={}, **how)
        else:
            self.reserve(name, 1, {"reference": ""}, late=False, **how)
        if restore:
            self.edit(name, {"archived": False}, condition=None)

    # -------------------------------------------------------------------------------- reservations

    @rule(name=names, amount=amounts, about=ends, late=late, keyed=keyed, condition=conditions)
    def reserve(
        self, name: str, amount: int, about: dict[str, Any], late: bool, **how: Any
    ) -> None:
        sku = self.sku(name)

        def expect(model: Model) -> dict[str, Any]:
            number = self._new_reservation()
            try:
                reservation = model.reserve(number, [(sku, amount)], **_about(about))
            except Refused as refusal:
                raise _without_lines(refusal) from None
            return {**model.product(sku), "reservation": reservation}

        path = f"/v1/products/{sku}/reserve"
        self.send(path, {"amount": amount, **about}, expect, sku=sku, **how)
        if late:
            self.time_passes(position=0)

    @rule(wanted=lines, about=ends, late=late, keyed=keyed)
    def reserve_order(self, wanted: Any, about: dict[str, Any], late: bool, keyed: bool) -> None:
        lines = [(self.sku(name), amount) for name, amount in wanted]
        self.send(
            "/v1/reservations",
            {"lines": _as_json(lines), **about},
            lambda model: model.reserve(self._new_reservation(), lines, **_about(about)),
            keyed=keyed,
            done=201,
            one_line=len(lines) == 1,
        )
        if late:
            self.time_passes(position=0)

    def _new_reservation(self) -> int:
        """Return the id of the reservation that the service has just created, or 0."""
        skus = list(self.model.products)
        ids = Reservation.objects.filter(lines__product__sku__in=skus).values_list("pk", flat=True)
        return max(set(ids) - set(self.model.reservations), default=0)

    @rule(
        action=st.sampled_from(["fulfill", "fulfill", "release"]),
        position=reservations,
        wanted=st.none() | lines,
        notes=notes,
        keyed=keyed,
    )
    def end(self, action: str, position: int | None, wanted: Any, notes: Any, keyed: bool) -> None:
        number = self.pick(position)
        lines = wanted and [(self.sku(name), amount) for name, amount in wanted]
        part = {"fulfill": "fulfilled", "release": "released"}[action]
        self.send(
            f"/v1/reservations/{number}/{action}",
            {**({"lines": _as_json(lines)} if lines else {}), **notes},
            lambda model: model.end(part, number, lines, **notes),
            keyed=keyed,
        )

    @rule(action=st.sampled_from(["fulfill", "release"]), position=reservations)
    def end_twice(self, action: str, position: int | None) -> None:
        """End a reservation, then try to end it again."""
        for _ in range(2):
            self.end(action, position, wanted=None, notes={}, keyed=False)

    @rule(
        name=names,
        amount=st.integers(1, 3) | amounts,
        named=st.booleans(),
        position=reservations,
        notes=notes,
        keyed=keyed,
        condition=conditions,
    )
    def release_product(
        self, name: str, amount: int, named: bool, position: int | None, notes: Any, **how: Any
    ) -> None:
        sku = self.sku(name)
        number = self.pick(position) if named else None
        body = {"amount": amount, **notes, **({} if number is None else {"reservation": number})}
        self.send(
            f"/v1/products/{sku}/release",
            body,
            lambda model: model.release_product(sku, amount, number, **notes),
            sku=sku,
            **how,
        )

    @rule(position=reservations, keyed=keyed)
    def extend(self, position: int | None, keyed: bool) -> None:
        number = self.pick(position)
        self.send(
            f"/v1/reservations/{number}/extend",
            {"expires_in": HOUR},
            lambda model: model.extend(number),
            keyed=keyed,
        )

    # ------------------------------------------------------------------------------ the back office

    @rule(name=names, position=positions)
    def undo(self, name: str, position: int) -> None:
        sku = self.sku(name)
        events = StockEvent.objects.filter(product__sku=sku).order_by("-version")
        if events:
            event = events[position % len(events)]
            self.call(
                lambda: stock.undo(event, reason="wrong", by=ACTOR),
                lambda model: model.undo(sku, event.version, reason="wrong"),
                "undo",
            )

    @rule(operation=st.sampled_from(["add", "remove"]), name=names, amount=few)
    def change_and_undo_twice(self, operation: str, name: str, amount: int) -> None:
        self.add_or_remove(operation, "POST", name, amount, {}, keyed=False, condition=None)
        for position in (0, 1):
            self.undo(name, position)

    @rule(
        chosen=st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
        any_type=st.sampled_from([False, False, False, True]),
    )
    def undo_together(self, chosen: list[int], any_type: bool) -> None:
        """Undo up to three of the latest events of all products, all or none."""
        events = StockEvent.objects.filter(product__sku__startswith=self.prefix)
        if not any_type:
            events = events.filter(type__in=stock.UNDOABLE, undoes=None).exclude(quantity_change=0)
        latest = events.select_related("product").order_by("-pk")[:6]
        wanted = [event for index, event in enumerate(latest) if index in chosen]
        if wanted:
            versions = [(event.product.sku, event.version) for event in wanted]
            self.call(
                lambda: stock.undo_all(wanted, reason="wrong", by=ACTOR),
                lambda model: model.undo_all(versions, reason="wrong"),
                "undo together",
                one_line=False,
            )

    @rule(
        operations=st.lists(
            st.tuples(st.sampled_from(["add", "remove"]), names, few), min_size=2, max_size=3
        )
    )
    def change_and_undo_together(self, operations: list[tuple[str, str, int]]) -> None:
        for operation, name, amount in operations:
            self.add_or_remove(operation, "POST", name, amount, {}, keyed=False, condition=None)
        for _ in range(2):
            self.undo_together([0, 1], any_type=False)

    @rule(position=reservations, wanted=lines)
    def take_back(self, position: int | None, wanted: Any) -> None:
        number = self.pick(position)
        lines = [(self.sku(name), amount) for name, amount in wanted]
        requested = [stock.Line(sku, amount) for sku, amount in lines]
        self.call(
            lambda: stock.return_lines(reservation_id=number, lines=requested, by=ACTOR),
            lambda model: model.take_back(number, lines),
            "return",
        )

    @rule(name=names, amount=few, returned=few)
    def ship_and_take_back(self, name: str, amount: int, returned: int) -> None:
        """Reserve and fulfill units, and take some of them back."""
        self.reserve(name, amount, {"reference": ""}, late=False, keyed=False, condition=None)
        self.end("fulfill", 0, wanted=None, notes={}, keyed=False)
        self.take_back(0, [(name, returned)])

    @rule(position=reservations, expires_in=st.sampled_from([None, HOUR]), again=st.booleans())
    def settle(self, position: int | None, expires_in: int | None, again: bool) -> None:
        """Give an overdue reservation back, or reserve its units again."""
        number = self.pick(position)
        if again:
            self.call(
                lambda: stock.reserve_again(reservation_id=number, expires_in=expires_in, by=ACTOR),
                lambda model: model.reserve_again(
                    number, self._new_reservation(), ends=expires_in is not None
                ),
                "reserve again",
            )
        else:
            self.call(
                lambda: stock.expire(reservation_id=number, by=ACTOR),
                lambda model: model.give_back(number),
                "give back",
            )

    @rule(name=names, amount=few, again=st.booleans())
    def settle_late(self, name: str, amount: int, again: bool) -> None:
        """Reserve units until a moment that has passed, and settle the reservation twice."""
        about = {"reference": "order-1", "expires_in": HOUR}
        self.reserve(name, amount, about, late=True, keyed=False, condition=None)
        for position in (0, 1 if again else 0):
            self.settle(position, HOUR, again)

    # ------------------------------------------------------------------------- time and repetitions

    @rule(position=reservations, minutes=st.integers(1, 3))
    def time_passes(self, position: int | None, minutes: int = 1) -> None:
        """Move the expiry of a reservation into the past, because the test cannot wait."""
        number = self.pick(position)
        if self.model.reservations.get(number, {"ends": False})["ends"]:
            past = timezone.now() - timedelta(minutes=minutes)
            Reservation.objects.filter(pk=number).update(expires_at=past)
            self.model.reservations[number]["overdue"] = True

    @rule(batch=st.sampled_from([1, 2, 1000]))
    def expire_reservations(self, batch: int) -> None:
        call_command("expire_reservations", batch=batch, stdout=StringIO())

        # The ledger has the order in which the reservations expired.
        for sku, number in self._expired_since(self.model):
            self.model.expire(number, sku)
            self.reached["expired by the command"] += 1
        assert not any(self.model.overdue(sku) for sku in self.model.products)

    @precondition(lambda self: self.done)
    @rule(position=positions, alias=st.booleans())
    def retry(self, position: int, alias: bool) -> None:
        request = _at(position, self.done)
        path = request["path"].removeprefix("/v1") if alias else request["path"]

        again = self._ask({**request, "path": path})

        first = request["response"]
        assert again["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.content) == (first.status_code, first.content)
        for header in ("Content-Type", "ETag", "Location"):
            assert again.get(header) == first.get(header)
        self._note(again, "replayed")

    @precondition(lambda self: self.done)
    @rule(position=positions, other=positions)
    def reuse_key(self, position: int, other: int) -> None:
        mine = _at(position, self.done)
        others = _at(other, self.done + self.refused)
        if all(mine[name] == others[name] for name in ("path", "body", "etag")):
            return

        response = self._ask({**others, "key": mine["key"]})

        assert_problem(response, 422, "idempotency_key_reused")
        self._note(response)

    @precondition(lambda self: self.refused)
    @rule(position=positions, other=st.none() | positions)
    def repeat_refused(self, position: int, other: int | None) -> None:
        """Use the key of a refused request for the same or for another request."""
        refused = _at(position, self.refused)
        request = refused if other is None else _at(other, self.done + self.refused)
        self.refused.remove(refused)

        self._play({**request, "key": refused["key"]}, "after refusal")

    @rule(name=names, beyond=few, delivered=st.booleans())
    def order_again(self, name: str, beyond: int, delivered: bool) -> None:
        """Order too much, then repeat the order with its key, perhaps after a delivery."""
        how: dict[str, Any] = {"keyed": True, "condition": None}
        if self.sku(name) in self.model.products:
            amount = min(self.model.available(self.sku(name)) + beyond, LIMIT)
            self.reserve(name, amount, {"reference": "order-1"}, late=False, **how)
            if delivered:
                self.add_or_remove("add", "POST", name, beyond, notes={}, **how)
        if self.refused:
            self.repeat_refused(position=0, other=None)

    @rule(name=names, position=positions)
    def read_as_of(self, name: str, position: int) -> None:
        sku = self.sku(name)
        path = f"/v1/products/{sku}"
        response = self.api.get(f"{path}/events?page_size=1000")
        if sku not in self.model.products:
            assert_problem(response, 404, "product_not_found")
            return
        ledger = self.model.products[sku]["events"]
        rows = response.json()["results"]
        assert_holds([_as_in_response(event) for event in reversed(ledger)], rows)
        # Compared as datetimes: the text of a full second has no fraction.
        times = [datetime.fromisoformat(event["occurred_at"]) for event in rows]
        time = times[position % len(rows)]

        then = self.api.get(path, {"as_of": time.isoformat()})

        # Events of one request may have the same time. Then the last one counts.
        version = sum(one <= time for one in times)
        assert then.json()["version"] == version
        for level in ("quantity", "reserved_quantity"):
            assert then.json()[level] == ledger[version - 1][level]
        before = times[-1] - timedelta(microseconds=1)
        not_yet = self.api.get(path, {"as_of": before.isoformat()})
        assert_problem(not_yet, 404, "product_not_found")

    @rule(
        name=names, position=reservations, status=st.sampled_from(["open", "expired", "fulfilled"])
    )
    def read(self, name: str, position: int | None, status: str) -> None:
        sku, number = self.sku(name), self.pick(position)
        self._compare(f"/v1/products/{sku}", lambda: self.model.product(sku))
        self._compare(f"/v1/reservations/{number}", lambda: self.model.reservation(number))
        numbers = [
            number
            for number, reservation in sorted(self.model.reservations.items(), reverse=True)
            if sku in reservation["lines"] and self.model.status(number) == status
        ]
        self._compare(
            f"/v1/reservations?sku={sku}&status={status}",
            lambda: {"results": [self.model.reservation(number) for number in numbers]},
        )
        low = sorted(
            sku
            for sku, product in self.model.products.items()
            if product["low"] and not product["archived"]
        )
        self._compare(
            f"/v1/products?low_stock=true&sku={','.join(self.model.products)}",
            lambda: {"results": [self.model.product(sku) for sku in low]},
        )

    def _compare(self, path: str, expect: Callable[[], dict[str, Any]]) -> None:
        response = self.api.get(path)
        try:
            assert_holds(expect(), response.json())
        except Refused as refusal:
            self._assert_one_of(response, [refusal])

    # ----------------------------------------------------------------------------- after every step

    @invariant()
    def database_and_model_agree(self) -> None:
        skus = list(self.model.products)
        columns = (
            *("name", "description", "archived", "minimum_stock_level"),
            *("version", "quantity", "reserved_quantity"),
        )
        products = Product.objects.filter(sku__in=skus).values("sku", "low_stock", *columns)
        ledgers: dict[str, list[dict[str, Any]]] = {sku: [] for sku in skus}
        for event in (
            StockEvent.objects.filter(product__sku__in=skus)
            .order_by("version")
            .values("product__sku", *_EVENT)
        ):
            ledgers[event.pop("product__sku")].append(event)
        reservations = self._stored_reservations(skus)

        assert_holds([self.model.product(sku) for sku in skus], _with_available(products, skus))
        for sku in skus:
            expected = [_without_note(event) for event in self.model.products[sku]["events"]]
            assert [_without_note(event) for event in ledgers[sku]] == expected
        numbers = sorted(self.model.reservations)
        assert reservations == [self.model.reservation(number) for number in numbers]
        for product in products:
            _assert_guaranteed(product, ledgers[product["sku"]], reservations)

    def _stored_reservations(self, skus: list[str]) -> list[dict[str, Any]]:
        held = Reservation.objects.filter(lines__product__sku__in=skus).distinct().order_by("pk")
        return [
            {
                "id": reservation.pk,
                "reference": reservation.reference,
                "status": reservation.status,
                "lines": [
                    {"sku": line.product.sku, **{part: getattr(line, part) for part in _PARTS}}
                    for line in reservation.loaded_lines
                ],
            }
            for reservation in held.with_lines()
        ]


_PARTS = "amount", "fulfilled", "released", "expired", "open"
_EVENT = (
    *("version", "type", "quantity_change", "reserved_change", "quantity", "reserved_quantity"),
    *("reservation", "reason", "reference", "details", "undoes__version"),
)


def _with_available(products: Iterable[dict[str, Any]], skus: list[str]) -> list[dict[str, Any]]:
    """Return stored products with their available quantity, in the order of `skus`."""
    by_sku = {product["sku"]: product for product in products}
    return [
        {**row, "available_quantity": row["quantity"] - row["reserved_quantity"]}
        for row in map(by_sku.__getitem__, skus)
    ]


def _assert_guaranteed(
    product: dict[str, Any], ledger: list[dict[str, Any]], reservations: list[dict[str, Any]]
) -> None:
    """Assert the guarantees of the stored rows, independent of the model."""
    lines = [line for reservation in reservations for line in reservation["lines"]]
    held = [line["open"] for line in lines if line["sku"] == product["sku"]]

    assert 0 <= product["reserved_quantity"] <= product["quantity"] <= LIMIT
    assert sum(event["quantity_change"] for event in ledger) == product["quantity"]
    assert sum(event["reserved_change"] for event in ledger) == product["reserved_quantity"]
    assert sum(held) == product["reserved_quantity"]
    assert [event["version"] for event in ledger] == list(range(1, product["version"] + 1))
    for line in lines:
        assert line["amount"] == sum(line[part] for part in _PARTS[1:])


def _as_text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _at(position: int, requests: list[dict[str, Any]]) -> dict[str, Any]:
    return requests[-1 - position % len(requests)]


def _short(refusal: Refused) -> set[str]:
    found = refusal.body.get("lines", [refusal.body])
    return {line["sku"] for line in found if line["code"] in LACK_OF_STOCK}


def _body_of(error: stock.StockError) -> dict[str, Any]:
    """Return an error like the body of a `Refused`."""
    if not error.lines:
        return _known(error)
    lines = [{"index": index, **_known(line)} for index, line in error.lines]
    return {"code": error.code, "lines": lines}


def _known(error: stock.StockError) -> dict[str, Any]:
    known = {name: getattr(error, name) for name in ("code", "sku", "requested", "available")}
    return {name: value for name, value in known.items() if value is not None}


def _without_lines(refusal: Refused) -> Refused:
    [line] = refusal.body["lines"]
    return Refused(
        refusal.status, **{name: value for name, value in line.items() if name != "index"}
    )


def _without_note(event: dict[str, Any]) -> dict[str, Any]:
    """Leave out reason and reference of a low-stock event, which the contract does not define."""
    if not event["type"].startswith("LowStock"):
        return event
    return {name: value for name, value in event.items() if name not in ("reason", "reference")}


def _as_in_response(event: dict[str, Any]) -> dict[str, Any]:
    """Leave out the version of the undone event. A response names its id."""
    return {name: value for name, value in _without_note(event).items() if "__" not in name}


def _as_json(lines: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"sku": sku, "amount": amount} for sku, amount in lines]


def _about(body: dict[str, Any]) -> dict[str, Any]:
    return {"reference": body["reference"], "ends": "expires_in" in body}


OUTCOMES = {
    "200",
    "201",
    *("404 product_not_found", "404 reservation_not_found"),
    *("409 insufficient_stock", "409 insufficient_reserved", "409 below_reserved"),
    *("409 quantity_changed", "409 stock_limit_exceeded", "409 duplicate_sku"),
    "409 repeated_count",
    *("200 late count", "400 invalid late count", "404 product_not_found late count"),
    *("409 quantity_changed late count", "409 below_reserved late count"),
    *("409 reservation_closed", "409 product_archived"),
    "410 reservation_expired",
    "412 precondition_failed",
    "422 idempotency_key_reused",
    *("200 replayed", "201 replayed", "200 after refusal", "409 insufficient_stock after refusal"),
    "overdue units expired",
    "expired by the command",
    *("undo", "undo cannot_undo", "undo already_undone"),
    *("undo together", "undo together cannot_undo", "undo together already_undone"),
    "undo together insufficient_stock",
    *("return", "return insufficient_fulfilled"),
    *("give back", "give back invalid", "give back reservation_expired"),
    *("reserve again", "reserve again invalid"),
}


@pytest.mark.slow
@pytest.mark.no_cover  # Slow under coverage, and covers no other lines than the other tests.
@pytest.mark.django_db(transaction=True)
def test_service_and_model_agree(
    caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    caplog.set_level("ERROR")  # Log lines of requests would hide the failure.
    Machine.api = APIClient()
    Machine.api.credentials(HTTP_AUTHORIZATION=f"Api-Key {ApiKeyFactory.create().text}")
    Machine.reached, Machine.numbers = Counter(), count(1)

    # Each example has only some of the rules, so that it takes many examples to reach all outcomes.
    examples = max(150, hypothesis.settings().max_examples)
    run_state_machine_as_test(Machine, settings=hypothesis.settings(max_examples=examples))

    record_property("reached", Machine.reached.most_common())
    assert Machine.reached.keys() >= OUTCOMES
