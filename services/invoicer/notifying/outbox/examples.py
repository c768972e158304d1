"""A notice of each type as an example, to see whether one arrives and is understood. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.invoicer.notifying.outbox.notices import Notice, NoticeType

_INVOICE = {
    "invoice": "inv_example",
    "run": "run_2026-10",
    "customer": "example",
    "period": "2026-10",
    "revision": 1,
    "total": "0.00",
    "currency": "USD",
    "payload_sha256": "0" * 64,
    "stripe_invoice": None,
    "due_at": None,
}
_THRESHOLD = {
    "alert": "alt_example",
    "customer": "example",
    "period": "2026-10",
    "on": "spend",
    "currency": "USD",
    "meter": None,
    "threshold": "80.00",
    "reached": "80.00",
    "budget": "100.00",
    "percent": "80",
}
_SILENCE = {
    "source": "example",
    "silent_since": "2026-10-16T12:00:00Z",
    "longest_usual_silence_seconds": 600,
}
_SAID: Mapping[NoticeType, tuple[str, Mapping[str, Any]]] = {
    "invoice.previewed": ("inv_example", _INVOICE),
    "invoice.finalized": ("inv_example", _INVOICE),
    "invoice.paid": ("inv_example", _INVOICE),
    "invoice.void": ("inv_example", _INVOICE),
    "usage.threshold_reached": ("example", _THRESHOLD),
    "source.silent": ("example", _SILENCE),
}


def example(kind: NoticeType, key: str, now: datetime) -> Notice:
    """Give a notice that says all that one of its type says, and `example` besides."""
    subject, data = _SAID[kind]
    return Notice(kind, key, subject, now, {**data, "example": True})
