"""Traces for OpenTelemetry, sent to a collector of the test."""

import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import END_SECONDS, running_server
from products.tests.project.test_settings import PRODUCTION, run

messages = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="The packages in requirements/tracing.txt are not installed.",
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


class Collector:
    """Receives OTLP over HTTP, and keeps the spans."""

    def __init__(self) -> None:
        self._spans: queue.Queue[Any] = queue.Queue()
        self.resources: list[Any] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(collector.status)
                self.end_headers()
                collector._keep(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever).start()

    def _keep(self, body: bytes) -> None:
        request = messages.ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            self.resources.append(values_of(resource_spans.resource))
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._spans.put(span)

    def spans_until(self, name: str) -> list[Any]:
        """Wait for a span with this name. Return all spans up to it."""
        found = [self._spans.get(timeout=END_SECONDS)]
        while found[-1].name != name:
            found.append(self._spans.get(timeout=END_SECONDS))
        return found

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def values_of(described: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value for each in described.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


def test_each_request_has_a_span_with_its_operation_and_its_statements(
    collector: Collector,
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    headers = {
        "Authorization": f"Api-Key {ApiKeyFactory.create().text}",
        "X-Request-ID": "order-1",
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
    }
    with running_server(
        workers=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100"
    ) as server:
        server.wait_for_workers()
        path = "/v1/products/CUP/remove"
        assert server.request("POST", path, {"amount": 1}, headers).status == 200
        *inner, span = collector.spans_until("product.remove")

    assert values_of(span)["inventory.request_id"] == "order-1"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert collector.resources[0]["service.name"] == "inventory"
    statements = [
        values_of(each)["db.query.text"] for each in inner if each.trace_id == span.trace_id
    ]
    assert any("products_product" in text for text in statements)
    assert not any("CUP" in text for text in statements)


def test_a_collector_that_fails_or_is_away_harms_no_request(collector: Collector) -> None:
    collector.status = 503
    with running_server(
        workers=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100"
    ) as server:
        server.wait_for_workers()
        assert server.request("GET", "/health").status == 200
        collector.spans_until("other")
        collector.stop()
        for _ in range(5):
            assert server.request("GET", "/health").status == 200


def test_without_the_setting_there_are_no_traces() -> None:
    loads = "import sys; from inventory_project import workers; workers.application(); "
    module = {"DJANGO_SETTINGS_MODULE": "inventory_project.settings"}
    ended = run("-c", f"{loads}print('opentelemetry' in sys.modules)", **PRODUCTION, **module)

    assert ended.stdout == "False\n", ended.stderr
