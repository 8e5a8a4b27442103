"""Send traces to OpenTelemetry, with the packages in requirements/tracing.txt."""

import os
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse


def start() -> None:
    """Trace the requests of this process, if `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

    The SDK itself reads the other `OTEL_*` variables. Must run before the application is created.
    """
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return
    # Loaded only if needed: the packages are an extra, and take memory.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    os.environ.setdefault("OTEL_SERVICE_NAME", "inventory")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    DjangoInstrumentor().instrument(response_hook=_describe)
    _trace_statements(trace.get_tracer(__name__))


def _describe(span: Any, request: HttpRequest, response: HttpResponse) -> None:
    """Name the span of a request by its operation, and add the id that the log has, too."""
    from products.api.middleware import operation_of

    span.update_name(operation_of(request))
    span.set_attribute("inventory.request_id", response["X-Request-ID"])


def _trace_statements(tracer: Any) -> None:
    """Create a span for each statement, without its values. COPY has none."""
    from opentelemetry.trace import SpanKind

    def execute_in_span(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql)
        attributes = {"db.system.name": context["connection"].vendor, "db.query.text": text}
        name = text.split(maxsplit=1)[0]
        with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes):
            return execute(sql, params, many, context)

    def wrap(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
        # The connections of a thread share the list of wrappers.
        if execute_in_span not in connection.execute_wrappers:
            connection.execute_wrappers.append(execute_in_span)

    connection_created.connect(wrap, weak=False)
