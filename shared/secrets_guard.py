"""Finds what looks like an API key in a payload, so that it is refused, never kept (I11). Pure."""

import re

_MARKS = tuple(
    (mark[:1], re.compile(mark).search)
    for mark in (
        rb"s(?:k[-_]|ecret)",
        rb"S(?:ecret|ECRET)",
        rb"rk_",
        rb"whsec_",
        rb"A(?:KIA|SIA|Iza)",
        rb"gh[pousr]_|github_pat_",
        rb"xox[abeoprs]-|xapp-",
        rb"IQoJb3JpZ2lu",
        rb"FwoGZXIvYXdz",
        rb"PRIVATE KEY",
    )
)
"""What every form below contains: a search for these is far cheaper than the forms.

Each begins with a letter of its own, which makes its search a third as long, and needless where
the text has no such letter: a single byte is found ten times faster.
"""

_FORMS = re.compile(
    rb"sk-ant-[A-Za-z0-9_-]{8,}"  # Anthropic
    rb"|(?<![A-Za-z0-9])(?:"  # not within a word: task-7f3c… is an ordinary id
    rb"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"  # OpenAI
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,}"  # Stripe
    rb"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS, the key's id
    rb"|(?:IQoJb3JpZ2lu|FwoGZXIvYXdz)[A-Za-z0-9+/]{50,}"  # AWS, a session's token
    rb"|AIza[A-Za-z0-9_-]{35}"  # Google
    rb"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}"  # GitHub
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})"  # Slack
    rb"|(?i:secret[_-]?(?:access[_-]?)?key)[\s\"':=>\\]{1,9}"
    rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"  # AWS, the key itself, which only its name gives away
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
    escaped = b"\\" in body and b"\\u" in body
    marked = any(letter in body and found(body) for letter, found in _MARKS)
    return marked or escaped or b"\0" in body


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
