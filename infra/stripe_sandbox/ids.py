"""Makes ids in the form that Stripe gives; they can't be guessed. Reads the system's randomness."""

import secrets

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CAPITALS = _DIGITS[:36]


def new_id(prefix: str, length: int = 24) -> str:
    """Make an id such as ``in_1QkZ…``: a prefix and letters and digits."""
    return f"{prefix}_{_random(_DIGITS, length)}"


def new_invoice_prefix() -> str:
    """Make the eight characters that a customer's invoice numbers begin with."""
    return _random(_CAPITALS, 8)


def _random(digits: str, length: int) -> str:
    number = secrets.randbelow(len(digits) ** length)
    drawn: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(digits))
        drawn.append(digits[digit])
    return "".join(drawn)
