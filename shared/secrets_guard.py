"""Finds what looks like an API key in a payload, so that it is refused, never kept (I11). Pure."""

import re
from typing import Any

import msgspec

_MARKS = (b"sk-", b"sk_", b"rk_", b"whsec_", b"AKIA", b"ASIA", b"PRIVATE KEY")
"""What every form below contains: a search for these is far cheaper than the forms."""

_FORMS = re.compile(
    rb"sk-ant-[A-Za-z0-9_-]{8,}"  # Anthropic
    rb"|sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"  # OpenAI
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,}"  # Stripe
    rb"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY"  # PEM
)


def may_hold_secret(body: bytes) -> bool:
    """Tell quickly whether a whole request needs the closer look of `holds_secret`."""
    return any(mark in body for mark in _MARKS) or b"\\u" in body


def holds_secret(text: bytes) -> bool:
    """Tell whether an event holds something like an API key, escaped or not, key or value."""
    if not may_hold_secret(text):
        return False
    if _FORMS.search(text):
        return True
    return b"\\u" in text and _in_decoded(text)


def _in_decoded(text: bytes) -> bool:
    """Look again where the form may hide behind JSON escapes (\\u0073k-ant-…)."""
    try:
        document: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _FORMS.search(str(document).encode("utf-8", "replace")) is not None
