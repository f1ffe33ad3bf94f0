"""Traces: one span a request, by route template, through FastAPI's own hooks.

FastAPI's spans hold the path, the query, the host header and whatever the caller put into
``tracestate`` and ``baggage``; what it logs holds exception texts and rejected input. So
only its spans are used, and of each only an allow-list of attributes leaves the process
(OWASP ASVS 5 16.2.5, PCI-DSS 3.5.1).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_KEPT: Final = frozenset(
    {
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "url.scheme",
    }
)
_DIGITS: Final = re.compile(r"[0-9]{12}")
_TRACE_PARENT: Final = "traceparent"


@dataclass(frozen=True, slots=True)
class Tracing:
    """``config`` is what ``FastAPI(telemetry=…)`` takes."""

    config: TelemetryConfig
    _provider: TracerProvider | None = None

    def close(self) -> None:
        """Send what is waiting and stop; blocks for some seconds at the most."""
        if self._provider is not None:
            self._provider.shutdown()


def tracing(endpoint: str, *, environment: str, exporter: SpanExporter | None = None) -> Tracing:
    """Tracing to the OTLP collector at the base URL ``endpoint`` (the value of
    ``OTEL_EXPORTER_OTLP_ENDPOINT``); none where it is empty and no ``exporter`` is given.

    ``environment`` is the service's; sampling, headers and timeouts are the SDK's own
    settings.
    """
    if exporter is None and endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    if exporter is None:
        return Tracing(_config(None))
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": "strongroom", "deployment.environment.name": environment}
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(AllowListExporter(exporter)))
    propagate.set_global_textmap(TraceParentOnly())
    return Tracing(_config(provider), provider)


def _config(provider: TracerProvider | None) -> TelemetryConfig:
    """Spans of requests and nothing else: the metrics are Prometheus', and FastAPI's logs
    hold exception texts."""
    return {
        "tracer_provider": provider,
        "tracing": provider is not None,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
    }


class AllowListExporter(SpanExporter):
    """Passes spans on with nothing in them but the allowed attributes."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export bare copies of the spans."""
        return self._exporter.export([_bare(span) for span in spans])

    def shutdown(self) -> None:
        """Stop the exporter beneath."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have the exporter beneath send what it holds."""
        return self._exporter.force_flush(timeout_millis)


def _bare(span: ReadableSpan) -> ReadableSpan:
    attributes = {name: value for name, value in (span.attributes or {}).items() if name in _KEPT}
    method = attributes.get("http.request.method", "HTTP")
    route = attributes.get("http.route")
    return ReadableSpan(
        name=str(method) if route is None else f"{method} {route}",
        context=_without_state(span.context),
        parent=_without_state(span.parent),
        resource=span.resource,
        attributes=attributes,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_state(context: SpanContext | None) -> SpanContext | None:
    if context is None:
        return None
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


class TraceParentOnly(TextMapPropagator):
    """W3C Trace Context without its free text: joins the caller's trace by the ids of
    ``traceparent``, unless they hold digits enough for a card number, and takes neither
    ``tracestate`` nor ``baggage``."""

    def __init__(self) -> None:
        self._standard = TraceContextTextMapPropagator()

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """The context with the caller's span as the parent, where one may be joined."""
        values = getter.get(carrier, _TRACE_PARENT) or []
        if len(values) != 1 or _DIGITS.search(values[0]):
            return Context() if context is None else context
        return self._standard.extract({_TRACE_PARENT: values[0]}, context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Tell nobody: the vault calls no service that would continue its trace."""

    @property
    def fields(self) -> set[str]:
        """The header that is read."""
        return {_TRACE_PARENT}
