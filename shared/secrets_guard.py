"""Finds what looks like an API key in a payload, so that it is refused, never kept (I11). Pure."""

import re

_MARKS = (b"sk-", b"sk_", b"rk_", b"whsec_", b"AKIA", b"ASIA", b"PRIVATE KEY")
"""What every form below contains: a search for these is far cheaper than the forms."""

_FORMS = re.compile(
    rb"sk-ant-[A-Za-z0-9_-]{8,}"  # Anthropic
    rb"|(?<![A-Za-z0-9])(?:"  # not within a word: task-7f3c… is an ordinary id
    rb"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"  # OpenAI
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,}"  # Stripe
    rb"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9]))"  # AWS
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY"  # PEM
)

_ESCAPE = re.compile(rb"\\+(?:u([0-9a-fA-F]{4})|([bfnrt]?))")
"""A JSON escape, also one that was escaped again because the text holds JSON as a string."""

_NESTED_ESCAPES = 3
"""How often escapes are undone: an escape can write the backslash of another."""


def may_hold_secret(body: bytes) -> bool:
    """Tell quickly whether a request or batch as a whole needs the closer look of `holds_secret`.

    To look once through all events costs half of what it costs to look through each.
    """
    escaped = b"\\" in body and b"\\u" in body  # a single byte is found ten times faster
    return escaped or b"\0" in body or any(mark in body for mark in _MARKS)


def holds_secret(text: bytes) -> bool:
    """Tell whether an event holds something like an API key, escaped or not, key or value.

    The text need not be JSON: what cannot be read is looked through all the same.
    """
    if not may_hold_secret(text):
        return False
    plain = text.replace(b"\0", b"")  # UTF-16 puts one beside every letter; JSON has none
    if _FORMS.search(plain):
        return True
    for _ in range(_NESTED_ESCAPES):
        if b"\\" not in plain:
            break
        plain = _ESCAPE.sub(_unescaped, plain)
        if _FORMS.search(plain):
            return True
    return False


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code, blank = escape.groups()
    if code is None:
        return b" " if blank else b""
    return chr(int(code, 16)).encode("utf-8", "replace")
