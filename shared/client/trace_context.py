"""Which span is open now, where the program has OpenTelemetry."""

try:
    from opentelemetry.trace import get_current_span
except ImportError:  # the client works without it
    _HAS_SPANS = False
else:
    _HAS_SPANS = True


def current_traceparent() -> str | None:
    """Write the open span's context (W3C Trace Context); None where there is none that is kept."""
    if not _HAS_SPANS:
        return None
    context = get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
