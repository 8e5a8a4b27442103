"""Schemathesis sends requests that the OpenAPI document allows, and requests that it forbids.

Every check is on. The responses must match the document.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.hooks import HookContext

from products import stock
from products.api.examples import WEBHOOK
from products.stock import Line
from products.tests.factories import ACTOR, ApiKeyFactory, ProductFactory
from products.tests.live import running_server
from products.tests.publishing.receiver import Receiver

REFUSED_BY_STATE = ["404", "409", "410", "412", "422"]
"""Statuses that a request may get although the document allows it."""


@pytest.fixture
def stocked(transactional_db: None) -> None:
    """Create the products and reservations of the examples in the document."""
    for sku in ("TSHIRT-RED-L", "MUG-BLUE", "A", "0"):
        ProductFactory.create(sku=sku, quantity=1_000)
    for _ in range(50):
        lines = [Line("TSHIRT-RED-L", 3), Line("MUG-BLUE", 1)]
        stock.reserve_lines(lines=lines, reference="order-1001", expires_in=900, by=ACTOR)


def configured(key: str) -> SchemathesisConfig:
    settings = hypothesis.settings()
    return SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Api-Key {key}"},
            "continue-on-failure": True,
            "generation": {
                "max-examples": settings.max_examples // 10,
                "deterministic": settings.derandomize,
                "database": "none",
            },
            "operations": [
                {
                    # The server sends it from a file, for every method.
                    "include-path": "/health/live",
                    "checks": {"unsupported_method": {"enabled": False}},
                },
            ],
            "checks": {
                "positive_data_acceptance": {
                    # 304 answers `If-None-Match`.
                    "expected-statuses": ["2xx", "304", *REFUSED_BY_STATE],
                },
                "negative_data_rejection": {
                    "expected-statuses": ["400", "401", "405", "415", *REFUSED_BY_STATE],
                },
            },
        }
    )


def without_cursors(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out the values that only the service can create: cursors."""
    for path in document["paths"].values():
        for operation in path.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [
                each for each in parameters if each["name"] not in ("cursor", "after")
            ]
    for name in ("WebhookCreateRequest", "WebhookEditRequest"):
        del document["components"]["schemas"][name]["properties"]["after"]
    return document


def without_late_counts(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out `counted_at`: a time is refused if it is in the future or before the product."""
    for schema in document["components"]["schemas"].values():
        schema.get("properties", {}).pop("counted_at", None)
    body = document["paths"]["/v1/products/{sku}/adjust"]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    for name in [name for name, each in examples.items() if "counted_at" in each["value"]]:
        del examples[name]
    return document


def with_receiver(document: dict[str, Any], url: str) -> dict[str, Any]:
    """Let all webhooks have the URL of a receiver, so that no test goes to another host."""
    for name in ("WebhookCreateRequest", "WebhookEditRequest"):
        document["components"]["schemas"][name]["properties"]["url"] = {"const": url}
    text = json.dumps(document).replace(json.dumps(WEBHOOK["url"]), json.dumps(url))
    changed: dict[str, Any] = json.loads(text)
    return changed


def with_whole_numbers(context: HookContext, body: Any) -> Any:
    """Write 5.0 as 5: to JSON Schema both are integers, but the service takes only 5."""
    if isinstance(body, float) and body.is_integer():
        return int(body)
    if isinstance(body, list):
        return [with_whole_numbers(context, item) for item in body]
    if isinstance(body, dict):
        return {name: with_whole_numbers(context, value) for name, value in body.items()}
    return body


@pytest.mark.slow
@pytest.mark.no_cover  # The coverage of other processes is not measured.
@pytest.mark.django_db(transaction=True)
def test_service_and_document_agree(
    stocked: None,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    caplog.set_level("CRITICAL")
    config = configured(ApiKeyFactory.create().text)
    failures, reached = {}, Counter[str]()

    with Receiver() as receiver, running_server(WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8") as server:
        server.wait_for_workers()
        document = server.request("GET", "/openapi.json").body
        document = without_late_counts(without_cursors(document))
        document = with_receiver(document, receiver.url)
        config.projects.default.base_url = f"http://127.0.0.1:{server.port}"
        schema = schemathesis.openapi.from_dict(document, config=config)
        schema.hook("map_body")(with_whole_numbers)
        happened = list(from_schema(schema).execute())

    for event in happened:
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures[type(event).__name__] = repr(event)
        if not isinstance(event, events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is not None:
                reached[f"{event.phase.value} {interaction.response.status_code}"] += 1
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info
                    failures[f"{event.label} {check.name} {failure.failure.title}"] = (
                        f"{failure.failure.message}\n{failure.code_sample}"
                    )

    assert receiver.requests
    record_property("reached", reached.most_common())
    assert not failures, "\n\n".join(f"{name}\n{text}" for name, text in failures.items())
