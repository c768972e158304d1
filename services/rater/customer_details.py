"""What the details of a customer may be. Pure."""

import re

from shared.errors import InvalidInputError

LONGEST_REFERENCE = 140
"""Characters of a purchase order or tax id: what an invoice at Stripe has room for."""

_EMAIL = re.compile(r"[^\s@\x00-\x1f]+@[^\s@\x00-\x1f]+\.[^\s@\x00-\x1f]+")


def check_details(customer_id: str, name: str, email: str) -> None:
    """Raise `InvalidInputError` for an id, name or e-mail address that can be none."""
    for what, text in (("id", customer_id), ("name", name)):
        if not text.strip() or len(text) > 256 or not text.isprintable():
            raise InvalidInputError(f"a customer's {what} has 1 to 256 printable characters")
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise InvalidInputError(f"{email!r} is no e-mail address")


def read_reference(what: str, text: str | None) -> str | None:
    """Give a purchase order or tax id as it is kept; an empty text is none."""
    kept = (text or "").strip()
    if len(kept) > LONGEST_REFERENCE or not kept.isprintable():
        raise InvalidInputError(
            f"a customer's {what} has at most {LONGEST_REFERENCE} printable characters"
        )
    return kept or None
